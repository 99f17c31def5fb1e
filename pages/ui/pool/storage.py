"""What the workspace stores, and its deletion: by tick, after a sentence on what it means.

On a shared server the listing would name what others have opened, so both are offered only where the server is one
person's own, or where WINNOW_ALLOW_DELETE is 1.
"""

import os
from collections.abc import Sequence
from datetime import UTC, datetime

import streamlit as st

from core.workspace.deletion import delete_items, explain_deletion, find_used
from core.workspace.inventory import KINDS, Inventory, Item, format_size, take_inventory
from pages.ui import glossary
from pages.ui.data import cached
from pages.ui.shell import show, state, visitors
from pages.ui.words import escape_markdown

MAX_LISTED = 1000  # items of a kind, the largest first
HEIGHT = 320  # pixels of the table


def may_delete() -> bool:
    """Return whether this server offers deletion: on one's own computer, or where the setting allows it."""
    return not visitors.are_apart() or os.environ.get("WINNOW_ALLOW_DELETE") == "1"


def panel() -> None:
    """Draw the section; the workspace is read only while it is open."""
    section = st.expander("Workspace storage", icon=":material/storage:", key="storage", on_change="rerun")
    if not section.open:
        return
    with section:
        inventory = take_inventory(cached.workspace())
        used, workspace = format_size(inventory.bytes), glossary.link("workspace", "workspace")
        st.markdown(f":small[The {workspace} uses {used}. Measurements stay until you delete them here.]")
        if not may_delete():
            st.caption(
                "This server is shared, so stored items are not listed here. Its administrator can list and delete "
                "them with `python -m core workspace`, or allow it here with `WINNOW_ALLOW_DELETE=1`."
            )
            return
        _listing(inventory)


def _listing(inventory: Inventory) -> None:
    """Draw the items of one kind, and what deleting the ticked ones means."""
    sizes = {kind: format_size(sum(i.bytes for i in held)) for kind in KINDS if (held := inventory.of_kind(kind))}
    if not sizes:
        st.caption("Nothing is stored yet.")
        return
    labels = {kind: f"{kind.capitalize()} · {size}" for kind, size in sizes.items()}
    kind = show.choose("Kind", labels, "storage.kind", label_visibility="collapsed")
    items = inventory.of_kind(kind)[:MAX_LISTED]
    picked = _pick(items, kind)
    if len(items) == MAX_LISTED:
        st.caption(f"The table shows the {MAX_LISTED:,} largest items; the command line lists all of them.")
    if picked:
        _confirm(inventory, picked)
    else:
        st.caption("Tick the items to delete.")


def _pick(items: Sequence[Item], kind: str) -> list[Item]:
    """Draw items as a table; return the ticked ones."""
    table = [
        {"what": i.name, "size": i.bytes, "last used": datetime.fromtimestamp(i.used, UTC), "key": i.key} for i in items
    ]
    event = st.dataframe(
        table,
        hide_index=True,
        height=min(HEIGHT, 40 + 35 * len(table)),
        on_select="rerun",
        selection_mode="multi-row",
        key=f"storage.{kind}.{len(items)}",  # after a deletion nothing is ticked
        alt=f"{kind.capitalize()} in the workspace",
        column_config={
            "what": st.column_config.TextColumn("Item", width="large"),
            "size": st.column_config.NumberColumn("Size", format="bytes", width="small"),
            "last used": st.column_config.DatetimeColumn("Last used", format="localized", width="medium"),
            "key": st.column_config.TextColumn("Key", width="medium"),
        },
    )
    return [items[place] for place in event["selection"]["rows"] if place < len(items)]


def _confirm(inventory: Inventory, picked: Sequence[Item]) -> None:
    """Draw what the deletion means, and the button that does it."""
    for sentence in explain_deletion(inventory, picked):
        st.text(sentence)
    reason = _reason_to_wait(inventory, picked)
    if reason:
        st.caption(f":material/lock: {escape_markdown(reason)}")
    with st.popover("Delete", icon=":material/delete:", disabled=bool(reason)):
        st.text(f"This frees {format_size(sum(item.bytes for item in picked))} and cannot be undone.")
        label = f"Delete {len(picked):,} {'item' if len(picked) == 1 else 'items'}"
        show.action(label, "delete", "storage.delete", _delete, inventory, picked, type="primary")


def _reason_to_wait(inventory: Inventory, picked: Sequence[Item]) -> str:
    """Return why the ticked items cannot be deleted now; "" if they can."""
    if any(item.kind == "pools" and state.is_open(item.pool) for item in picked):
        return "The open pool cannot be deleted. Open another pool first."
    used = find_used(cached.workspace(), inventory, picked)
    key, reason = next(iter(used.items()), ("", ""))
    return f"{key}: {reason}." if used else ""


def _delete(inventory: Inventory, picked: Sequence[Item]) -> None:
    with state.failures_as_notices():
        delete_items(cached.workspace(), inventory, picked)
