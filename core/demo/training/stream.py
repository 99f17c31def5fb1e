"""The order of the training text: rows end to end, sources repeated, a new shuffle every epoch."""

import itertools
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from core.demo.training.vocabulary import TokenIds

Block = NDArray[np.int64]


def stream_tokens(rows: dict[str, list[TokenIds]], repeats: Mapping[str, float], seed: int) -> Iterator[int]:
    """Yield tokens without end. A source repeated 2.5 times gives every row twice and half of them again."""
    for epoch in itertools.count():
        rng = np.random.default_rng([seed, epoch])
        epoch_rows: list[TokenIds] = []
        for source, texts in rows.items():
            whole, part = divmod(repeats.get(source, 1.0), 1.0)
            extra = rng.permutation(len(texts))[: round(part * len(texts))]
            epoch_rows += texts * int(whole) + [texts[i] for i in extra]
        for i in rng.permutation(len(epoch_rows)):
            yield from epoch_rows[i]


def next_block(tokens: Iterator[int], rows: int, window: int) -> Block:
    """Return (rows, window + 1) consecutive tokens: inputs, and targets one position later."""
    return np.fromiter(itertools.islice(tokens, rows * (window + 1)), np.int64).reshape(rows, window + 1)
