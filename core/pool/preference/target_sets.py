"""Target sets: pairs of a chosen and a rejected response to one prompt, which define where a model should move.

A set is few-shot by nature, so its pairs are held in memory. A larger file is read in blocks, from which `limit` pairs
of each sub-task are sampled.
"""

import hashlib
import tempfile
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from core.demo.pairs import write_pairs
from core.errors import MethodError, PoolError
from core.pool.pools import iter_text
from core.pool.preference.formats import detect_shape
from core.pool.preference.reader import MAX_PAIR_CHARS, PairRecord, PairSampler, PairSource, add_files
from core.pool.readers.records import peek_objects
from core.pool.readers.sources import identify, local_path, open_source
from core.pool.row_view import RowReader
from core.pool.validation import rows_to_batch
from core.schema import FieldMap, IntArray, Pool, Progress, ignore_progress

DEMO = "demo"
FINGERPRINT_FORMAT = 1
PAIR_SCHEMA = pa.schema(
    [
        ("prompt", pa.string()),  # JSON list of {"role", "content"}, all turns before the response
        ("chosen", pa.string()),
        ("rejected", pa.string()),
        ("subtask", pa.string()),  # null: none
        ("line", pa.int64()),  # 1-based line or element number; one line may give several pairs
    ]
)


@dataclass(frozen=True, eq=False)
class TargetSet:
    """P pairs of one preference set, in the order of the source."""

    name: str  # display name: file name, hub id or "demo"
    source: str  # resolved path, hub id or "demo"
    shape: str  # how the pairs are written, one of core.pool.preference.formats.SHAPES
    pairs: pa.Table  # P rows of PAIR_SCHEMA; with `file`, if there are several
    set_aside: pa.Table  # line, reason, text of each unusable row or pair; with `file`, if there are several
    problems: Mapping[str, int]  # reason -> number of skipped rows and pairs
    available: int  # usable pairs in the source, from which P were sampled
    fingerprint: str  # 32 hex digits of the pairs and their sub-tasks, in order; not of name or line
    notices: tuple[str, ...] = ()  # sentences about the whole set, for display

    def __len__(self) -> int:
        return int(self.pairs.num_rows)

    def subtasks(self) -> dict[str | None, int]:
        """Count the pairs of each sub-task, in order of appearance; None: pairs without a sub-task."""
        return dict(Counter(self.pairs["subtask"].to_pylist()))


class PromptOverlap(NamedTuple):
    """The rows of a pool and the pairs of a target set that share a prompt."""

    rows: IntArray  # rows of the pool with the prompt of a pair, ascending
    pairs: IntArray  # pairs with the prompt of a row, ascending


class LengthComparison(NamedTuple):
    """Length of chosen responses relative to rejected ones. Summed log-probabilities favour the longer of two."""

    ratio: float  # median of chosen / rejected, in characters; 1: equal
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
    """Load the pairs of a path, a hub id or "demo". `name`, `split` and `revision` are those of `load_pool`.

    `subtask` is the field that names a row's sub-task. `limit` pairs of each sub-task are sampled, by seed and content
    alone; a larger limit only adds to them. Raise PoolError with the fields found if the source holds no pairs.
    """
    if limit is not None and limit < 1:
        raise MethodError(f"The limit of {limit} pairs per sub-task is too low. Set it to 1 or more, or set no limit.")
    identity = source_identity(source)
    with tempfile.TemporaryDirectory() as cache:
        location = str(write_pairs(Path(cache))) if source == DEMO else source
        with open_source(location, name=name, split=split, revision=revision, cache=Path(cache)) as opened_source:
            sampler, reader = PairSampler(limit, seed), PairSource(opened_source, subtask)
            _fill(sampler, reader, on_progress)
    sampled = sampler.sampled_pairs()
    return TargetSet(
        name=reader.name,
        source=identity.get("path", source),
        shape=reader.shape.name,
        pairs=_to_table(sampled, reader.files),
        set_aside=reader.set_aside(),
        problems=dict(reader.problems),
        available=sampler.available,
        fingerprint=_fingerprint(sampled),
        notices=(*reader.notices(), *_repeats(sampled)),
    )


