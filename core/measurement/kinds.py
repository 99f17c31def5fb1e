"""The kinds of devices that computed the parts of a stage: kinds.json in its folder.

Scores of one row differ in their last digits between kinds, so a stage has one kind unless a mix is allowed.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from core.errors import ModelError
from core.workspace.files import is_whole, read_json, write_json

FILE = "kinds.json"
Kind = Mapping[str, str]  # device, torch, and what else the parts depend on


def read_kinds(folder: Path) -> list[dict[str, str]]:
    """Return the kinds of devices that computed parts of the stage in `folder`; [] if that is not known."""
    return list(read_json(folder / FILE)["kinds"]) if is_whole(folder / FILE) else []


def add_kind(folder: Path, kind: Kind, *, allow_mix: bool) -> None:
    """Add a kind to those of a stage, under its lock; ModelError if it has others and no mix is allowed."""
    kinds = read_kinds(folder)
    if dict(kind) in kinds:
        return
    if kinds and not allow_mix:
        raise ModelError(
            f"Parts of this measurement were computed on {describe_kind(kinds[0])}, and this is {describe_kind(kind)}: "
            "the last digits of scores may differ. Continue where it began, or allow both with --allow-mix."
        )
    write_json(folder / FILE, {"kinds": [*kinds, dict(kind)]})


def collect_kinds(folders: Iterable[Path]) -> list[dict[str, str]]:
    """Return each kind of several stages once, in order of appearance."""
    kinds: list[dict[str, str]] = []
    for folder in folders:
        kinds += [kind for kind in read_kinds(folder) if kind not in kinds]
    return kinds


def describe_kind(kind: Kind) -> str:
    """Return a kind in words: "cpu with torch 2.13.0"."""
    return f"{kind['device']} with torch {kind['torch']}"


def describe_mix(kinds: Sequence[Kind]) -> list[str]:
    """Return a sentence if scores are from several kinds of devices; [] if not."""
    if len(kinds) < 2:
        return []
    words = "; ".join(map(describe_kind, kinds))
    return [f"Scores were computed on several kinds of devices ({words}), so their last digits are not comparable."]
