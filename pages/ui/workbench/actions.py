"""What can be done with the highlighted rows: read, filter, pin, tag and download them."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow as pa
import streamlit as st

from core.errors import WinnowError
from core.measurement.runs import Run
from core.output.writer import write_selection
from core.schema import IntArray, Pool
from core.selection.filters import Filter
from core.selection.recipe import eligible_rows
from core.selection.selection import Pin
from pages.ui.data import cached
from pages.ui.row.tags import tag_rows
from pages.ui.shell import show, state
from pages.ui.shell.terms import Match, Term
from pages.ui.words import format_rows

MAX_BY_HAND = 10_000  # rows pinned, or filtered by their ids, at once: the recipe lists each
REASON = "Reason (optional, saved in the manifest)"
FILTER_HELP = "Adds a filter, which determines the eligible rows."


def draw(pool: Pool, run: Run | None, rows: IntArray, terms: Sequence[Term]) -> None:
    """Draw the actions on the highlighted rows. `run`: what the page shows; None: nothing is measured."""
    none, many = not len(rows), len(rows) > MAX_BY_HAND
    show.action("Read", "menu_book", "highlight.read", state.open_row, pool, rows, disabled=none)
    for label, exclude in (("Keep only these", False), ("Exclude these", True)):
        added = () if none else as_filters(pool, run, rows, terms, exclude=exclude)
        options = {"disabled": set(added) <= set(state.settings().filters), "help": FILTER_HELP}
        show.action(label, "filter_alt", f"highlight.filter.{exclude}", _filter, added, **options)
    st.text_input(REASON, key="highlight.reason", placeholder=REASON, label_visibility="collapsed", on_change="ignore")
    for side, label, icon in (("in", "Always include", "keep"), ("out", "Always exclude", "block")):
        show.action(label, icon, f"highlight.pin.{side}", _pin, pool, rows, side, disabled=none or many)
    tag_rows(partial(row_ids, pool, rows), "highlight", disabled=none)
    if many:
        st.caption(f"At most {MAX_BY_HAND:,} rows can be pinned or listed in a filter at once.")
    if not none:
        _download(pool, rows)


def row_ids(pool: Pool, rows: IntArray) -> list[str]:
    """Return the ids of rows, as in the user's data."""
    ids: list[str] = pool.rows["id"].take(pa.array(rows)).to_pylist()
    return ids


# Filters and pins


def as_filters(
    pool: Pool, run: Run | None, rows: IntArray, terms: Sequence[Term], *, exclude: bool
) -> tuple[Filter, ...]:
    """Return filters that let pass exactly these rows, or exactly the others; () if that would need too long a list.

    They are the definitions of the terms where these mean the same to the present method, else a list of ids. Several
    terms exclude together what matches all of them, which only a list can say.
    """
    conditions = [replace(t.filter, exclude=t.filter.exclude ^ t.exclude) for t in terms if isinstance(t, Match)]
    if len(conditions) == len(terms) and _let_pass(pool, run, conditions, rows):
        if not exclude:
            return tuple(conditions)
        if len(conditions) == 1:
            return (replace(conditions[0], exclude=not conditions[0].exclude),)
    if len(rows) > MAX_BY_HAND:
        return ()
    return (Filter("id", values=tuple(row_ids(pool, rows)), exclude=exclude),)


def _let_pass(pool: Pool, run: Run | None, conditions: Sequence[Filter], rows: IntArray) -> bool:
    """Return whether filters let pass exactly these rows, under the present method."""
    if run is None:
        return True  # only the pool's own columns could be highlighted by
    try:
        measured, tags = cached.measurements(run), state.settings().tags
        passing = eligible_rows(state.method(), pool, measured, conditions, tags)
    except WinnowError:  # a column of another method
        return False
    return np.array_equal(np.flatnonzero(passing), rows)


def _filter(added: Sequence[Filter]) -> None:
    state.change(filters=(*(one for one in state.settings().filters if one not in added), *added))


def _pin(pool: Pool, rows: IntArray, side: str) -> None:
    reason = str(state.session_value("highlight.reason") or "").strip()
    state.add_pins([Pin(one, side, reason) for one in row_ids(pool, rows)])  # type: ignore[arg-type]


# Download


def _download(pool: Pool, rows: IntArray) -> None:
    """Draw the button that writes the rows as they are in the pool; once they are written, the link to the file."""
    digest = sha256(rows.astype(np.int64).tobytes()).hexdigest()[:16]
    path = cached.workspace().folder("exports", pool.fingerprint) / f"highlighted-{digest}.jsonl"
    if path.exists():
        show.download(f"Download {format_rows(len(rows))} (JSONL)", path, f"{pool.name}.highlighted.jsonl")
    else:
        help = "Writes the rows as they are in the pool, every field unchanged."
        show.action("Write as JSONL", "save", "highlight.write", _write, pool, rows, path, help=help)


def _write(pool: Pool, rows: IntArray, path: Path) -> None:
    with state.failures_as_notices():
        write_selection(pool, rows, path)
