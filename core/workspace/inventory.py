"""Inventory of a workspace: what it holds, how large it is, when it was last used, and what depends on what.

    pools        imported pools                                   named in runs and stages by their fingerprint
    runs         finished runs: scores, and the keys of the stages that they were made from
    proofs       plans, rows and verdicts, and the keys of the training runs that they were made from
    stages       stored work of measurements and proofs: tokens, base passes, answers, training runs ...
    maps         layouts of embeddings
    models       states that warm-ups trained, weights unpacked from GGUF
    selections   settings and saved selections of one pool        made by hand
    uploads      files that a browser sent                        stored here alone
    exports      files of selected rows
    jobs         records and logs of workers
    leftovers    temporary files of killed workers

Only names, sizes and short JSON files are read: 10,000 files take a fraction of a second. A damaged file costs its
item's name, not the inventory.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson

from core.errors import WorkspaceError
from core.workspace.checksums import unseal_json
from core.workspace.folder import Workspace
from core.workspace.leftovers import TEMPORARY, find_leftovers

KINDS: dict[str, str] = {  # kind -> what deleting it means
    "pools": "The pool has to be imported again from its source. Until then its runs cannot be opened.",
    "runs": "A run is rebuilt from its stages in seconds, if the stages are kept.",
    "proofs": "A proof is judged again from its training runs in seconds, if the stages are kept.",
    "stages": "A model has to measure the stages again, which is the slow part. Runs made from them keep their "
    "scores, but may not open completely.",
    "maps": "A map is computed again when it is next opened.",
    "models": "A trained state is trained again, and weights are unpacked again, when a measurement needs them.",
    "selections": "Saved selections are made by hand and cannot be restored.",
    "uploads": "An uploaded file is stored only here and cannot be restored. Pools imported from it are kept.",
    "exports": "An export is written again from its run.",
    "jobs": "The record and the log of the job are lost; its measurements are kept.",
    "leftovers": "Leftovers are incomplete files that nothing uses.",
}
ABOUT = {
    "pools": "pool.json",
    "runs": "run.json",
    "proofs": "proof.json",
    "measurements": "spec.json",
    "jobs": "job.json",
}
ANY_STAGE = "*"  # needed by a run that does not name all its stages: those before version 0.2
STAGE_NAMES = {"proof": "training run", "probe": "forward pass", "geometry": "answer geometry", "bins": "semantic bins"}
MAX_ABOUT_BYTES = 4 << 20  # of a JSON file that is read for the listing
_KEY = re.compile(rb'"([0-9a-f]{16})"')


@dataclass(frozen=True)
class Item:
    """One thing that a workspace holds."""

    kind: str  # one of KINDS
    key: str  # name of its folder; where that is not unique, its path in the workspace
    path: Path
    name: str = ""  # for people
    bytes: int = 0
    files: int = 0
    used: float = 0.0  # seconds since 1970: when a file of it was last read or written, as the file system records it
    pool: str = ""  # fingerprint of the pool it belongs to; "" = unknown
    needs: frozenset[str] = field(default_factory=frozenset)  # keys of stages and models that it was made from


@dataclass(frozen=True)
class Inventory:
    """All items of one workspace, largest first within a kind."""

    items: tuple[Item, ...]
    other_bytes: int  # of all else: locks, records of workers, the demo pool ...

    @property
    def bytes(self) -> int:
        """Return the size of the whole workspace."""
        return self.other_bytes + sum(item.bytes for item in self.items)

    def of_kind(self, kind: str) -> list[Item]:
        """Return the items of one kind."""
        return [item for item in self.items if item.kind == kind]

    def dependents(self, items: Sequence[Item]) -> list[Item]:
        """Return the runs and proofs made from these stages and models, or on these pools, that are not of them."""
        picked = set(items)
        made = {item for item in picked if item.kind in ("stages", "models")}
        keys = {item.key for item in made}
        pools = {item.pool for item in picked if item.kind == "pools"}
        pools -= {item.pool for item in self.of_kind("pools") if item not in picked}  # imported twice: one is left
        unnamed = {item.pool for item in made}

        def depends(item: Item) -> bool:
            return bool(item.needs & keys) or item.pool in pools or (ANY_STAGE in item.needs and item.pool in unnamed)

        made_of_others = (*self.of_kind("runs"), *self.of_kind("proofs"))
        return [item for item in made_of_others if item not in picked and depends(item)]

    def find(self, kind: str, keys: Sequence[str]) -> list[Item]:
        """Return items by kind and key, or the beginning of one; "all" is every item of the kind.

        Raise WorkspaceError for a kind or key that does not exist, or is the beginning of several.
        """
        if kind not in KINDS:
            raise WorkspaceError(f"There is no kind '{kind}'. The kinds are {', '.join(KINDS)}.")
        found: dict[str, Item] = {}
        for key in keys:
            matches = [item for item in self.of_kind(kind) if key in ("all", item.key)]
            matches = matches or [item for item in self.of_kind(kind) if key and item.key.startswith(key)]
            if not matches and key != "all":
                raise WorkspaceError(f"There is no '{key}' among the {kind}. `python -m core workspace` lists them.")
            if len(matches) > 1 and key != "all":
                raise WorkspaceError(f"{len(matches)} {kind} begin with '{key}'. Write more of the key.")
            found |= {item.key: item for item in matches}
        return list(found.values())


def take_inventory(workspace: Workspace) -> Inventory:
    """List what a workspace holds."""
    root = workspace.root
    items = [item for kind, path in _places(root) if (item := _read_item(root, kind, path)) is not None]
    items += [_leftover(root, path) for path in find_leftovers(root)]
    items = _name_all(items)
    order = {kind: place for place, kind in enumerate(KINDS)}
    items.sort(key=lambda item: (order[item.kind], -item.bytes, item.key))
    return Inventory(tuple(items), max(0, _size(root, hidden=True)[0] - sum(item.bytes for item in items)))


def _places(root: Path) -> Iterator[tuple[str, Path]]:
    """Yield folder kind and path of everything that may be an item."""
    homes = [root, *_subfolders(root / "visitors")]
    for kind in ("pools", "runs", "proofs", "measurements", "models", "exports", "jobs"):
        yield from ((kind, path) for path in _subfolders(root / kind))
    for home in homes:
        for kind in ("selections", "uploads"):
            yield from ((kind, path) for path in _subfolders(home / kind))


def _subfolders(folder: Path) -> list[Path]:
    """Return the folders in a folder, without hidden ones and links; none if there is no such folder."""
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        return [Path(e.path) for e in entries if e.is_dir(follow_symlinks=False) and not e.name.startswith(".")]
    return []


def _read_item(root: Path, kind: str, path: Path) -> Item | None:
    size, files, used = _size(path)
    if not files:
        return None
    about, keys = _read_about(path / ABOUT[kind]) if kind in ABOUT else ({}, frozenset())
    plain = path.parent == root / kind
    item = Item(kind, path.name if plain else path.relative_to(root).as_posix(), path, "", size, files, used)
    return _DESCRIBE[kind](replace(item, needs=keys - {path.name}), about)


def _size(path: Path, *, hidden: bool = False) -> tuple[int, int, float]:
    """Return bytes, number of files, and the last use of what lies below; temporary files only if `hidden`.

    What the inventory itself reads does not count as use.
    """
    size = files = 0
    used, folders = 0.0, [path]
    while folders:
        with suppress(FileNotFoundError), os.scandir(folders.pop()) as entries:  # deleted meanwhile
            for entry in entries:
                if not hidden and TEMPORARY.fullmatch(entry.name):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    folders.append(Path(entry.path))
                    continue
                about = entry.stat(follow_symlinks=False)
                size, files = size + about.st_size, files + 1
                read = 0.0 if entry.name in ABOUT.values() else about.st_atime
                used = max(used, about.st_mtime, read)
    return size, files, used


def _read_about(file: Path) -> tuple[dict[str, Any], frozenset[str]]:
    """Return a JSON file's object and all keys in it; nothing of a file that is damaged, missing or large."""
    with suppress(OSError, orjson.JSONDecodeError):
        if file.stat().st_size <= MAX_ABOUT_BYTES:
            data = unseal_json(file.read_bytes()) or b"{}"
            about = orjson.loads(data)
            return (about if isinstance(about, dict) else {}), frozenset(key.decode() for key in _KEY.findall(data))
    return {}, frozenset()


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _describe_pool(item: Item, about: dict[str, Any]) -> Item:
    rows = about.get("rows")
    counted = f", {rows:,} rows" if isinstance(rows, int) else ""
    name = f"{_text(about.get('name'))}{counted}" if about else "damaged or unfinished pool"
    return replace(item, name=name, pool=_text(about.get("fingerprint")))


