"""Measurements: what a model says of every row, stored and resumable. The only room that uses models.

measurement           what a measurement is: columns, run, cost, warnings, files
registry              all measurements, by the method they serve
measure               measure a pool: a run for each method, from one pass
stages                tokens and passes of a model over a pool, as stored stages
entropy_shift         the calibrated model (InstructDiff)
activation_coverage   active neurons, coverage gains, clusters (MADS)
task_confidence       tasks, confidence of continuations (Weighted Task Diversity)
preference_influence  influence of rows on target sets (ROSE, LESS)
answer_divergence     generated answers, their geometry, semantic bins (ADG)
imported              scores that rows already hold
warm_up               trainings, stored
target_pairs          the pairs of a target set as a model reads them
prompt_embeddings     embeddings of prompts, of the base pass or by a sentence-transformer
answer_file           answers generated elsewhere
runs                  finished runs: records on disk
lookup                which finished run serves a method
run_data              the columns, artifacts and stages of a finished run
activation_files      activations on disk
token_files           one row token by token, on disk
token_view            read a row token by token
cost, trial           what a measurement would cost, from a trial on a few rows
"""
