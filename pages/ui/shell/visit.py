"""Start of a visit: initial values of the session, and the view that a link names."""

import streamlit as st

from core.errors import WinnowError
from core.methods import METHODS
from core.pool import pools
from core.selection.budget import Budget
from pages.ui.data import cached
from pages.ui.shell.changes import FUTURE, PAST, change
from pages.ui.shell.current import open_pool
from pages.ui.shell.saved import load_saved
from pages.ui.shell.settings import FILE_STAMP, POOL, SETTINGS, Settings, settings
from pages.ui.shell.widgets import NOTICE, WIDGET_PAGES, leave_notice


def init() -> None:
    """Initialize the session; app.py calls this before any page. May raise WinnowError."""
    if POOL in st.session_state:
        return
    initial = {SETTINGS: Settings(), FILE_STAMP: 0, PAST: (), FUTURE: (), NOTICE: None, WIDGET_PAGES: {}}
    for key, value in initial.items():
        st.session_state.setdefault(key, value)
    link = dict(st.query_params)
    open_pool(_pool_of_link(link.get("pool")))
    if link.get("saved") and load_saved(link["saved"]):
        return
    valid = {}
    if link.get("method") in METHODS:
        valid["method"] = link["method"]
    if _is_budget(link.get("budget", "")):
        valid["budget"] = link["budget"]
    if any(getattr(settings(), name) != value for name, value in valid.items()):
        change(**valid)


def _pool_of_link(prefix: str | None) -> str:
    """Return the fingerprint of the pool that a link names, else of the last one opened, else of the demo pool."""
    recent = cached.recent_pools()
    for entry in recent:
        if prefix and entry["fingerprint"].startswith(prefix):
            return str(entry["fingerprint"])
    if prefix:
        leave_notice("The link names a pool that is not in this workspace. Open it by its path or id.")
    if recent:
        return str(recent[0]["fingerprint"])
    return pools.load_pool("demo", workspace=cached.workspace().root).fingerprint


def _is_budget(text: str) -> bool:
    try:
        Budget.parse(text)
    except WinnowError:
        return False
    return True
