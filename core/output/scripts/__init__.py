"""Files that are handed over with a proof (core/output/hand_over.py), never imported here.

train_trl      trains a run with TRL, and evaluates a run of any trainer
nll_per_token  the figure of a proof in lm-evaluation-harness
run.sh         every run that has no result
"""
