"""Embeddings of a pool's prompts: from the base pass, or from a sentence-transformer as a separate stage."""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import pyarrow as pa

from core.algorithms.vector_blocks import VectorBlocks, sample_size
from core.measurement.stages import PoolStages
from core.schema import IntArray, Pool
from core.workspace.parts import Parts, plan_blocks
from core.workspace.stages import as_column

SENTENCE_PART_ROWS = 2048


def prompt_embeddings(stages: PoolStages, name: str) -> tuple[str, VectorBlocks]:
    """Return a key that identifies the embeddings, and the embeddings, stored in half precision.

    `name`: a sentence-transformer; "" for the base model.
    """
    if name:
        return _embed_sentences(stages, name)
    return stages.base.folder.name, _stored(stages.base, "prompt_embedding", len(stages.pool))


def _embed_sentences(stages: PoolStages, name: str) -> tuple[str, VectorBlocks]:
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
    return f"{name}@{encoder.revision}", _stored(parts, "embedding", n)


def _stored(parts: Parts, column: str, n: int) -> VectorBlocks:
    return VectorBlocks(n, partial(parts.blocks, column))


def sample_key(stages: PoolStages, n: int, width: int) -> Mapping[str, int]:
    """Return what k-means on n vectors of this width adds to a stage's key, and report it: the size of its sample.

    {} where it is all vectors.
    """
    size = sample_size(n, width)
    if size == n:
        return {}
    stages.report.note(f"k-means is fitted to a seeded sample of {size:,} of {n:,} rows; all join the nearest centre.")
    return {"sample": size}


def prompts(pool: Pool, rows: IntArray) -> list[str]:
    """Return the prompts of these rows, as text."""
    return list(pool.rows["prompt"].take(pa.array(rows)).to_pylist())
