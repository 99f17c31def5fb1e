"""Address bar: pool, method, budget, and the name of a saved selection while it is unchanged.

A link or a reload opens the same view.
"""

import streamlit as st

from pages.ui.shell.saved_files import saved_name
from pages.ui.shell.settings import POOL, settings

ADDRESS_DIGITS = 12  # digits of the fingerprint in the address bar


def restore_address() -> None:
    """Write the open view into the address bar again: Streamlit clears it when the page changes."""
    if st.session_state.get(POOL):
        write_address()


def write_address() -> None:
    """Write pool, method, budget and the saved selection into the address bar, where they differ."""
    now = settings()
    wanted = {"pool": st.session_state[POOL][:ADDRESS_DIGITS], "method": now.method, "budget": now.budget}
    name_of_saved = saved_name()
    if name_of_saved is not None:
        wanted["saved"] = name_of_saved
    elif "saved" in st.query_params:
        del st.query_params["saved"]
    for name, value in wanted.items():
        if st.query_params.get(name) != value:
            st.query_params[name] = value
