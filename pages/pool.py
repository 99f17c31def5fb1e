"""Pool page: what is in the dataset."""

import streamlit as st

from pages.ui.pool import contents, opening, storage
from pages.ui.shell import show, state
from pages.ui.words import escape_markdown

pool = state.need_pool()
title, ways = st.columns([3, 2], vertical_alignment="bottom")
title.title(escape_markdown(show.pool_name(pool.name, pool.source)), anchor=False)
with ways.container(horizontal=True, horizontal_alignment="right"):
    opening.popover()
    if st.button("Score it", icon=":material/speed:", type="primary", key="to.score"):
        st.switch_page(show.PAGES["measure"]["page"])

opening.reading()
contents.headline(pool)
contents.pictures(pool)
contents.problems(pool)
contents.mapping(pool)
st.subheader("Rows", anchor=False)
contents.table(pool)
storage.panel()
