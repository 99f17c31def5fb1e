"""The road from a pool to an export: how far the visitor is, from what is stored and set."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import streamlit as st

from core.errors import WinnowError
from core.measurement.runs import list_runs
from core.methods import METHODS, standalone_methods
from core.methods.params import measure_params
from core.schema import Pool
from core.workspace.files import read_json
from pages.ui.data import cached, live_selection, proofs
from pages.ui.shell import running, show, state
from pages.ui.words import format_rows

MANIFESTS = "exports/*/*.manifest.json"  # in the workspace; the folder of an export is named after its recipe and run
MAX_EXPORTS = 1000  # manifests whose recipes are remembered
NOT_COMPARED = ("export", "format", "pool", "reading")  # of recipes: how rows are written, and what an export completes


@dataclass(frozen=True)
class Step:
    """One step of the road."""

    page: str  # of show.PAGES
    status: str  # in words
    done: bool


def find_steps(pool: Pool) -> list[Step]:
    """Return the steps with their status for the open pool and its current settings."""
    methods, selected = len(measured_methods(pool)), _count_selected(pool)
    measured = {0: "not measured", 1: "1 method"}.get(methods, f"{methods} methods")
    if running.measuring(pool):
        measured = "running"
    exported = bool(selected) and _is_exported(pool)
    return [
        Step("pool", format_rows(len(pool)), done=True),
        Step("measure", measured, done=methods > 0),
        Step("select", "needs scores" if selected is None else format_rows(selected), done=False),
        _proof_step(pool),
        Step("export", "exported" if exported else "not exported", done=exported),
    ]


def draw(pool: Pool) -> None:
    """Draw the steps in a row, as links with their status."""
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall", key="road"):
        for place, step in enumerate(find_steps(pool)):
            about = show.PAGES[step.page]
            check = ":green[:material/check:] " if step.done else ""
            label = f"{':material/arrow_forward: ' if place else ''}**{about['title']}** {check}{step.status}"
            st.page_link(about["page"], label=label, width="content")


def measured_methods(pool: Pool) -> set[str]:
    """Return the names of the methods that a model has measured this pool for."""
    names = {run.method["name"] for run in list_runs(cached.workspace(), pool.fingerprint)}
    return {name for name in standalone_methods() if name in names and measure_params(METHODS[name]())}


def _count_selected(pool: Pool) -> int | None:
    """Return how many rows the current settings select; None if their method is not measured or cannot select."""
    try:
        run = state.run(pool)
        return None if run is None else len(live_selection.select(pool, run, state.recipe(pool)).rows)
    except WinnowError:  # the Select page shows it
        return None


def _proof_step(pool: Pool) -> Step:
    """Return the verdict on the current selection, or how far its proof is."""
    found = None
    with suppress(WinnowError):  # the Select page shows it
        found = proofs.find_proof(pool, state.recipe(pool))
    if found:
        return Step("proof", found[1].verdict, done=True)
    about = [job.about for job in cached.live_jobs()]
    proving = any((each.get("kind"), each.get("pool")) == ("prove", pool.fingerprint) for each in about)
    return Step("proof", "running" if proving else "not run", done=False)


def _is_exported(pool: Pool) -> bool:
    """Return whether the current selection has been exported, in whatever form."""
    wanted = _decisive(state.recipe(pool).as_data(), pool.fingerprint)
    return any(_exported_selection(str(file)) == wanted for file in cached.workspace().root.glob(MANIFESTS))


@cached.keep(MAX_EXPORTS)
def _exported_selection(manifest: str) -> bytes:
    """Return what decided the rows of an export; nothing if its manifest is damaged."""
    try:
        data = read_json(Path(manifest))
        return _decisive(data["recipe"], data["pool"]["fingerprint"])
    except (WinnowError, KeyError, TypeError):
        return b""


def _decisive(recipe: dict[str, Any], fingerprint: str) -> bytes:
    """Return what of a recipe decides which rows are selected, as JSON."""
    reading = {name: value for name, value in recipe["reading"].items() if name != "revision"}
    parts = {name: value for name, value in recipe.items() if name not in NOT_COMPARED}
    return orjson.dumps({**parts, "reading": reading, "fingerprint": fingerprint}, option=orjson.OPT_SORT_KEYS)
