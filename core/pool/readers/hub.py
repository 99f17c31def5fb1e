"""Datasets of the hub: their files are downloaded once into the cache of the hub's client, and read there in place.

An address is owner/name, or hf://datasets/owner/name[@revision][/path] with a file, a folder or a pattern of files.
What is read of it is chosen by names alone, as in a folder, before anything is downloaded. A dataset without a file
that can be read is read from its Parquet conversion, which the hub keeps on a branch of its own.
"""

import re
import tempfile
from dataclasses import dataclass, replace
from glob import escape, has_magic
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from huggingface_hub import HfApi, errors, get_cached_repo_tree, snapshot_download
from huggingface_hub.utils import parse_hf_uri, tqdm  # type: ignore[attr-defined]

from core.errors import PoolError
from core.pool.readers.file_list import MAX_FILES, SUFFIXES, FileChoice, FileList, select_files
from core.pool.readers.hub_errors import hub_errors
from core.pool.readers.tables import choose_files

DATASET: Literal["dataset"] = "dataset"
PREFIX = "hf://datasets/"
CONVERSION = "refs/convert/parquet"
CARDS = ["README.md", ".huggingface.yaml"]  # may say which files are which split
ALWAYS = ".gitattributes"  # in every repository: a download that matches no file makes the client warn
COMMIT = re.compile(r"[0-9a-f]{40}")
PARTIAL = "partial-"  # begins the name of a split of which the hub has converted the first rows only
_REVISION = re.compile(r"(?![/.-])(?!.*\.\.)[^\s\\~^:?*\[\x00-\x1f\x7f]+")
_CONVERTED = re.compile(r"([^/]+)/([^/]+)/\d+\.parquet")  # configuration, split


@dataclass(frozen=True)
class HubAddress:
    """A dataset of the hub, or some files of it."""

    repo: str  # owner/name
    revision: str | None = None  # branch, tag or commit; None: the default branch
    path: str = ""  # file, folder or pattern; "": all

    @property
    def source(self) -> str:
        """The address without its revision."""
        return f"{PREFIX}{self.repo}/{self.path}" if self.path else self.repo


def parse_address(source: str, revision: str | None = None) -> HubAddress:
    """Parse owner/name or an hf:// address; PoolError if it is no address of a dataset, or has another revision."""
    if not source.startswith("hf://"):
        return HubAddress(source, _check_revision(revision))
    try:
        uri = parse_hf_uri(source)
    except errors.HfUriError as error:
        raise PoolError(f"{source} is no address on the hub. Write {PREFIX}owner/name[@revision][/path].") from error
    if uri.type != DATASET:
        raise PoolError(f"{source} names a {uri.type}, not a dataset. Write {PREFIX}owner/name[@revision][/path].")
    if ".." in uri.path_in_repo.split("/"):
        raise PoolError(f"{source} has '..' in its path. Write the path from the dataset's own folder.")
    named = CONVERSION if uri.revision == "~parquet" else uri.revision
    if named and revision and named != revision:
        raise PoolError(f"{source} has a revision, and {revision} is another one. Give one of them.")
    return HubAddress(uri.id, _check_revision(named or revision), uri.path_in_repo.rstrip("/"))


def _check_revision(revision: str | None) -> str | None:
    """Return a revision; PoolError if git allows none of this name, because the client makes a path of it."""
    if revision is not None and not _REVISION.fullmatch(revision):
        raise PoolError(f"{revision!r} is no revision. Give a branch, a tag or a whole commit.")
    return revision


def resolve_address(address: HubAddress) -> HubAddress:
    """Return the address with the commit that is read now. PoolError if the hub cannot say, and its cache neither."""
    if address.revision and COMMIT.fullmatch(address.revision):
        return address
    with hub_errors(address.repo, address.revision):
        commit = _resolve(address.repo, address.revision)
        if address.revision is None and not address.path and not _has_data(_open_snapshot(address.repo, commit)[1]):
            commit = _find_conversion(address.repo) or commit
    return replace(address, revision=commit)


def _resolve(repo: str, revision: str | None) -> str:
    return HfApi().resolve_revision(repo, repo_type=DATASET, revision=revision).resolved


def _find_conversion(repo: str) -> str | None:
    try:
        return _resolve(repo, CONVERSION)
    except errors.RevisionNotFoundError:
        return None


