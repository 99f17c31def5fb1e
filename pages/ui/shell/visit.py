"""Start of a visit: initial values of the session, and the view that a link names."""

import streamlit as st

from core.errors import WinnowError
from core.methods import METHODS
from core.selection.budget import Budget
from pages.ui.shell import recent, show, visitors
from pages.ui.shell.changes import FUTURE, PAST, is_view, keep_view, leave_view, open_view
from pages.ui.shell.current import view_pool
from pages.ui.shell.saved import load_saved
from pages.ui.shell.settings import FILE_STAMP, POOL, SETTINGS, VIEW, Settings
from pages.ui.shell.visitors import VISITOR
from pages.ui.shell.widgets import NOTICE, WIDGET_PAGES, leave_notice


def init() -> None:
    """Initialize the session; app.py calls this before any page. May raise WinnowError."""
    visitor = visitors.identify()
    if POOL in st.session_state and st.session_state[VISITOR] == visitor:
        return
    if POOL in st.session_state:
        st.session_state.clear()  # it was another visitor's
    initial = {VISITOR: visitor, SETTINGS: Settings(), FILE_STAMP: 0, VIEW: False}
    initial |= {PAST: (), FUTURE: (), NOTICE: None, WIDGET_PAGES: {}}
    for key, value in initial.items():
        st.session_state[key] = value
    link = dict(st.query_params)
    view_pool(_pool_of_link(link.get("pool")))
    if link.get("saved") and load_saved(link["saved"], open_view):
        return
    valid = {}
    if link.get("method") in METHODS:
        valid["method"] = link["method"]
    if _is_budget(link.get("budget", "")):
        valid["budget"] = link["budget"]
    open_view(**valid)


def _pool_of_link(prefix: str | None) -> str:
    """Return the fingerprint of the pool that a link names, else of the last one opened, else of the demo pool."""
    for entry in recent.recent_pools() if prefix else ():
        if entry["fingerprint"].startswith(prefix):
            return str(entry["fingerprint"])
    if prefix:
        leave_notice("The link names a pool that is not in this workspace. Open it by its path or id.")
    return recent.last_pool()


def view_strip() -> None:
    """Draw what came with a link and is not stored, with buttons to keep it or to leave it; nothing otherwise."""
    if not is_view():
        return
    with st.container(border=True, key="view"), st.container(horizontal=True, vertical_alignment="center"):
        st.badge("From a link", icon=":material/link:", color="blue")
        st.markdown("These settings came with a link. Changes to them last as long as this tab.", width="stretch")
        show.action("Keep these settings", "check", "view.keep", keep_view)
        show.action("Back to my settings", "undo", "view.leave", leave_view, type="tertiary")


def _is_budget(text: str) -> bool:
    try:
        Budget.parse(text)
    except WinnowError:
        return False
    return True
