"""Reader of preference pairs: unusable rows are skipped, and `limit` pairs of each sub-task are sampled.

After its block, nothing of a row stays in memory but the pairs that may still be sampled and the text of skipped rows.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import orjson
import pyarrow as pa

from core.errors import PoolError
from core.pool.nested_fields import get_field, iter_fields
from core.pool.preference.formats import Pair, PairReader, detect_shape
from core.pool.readers.records import Place, Source, UnreadableRow, peek_objects, read_object
from core.pool.row_block import MAX_SET_ASIDE_CHARS, set_aside_text
from core.pool.turns import UnusableRow
from core.pool.validation import FILE_FIELD, SET_ASIDE_SCHEMA, label_text, rows_to_batch
from core.schema import Progress, format_place

MAX_PAIR_CHARS = 1 << 28  # of pairs in memory
MAX_SET_ASIDE = 10_000  # stored for display; all are counted
MAX_REASONS = 50  # counted apart; a reason may quote its row, so their number has no bound
OTHER_REASONS = "other reasons"

PairRecord = tuple[str, str, str, str | None, Place]  # prompt as JSON, chosen, rejected, sub-task, place


class PairSource:
    """Reader of one source in the format that its first rows have."""

    def __init__(self, source: Source, subtask: str | None) -> None:
        self.name = source.name
        self._source, self._subtask = source, subtask
        self._first, sample = peek_objects(source)
        if not sample:
            raise PoolError(
                f"{source.name}: its first rows are not JSON objects, so it has no pairs of answers. Give a "
                "file of pairs."
            )
        try:
            self.shape = detect_shape(sample)
        except PoolError as error:
            raise PoolError(f"{source.name}: {error}") from error
        self._field_names = sorted({name for row in sample for name, _ in iter_fields(row)})
        self._labelled = self._unlabelled = 0  # rows with pairs
        self.problems: Counter[str] = Counter()
        self.files = [file.name for file in source.files]  # where there are several
        self._aside: list[tuple[Place, str, str]] = []

    def read(self, on_progress: Progress) -> Iterator[tuple[Place, list[Pair], str | None]]:
        """Yield place, usable pairs and sub-task of each row that has usable pairs."""
        reader = PairReader(self.shape)
        for block in chain(self._first, self._source.blocks):
            file = self.files[block.file] if self.files else ""
            for line, raw in block.records:
                place = Place(line, file)
                row, pairs = self._row(reader, place, raw)
                if pairs:
                    yield place, pairs, self._label(row)
            on_progress(block.done, self._source.total)
        try:
            reader.check()
        except PoolError as error:
            raise PoolError(f"{self.name}: {error}") from error
        if self._subtask is not None and not self._labelled:
            names = ", ".join(self._field_names)
            raise PoolError(
                f"{self.name}: no row with pairs has a sub-task in '{self._subtask}'. Its fields are {names}."
            )

    def _row(self, reader: PairReader, place: Place, raw: bytes | UnreadableRow) -> tuple[dict[str, Any], list[Pair]]:
        row: dict[str, Any] = {}
        pairs: list[Pair] = []
        try:
            row = read_object(raw)
            for pair in reader(row):
                if isinstance(pair, Pair):
                    pairs.append(pair)
                else:
                    self._set_aside(place, pair, raw)
        except UnusableRow as reason:
            self._set_aside(place, str(reason), raw)
        return row, pairs

    def _set_aside(self, place: Place, reason: str, raw: bytes | UnreadableRow) -> None:
        reason = reason[:MAX_SET_ASIDE_CHARS]
        is_listed = reason in self.problems or len(self.problems) < MAX_REASONS
        self.problems[reason if is_listed else OTHER_REASONS] += 1
        if len(self._aside) < MAX_SET_ASIDE:
            self._aside.append((place, reason, set_aside_text(raw)))

    def _label(self, row: Mapping[str, Any]) -> str | None:
        if self._subtask is None:
            return None
        label = label_text(get_field(row, self._subtask))
        self._labelled += label is not None
        self._unlabelled += label is None
        return label

    def set_aside(self) -> pa.Table:
        """Return the first MAX_SET_ASIDE unusable rows and pairs: SET_ASIDE_SCHEMA, and `file` if there are several."""
        rows = [(place.line, reason, text) for place, reason, text in self._aside]
        return add_files(rows_to_batch(rows, SET_ASIDE_SCHEMA), [place for place, *_ in self._aside], self.files)

    def notices(self) -> list[str]:
        """Return sentences on how the rows were read, for display."""
        sentences = list(self._source.notices)
        if self._unlabelled:
            sentences.append(
                f"Rows without '{self._subtask}': {self._unlabelled:,}. They form a sub-task of their own."
            )
        return sentences

    def empty_message(self) -> str:
        """Return the error message for a source without one usable pair."""
        reason, count = self.problems.most_common(1)[0]
        first = self._aside[0][0]
        fields = f"{self.shape.chosen} and {self.shape.rejected}"
        return (
            f"{self.name}: none of its rows gives a pair from {fields}, read as {self.shape.name} ({reason}: "
            f"{count:,}; {format_place(first.file, first.line)} is the first). Correct the rows, or give another file."
        )


def add_files(batch: pa.RecordBatch, places: Sequence[Place], files: Sequence[str]) -> pa.Table:
    """Return rows as a table, with the file of each if they are from several files."""
    table = pa.Table.from_batches([batch])
    return table.append_column(FILE_FIELD, pa.array([place.file for place in places], pa.string())) if files else table


class PairSampler:
    """Sampler of `limit` pairs of each sub-task (None: all), by seed and content alone.

    One pair of each row comes before a second of any, because a prompt with twenty responses has 190 pairs. A larger
    limit keeps all pairs of a smaller one.
    """

    def __init__(self, limit: int | None, seed: int) -> None:
        self.limit, self.seed = limit, seed
        self.available = 0  # pairs added
        self.chars = 0  # of the pairs kept
        self._groups: dict[str | None, list[tuple[int, bytes, int, PairRecord]]] = {}

    def add(self, place: Place, pairs: list[Pair], label: str | None) -> None:
        """Add the pairs of one row, all of one prompt."""
        prompt = orjson.dumps(pairs[0].prompt).decode()
        positioned = enumerate(pairs, self.available)
        ranked = sorted((self._sort_key(prompt, pair), position, pair) for position, pair in positioned)
        self.available += len(pairs)
        group = self._groups.setdefault(label, [])
        for nth, (key, position, pair) in enumerate(ranked):
            group.append((nth, key, position, (prompt, pair.chosen, pair.rejected, label, place)))
        self.chars += sum(len(prompt) + len(pair.chosen) + len(pair.rejected) for pair in pairs)
        if self.limit is not None and len(group) >= 2 * self.limit:
            self._trim(group)

    def _sort_key(self, prompt: str, pair: Pair) -> bytes:
        if self.limit is None:
            return b""
        text = orjson.dumps([self.seed, prompt, pair.chosen, pair.rejected])
        return hashlib.sha256(text).digest()[:16]

    def _trim(self, group: list[tuple[int, bytes, int, PairRecord]]) -> None:
        group.sort()
        self.chars -= sum(len(text) for *_, pair in group[self.limit :] for text in pair[:3])
        del group[self.limit :]

    def sampled_pairs(self) -> list[PairRecord]:
        """Return the sampled pairs, in the order of the source."""
        for group in self._groups.values():
            if self.limit is not None:
                self._trim(group)
        pairs = [(position, pair) for group in self._groups.values() for _, _, position, pair in group]
        return [pair for _, pair in sorted(pairs, key=lambda entry: entry[0])]