def _open_snapshot(repo: str, commit: str) -> tuple[Path, list[str]]:
    """Return the folder of a commit in the cache, with its cards, and the names of all files, there or not."""
    snapshot = _download(repo, commit, [*CARDS, ALWAYS], tqdm_class=_NoBar)
    names = [file.path for file in get_cached_repo_tree(repo, repo_type=DATASET, revision=commit)]
    if any(PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts for name in names):
        raise PoolError(f"{repo} has a file outside its own folder. Nothing of it is read.")
    return snapshot, names


def _has_data(names: list[str]) -> bool:
    return any(Path(name.removesuffix(".gz")).suffix in set(SUFFIXES) - {".arrow"} for name in names)


class _NoBar(tqdm):  # type: ignore[misc]
    """A progress bar that is not drawn."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options | {"disable": True})  # type: ignore[no-untyped-call]


def _download(repo: str, commit: str, patterns: list[str], **options: Any) -> Path:
    """Download what the cache lacks of these files; return the folder of the commit."""
    return Path(snapshot_download(repo, repo_type=DATASET, revision=commit, allow_patterns=patterns, **options))


def fetch_files(address: HubAddress, *, name: str | None, split: str | None) -> FileChoice:
    """Download the files of one configuration and split, unless the cache has them. The address is a resolved one.

    PoolError in one sentence if there is no such file, or it cannot be had.
    """
    commit = str(address.revision)
    with hub_errors(address.repo, commit), tempfile.TemporaryDirectory() as temporary:
        snapshot, every = _open_snapshot(address.repo, commit)
        beginning = re.split(r"[*?\[]", address.path)[0]
        names = [file for file in every if file in CARDS or file.startswith(beginning)]
        if len(names) > MAX_FILES:
            raise PoolError(f"{address.source} has over {MAX_FILES:,} files. Give a folder or pattern of it.")
        outline = Path(temporary) / f"datasets--{address.repo.replace('/', '--')}"
        _write_outline(outline, names, snapshot)
        choice = _choose(address, outline, names, name, split)
        within = choice.files.root.relative_to(outline)
        _download(address.repo, commit, [escape((within / file).as_posix()) for file in choice.files.names])
    return choice._replace(files=FileList(address.source, snapshot / within, choice.files.names, address.repo))


def _write_outline(folder: Path, names: list[str], snapshot: Path) -> None:
    """Write a folder with the cards and, under the names of all other files, empty files."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((snapshot / name).read_bytes() if name in CARDS else b"")


def _choose(address: HubAddress, outline: Path, names: list[str], name: str | None, split: str | None) -> FileChoice:
    """Return the files to read, of a folder with the names of all."""
    converted = [_CONVERTED.fullmatch(file) for file in names if file != ALWAYS]
    place = outline / address.path
    try:
        if not address.path and converted and all(converted):
            return _choose_converted(address.repo, outline, [found for found in converted if found], name, split)
        if place.is_file():
            return FileChoice(FileList(place.name, place.parent, (place.name,)), split, [])
        choice = choose_files(str(place), split, name) if place.is_dir() or has_magic(address.path) else None
    except PoolError as error:
        shown = str(error).replace(str(outline), f"{PREFIX}{address.repo}").replace(outline.name, address.repo)
        raise PoolError(shown) from error
    if choice is None:
        kinds = f"data file that can be read ({', '.join(SUFFIXES[:-1])}, each also with .gz)"
        raise PoolError(
            f"{address.source}, commit {address.revision}, has no {kinds}, and the hub no Parquet conversion of it."
            if not address.path
            else f"{address.repo}, commit {address.revision}, has no {kinds} at {address.path}. Check the path."
        )
    return choice


def _choose_converted(
    repo: str, outline: Path, converted: list[re.Match[str]], name: str | None, split: str | None
) -> FileChoice:
    """Return the files of a Parquet conversion, whose folders are configurations and in them splits."""
    configurations: dict[str, dict[str, list[str]]] = {}
    for found in converted:
        splits = configurations.setdefault(found[1], {})
        splits.setdefault(found[2].removeprefix(PARTIAL), []).append(found[0])
    if name is None:
        name = next(iter(configurations)) if len(configurations) == 1 else "default"
    if name not in configurations:
        raise PoolError(f"{repo} has no configuration '{name}'. Choose one of {', '.join(configurations)} (--name).")
    every = FileList(repo, outline, tuple(found[0] for found in converted))
    choice = select_files(every, split, configurations[name])
    partial = any(f"/{PARTIAL}" in file for file in choice.files.names)
    notice = f"The rows are those of the hub's Parquet conversion{', which has only the first of them' * partial}."
    return choice._replace(notices=[notice, *choice.notices])
