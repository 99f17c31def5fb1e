"""Embeddings of a pool's prompts: of the base pass, or by a sentence-transformer in a stage of its own."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from core.measurement.stages import Sweep
from core.models.sentence_encoder import SentenceEncoder
from core.schema import IntArray, Pool

SENTENCE_PART_ROWS = 2048
Embeddings = Callable[[], NDArray[Any]]  # (N, d) float16, NaN where a row has none


def prompt_embeddings(sweep: Sweep, name: str) -> tuple[str, Embeddings]:
    """What they are made of (a key), and a way to read them. `name`: a sentence-transformer, "" = the base model."""
    return _sentences(sweep, name) if name else _own(sweep)


def _own(sweep: Sweep) -> tuple[str, Embeddings]:
    """The prompt embeddings of the base pass: their key, and a way to read them."""
    parts = sweep.base
    return parts.folder.name, lambda: parts.column("prompt_embedding", len(sweep.pool))


def _sentences(sweep: Sweep, name: str) -> tuple[str, Embeddings]:
    """Prompt embeddings by a sentence-transformer."""
    encoder = SentenceEncoder(name, device=sweep.reading.device)
    n = len(sweep.pool)
    plan = [np.arange(a, min(a + SENTENCE_PART_ROWS, n)) for a in range(0, n, SENTENCE_PART_ROWS)]
    made_of = f"{name}@{encoder.revision}"
    spec = {"kind": "sentences", "pool": sweep.pool.fingerprint, "of": "prompt", "encoder": encoder.revision}
    with sweep.timed("sentences"), sweep.stage(spec, plan) as parts:
        for part, rows in sweep.missing([parts], "Embedding the prompts", np.ones(n, np.int64)):
            vectors = encoder(prompts(sweep.pool, rows))
            flat = pa.array(vectors.astype(np.float16).ravel(), pa.float16())
            parts.write(part, pa.table({"embedding": pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])}))
    return made_of, lambda: parts.column("embedding", n)


def prompts(pool: Pool, rows: IntArray) -> list[str]:
    """The prompts of these rows, as text."""
    texts: list[str] = pool.rows["prompt"].take(pa.array(rows)).to_pylist()
    return texts
