"""Embeddings of a pool's prompts: from the base pass, or from a sentence-transformer as a separate stage."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from core.measurement.stages import PoolStages
from core.schema import IntArray, Pool
from core.workspace.parts import plan_blocks
from core.workspace.stages import as_column

SENTENCE_PART_ROWS = 2048
Embeddings = Callable[[], NDArray[Any]]  # (N, d) float16, NaN where a row has none


def prompt_embeddings(stages: PoolStages, name: str) -> tuple[str, Embeddings]:
    """Return a key that identifies the embeddings, and a function that loads them.

    `name`: a sentence-transformer; "" for the base model.
    """
    if name:
        return _embed_sentences(stages, name)
    parts = stages.base
    return parts.folder.name, lambda: parts.column("prompt_embedding", len(stages.pool))


def _embed_sentences(stages: PoolStages, name: str) -> tuple[str, Embeddings]:
    from core.models.sentence_encoder import SentenceEncoder

    encoder = SentenceEncoder(name, device=stages.reading.device)
    n = len(stages.pool)
    spec = {"kind": "sentences", "pool": stages.pool.fingerprint, "of": "prompt", "encoder": encoder.revision}

    def embed(rows: IntArray) -> pa.Table:
        return pa.table({"embedding": as_column(encoder(prompts(stages.pool, rows)).astype(np.float16))})

    def load() -> Callable[[IntArray], pa.Table]:
        stages.begin_on(encoder.device)
        return embed

    parts = stages.fill(spec, plan_blocks(n, SENTENCE_PART_ROWS), "Embedding the prompts", load)
    return f"{name}@{encoder.revision}", lambda: parts.column("embedding", n)


def prompts(pool: Pool, rows: IntArray) -> list[str]:
    """Return the prompts of these rows, as text."""
    return list(pool.rows["prompt"].take(pa.array(rows)).to_pylist())
