"""Export: give it to my trainer."""

import streamlit as st

from core.errors import WinnowError
from pages.ui import show, state, whatif
from pages.ui.select import exporting

pool = state.need_pool()
title = st.empty()
title.title("Export", anchor=False)
run = state.need_run()
try:
    answer = whatif.answer(pool, run, state.recipe(pool))
except WinnowError as error:
    show.error(error)
    st.stop()
rows = answer.selection.rows
if not len(rows):
    show.nothing("No row is chosen", "Raise the budget or loosen the filters first.", page="select")
title.title(f"{len(rows):,} rows for your trainer", anchor=False)
st.caption(
    f"Of {len(pool):,}, as one file, with a manifest that gives exactly these rows again, "
    "the recipe that chose them and a dataset card."
)

how, first = st.columns(2, gap="large")
with how:
    part = exporting.choose_part(pool)
    asked = state.recipe(pool).model_copy(update={"export": part})
    recipe = exporting.recipe_of(pool, run, asked)
    folder = exporting.folder_of(recipe, run)
    done = exporting.finished(folder)
    pressed = done is None and st.button(
        f"Write {len(rows):,} rows", type="primary", icon=":material/save:", key="export.write"
    )
with first:
    st.caption("The first row of the file")
    exporting.preview(pool, run, rows, asked)

if pressed:
    try:
        with st.spinner(f"Writing {len(rows):,} rows"):
            exporting.write(recipe, pool, run, folder)
        done = exporting.finished(folder)
    except WinnowError as error:
        show.error(error)
if done is not None:
    exporting.files(done, answer)
    exporting.trainer(done)
    exporting.headless(folder, asked)
