"""Training: warm-up fine-tuning, and gradients of single rows.

schedule            Plans the rows and the learning rate of every step from the settings.
finetune            Fine-tunes a model, fully or with a LoRA adapter, resumably.
micro_batch         Adds the gradient of a micro-batch; on a GPU, as a CUDA graph.
response_loss       Computes the loss of rows, with its gradient.
checkpoints         Stores the latest step and every epoch of a training.
backward_pass       Computes the gradient of every LoRA matrix row by row.
row_gradients       Scores rows by their gradients, and yields full gradients.
adam_update         Turns a gradient into Adam's step.
target_directions   Averages unit gradients of a target set's pairs.
"""
