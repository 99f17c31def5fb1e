"""Training of the embedded model that ships in `core/demo/model`.

    train       train tokenizer and model; the command line
    corpus      public pools and demo rows as training text, split from held-out rows
    stream      the order of the training text
    vocabulary  the tokenizer, and a unigram baseline
    heldout     perplexity on held-out rows

Run it with `python -m core.demo.training.train`.
"""