def _describe_run(item: Item, about: dict[str, Any]) -> Item:
    method, model = (value if isinstance(value, dict) else {} for value in (about.get("method"), about.get("model")))
    name = f"{_text(method.get('name')).replace('_', ' ')} by {_text(model.get('name'))}" if about else "damaged run"
    kept = about.get("kept")
    complete = isinstance(kept, dict) and "tokens" in kept
    needs = item.needs if complete else item.needs | {ANY_STAGE}
    return replace(item, name=name, pool=_text(about.get("pool_id")), needs=needs)


def _describe_proof(item: Item, about: dict[str, Any]) -> Item:
    plan = about.get("plan")
    pool, arms = (plan.get("pool"), plan.get("arms")) if isinstance(plan, dict) else (None, None)
    name = (
        f"proof of {len(arms)} arms, {_text(about.get('state'))}" if isinstance(arms, list) else "proof without a run"
    )
    return replace(item, name=name, pool=_text(pool.get("fingerprint")) if isinstance(pool, dict) else "")


def _describe_stage(item: Item, about: dict[str, Any]) -> Item:
    if not about and any(item.path.glob("[0-9]*.json")):
        return replace(item, kind="stages", name="token scores of single rows")
    what = _text(about.get("kind")) or "unknown"
    if what == "map":
        return replace(item, kind="maps", name=f"map of {_text(about.get('of')) or 'rows'}")
    return replace(item, kind="stages", name=STAGE_NAMES.get(what, what), pool=_text(about.get("pool")))


