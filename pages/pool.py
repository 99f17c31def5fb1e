"""Pool page: what Winnow does, how far the visitor is, and what is in the open pool."""

import streamlit as st

from pages.ui.pool import contents, home, storage
from pages.ui.shell import state
from pages.ui.workbench import layout

places = layout.open_page("Pool", state.find_open_pool())
with places.body:
    home.draw(state.find_open_pool())
    pool = state.need_pool()
    contents.headline(pool)
    contents.pictures(pool)
    contents.problems(pool)
    contents.mapping(pool)
    st.subheader("Rows", anchor=False)
    contents.table(pool)
    storage.panel()
