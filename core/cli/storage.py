"""Storage: what a workspace holds, as facts, and the deletion of what a command names."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from core.cli.arguments import Facts
from core.errors import RecipeError
from core.workspace.deletion import delete_items, explain_deletion
from core.workspace.folder import Workspace
from core.workspace.inventory import ANY_STAGE, KINDS, Item, format_size, take_inventory

MAX_LISTED = 20  # items of a kind on the terminal


def list_workspace(workspace: Workspace, *, every: bool) -> Facts:
    """Return what a workspace holds: as plain data if `every`, else as tables of the largest items of each kind."""
    inventory = take_inventory(workspace)
    held = {kind: inventory.of_kind(kind) for kind in KINDS}
    if every:
        kinds = {kind: {"items": len(items), "bytes": sum(i.bytes for i in items)} for kind, items in held.items()}
        facts = [_item_facts(item) for item in inventory.items]
        return {"workspace": str(workspace.root), "bytes": inventory.bytes, "kinds": kinds, "items": facts}
    shown: Facts = {"workspace": str(workspace.root), "total": format_size(inventory.bytes)}
    for kind, items in held.items():
        shown[kind] = [_line(item) for item in items[:MAX_LISTED]]
        if rest := items[MAX_LISTED:]:
            more = format_size(sum(item.bytes for item in rest))
            shown[f"more {kind}"] = f"{len(rest):,} smaller ones, {more} in total; --json lists them"
    return shown


def _line(item: Item) -> Facts:
    used = f"{_local_time(item.used):%Y-%m-%d %H:%M}"
    return {"key": item.key, "size": format_size(item.bytes), "last used": used, "what": item.name}


def _item_facts(item: Item) -> Facts:
    used = _local_time(item.used).isoformat(timespec="seconds")
    facts = {"kind": item.kind, "key": item.key, "name": item.name, "bytes": item.bytes, "files": item.files}
    return facts | {"last_used": used, "pool": item.pool or None, "made_from": sorted(item.needs - {ANY_STAGE})}


def _local_time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC).astimezone()


def delete_from_workspace(workspace: Workspace, words: Sequence[str], agree: Callable[[str], bool]) -> Facts:
    """Delete the items that `delete KIND KEY...` names, if `agree` says yes to what that means.

    RecipeError for other words; WorkspaceError for items that do not exist or that a worker uses.
    """
    action, kind, *keys = (*words, "", "")[: max(2, len(words))]
    if action != "delete" or not kind or not keys:
        raise RecipeError("Write `workspace` to list its contents, or `workspace delete KIND KEY...` to delete some.")
    inventory = take_inventory(workspace)
    items = inventory.find(kind, keys)
    meaning = explain_deletion(inventory, items)
    if not items or not agree(" ".join(meaning)):
        return {"deleted": [], "freed": 0}
    freed = delete_items(workspace, inventory, items)
    return {"deleted": [item.key for item in items], "freed": freed, "meaning": meaning}
