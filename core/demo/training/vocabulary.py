"""The embedded model's tokenizer (byte-level BPE), and a unigram model of token counts as its baseline."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

TokenIds = list[int]

VOCABULARY = 8192
BOS, EOS, PAD = "<|bos|>", "<|eos|>", "<|pad|>"
BOS_ID, EOS_ID, PAD_ID = 0, 1, 2


def train_tokenizer(texts: Iterable[str]) -> Tokenizer:
    """Train byte-level BPE on the texts, each digit a token of its own.

    Every string, in any script, encodes and decodes to itself; encoding puts BOS first.
    """
    digits = pre_tokenizers.Digits(individual_digits=True)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[BOS, EOS, PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{BOS} $A", special_tokens=[(BOS, BOS_ID)])
    return tokenizer


def token_rows(tokenizer: Tokenizer, texts: Sequence[str]) -> list[TokenIds]:
    """Return the token ids of each text between BOS and EOS."""
    encoded = tokenizer.encode_batch(list(texts), add_special_tokens=False)
    return [[BOS_ID, *row.ids, EOS_ID] for row in encoded]


def unigram_nats(rows: dict[str, list[TokenIds]], repeats: Mapping[str, float]) -> NDArray[np.float64]:
    """Return the nats of each token (V,) from its count in the training text, weighted by the repeats of each source.

    BOS is given and never predicted, so it is not counted. One is added to every count.
    """
    counts = np.ones(VOCABULARY)
    for source, texts in rows.items():
        ids = np.concatenate([np.asarray(row[1:]) for row in texts])
        counts += repeats.get(source, 1.0) * np.bincount(ids, minlength=VOCABULARY)
    return np.asarray(np.log(counts.sum()) - np.log(counts))
