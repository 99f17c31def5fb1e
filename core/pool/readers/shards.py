"""Several files read as one source: all are checked first, then each is read in turn.

Nothing is copied or unpacked on the way, and one file is open at a time.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from core.errors import PoolError
from core.pool.readers.file_list import FileList
from core.pool.readers.records import SAMPLE_ROWS, Block, Blocks, Source, SourceFile, describe_no_objects, peek_objects

MAX_NOTICES = 20  # different ones, of all files

OpenFile = Callable[[int], AbstractContextManager[Source]]


def join_files(files: FileList, open_file: OpenFile, notices: Sequence[str] = ()) -> Source:
    """Return the rows of all files, in order, and the notices of all after these `notices`.

    The sample of rows, from which one schema is detected, is spread over all files. Raise PoolError for the first file
    without a readable row.
    """
    share = -(-SAMPLE_ROWS // len(files.names))
    opened: list[SourceFile] = []
    totals: list[int] = []
    for number in range(len(files.names)):
        try:
            with open_file(number) as part:
                peeked, sample = peek_objects(part)
                if not sample:
                    raise PoolError(f"{part.name}: {describe_no_objects(peeked)}.")
        except PoolError as error:
            raise PoolError(f"{error} {describe_place(files.name, len(files.names))}") from error
        opened.append(SourceFile(files.names[number], files.shown(number), sample[:share], _merge(sample)))
        totals.append(part.total)
    all_notices = list(notices)
    blocks = _iter_blocks(files, open_file, totals, all_notices)
    return Source(files.name, blocks, sum(totals), all_notices, part.fields, part.unknown, opened, files)


def describe_place(name: str, count: int) -> str:
    """Return a sentence on a file that cannot be part of a source of `count` files."""
    return f"It is one of the {count:,} files of {name}: replace it, or name the others by a pattern."


def _iter_blocks(files: FileList, open_file: OpenFile, totals: Sequence[int], notices: list[str]) -> Blocks:
    """Yield the blocks of each file, and add the notices of all after the last one."""
    found: list[tuple[str, str]] = []
    for number in range(len(files.names)):
        before = sum(totals[:number])
        with open_file(number) as part:
            for block in part.blocks:
                yield Block(block.records, before + block.done, number)
            found += [(notice, files.shown(number)) for notice in part.notices]
    notices += _gather(found)


def _gather(found: Iterable[tuple[str, str]]) -> list[str]:
    """Return each notice once, with the first file that it is about."""
    first: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for notice, file in found:
        first.setdefault(notice, file)
        counts[notice] += 1
    shown = list(first.items())[:MAX_NOTICES]
    return [f"{file}{_and_more(counts[notice] - 1)}: {notice}" for notice, file in shown]


def _and_more(count: int) -> str:
    return f" and {count:,} more" if count else ""


def _merge(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return one object with every field of these rows, nested ones too, without their values."""
    merged: dict[str, Any] = {}
    for row in rows:
        for name, value in row.items():
            if isinstance(value, dict):
                merged[name] = _merge([merged.get(name) or {}, value])
            else:
                merged.setdefault(name, None)
    return merged
