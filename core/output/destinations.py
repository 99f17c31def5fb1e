"""Destinations: where the files of one export go. Checked before a model runs, and again before anything is written.

A destination is no input of the command, no other destination, and no device, pipe, folder or link. A file that is
there already is replaced only if an earlier export wrote it and it has not changed since: the manifest next to it
records the SHA-256 of every file of its export. All files are written to temporary folders, then moved into place, the
manifest last, so that after a kill in between the manifest still left in a temporary folder records the others.
"""

import os
import stat
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import fields
from glob import escape
from pathlib import Path
from typing import Any

import orjson

from core.errors import OutputError
from core.measurement import measurement_of
from core.methods.combined import expand_combinations
from core.models.reference import EMBEDDED
from core.output.row_files import PARQUET, is_parquet, rows_stem, sibling_path
from core.output.writer import check_scores_file
from core.pool.pools import answer_key_file, source_files
from core.schema import Method, Pool
from core.selection.recipe import ExportPart, Recipe
from core.selection.text_search import is_unicode
from core.workspace.files import disk_errors, file_digest, sync
from core.workspace.folder import FOLDERS
from core.workspace.leftovers import sweep

TEMPORARY = ".winnow-"  # how the names of temporary folders begin
MAX_NAME_BYTES = 240  # of a file's name: 255 less what a temporary name adds
MAX_PATH_BYTES = 3_500  # of a path: 4,095 less what a temporary folder and name add
SUFFIXES = {  # of the files next to the selected rows, by role
    "held_out": ".heldout.jsonl",
    "rejected": ".rejected.jsonl",
    "recipe": ".recipe.yaml",
    "card": ".README.md",
    "manifest": ".manifest.json",
}
PROOF_SUFFIX = ".proof.json"
BUNDLE = ("twin", "held_out_twin", "proof")  # roles of a bundle's further files
WORDS = {  # for each role, in sentences
    "chosen": "the selected rows",
    "held_out": "the validation split",
    "rejected": "the unselected rows",
    "recipe": "the recipe of the export",
    "card": "the dataset card",
    "manifest": "the manifest",
    "twin": "the selected rows in the other format",
    "held_out_twin": "the validation split in the other format",
    "proof": "the proof of the selection",
    "scores": "the scores",
    "report": "the report",
}

Paths = Mapping[str, Path]  # by role
Inputs = Sequence[tuple[str, Path]]  # what it is, in words; a folder stands for all that is in it


def plan_destinations(
    out: Path, part: ExportPart, scores: Path | None = None, *, bundle: bool = False
) -> dict[str, Path]:
    """Return the path of each file that an export may write; OutputError for a name that no file can have.

    `bundle`: the rows in both formats, and the proof.
    """
    _check_name(out)
    skipped = {role for role, written in (("held_out", part.held_out), ("rejected", part.rejected)) if not written}
    paths = {role: sibling_path(out, suffix) for role, suffix in SUFFIXES.items() if role not in skipped}
    if scores is not None:
        _check_name(scores)
        check_scores_file(scores)
        paths["scores"] = scores
    if bundle:
        twin = out.with_name(rows_stem(out.name) + (".jsonl" if is_parquet(out) else PARQUET))
        paths |= {"twin": twin, "proof": sibling_path(out, PROOF_SUFFIX)}
        if part.held_out:
            paths["held_out_twin"] = sibling_path(twin, SUFFIXES["held_out"])
    return {"chosen": out} | paths


def list_inputs(
    recipe: Recipe, pool: Pool, workspace: Path, plan: Path | None = None, given: Sequence[Path] = ()
) -> list[tuple[str, Path]]:
    """Return the files and folders that a command reads for this recipe.

    plan    the file that the recipe is from
    given   files that list rows used already
    """
    inputs = [("the recipe or manifest that was given", plan)]
    inputs += [("a file of rows used already", path) for path in given]
    inputs += [("the pool", path) for path in source_files(pool)]
    inputs += [("the answer key of the pool", answer_key_file(pool))]
    names = [recipe.reading.model]
    for method in expand_combinations([recipe.method.build()]):
        inputs += [(f"a file that {method.label} reads", path) for path in measurement_of(method.name).files(method)]
        names += _model_names(method)
    inputs += [("the model", Path(name).expanduser()) for name in names if name not in ("", EMBEDDED)]
    inputs += [("the workspace", workspace / kind) for kind in FOLDERS if kind != "exports"]
    return [(words, path) for words, path in inputs if path is not None]


def _model_names(method: Method) -> list[str]:
    """Return the values of the parameters that name a model."""
    declared: Any = method
    return [getattr(method, f.name) for f in fields(declared) if f.metadata["names"] == "model"]


def check_destinations(
    destinations: Paths, inputs: Inputs, *, overwrite: bool = False, known: Collection[str] = ()
) -> None:
    """Raise OutputError for the first destination that must not be written. Nothing is written here.

    overwrite  replace files that no manifest records as well; never an input, a device, a folder or a link
    known      SHA-256 of further contents that may be replaced
    """
    taken: dict[str, str] = {}
    for role, path in destinations.items():
        with disk_errors(path):
            folders = _check_folder(path)
            _check_kind(path)
            for words, source in inputs:
                if source.exists() and _is_part_of(path, folders, source):
                    harm = "be written into" if source.is_dir() else "overwrite"
                    raise OutputError(f"{path}, for {WORDS[role]}, would {harm} {words}. Give another path.")
        other = taken.setdefault(_plain_path(path), role)
        if other != role:
            raise OutputError(f"{path} cannot be both {WORDS[other]} and {WORDS[role]}. Give one of them another path.")
    if not overwrite:
        _check_recorded(destinations, known)


