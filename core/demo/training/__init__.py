"""Training of the embedded model, which `core/demo/model` holds.

train       train tokenizer and model; the command line
corpus      public pools and demo rows as training text, split from held-out rows
stream      the order of the training text
vocabulary  the tokenizer, and a unigram baseline
heldout     perplexity on held-out rows
"""
