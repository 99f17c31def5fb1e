"""The report of the selection: one HTML file for people, written on request and then offered for download."""

from dataclasses import replace

import streamlit as st

from core.cli.arguments import select_arguments
from core.measurement.runs import Run
from core.methods import standalone_methods
from core.output.manifest import Manifest
from core.output.report.write import write_report
from core.schema import Pool
from core.selection.recipe import Recipe
from core.selection.selection import Selection
from core.workspace.folder import content_key
from core.workspace.inventory import format_size
from pages.ui.data import cached, live_selection
from pages.ui.shell import show, state

WRITTEN = "report.written"  # key of the report that was written last in this tab
HELP = (
    "One HTML file for people: scores, overlap with other methods, make-up, map, examples, proof and origin. It opens "
    "without a server or network."
)


def draw(pool: Pool, run: Run, manifest: Manifest | None = None) -> None:
    """Draw the button that writes the report of the current selection, then the file to download.

    `manifest`: of its export, if there is one. Every press writes the file again, as methods, maps and proofs come in.
    """
    recipe = state.recipe(pool)
    key = content_key({"report": recipe.as_data(), "run": run.id})
    path = cached.workspace().folder("exports", key) / "report.html"
    with st.container(horizontal=True, width="content"):
        pressed = st.button("Save report", icon=":material/summarize:", key="report.save", help=HELP)
        place = st.container(width="content")
    if pressed:
        with place, show.errors(), st.spinner("Writing the report"):
            arguments = select_arguments(recipe)
            compared = [state.recipe(pool, now) for now in _other_methods()]
            write_report(
                recipe,
                pool,
                run,
                path,
                select=_select,
                compared=compared,
                manifest=manifest,
                commands=[arguments] if arguments else [],
                overwrite=True,
            )
            state.set_widget(WRITTEN, key)
    if state.session_value(WRITTEN) == key and path.exists():
        with place:
            show.download(f"Download report.html ({format_size(path.stat().st_size)})", path)


def _select(recipe: Recipe, pool: Pool, run: Run) -> Selection:
    return live_selection.select(pool, run, recipe)


def _other_methods() -> list[state.Settings]:
    """Return the settings of every other method that needs no setup, with its current parameters."""
    now = state.settings()
    return [replace(now, method=name, threshold=None) for name in standalone_methods() if name != now.method]
