"""File lists: the data files that a folder or a pattern names, in natural order: part-2 before part-10.

A data file is known by its suffix, of which one list has one kind. Hidden files, what `datasets` and Winnow write
next to their data, and files of any other suffix are not data.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from glob import has_magic, iglob
from pathlib import Path
from typing import NamedTuple

from core.errors import PoolError
from core.workspace.folder import FOLDERS

SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".arrow")  # of data files, each also as .gz
SAVED = ("state.json", "dataset_dict.json")  # files that `save_to_disk` writes; its folder is read by `datasets`
NOT_DATA = (*SAVED, "dataset_info.json", "dataset_infos.json")
COMPANIONS = (".key.jsonl", ".manifest.json")  # files next to a pool and next to an export
MAX_FILES = 10_000  # more is a home folder, not a dataset
SPLITS = {  # words between the separators of a path -> split, as `datasets` reads them
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}


@dataclass(frozen=True)
class FileList:
    """Data files of one folder or pattern."""

    name: str  # of the folder, or of the pattern with its folder
    root: Path  # what the names of files are relative to
    names: tuple[str, ...]
    folder: str = ""  # as messages name it; "": by its own name

    @cached_property
    def paths(self) -> list[Path]:
        """Return the path of each file."""
        return [self.root / name for name in self.names]

    def shown(self, number: int) -> str:
        """Return a file as messages name it: with its folder."""
        return f"{self._folder}/{self.names[number]}"

    @cached_property
    def _folder(self) -> str:
        return self.folder or self.root.resolve().name


def is_pattern(source: str) -> bool:
    """Return whether a source is a pattern of file names, and not itself a file or folder."""
    return has_magic(source) and not os.path.lexists(Path(source).expanduser())


def folder_of(path: Path) -> Path:
    """Return the folder in which a pattern begins."""
    return next(parent for parent in path.parents if not has_magic(str(parent)))


def list_files(source: str) -> FileList | None:
    """Return the data files that a folder or pattern names; None where `datasets` reads a folder by itself.

    Raise PoolError if a pattern names no data file, or there are too many.
    """
    path = Path(source).expanduser()
    if is_pattern(source):
        root = folder_of(path)
        matches = iglob(str(path), recursive=True)  # noqa: PTH207  Path.glob raises for some patterns
        names = [os.path.relpath(match, root) for match in _bounded(source, matches)]
        own = {folder for folder in {f for name in names for f in Path(name).parents} if _is_workspace(root / folder)}
        names = [name for name in names if own.isdisjoint(Path(name).parents)]
        files = _file_list(f"{root.resolve().name}/{path.relative_to(root)}", root, names)
        if not files.names:
            matched = f"matches {len(names):,} files or folders, but no data file" if names else "matches no file"
            raise PoolError(f"{source} {matched}. Data files end in {', '.join(SUFFIXES)}, each also with .gz.")
        return files
    if any((path / file).exists() for file in SAVED):
        return None
    if _is_workspace(path):
        raise PoolError(f"{source} is a workspace. Give one of the files that its pools were opened from.")
    files = _file_list(path.resolve().name, path, list(_bounded(source, _walk(path))))
    return files if {_kind(name) for name in files.names} - {".arrow"} else None


def walk_files(source: str, folder: Path) -> list[str]:
    """Return every file below a folder, relative to it. Raise PoolError if there are too many."""
    return list(_bounded(source, _walk(folder, hidden=True)))


class FileChoice(NamedTuple):
    """The files of one split."""

    files: FileList
    split: str | None  # that was asked for and that no file name tells: each file may have it within
    notices: list[str]  # a sentence on the choice, if there was one


def select_files(files: FileList, split: str | None, configured: Mapping[str, Sequence[str]] | None) -> FileChoice:
    """Return the files of one split.

    `configured`: the files of each split by the folder's card; None: their names tell. Raise PoolError if files are of
    several kinds, if some name a split and others none, or if there is no such split.
    """
    splits = _splits_by_name(files, split) if configured is None else configured
    notices = []
    if splits:
        selected = select_split(files.name, list(splits), split)
        files = replace(files, names=tuple(sorted(splits[selected], key=_natural_key)))
        if split is None and len(splits) > 1:
            notices.append(f"The split is '{selected}'. The dataset has {', '.join(splits)}.")
        split = None
    kinds = sorted({_kind(name) for name in files.names})
    if len(kinds) > 1:
        pattern = f"{files.root}/*{kinds[-1]}"
        raise PoolError(f"{files.name} mixes {' and '.join(kinds)} files. Name those of one kind, such as '{pattern}'.")
    return FileChoice(files, split, notices)


def select_split(name: str, splits: Sequence[str], split: str | None) -> str:
    """Return the split to read: the one asked for, else train, else the only one. PoolError if there is none such."""
    if split in splits:
        return str(split)
    if split is None and (len(splits) == 1 or "train" in splits):
        return "train" if "train" in splits else splits[0]
    problem = f"has no split '{split}'" if split else "has several splits"
    raise PoolError(f"{name} {problem}. Choose one of {', '.join(splits)}.")


def _splits_by_name(files: FileList, split: str | None) -> dict[str, list[str]]:
    """Return the files of each split that file names tell; {} if none names one."""
    splits: dict[str, list[str]] = {}
    for name in files.names:
        splits.setdefault(_split_of(name), []).append(name)
    unnamed = splits.pop("", [])
    if splits and unnamed and split is None:
        other, named = next(iter(splits.items()))
        raise PoolError(
            f"{files.name}: {named[0]} looks like the split '{other}', and {unnamed[0]} like none. Give the split, or "
            f"a pattern that names files of one split, such as '{files.root}/{_example(unnamed[0])}'."
        )
    return splits


def _split_of(name: str) -> str:
    words = re.split(r"[^a-z]+", name.lower())
    return next((SPLITS[word] for word in words if word in SPLITS), "")


def _example(name: str) -> str:
    """Return a pattern that files with names like this one match."""
    return re.sub(r"[0-9]+", "*", name)


def _file_list(name: str, root: Path, names: list[str]) -> FileList:
    return FileList(name, root, tuple(sorted((n for n in names if _is_data(root, n)), key=_natural_key)))


def _is_data(root: Path, name: str) -> bool:
    file = os.path.basename(name)  # noqa: PTH119  names, not paths
    if file in NOT_DATA or file.endswith(COMPANIONS) or not _kind(name):
        return False
    return not any(part.startswith(".") for part in Path(name).parts) and not (root / name).is_dir()


def _kind(name: str) -> str:
    """Return the suffix of a data file without .gz, one for each format; "" if it is none."""
    suffix = Path(name.lower().removesuffix(".gz")).suffix
    return suffix.replace(".ndjson", ".jsonl") if suffix in SUFFIXES else ""


def _natural_key(name: str) -> list[tuple[str | int, ...]]:
    """Return a sort key of a path, by whose folders and numbers are compared as such."""
    return [tuple(int(t) if t.isdecimal() else t for t in re.split(r"([0-9]+)", part)) for part in Path(name).parts]


def _walk(folder: Path, *, hidden: bool = False) -> Iterator[str]:
    """Yield the files below a folder, relative to it."""
    for place, folders, files in os.walk(folder, onerror=_raise):
        if not hidden:
            folders[:] = [f for f in folders if not f.startswith(".") and not _is_workspace(Path(place, f))]
        yield from (os.path.relpath(os.path.join(place, file), folder) for file in files)  # noqa: PTH118  of many


def _is_workspace(folder: Path) -> bool:
    """Return whether Winnow stores pools and exports in a folder, which are no data of their own."""
    return all((folder / name).is_dir() for name in FOLDERS)


def _raise(error: OSError) -> None:
    raise error


def _bounded(source: str, names: Iterator[str]) -> Iterator[str]:
    for count, name in enumerate(names):
        if count == MAX_FILES:
            raise PoolError(f"{source} contains over {MAX_FILES:,} files. Give the folder of one dataset.")
        yield name
