"""Language models: loading, encoding and running them; besides the demo model's training, the only user of torch.

reference           Resolves a model name to files and a revision.
gguf                Dequantises a GGUF file into a model folder.
loading             Loads a model, its tokenizer, and its LM head on its own.
size_check          Checks that a model is about as large as its files, before it is built.
chat_layout         Lays a row out as text, by the chat template or in Alpaca's layout.
chat_template       Renders chat templates in a process with limits.
template_worker     Is the program of that process.
encoder             Encodes rows as token ids, with the response marked.
shortening          Shortens conversations that are too long to read.
batching            Splits rows into batches, and halves those that do not fit into memory.
shared_prefix       Runs a prefix that rows share only once.
forward_pass        Measures likelihoods and embeddings of rows, with observers in the same pass.
exact_match         Checks in the same pass whether greedy decoding gives the response.
hidden_states       Sums upper hidden states over texts.
activations         Collects active neurons during the forward pass.
answer_embeddings   Embeds generated answers in the model's own hidden states.
row_tokens          Reads one row token by token.
sentence_encoder    Embeds texts with a sentence-transformers model.
lora                Adds, loads and disables LoRA adapters, and names their matrices.
generation          Generates answers and continuations, locally or from a server.
training            Fine-tunes models and computes gradients of single rows.
"""

import os

# A thread of PyTorch that waits for the others spins only shortly, then sleeps: not slower on an idle processor, and
# several times as fast on one that other programs use too. Read when torch is loaded.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