def _describe_job(item: Item, about: dict[str, Any]) -> Item:
    subject = about.get("about")
    return replace(
        item,
        name=_text(about.get("title")) or "damaged job",
        pool=_text(subject.get("pool")) if isinstance(subject, dict) else "",
        needs=frozenset(),
    )


def _describe_selections(item: Item, about: dict[str, Any]) -> Item:
    saved, linked = (len(list((item.path / folder).glob("*.json"))) for folder in ("saved", "links"))
    return replace(item, name=f"settings, {saved} saved, {linked} in links", pool=item.path.name)


def _describe_files(item: Item, about: dict[str, Any]) -> Item:
    names = sorted(path.name for path in item.path.iterdir() if not path.name.startswith("."))
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return replace(item, name=f"{names[0]}{more}" if names else "")


_DESCRIBE: Mapping[str, Callable[[Item, dict[str, Any]], Item]] = {
    "pools": _describe_pool,
    "runs": _describe_run,
    "proofs": _describe_proof,
    "measurements": _describe_stage,
    "models": lambda item, _: replace(item, name="GGUF weights" if item.key.startswith("gguf-") else "trained state"),
    "selections": _describe_selections,
    "uploads": _describe_files,
    "exports": _describe_files,
    "jobs": _describe_job,
}


def _leftover(root: Path, path: Path) -> Item:
    size, files, used = _size(path, hidden=True) if path.is_dir() else (0, 0, 0.0)
    with suppress(FileNotFoundError):
        about = path.lstat()
        used = max(used, about.st_mtime)
        if not path.is_dir():
            size, files = about.st_size, 1
    name = "unfinished " + path.name[1:].rpartition(".")[0]
    return Item("leftovers", path.relative_to(root).as_posix(), path, name, size, files, used)


def _name_all(items: Sequence[Item]) -> list[Item]:
    """Return the items with the pools that they belong to by way of what they were made from, and these in the name."""
    by_key = {item.key: item for item in items if item.kind in ("stages", "models")}
    pools = {item.pool: item.name.partition(",")[0] for item in items if item.kind == "pools"}
    pool_of: dict[str, str] = {}

    def find_pool(item: Item, seen: frozenset[str] = frozenset()) -> str:
        if not item.pool and item.key not in pool_of and item.key not in seen:
            made_from = (by_key[key] for key in sorted(item.needs) if key in by_key)
            pool_of[item.key] = next(filter(None, (find_pool(one, seen | {item.key}) for one in made_from)), "")
        return item.pool or pool_of.get(item.key, "")

    users = {key: find_pool(item) for item in items if item.kind == "runs" for key in item.needs}
    named = []
    for item in items:
        pool = find_pool(item) or (users.get(item.key, "") if item.kind == "models" else "")
        of = pools.get(pool, "") if item.kind in ("runs", "proofs", "stages", "maps", "models", "selections") else ""
        named.append(replace(item, pool=pool, name=f"{item.name}, {of}" if of else item.name))
    return named


def format_size(n: float) -> str:
    """Format a number of bytes in the unit that leaves one to three digits before the point."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(n) < 1000:
            return f"{n:.3g} {unit}"
        n /= 1000
    return f"{n:.3g} TB"
