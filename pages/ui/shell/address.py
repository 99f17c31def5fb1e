"""Address bar: pool, method, budget, the hash of all other settings, an unchanged saved selection, the open row.

A link or a reload opens the same view. What a page shows is added by its widgets (view_choices).
"""

import streamlit as st

from pages.ui.shell.links import address_of, store_settings_of_link
from pages.ui.shell.open_row import write_row
from pages.ui.shell.saved_files import saved_name
from pages.ui.shell.settings import POOL, VIEW, settings


def restore_address() -> None:
    """Write the open view into the address bar again: Streamlit clears it when the page changes."""
    if st.session_state.get(POOL):
        write_address()


def store_link() -> None:
    """Store what the address names by hash, for whoever opens it; also that of a view."""
    store_settings_of_link(st.session_state[POOL], settings())


def write_address() -> None:
    """Write the address of the current settings into the address bar, where it differs."""
    fingerprint, now = st.session_state[POOL], settings()
    if not st.session_state[VIEW]:
        store_link()
    wanted = address_of(fingerprint, now)
    name_of_saved = saved_name()
    if name_of_saved is not None:
        wanted["saved"] = name_of_saved
    elif "saved" in st.query_params:
        del st.query_params["saved"]
    for name, value in wanted.items():
        if st.query_params.get(name) != value:
            st.query_params[name] = value
    write_row()
