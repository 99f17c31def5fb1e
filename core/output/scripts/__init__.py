"""Files that are handed over with a proof (core/output/hand_over.py) or a selection, never imported here.

train_trl      trains a run with TRL, and evaluates a run of any trainer
train_unsloth  trains on a selection with Unsloth (core/output/trainer_folder.py)
nll_per_token  the figure of a proof in lm-evaluation-harness
run.sh         every run that has no result
"""
