"""Deletion of items of a workspace: never what a worker uses, and whole or not at all.

A worker is known by its live job, or by the locks that it holds: those of the command line have no job. Which pool a
lock belongs to is known once its stage is stored; until then everything that is measured counts as used.
"""

import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from filelock import Timeout

from core.errors import WorkspaceError
from core.workspace.files import disk_errors
from core.workspace.folder import Workspace
from core.workspace.inventory import KINDS, Inventory, Item, format_size
from core.workspace.jobs import Job, delete_job, get_job, list_jobs

BY_HAND = ("jobs", "selections", "exports")  # kinds that no worker reads
LOCKS = {"runs": "run", "stages": "measurement", "models": "model"}  # kind -> how the names of its locks begin
RECENT_S = 600.0  # a leftover that was written to since may be a file that is being written


def find_used(workspace: Workspace, inventory: Inventory, items: Sequence[Item]) -> dict[str, str]:
    """Return why items cannot be deleted now, by their keys; {} if all of them can."""
    live = [job for job in list_jobs(workspace) if job.live]
    pools = {str(job.about.get("pool") or "") for job in live}
    locked = _pools_of_locks(workspace, inventory)
    unknown = len([pool for pool in locked if not pool])
    pools |= set(filter(None, locked))
    everything = "" in pools or unknown > len(live)
    reasons = {}
    for item in items:
        if item.kind == "jobs":
            if any(job.id == item.key for job in live):
                reasons[item.key] = "it is running; cancel it first"
        elif item.kind == "leftovers":
            if time.time() - item.used < RECENT_S:
                reasons[item.key] = "it was written to in the last ten minutes"
        elif item.kind not in BY_HAND and (everything or item.pool in pools or (pools and not item.pool)):
            reasons[item.key] = "a job is using it; wait for the job or cancel it"
    return reasons


def _pools_of_locks(workspace: Workspace, inventory: Inventory) -> list[str]:
    """Return the pool of each lock that another process holds on an item; "" if it is unknown."""
    pools = {item.key: item.pool for item in inventory.items}
    held = []
    for file in sorted((workspace.root / "locks").glob("*.lock")):
        kind, _, rest = file.stem.partition("-")
        if kind in (*LOCKS.values(), "map") and not _is_free(workspace, file.stem):
            held.append(pools.get(rest.partition("-")[0], ""))
    return held


def _is_free(workspace: Workspace, lock: str) -> bool:
    own = workspace.lock(lock)
    try:
        own.acquire(timeout=0)
    except Timeout:
        return False
    own.release()
    return True


def explain_deletion(inventory: Inventory, items: Sequence[Item]) -> list[str]:
    """Return in sentences what deleting these items frees, and what would have to be made again."""
    counts = Counter(item.kind for item in items)
    listed = ", ".join(f"{count:,} {kind if count > 1 else kind.removesuffix('s')}" for kind, count in counts.items())
    sentences = [f"This deletes {listed} and frees {format_size(sum(item.bytes for item in items))}."]
    sentences += [KINDS[kind] for kind in counts]
    dependents = inventory.dependents(items)
    for kind in dict.fromkeys(item.kind for item in dependents):
        mine = [item for item in dependents if item.kind == kind]
        names = "; ".join(f"{item.key} ({item.name})" for item in mine[:3]) + ("; ..." if len(mine) > 3 else "")
        depend = f"{kind.removesuffix('s')} depends" if len(mine) == 1 else f"{kind} depend"
        sentences.append(f"{len(mine):,} stored {depend} on this: {names}.")
    return sentences


def delete_items(workspace: Workspace, inventory: Inventory, items: Sequence[Item]) -> int:
    """Delete items and return the bytes freed. Each is gone at once, or whole if its deletion fails.

    WorkspaceError, before anything is deleted, if a worker uses one of them.
    """
    used = find_used(workspace, inventory, items)
    if used:
        key, reason = next(iter(used.items()))
        more = f" The same applies to {len(used) - 1:,} more." if len(used) > 1 else ""
        raise WorkspaceError(f"{key} cannot be deleted now: {reason}.{more} Nothing was deleted.")
    with ExitStack() as locks:
        for item in items:
            if item.kind in LOCKS:
                locks.enter_context(workspace.hold(f"{LOCKS[item.kind]}-{item.path.name}", _refuse))
        for item in items:
            _delete(workspace, item)
    return sum(item.bytes for item in items)


def _refuse() -> None:
    raise WorkspaceError("A job has just begun to use these items. Nothing was deleted.")


def _delete(workspace: Workspace, item: Item) -> None:
    if item.kind == "jobs" and (job := _find_job(workspace, item)):
        delete_job(job)
        return
    with disk_errors(item.path):
        if not item.path.is_dir() or item.path.is_symlink():
            item.path.unlink(missing_ok=True)
            return
        # under the name of a leftover first: what is half deleted is never read, and is swept some day
        grave = Path(tempfile.mkdtemp(dir=item.path.parent, prefix=f".{item.path.name.lstrip('.')}."))
        item.path.rename(grave / item.path.name)
        shutil.rmtree(grave)


def _find_job(workspace: Workspace, item: Item) -> Job | None:
    return get_job(workspace, item.key) if (item.path / "job.json").exists() else None
