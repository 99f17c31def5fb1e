"""Near duplicates on the screen: whom a row repeats, letting each group in once, and finding them, as a job."""

import streamlit as st

from core.cli.commands import WORKSPACE
from core.errors import WinnowError
from core.pool.near_duplicates import LOWEST, column_of, finest, near_duplicates, stamp
from core.schema import IntArray, Pool
from core.selection.filters import ALIKE, EXACT, NEAR
from core.workspace.jobs import get_job, start_job
from pages.ui.data import cached
from pages.ui.shell import jobs, show, state

JOB = "near.job"  # the job that this tab has begun


def known(pool: Pool) -> dict[str, IntArray]:
    """What is known of a pool's near duplicates, by column."""
    root = cached.workspace().root
    return _known(pool.fingerprint, stamp(root, pool.fingerprint), str(root))


@st.cache_resource(show_spinner=False, max_entries=cached.TABLES)
def _known(fingerprint: str, stamped: int, root: str) -> dict[str, IntArray]:
    return near_duplicates(cached.workspace().root, fingerprint)


def said(pool: Pool, index: int) -> list[str]:
    """Which row a row repeats, exactly or nearly, in words; empty where it repeats none."""
    lines = pool.rows["line"]
    exact = pool.rows[EXACT][index].as_py()
    if exact is not None:
        return [f"repeats line {lines[exact].as_py():,}"]
    near = known(pool)
    if not near:
        return []
    repeats = int(near[finest(near)][index])
    return [] if repeats < 0 else [f"nearly repeats line {lines[repeats].as_py():,}"]


def counted(pool: Pool) -> str | None:
    """How many rows nearly repeat an earlier one, where that is known."""
    near = known(pool)
    if not near:
        return None
    column = finest(near)
    return f"{int((near[column] >= 0).sum()):,} nearly, {column.removeprefix(NEAR)} alike"


def labels(pool: Pool) -> dict[str, str]:
    """Column -> what a switch for it says."""
    return {
        column: f"Near duplicates once: {int((repeats >= 0).sum()):,} repeat a row, {column.removeprefix(NEAR)} alike"
        for column, repeats in known(pool).items()
    }


def finder(pool: Pool) -> None:
    """Begin to look for near duplicates, and how that is going."""
    begun = state.noted(JOB)
    if begun is not None:
        job = get_job(cached.workspace(), begun)
        if job.state != "done":
            jobs.panel(job)
            return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        alike = st.number_input(
            "Near duplicates, alike from",
            LOWEST,
            1.0,
            float(ALIKE.removeprefix(NEAR)),
            0.05,
            key="near.alike",
            help="The share of pairs of neighbouring words that two rows have in common, of all that either has. "
            "Of a group the earliest row is let in.",
        )
        st.button(
            "Find",
            icon=":material/search:",
            key="near.find",
            disabled=column_of(alike) in known(pool),
            help="In the background; no model is needed.",
            on_click=_begin,
            args=(pool,),
        )


def _begin(pool: Pool) -> None:
    place, alike = cached.workspace(), float(state.widget("near.alike"))
    command = ["duplicates", pool.fingerprint, "--threshold", f"{alike:g}"]
    if place.root != WORKSPACE.absolute():
        command += ["--workspace", str(place.root)]
    name = show.pool_name(pool.name, pool.source)
    about = {"kind": "duplicates", "key": column_of(alike), "pool": pool.fingerprint, "pool_name": name}
    try:
        job = start_job(place, command, title=f"Near duplicates of {name}", about=about)
    except WinnowError as error:
        state.tell(str(error))
        return
    state.set_widget(JOB, job.id)
