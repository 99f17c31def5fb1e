"""The places of a page. The stylesheet keeps the bar and the reader in view while the page scrolls."""

from dataclasses import dataclass

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.schema import Pool
from pages.ui.row import keys, reader
from pages.ui.row.anchor import BAR_HEIGHT
from pages.ui.shell import copy_link, state
from pages.ui.shell.open_row import FOLLOWER, HAS_PAGE, HAS_READER
from pages.ui.workbench import highlight

HEADER = "3.75rem"  # height of Streamlit's own header, which stays in view
_STYLE = """<style>
div:has(> .st-key-bar) {{ position: sticky; top: {header}; z-index: 99; }}
.st-key-bar {{ background: {background}; padding: 0.5rem 0; border-bottom: 1px solid rgba(128, 138, 150, 0.3); }}
div:has(> .st-key-dock) {{ position: sticky; top: calc({header} + {bar}); }}
.st-key-dock {{ max-height: calc(100vh - {header} - {bar} - 1rem); overflow-y: auto; flex-wrap: nowrap; }}
.st-key-reader-head {{ position: sticky; top: 0; z-index: 1; background: {background}; padding: 0.5rem 0 0.25rem; }}
@media (min-width: 1024px) {{
  .stHorizontalBlock:has(> .stColumn .st-key-dock) {{ flex-wrap: nowrap; }}
  .stColumn:has(.st-key-dock) {{ min-width: 45vw; }}
}}
@media (min-width: 641px) {{ .stMainBlockContainer {{ padding-left: 2rem; padding-right: 2rem; }} }}
@media (max-width: 640px) {{
  div:has(> .st-key-bar), div:has(> .st-key-dock) {{ position: static; }}
  .st-key-dock {{ max-height: calc(100vh - {header} - 1rem); }}
  div:has(> div > div > div > .st-key-dock), div:has(> div > div > .st-key-dock) {{ order: -1; }}
}}
</style>"""
USUAL_BAR = "8.5rem"  # height of a bar with two lines, until the page tells how high it is
NO_BAR = "0.5rem"


@dataclass(frozen=True)
class Places:
    """Containers of one page; a fragment may draw in all of them."""

    heading: DeltaGenerator  # beside the title
    bar: DeltaGenerator
    body: DeltaGenerator


def open_page(title: str, pool: Pool | None = None, *, bar: bool = False) -> Places:
    """Draw the title, and the reader if a row of the pool is open. `bar`: the page has one."""
    for key in (FOLLOWER, HAS_PAGE, HAS_READER):
        st.session_state[key] = None  # until it is drawn
    background = "#14181D" if st.context.theme.type == "dark" else "#FFFFFF"
    height = f"var({BAR_HEIGHT}, {USUAL_BAR})" if bar else NO_BAR
    st.html(_STYLE.format(header=HEADER, background=background, bar=height))
    heading = st.container(horizontal=True, vertical_alignment="center")
    heading.title(title, anchor=False, width="stretch")
    bar_place = st.container(key="bar" if bar else None)
    if pool is None:
        return Places(heading, bar_place, st.container())
    with heading:
        keys.draw(pool)
        copy_link.button()
        opened = state.find_open()
        if opened is None:
            reader.draw_opener(pool)
    if opened is None:
        return Places(heading, bar_place, st.container())
    if opened.rows is None:
        highlight.list_rows(pool)
    body, side = st.columns(reader.widths(), gap="medium")
    with side, st.container(key="dock"), st.container(border=True, gap="small"):
        reader.draw(pool)
        st.session_state[HAS_READER] = True
    return Places(heading, bar_place, body)
