"""Export page: write the selection as files for a trainer."""

import streamlit as st

from core.measurement.runs import Run
from core.output.curate import resolve_recipe
from core.schema import Pool
from core.selection.selection import describe_shortfall
from pages.ui import glossary
from pages.ui.data.live_selection import LiveSelection
from pages.ui.export import download, report, score_file
from pages.ui.proof import line
from pages.ui.shell import hints, show, state
from pages.ui.shell.open_row import PAGE
from pages.ui.words import format_rows
from pages.ui.workbench import bar, layout
from pages.ui.workbench.layout import Places


@st.fragment(key=PAGE)
def export(pool: Pool, places: Places) -> None:
    """Draw what is exported, the choices of its form, and the files once they are written."""
    shown = bar.draw(pool, places.bar)
    if shown is None:
        return
    run, live = shown
    if not len(live.selection.rows):
        show.empty_page("No rows are selected", "Raise the budget or loosen the filters first.", page="select")
    _verdict(pool, live)
    _files(pool, run, live)


def _verdict(pool: Pool, live: LiveSelection) -> None:
    st.subheader(f"Export {len(live.selection.rows):,} of {format_rows(len(pool))}", anchor=False)
    manifest, recipe = glossary.link("manifest", "manifest"), glossary.link("recipe", "recipe")
    st.markdown(f":small[The rows are written with a {manifest}, a {recipe} and a dataset card.]")
    line.draw(pool, state.recipe(pool))
    hints.draw("export")
    show.note(describe_shortfall(live.selection, state.budget(), len(pool)))


def _files(pool: Pool, run: Run, live: LiveSelection) -> None:
    """Draw the choices, a preview, the button that writes the files, and the files."""
    rows = live.selection.rows
    options, preview_column = show.columns(2, gap="large")
    with options:
        file = download.choose_file()
        part = download.choose_export(pool)
        requested = download.add_export(state.recipe(pool), part)
        recipe = resolve_recipe(requested, pool, run)
        path = download.export_path(recipe, run, file)
        finished = download.find_export(path)
        label = show.on_primary(f"Write {format_rows(len(rows))}")
        with st.container(horizontal=True):
            pressed = finished is None and st.button(label, type="primary", icon=":material/save:", key="export.write")
            report.draw(pool, run, None if finished is None else finished.manifest)
            score_file.draw(pool)
    with preview_column:
        st.caption("Preview: the first row of the file")
        download.preview(pool, run, rows, requested)
    if pressed:
        with show.errors(), st.spinner(f"Writing {format_rows(len(rows))}"):
            finished = download.write_export(recipe, pool, run, path)
        if finished is not None:
            st.rerun()  # without the button
    if finished is not None:
        download.files_panel(finished, live)
        download.trainer_panel(finished, requested)
        download.command_panel(path, requested)


opened = state.need_pool()
page = layout.open_page("Export", opened, bar=True)
with page.body:
    export(opened, page)
