"""Start of a visit: initial values of the session, and the view that a link names."""

from collections.abc import Mapping

import streamlit as st

from core.errors import PoolError, RecipeError, WinnowError
from pages.ui.data import cached
from pages.ui.shell import links, recent, show, view_choices, visitors
from pages.ui.shell.changes import FUTURE, PAST, is_view, keep_view, leave_view, open_view
from pages.ui.shell.current import view_pool
from pages.ui.shell.open_row import view_row
from pages.ui.shell.saved import load_saved
from pages.ui.shell.saved_files import load_all
from pages.ui.shell.settings import FILE_STAMP, POOL, SETTINGS, VIEW, Settings, settings
from pages.ui.shell.view_choices import CHOSEN, LINKED
from pages.ui.shell.visitors import VISITOR
from pages.ui.shell.widgets import NOTICE, WIDGET_PAGES, leave_notice
from pages.ui.words import shorten


def init() -> None:
    """Initialize the session; app.py calls this before any page. May raise WinnowError."""
    visitor = visitors.identify()
    if POOL in st.session_state and st.session_state[VISITOR] == visitor:
        return
    if POOL in st.session_state:
        st.session_state.clear()  # it was another visitor's
    initial = {VISITOR: visitor, SETTINGS: Settings(), FILE_STAMP: 0, VIEW: False}
    initial |= {PAST: (), FUTURE: (), NOTICE: None, WIDGET_PAGES: {}, CHOSEN: {}, LINKED: {}}
    for key, value in initial.items():
        st.session_state[key] = value
    _open_link(dict(st.query_params))


def _open_link(link: Mapping[str, str]) -> None:
    """Open what a link names, as a view. If something in it is unknown, open one's own and leave a notice instead.

    A pool that cannot be read gives way to the demo pool, with a notice.
    """
    prefix = link.get("pool")
    fingerprint = _find_pool(prefix) if prefix else recent.last_pool()
    try:
        view_pool(fingerprint or recent.last_pool())
    except WinnowError as error:  # a damaged pool; the demo pool lets the visitor open another
        view_pool(cached.open_demo().fingerprint)
        leave_notice(f"{error} The demo pool is shown instead.")
        return
    try:
        if unknown := sorted(link.keys() - {*links.NAMES, *view_choices.NAMES}):
            raise RecipeError(f"The link has an unknown part, '{shorten(unknown[0], 40)}'.")
        if fingerprint is None:
            raise PoolError("The link names a pool that is not in this workspace. Open it by its path or id.")
        if "saved" in link and "settings" not in link:
            load_saved(link["saved"], open_view)
        else:
            open_view(**vars(links.read_link(fingerprint, link, settings())))
        view_choices.open_choices(link)
        _report_contenders()
        if "row" in link:
            view_row(recent.load(fingerprint), link["row"])
    except WinnowError as error:
        leave_notice(f"{error} Your own settings are shown.")


def _report_contenders() -> None:
    """Leave a notice if the settings compare a saved selection of another visitor, which stays theirs."""
    named = [contender.saved for contender in settings().contenders if contender.saved]
    lacking = [name for name in named if name not in load_all(st.session_state[POOL])]
    if lacking:
        leave_notice(f"The link compares a saved selection that you do not have, '{lacking[0]}'. It is left out.")


def _find_pool(prefix: str) -> str | None:
    """Return the fingerprint of a pool that the visitor may open, by its beginning; None if there is none."""
    fingerprints = (str(entry["fingerprint"]) for entry in recent.recent_pools())
    return next((one for one in fingerprints if one.startswith(prefix)), None)


def view_strip() -> None:
    """Draw what came with a link and is not stored, with buttons to keep it or to leave it; nothing otherwise."""
    if not is_view():
        return
    with st.container(border=True, key="view"), st.container(horizontal=True, vertical_alignment="center"):
        st.badge("From a link", icon=":material/link:", color="blue")
        st.markdown("These settings came with a link. Changes last until you close this tab.", width="stretch")
        show.action("Keep these settings", "check", "view.keep", keep_view)
        show.action("Back to my settings", "undo", "view.leave", leave_view, type="tertiary")
