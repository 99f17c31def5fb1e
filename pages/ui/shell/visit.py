"""Start of a visit: the session's first values, and the view that a link names."""

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
    """Give every key a value; app.py calls this before any page. May raise WinnowError."""
    if POOL in st.session_state:
        return
    for key, value in (
        (SETTINGS, Settings()),
        (FILE_STAMP, 0),
        (PAST, ()),
        (FUTURE, ()),
        (NOTICE, None),
        (WIDGET_PAGES, {}),
    ):
        st.session_state.setdefault(key, value)
    asked = dict(st.query_params)
    open_pool(_asked_pool(asked.get("pool")))
    if asked.get("saved") and load_saved(asked["saved"]):
        return
    known = {"method": asked.get("method"), "budget": asked.get("budget")}
    if known["method"] not in METHODS:
        known["method"] = None
    if known["budget"] is not None and not _is_budget(known["budget"]):
        known["budget"] = None
    wanted = {name: value for name, value in known.items() if value is not None}
    if any(getattr(settings(), name) != value for name, value in wanted.items()):
        change(**wanted)


def _asked_pool(prefix: str | None) -> str:
    """The pool a link names; without one the last opened; on a new machine the demo pool."""
    recent = cached.recent_pools()
    for one in recent:
        if prefix and one["fingerprint"].startswith(prefix):
            return str(one["fingerprint"])
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
