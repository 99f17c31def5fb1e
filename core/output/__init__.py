"""Output: selected rows as files that can be reproduced.

writer        the selected rows, and all scores as a table
score_files   all scores of a pool's rows, for other tools
given_rows    rows used already, by the manifests and files that list them
row_files     files of JSON lines or Parquet, whole or absent; names of an export's files
parquet_rows  rows as columns, with the features of `datasets`
formats       one row in another trainer's schema, or for annotation
manifest      everything needed to reproduce the rows, and Winnow's version
dataset_card  the README.md of a data set, and LLaMA-Factory's entry for it
destinations  which files may be written; moving them into place together
hub_push      an export sent to the hub
curate        all files of one selection
replay        the file of a manifest once more, byte for byte
hand_over     the folder with which other trainers train the arms of a proof; scripts/ are files of it
trainer_files configurations of TRL, LLaMA-Factory, axolotl and lm-evaluation-harness
trainer_folder  the folder with which one trainer trains on a selection
training_template  chat templates that mark the responses
curves        loss curves of trainings, for trackio or wandb
report/       one selection as an HTML file
protocol      the plan of a proof in words
"""
