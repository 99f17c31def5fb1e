"""Export page: write the selection as files for a trainer."""

import streamlit as st

from core.errors import WinnowError
from core.output.curate import resolve_recipe
from core.selection.selection import describe_shortfall
from pages.ui import glossary
from pages.ui.data import live_selection
from pages.ui.export import download
from pages.ui.proof import line
from pages.ui.shell import hints, show, state
from pages.ui.words import format_rows

pool = state.need_pool()
st.title("Export", anchor=False)
verdict = st.container()
run = state.need_run()
try:
    live = live_selection.evaluate(pool, run, state.recipe(pool))
except WinnowError as error:
    show.error(error)
    st.stop()
rows = live.selection.rows
if not len(rows):
    show.empty_page("No rows are selected", "Raise the budget or loosen the filters first.", page="select")
with verdict:
    st.subheader(f"Export {len(rows):,} of {format_rows(len(pool))}", anchor=False)
    manifest, recipe = glossary.link("manifest", "manifest"), glossary.link("recipe", "recipe")
    st.markdown(f":small[The rows are written with a {manifest}, a {recipe} and a dataset card.]")
    line.draw(pool, state.recipe(pool))
    hints.draw("export")
    show.note(describe_shortfall(live.selection, state.budget(), len(pool)))

options, preview_column = st.columns(2, gap="large")
with options:
    file = download.choose_file()
    part = download.choose_export(pool)
    requested = download.add_export(state.recipe(pool), part)
    recipe = resolve_recipe(requested, pool, run)
    path = download.export_path(recipe, run, file)
    finished_export = download.find_export(path)
    pressed = finished_export is None and st.button(
        show.on_primary(f"Write {format_rows(len(rows))}"), type="primary", icon=":material/save:", key="export.write"
    )
with preview_column:
    st.caption("Preview: the first row of the file")
    download.preview(pool, run, rows, requested)

if pressed:
    with show.errors(), st.spinner(f"Writing {format_rows(len(rows))}"):
        finished_export = download.write_export(recipe, pool, run, path)
    if finished_export is not None:
        st.rerun()  # without the button
if finished_export is not None:
    download.files_panel(finished_export, live)
    download.trainer_entry(finished_export)
    download.command_panel(path, requested)
