"""Near-duplicates on screen: which row a row repeats, labels of their filters, and the job that finds them."""

import streamlit as st

from core.cli.arguments import DEFAULT_WORKSPACE
from core.columns import DUPLICATES, EXACT_DUPLICATES, MIN_SIMILARITY, NEAR_DUPLICATES_PREFIX, USUAL_NEAR_DUPLICATES
from core.pool.near_duplicates import cache_stamp, duplicate_column, load_near_duplicates
from core.pool.pools import row_place
from core.schema import IntArray, Pool
from pages.ui.data import cached
from pages.ui.shell import jobs, show, state
from pages.ui.words import format_rows

JOB = "near.job"  # key of the job that this tab started


def near_duplicate_columns(pool: Pool) -> dict[str, IntArray]:
    """Return the near-duplicate columns computed for the pool: name -> (N,) the row repeated, −1: none."""
    root = cached.workspace().root
    return _load_columns(pool.fingerprint, cache_stamp(root, pool.fingerprint), str(root))


@cached.keep()
def _load_columns(fingerprint: str, stamp: int, root: str) -> dict[str, IntArray]:
    return load_near_duplicates(cached.workspace().root, fingerprint)


def duplicate_marks(pool: Pool, index: int) -> list[str]:
    """Return in words which row a row repeats, exactly or nearly; empty if it repeats none."""
    exact = pool.rows[EXACT_DUPLICATES][index].as_py()
    if exact is not None:
        return [f"duplicate of {row_place(pool, exact)}"]
    near = near_duplicate_columns(pool)
    if not near:
        return []
    repeats = int(near[duplicate_column(near)][index])
    return [] if repeats < 0 else [f"near-duplicate of {row_place(pool, repeats)}"]


def count_words(pool: Pool) -> str | None:
    """Return in words how many rows nearly repeat an earlier one; None if that was not computed."""
    near = near_duplicate_columns(pool)
    if not near:
        return None
    return f"{int((near[duplicate_column(near)] >= 0).sum()):,} near-duplicates"


def filter_labels(pool: Pool) -> dict[str, str]:
    """Return column -> label of its filter."""
    return {
        column: (
            f"Keep one of each near-duplicate (similarity ≥ {column.removeprefix(NEAR_DUPLICATES_PREFIX)}): "
            f"excludes {format_rows(int((repeats >= 0).sum()))}"
        )
        for column, repeats in near_duplicate_columns(pool).items()
    }


def finder(pool: Pool) -> None:
    """Draw the form that starts the search for near-duplicates, or the progress of that job."""
    if jobs.follow(JOB):
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        threshold = st.number_input(
            "Near-duplicate threshold",
            MIN_SIMILARITY,
            1.0,
            float(USUAL_NEAR_DUPLICATES.removeprefix(NEAR_DUPLICATES_PREFIX)),
            0.05,
            key="near.alike",
            help="Jaccard similarity of the word pairs of two rows: shared pairs divided by the pairs of either row. "
            "Only the first row of each group is kept.",
        )
        stored = DUPLICATES["words"].column(threshold) in near_duplicate_columns(pool)
        help = "Runs in the background and needs no model."
        show.action("Find near-duplicates", "search", "near.find", _start_search, pool, disabled=stored, help=help)


def _start_search(pool: Pool) -> None:
    workspace, threshold = cached.workspace(), float(state.widget_value("near.alike"))
    command = ["duplicates", pool.fingerprint, "--threshold", f"{threshold:g}"]
    if workspace.root != DEFAULT_WORKSPACE.absolute():
        command += ["--workspace", str(workspace.root)]
    name = show.pool_name(pool.name, pool.source)
    about = {
        "kind": "duplicates",
        "key": DUPLICATES["words"].column(threshold),
        "pool": pool.fingerprint,
        "pool_name": name,
    }
    with state.failures_as_notices():
        state.set_widget(JOB, jobs.launch(command, title=f"Near-duplicates of {name}", about=about).id)
