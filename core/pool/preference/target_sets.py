"""Target sets: pairs of a preferred and a rejected answer to one prompt, which say where a model should move.

A set is few-shot by nature, so its pairs are held in memory; a larger file is read in blocks, and `limit` pairs of
each sub-task are drawn while it is.
"""

import hashlib
import tempfile
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from core.demo.pairs import write_pairs
from core.errors import MethodError, PoolError
from core.pool.pools import iter_text
from core.pool.preference.reader import MAX_PAIR_CHARS, PairRecord, PairSampler, PairSource
from core.pool.readers.sources import identify, open_source
from core.pool.row_view import RowReader
from core.schema import FieldMap, IntArray, Pool, Progress, ignore_progress

DEMO = "demo"
FINGERPRINT_FORMAT = 1  # of the fingerprint
PAIR_SCHEMA = pa.schema(
    [
        ("prompt", pa.string()),  # JSON list of {"role", "content"}, up to the question
        ("chosen", pa.string()),
        ("rejected", pa.string()),
        ("subtask", pa.string()),  # null: none
        ("line", pa.int64()),  # 1-based line or element number; one line may give several pairs
    ]
)


@dataclass(frozen=True, eq=False)
class TargetSet:
    """P pairs of one preference set, in the order of the source."""

    name: str  # what people call it: file name, hub id or "demo"
    source: str  # resolved path, hub id or "demo"
    shape: str  # how the pairs are written, one of core.pool.preference.formats.SHAPES
    pairs: pa.Table  # P rows of PAIRS
    set_aside: pa.Table  # line, reason, text of what was of no use: a row, or one of its pairs
    problems: Mapping[str, int]  # reason -> how many were set aside for it
    available: int  # good pairs in the source, of which P were drawn
    fingerprint: str  # 32 hex digits of the pairs and their sub-tasks, in order; neither name nor line
    notices: tuple[str, ...] = ()  # sentences about the set as a whole, for people

    def __len__(self) -> int:
        return int(self.pairs.num_rows)

    def subtasks(self) -> dict[str | None, int]:
        """Pairs of each sub-task, in order of appearance; None for pairs of none."""
        return dict(Counter(self.pairs["subtask"].to_pylist()))


class PromptOverlap(NamedTuple):
    """Where a target set and a pool ask the same."""

    rows: IntArray  # rows of the pool whose prompt is that of a pair, ascending
    pairs: IntArray  # pairs whose prompt is that of a row, ascending


class LengthComparison(NamedTuple):
    """How long chosen answers are beside rejected ones. Summed log-probabilities favour the longer of two."""

    ratio: float  # median of chosen / rejected, in characters; 1: alike
    chosen_longer: float  # share of pairs, in characters; equal lengths count half


def load_target_set(
    source: str,
    *,
    subtask: str | None = None,
    limit: int | None = None,
    seed: int = 0,
    name: str | None = None,
    split: str | None = None,
    revision: str | None = None,
    on_progress: Progress = ignore_progress,
) -> TargetSet:
    """The pairs of a path, a hub id or "demo"; `name`, `split` and `revision` are those of `datasets`.

    `subtask` is the field whose value names a row's sub-task. Of each sub-task `limit` pairs are drawn, by seed and
    content; a larger limit only adds to a smaller one's. PoolError when the source holds no pairs, with what was found.
    """
    if limit is not None and limit < 1:
        raise MethodError(f"{limit} pairs of each sub-task are asked for. Ask for 1 or more, or set no limit.")
    identity = source_identity(source)
    with tempfile.TemporaryDirectory() as cache:
        place = str(write_pairs(Path(cache))) if source == DEMO else source
        options = {"name": name, "split": split, "revision": revision}
        with open_source(place, **options, cache=Path(cache)) as opened:
            draw, rows = PairSampler(limit, seed), PairSource(opened, subtask)
            _fill(draw, rows, on_progress)
    kept = draw.sampled_pairs()
    return TargetSet(
        name=rows.name,
        source=identity.get("path", source),
        shape=rows.shape.name,
        pairs=_table(kept),
        set_aside=rows.set_aside(),
        problems=dict(rows.problems),
        available=draw.available,
        fingerprint=_fingerprint(kept),
        notices=(*rows.notices(), *_repeats(kept)),
    )


def source_identity(source: str) -> Mapping[str, Any]:
    """What changes when a set's pairs may have; PoolError when there is no such source."""
    return {"embedded": DEMO} if source == DEMO else identify(source)


def _fill(draw: PairSampler, rows: PairSource, on_progress: Progress) -> None:
    """Every pair of a source into the draw; PoolError when there is none, or more than memory should hold."""
    for line, pairs, label in rows.read(on_progress):
        draw.add(line, pairs, label)
        if draw.chars > MAX_PAIR_CHARS:
            raise PoolError(
                f"{rows.name}: over {MAX_PAIR_CHARS:,} characters of pairs, more than a target set can hold. "
                "Set a limit "
                "of pairs, or name a field of fewer sub-tasks."
            )
    if not draw.available:
        raise PoolError(rows.empty_message())


def _table(kept: list[PairRecord]) -> pa.Table:
    columns = zip(*kept, strict=True)
    return pa.table([pa.array(c, f.type) for c, f in zip(columns, PAIR_SCHEMA, strict=True)], schema=PAIR_SCHEMA)


def _fingerprint(kept: Iterable[PairRecord]) -> str:
    sha = hashlib.sha256(f"targets {FINGERPRINT_FORMAT}".encode())
    for *content, _ in kept:
        sha.update(orjson.dumps(content))
    return sha.hexdigest()[:32]


def _repeats(kept: list[PairRecord]) -> list[str]:
    """A sentence on pairs that stand in the set more than once, each of which counts."""
    repeats = len(kept) - len({pair[:4] for pair in kept})
    return [f"Pairs that repeat an earlier one: {repeats:,}. Each counts."] if repeats else []


def compare_lengths(targets: TargetSet) -> LengthComparison:
    """How long the chosen answers are beside the rejected ones."""
    chosen, rejected = (np.asarray(pc.utf8_length(targets.pairs[side])) for side in ("chosen", "rejected"))
    longer = np.mean((chosen > rejected) + 0.5 * (chosen == rejected))
    return LengthComparison(float(np.median(chosen / rejected)), float(longer))


def find_prompt_overlap(targets: TargetSet, pool: Pool) -> PromptOverlap:
    """Rows of the pool and pairs with the same prompt, but for case, white space and the forms of characters.

    All turns before the answer are compared, without system turns: what the pool's column `prompt` says.
    """
    read = RowReader(FieldMap("prompts_only", turns="prompt"))
    asked = [_digest(read({"prompt": orjson.loads(turns)}).prompt) for turns in targets.pairs["prompt"].to_pylist()]
    wanted = set(asked)
    rows: list[int] = []
    shared: set[bytes] = set()
    done = 0
    for block in iter_text(pool):
        for row, prompt in enumerate(block["prompt"], done):
            digest = _digest(prompt)
            if digest in wanted:
                rows.append(row)
                shared.add(digest)
        done += len(block["prompt"])
    pairs = [pair for pair, digest in enumerate(asked) if digest in shared]
    return PromptOverlap(np.array(rows, np.int64), np.array(pairs, np.int64))


def _digest(prompt: str) -> bytes:
    plain = " ".join(unicodedata.normalize("NFKC", prompt).casefold().split())
    return hashlib.sha256(plain.encode()).digest()[:16]