def _check_name(path: Path) -> None:
    name = os.fsencode(path.name)
    if not path.name or path.name == "..":
        raise OutputError(f"'{path}' is not a file name. Give one, such as chosen.jsonl.")
    if b"\0" in name or not is_unicode(str(path)):
        raise OutputError(f"{str(path)!r} is not a file name that every system accepts. Give a plain one.")
    if len(name) > MAX_NAME_BYTES:
        raise OutputError(f"{path.name[:40]}… has {len(name)} bytes, too many for a file name. Give a shorter one.")
    if len(os.fsencode(path)) > MAX_PATH_BYTES:
        raise OutputError(
            f"{str(path)[:40]}… has {len(os.fsencode(path)):,} bytes, too many for a path. Give a shorter one."
        )


def _check_folder(path: Path) -> list[os.stat_result]:
    """Check that the folder of a file exists or can be made; return the existing folders that it is in."""
    parents = [parent for parent in Path(os.path.realpath(path.parent) + "/x").parents if os.path.lexists(parent)]
    nearest = parents[0]
    if not nearest.is_dir():
        raise OutputError(f"{path} cannot be written: {nearest} is a file, not a folder. Give another path.")
    try:
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        why = f"{nearest} allows no new files ({error.strerror})"
        raise OutputError(f"{path} cannot be written: {why}. Give another path.") from error
    return [parent.stat() for parent in parents]


def _check_kind(path: Path) -> None:
    if not os.path.lexists(path):
        return
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        raise OutputError(f"{path} is a link to {path.readlink()}, and links are not replaced. Give another path.")
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a device, a pipe or a socket"
        raise OutputError(f"{path} is {kind}, where a file is to be written. Give another path.")


def _is_part_of(path: Path, folders: Sequence[os.stat_result], source: Path) -> bool:
    """Return whether a file is an input, its packed or unpacked twin, or in a folder that is one."""
    about = source.stat()
    if stat.S_ISDIR(about.st_mode):
        return any(os.path.samestat(about, folder) for folder in folders)
    same = os.path.lexists(path) and os.path.samestat(about, path.stat())
    return same or _plain_path(path).removesuffix(".gz") == _plain_path(source).removesuffix(".gz")


def _plain_path(path: Path) -> str:
    """Return a path without links, in the same case for all names that some disks take for one."""
    return os.path.realpath(path).casefold()


# Files that are there already


def _check_recorded(destinations: Paths, known: Collection[str]) -> None:
    """Check that files which are there are those of an earlier export."""
    records = {(name, digest) for file in _find_manifests(destinations) for name, digest in read_record(file).items()}
    for role, path in destinations.items():
        if not path.exists() or (role == "manifest" and read_record(path)):
            continue
        digest = file_digest(path)
        if digest not in known and (path.name, digest) not in records:
            raise OutputError(
                f"{path} already exists, and no export wrote it or it has changed since. Move it, give another "
                "path, or replace it with --overwrite (in Python, overwrite=True)."
            )


def _find_manifests(destinations: Paths) -> list[Path]:
    """Return the manifests that may record these files: the one next to them, and those of exports cut short."""
    if "chosen" not in destinations:
        return []
    beside = sibling_path(destinations["chosen"], SUFFIXES["manifest"])
    return [beside, *beside.parent.glob(f"{TEMPORARY}*/{escape(beside.name)}")]


def read_record(manifest: Path) -> dict[str, str]:
    """Return the SHA-256 of each file of an export by name; {} if the file is no manifest."""
    try:
        data = orjson.loads(manifest.read_bytes())
        output, _ = data["output"], data["recipe"]
        older = {part["file"]: part["sha256"] for part in (output, output.get("held_out")) if part}
        return {str(name): str(digest) for name, digest in (older | data.get("files", {})).items()}
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return {}


# Moving files into place


@contextmanager
def stage_files(destinations: Paths) -> Iterator[dict[str, Path]]:
    """Yield a temporary path for each destination, under its own name; move what was written there into place.

    After an exception nothing is moved. The manifest is moved last.
    """
    with ExitStack() as stack:
        folders: dict[Path, Path] = {}
        for path in destinations.values():
            if path.parent not in folders:
                with disk_errors(path):
                    path.parent.mkdir(parents=True, exist_ok=True)
                    sweep(path.parent.glob(f"{TEMPORARY}????????"))  # what killed exports left
                    made = tempfile.TemporaryDirectory(dir=path.parent, prefix=TEMPORARY)
                    folders[path.parent] = Path(stack.enter_context(made))
        staged = {role: folders[path.parent] / path.name for role, path in destinations.items()}
        yield staged
        for folder in folders:
            with disk_errors(folder):
                sync(folder)
        for role in sorted(destinations, key=lambda role: role == "manifest"):
            if staged[role].exists():
                with disk_errors(destinations[role]):
                    staged[role].replace(destinations[role])
        for folder in folders:
            with disk_errors(folder):
                sync(folder)
