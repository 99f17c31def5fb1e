"""The order in which training reads: rows end to end, sources repeated, every epoch a new shuffle."""

import itertools
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from core.demo.training.vocabulary import TokenIds

Block = NDArray[np.int64]


def stream_tokens(rows: dict[str, list[TokenIds]], repeats: Mapping[str, float], seed: int) -> Iterator[int]:
    """Tokens without end. A source repeated 2.5 times gives every row twice and half of them again."""
    for epoch in itertools.count():
        rng = np.random.default_rng([seed, epoch])
        chosen: list[TokenIds] = []
        for source, texts in rows.items():
            whole, part = divmod(repeats.get(source, 1.0), 1.0)
            extra = rng.permutation(len(texts))[: round(part * len(texts))]
            chosen += texts * int(whole) + [texts[i] for i in extra]
        for i in rng.permutation(len(chosen)):
            yield from chosen[i]


def next_block(tokens: Iterator[int], rows: int, window: int) -> Block:
    """(rows, window + 1) consecutive tokens: inputs, and targets one place later."""
    taken = itertools.islice(tokens, rows * (window + 1))
    return np.fromiter(taken, np.int64).reshape(rows, window + 1)
