"""Near-duplicates of a pool, computed once and stored in the workspace. No model is needed.

One folder per pool in `workspace/measurements` holds the signatures in parts (the slow half, resumable) and one array
for every similarity requested: 0.8.npy, (N,) int64, the first row of the group that a row repeats, -1 if it repeats
none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from core.columns import DUPLICATES, EXACT_DUPLICATES, NEAR_DUPLICATES_PREFIX, USUAL_NEAR_DUPLICATES
from core.pool import minhash
from core.pool.pools import iter_text
from core.progress import Reporter, percent_callback
from core.schema import IntArray, Pool
from core.workspace.files import is_whole, reading, remove_damaged, write_array
from core.workspace.folder import Workspace, content_key
from core.workspace.parts import Parts, plan_blocks
from core.workspace.shards import ALONE, Shard
from core.workspace.stages import Stages, as_column

PART_ROWS = 8192
WAITING = "Waiting for another job that finds the same near-duplicates."


@dataclass(frozen=True)
class StoredSignatures(Sequence[Any]):
    """The stored signatures, one part after another, each read when it is asked for."""

    parts: Parts

    def __len__(self) -> int:
        return len(self.parts.plan)

    def __getitem__(self, part: Any) -> Any:
        return self.parts.values(range(len(self))[part], "signature")


def find_near_duplicates(
    pool: Pool, workspace: Workspace, similarity: float, report: Reporter, shard: Shard = ALONE
) -> IntArray:
    """Return the first row of the group that each row repeats (N,), -1 for none. Compute it unless it is stored."""
    n = len(pool)
    stages = Stages(workspace, report, shard)
    file_name = f"{DUPLICATES['words'].column(similarity).removeprefix(NEAR_DUPLICATES_PREFIX)}.npy"
    spec, plan = _spec(pool.fingerprint), plan_blocks(n, PART_ROWS)
    file = stages.folder(spec) / file_name
    if is_whole(file):
        return _load(file)

    def hash_part(part: int, rows: IntArray) -> None:
        block = next(iter_text(pool, int(rows[0]), int(rows[-1]) + 1, size=len(rows)))
        texts = list(map(row_text, *block.values()))
        parts.write(part, pa.table({"signature": as_column(minhash.compute_signatures(texts))}))

    with stages.open(spec, plan, mapped=True, together=True, waiting=WAITING) as parts:
        stages.compute_missing([parts], "Hashing rows for near-duplicates", np.ones(n, np.int64), hash_part)
        with stages.locked(f"groups-{parts.folder.name}", WAITING):
            remove_damaged([file])
            if not file.exists():
                report.stage("Comparing candidate near-duplicates", rows=0, work=100)
                first = minhash.group_near_duplicates(
                    StoredSignatures(parts),
                    PART_ROWS,
                    lambda row: _text(pool, row),
                    similarity,
                    percent_callback(report),
                )
                write_array(file, np.where(first == np.arange(n), -1, first))
    return _load(file)


def load_near_duplicates(root: Path, fingerprint: str) -> dict[str, IntArray]:
    """Load the stored near-duplicates of a pool from the workspace at `root`: memory-mapped, by column."""
    files = sorted(_folder(root, fingerprint).glob("*.npy"))
    return {f"{NEAR_DUPLICATES_PREFIX}{file.stem}": _load(file) for file in files}


def duplicate_column(stored: Mapping[str, IntArray]) -> str:
    """Return the column that groups duplicates: near at 0.8, else at the loosest similarity stored, else exact."""
    return USUAL_NEAR_DUPLICATES if USUAL_NEAR_DUPLICATES in stored else min(stored, default=EXACT_DUPLICATES)


def cache_stamp(root: Path, fingerprint: str) -> int:
    """Return a number that changes when more near-duplicates are stored; for cache keys."""
    folder = _folder(root, fingerprint)
    return folder.stat().st_mtime_ns if folder.exists() else 0


def _load(file: Path) -> IntArray:
    with reading(file):
        repeats: IntArray = np.load(file, mmap_mode="r", allow_pickle=False)
    return repeats


def _folder(root: Path, fingerprint: str) -> Path:
    return root / "measurements" / content_key(_spec(fingerprint))


def _spec(fingerprint: str) -> dict[str, Any]:
    settings = {"words": minhash.SHINGLE_WORDS, "places": minhash.SIGNATURE_LENGTH, "seed": minhash.SEED}
    return {"kind": "near-duplicates", "pool": fingerprint, **settings, "by": minhash.VERSION}


def _text(pool: Pool, row: int) -> str:
    return row_text(*(pool.rows[name][row].as_py() for name in ("prompt", "response", "turns")))


def row_text(prompt: str | None, response: str | None, turns: str | None) -> str:
    """Return the whole text of a row: its turns if it has several, else prompt and response."""
    if turns:
        return "\n".join(turn["content"] for turn in orjson.loads(turns))
    return f"{prompt}\n{response or ''}"
