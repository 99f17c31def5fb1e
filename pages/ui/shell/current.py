"""The open pool, and what its settings define: run, method, budget, recipe."""

from dataclasses import asdict, replace

import streamlit as st

from core.errors import WinnowError
from core.measurement.lookup import find_run
from core.measurement.runs import Run
from core.methods import METHODS, build_method, describe_method
from core.methods.suggestions import with_suggestions
from core.pool.pools import source_options
from core.schema import Method, Pool
from core.selection.budget import Budget
from core.selection.recipe import Recipe, parse_recipe
from pages.ui.data import cached
from pages.ui.shell import recent, running, show
from pages.ui.shell.changes import change, leave_view
from pages.ui.shell.open_row import forget_row
from pages.ui.shell.settings import POOL, Settings, refresh_settings, settings, used_tags
from pages.ui.shell.used_rows import load_used
from pages.ui.shell.widgets import is_page

# The open pool


def open_pool(fingerprint: str) -> None:
    """Open an imported pool, now and at the next visit, with the settings it was left with. Raises WinnowError."""
    view_pool(fingerprint)
    recent.remember(fingerprint)


def view_pool(fingerprint: str) -> None:
    """Open an imported pool in this tab only, with the settings it was left with. Raises WinnowError."""
    recent.load(fingerprint)
    st.session_state[POOL] = fingerprint
    forget_row()
    leave_view()


def find_open_pool() -> Pool | None:
    """Return the open pool for the sidebar and Home; None if there is none or it cannot be read."""
    fingerprint = st.session_state.get(POOL)
    try:
        return recent.load(fingerprint) if fingerprint else None
    except WinnowError:
        return None  # the page itself shows why


def is_open(fingerprint: str) -> bool:
    """Return whether this pool is open."""
    return bool(st.session_state.get(POOL) == fingerprint)


def need_pool() -> Pool:
    """Return the open pool. Without one the page stops, with a button to the Pool page."""
    if POOL not in st.session_state:  # app.py has not run: a link opened this page directly
        st.switch_page("app.py")
    fingerprint = st.session_state[POOL]
    if fingerprint is None:
        show.empty_page("No pool is open", "Open a file, a hub id or the demo pool first.", page="pool")
    try:
        pool = recent.load(fingerprint)
    except WinnowError as error:
        show.error(error)
        if is_page("pool"):
            st.stop()
        show.empty_page("This pool cannot be opened", "Open another pool.", page="pool")
    refresh_settings()
    return pool


# What its settings build


def need_run() -> Run:
    """Return the run that the current method reads.

    Without one the page stops: with the progress of the job that measures it, else with a button to the Measure page.
    """
    pool = need_pool()
    current = run(pool)
    if current is not None:
        return current
    now, label = settings(), METHODS[settings().method].label
    job = running.find(pool, method(now), now.reading, now.seed)
    _offer_measured(pool)
    if job is not None:
        running.wait_page(job, f"{label} is being measured")
    sentence = "Measuring runs the model over every row. After that, all sliders respond instantly."
    show.empty_page(f"{label} is not measured on this pool yet", sentence, page="measure")


def _offer_measured(pool: Pool) -> None:
    """Draw a button for each method of a paper that is measured already, to show it instead."""
    now = settings()
    measured = [name for name in METHODS if METHODS[name].paper and run(pool, replace(now, method=name))]
    if measured:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption("Measured already:", width="content")
            for name in measured:
                show.action(METHODS[name].label, "check", f"show.{name}", _show_method, name)


def _show_method(name: str) -> None:
    change(method=name, threshold=None)


def run(pool: Pool, now: Settings | None = None) -> Run | None:
    """Return the run that the current method reads; None if it is not measured."""
    now = now or settings()
    if not is_set_up(now.method, now):
        return None
    return find_run(cached.workspace(), pool, method(now), now.reading, now.seed)


def is_set_up(name: str, now: Settings | None = None) -> bool:
    """Return whether a method has what it must be told: a combination its methods; others need nothing."""
    return name != "combined" or "members" in (now or settings()).params.get(name, {})


def method(now: Settings | None = None) -> Method:
    """Build the current method: the user's parameters, else those suggested for the embedded model, else defaults."""
    now = now or settings()
    return build_method(now.method, with_suggestions(now.method, now.params.get(now.method, {}), now.reading.model))


def method_of(name: str) -> Method:
    """Build a method with the parameters of the current settings, as `method` does."""
    return method(replace(settings(), method=name))


def extra_methods() -> list[Method]:
    """Return the other methods to measure in the same pass, with their parameters."""
    now = settings()
    return [method(replace(now, method=name)) for name in now.also if name != now.method]


def budget() -> Budget:
    """Return the budget."""
    return Budget.parse(settings().budget)


def recipe(pool: Pool, now: Settings | None = None) -> Recipe:
    """Return settings (None: the current ones) as a recipe, the input of `make_selection` and of the command line."""
    now = now or settings()
    fields = {name: value for name, value in asdict(pool.fields).items() if value}
    return parse_recipe(
        {
            "pool": {"source": pool.source, "fingerprint": pool.fingerprint, "fields": fields, **source_options(pool)},
            "method": describe_method(method(now)),
            "reading": asdict(now.reading),
            "seed": now.seed,
            "budget": now.budget,
            "threshold": now.threshold,
            "filters": [asdict(part) for part in now.filters],
            "pins": [asdict(part) for part in now.pins],
            "given": list(load_used(pool.fingerprint, now.given)),
            "tags": used_tags(now),
        },
        "the settings of this page",
    )