def _to_table(sampled: Sequence[PairRecord], files: Sequence[str]) -> pa.Table:
    rows = [(*pair, place.line) for *pair, place in sampled]
    return add_files(rows_to_batch(rows, PAIR_SCHEMA), [place for *_, place in sampled], files)


def source_identity(source: str) -> Mapping[str, Any]:
    """Return a value that changes when the source may have. Raise PoolError if there is no such source."""
    if source == DEMO:
        return {"embedded": DEMO}
    return {"hub": source} if local_path(source) is None else identify(source)


def _fill(sampler: PairSampler, reader: PairSource, on_progress: Progress) -> None:
    """Add every pair of a source to the sampler. Raise PoolError if there is none, or if they take too much memory."""
    for place, pairs, label in reader.read(on_progress):
        sampler.add(place, pairs, label)
        if sampler.chars > MAX_PAIR_CHARS:
            raise PoolError(
                f"{reader.name}: over {MAX_PAIR_CHARS:,} characters of pairs, more than a target set can hold. Set "
                "a limit of pairs, or choose a field with fewer sub-tasks."
            )
    if not sampler.available:
        raise PoolError(reader.empty_message())


def _fingerprint(pairs: Iterable[PairRecord]) -> str:
    sha = hashlib.sha256(f"targets {FINGERPRINT_FORMAT}".encode())
    for *content, _ in pairs:
        sha.update(orjson.dumps(content))
    return sha.hexdigest()[:32]


def _repeats(pairs: list[PairRecord]) -> list[str]:
    """Return a sentence on pairs that occur more than once in the set; each occurrence counts."""
    repeats = len(pairs) - len({pair[:4] for pair in pairs})
    return [f"Pairs that repeat an earlier one: {repeats:,}. Each of them counts."] if repeats else []


def compare_lengths(targets: TargetSet) -> LengthComparison:
    """Compare the lengths of chosen and rejected responses."""
    chosen, rejected = (np.asarray(pc.utf8_length(targets.pairs[side])) for side in ("chosen", "rejected"))
    longer = np.mean((chosen > rejected) + 0.5 * (chosen == rejected))
    return LengthComparison(float(np.median(chosen / rejected)), float(longer))


def holds_pairs(source: str) -> bool:
    """Return whether the first rows of a source are pairs of responses. Raise PoolError if it cannot be read."""
    if source == DEMO:
        return True
    with (
        tempfile.TemporaryDirectory() as cache,
        open_source(source, name=None, split=None, revision=None, cache=Path(cache)) as opened_source,
    ):
        _, sample = peek_objects(opened_source)
    try:
        detect_shape(sample)
    except PoolError:
        return False
    return True


def find_prompt_overlap(targets: TargetSet, pool: Pool) -> PromptOverlap:
    """Find the rows of the pool and the pairs with equal prompts, ignoring case, white space and Unicode form (NFKC).

    All turns before the response are compared, without system turns, as in the pool's column `prompt`.
    """
    digests = digest_target_prompts(targets)
    pair_digests = set(digests)
    shared = {row: digest for row, digest in enumerate(digest_prompts(pool)) if digest in pair_digests}
    shared_digests = set(shared.values())
    pairs = [pair for pair, digest in enumerate(digests) if digest in shared_digests]
    return PromptOverlap(np.array(list(shared), np.int64), np.array(pairs, np.int64))


def digest_prompts(pool: Pool) -> Iterator[bytes]:
    """Yield a digest of each row's prompt, in order: equal for prompts that `find_prompt_overlap` takes as equal."""
    return map(_digest, chain.from_iterable(block["prompt"] for block in iter_text(pool)))


def digest_target_prompts(targets: TargetSet) -> list[bytes]:
    """Return the digests of the prompts of the pairs, as those of `digest_prompts`."""
    reader = RowReader(FieldMap("prompts_only", turns="prompt"))
    prompts = (orjson.loads(turns) for turns in targets.pairs["prompt"].to_pylist())
    return [_digest(reader.read({"prompt": prompt})[0]) for prompt in prompts]


def _digest(prompt: str) -> bytes:
    plain = " ".join(unicodedata.normalize("NFKC", prompt).casefold().split())
    return hashlib.sha256(plain.encode()).digest()[:16]
