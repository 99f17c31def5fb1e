"""Export page: write the selection as files for a trainer."""

import streamlit as st

from core.errors import WinnowError
from pages.ui.data import live_selection
from pages.ui.export import download
from pages.ui.shell import show, state

pool = state.need_pool()
title = st.empty()
title.title("Export", anchor=False)
run = state.need_run()
try:
    answer = live_selection.evaluate(pool, run, state.recipe(pool))
except WinnowError as error:
    show.error(error)
    st.stop()
rows = answer.selection.rows
if not len(rows):
    show.empty_page("No row is chosen", "Raise the budget or loosen the filters first.", page="select")
title.title(f"{len(rows):,} rows for your trainer", anchor=False)
st.caption(
    f"Of {len(pool):,}, as one file, with a manifest that gives exactly these rows again, "
    "the recipe that chose them and a dataset card."
)

how, first = st.columns(2, gap="large")
with how:
    part = download.choose_export(pool)
    asked = state.recipe(pool).model_copy(update={"export": part})
    recipe = download.export_recipe(pool, run, asked)
    folder = download.export_folder(recipe, run)
    done = download.find_export(folder)
    pressed = done is None and st.button(
        f"Write {len(rows):,} rows", type="primary", icon=":material/save:", key="export.write"
    )
with first:
    st.caption("The first row of the file")
    download.preview(pool, run, rows, asked)

if pressed:
    try:
        with st.spinner(f"Writing {len(rows):,} rows"):
            download.write_export(recipe, pool, run, folder)
        done = download.find_export(folder)
    except WinnowError as error:
        show.error(error)
if done is not None:
    download.files_panel(done, answer)
    download.trainer_entry(done)
    download.command_panel(folder, asked)
