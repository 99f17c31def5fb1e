"""Neighbours of one row: the nearest selected row, with its text, and the duplicates of the row."""

from functools import partial
from typing import Any

import numpy as np
import streamlit as st

from core.algorithms.similar_vectors import SimilarRows
from core.analysis.nearest_rows import cosine_similarities, find_nearest
from core.columns import EXACT_DUPLICATES, describe_duplicates
from core.measurement.lookup import find_signal
from core.measurement.run_data import base_parts
from core.measurement.runs import Run
from core.pool.pools import read_rows
from core.schema import FloatArray, IntArray, Pool, Row
from core.selection.selection import Selection
from core.workspace.parts import Parts
from pages.ui.data import cached
from pages.ui.row.duplicates import duplicate_columns, semantic_duplicate_columns
from pages.ui.shell import show, state
from pages.ui.words import escape_markdown, format_rows

EMBEDDINGS = {"response_embedding": "Responses", "prompt_embedding": "Prompts"}
NEAREST = 20  # most similar selected rows that the reader steps through once the first is open
OPEN_HELP = f"Open it here; J then opens the next of the {NEAREST} most similar selected rows, and B returns."
MAX_LISTED = 50  # duplicates in the table
MAX_ROWS = 16  # rows whose similarities are cached: 4 MB each at a million rows


def draw(pool: Pool, row: Row, selection: Selection, *, key: str) -> None:
    """Draw duplicates, which need no model, and the nearest selected row."""
    for column, duplicates in find_duplicates(pool, row.index).items():
        _draw_duplicates(pool, row, duplicates, column, selection, key)
    run = find_signal(cached.workspace(), pool, "base", state.settings().reading)
    if run is None:
        st.caption("Similar rows are found by a model's embeddings. Measure the pool on the Measure page.")
        return
    columns = {n: label for n, label in EMBEDDINGS.items() if n != "response_embedding" or row.response is not None}
    by = show.choose("Similarity of", columns, f"{key}.by.{len(columns)}", label_visibility="collapsed")
    _draw_nearest(pool, row, row_similarities(pool, run, by, row.index), selection, EMBEDDINGS[by].lower(), key)


# Nearest


@cached.keep(MAX_ROWS, "Computing similarities")
def row_similarities(pool: Pool, run: Run, column: str, row: int) -> FloatArray:
    """Return the cosine similarity of every row to this one, (N,), by base-pass embeddings, read part by part, once."""
    parts = base_parts(cached.workspace(), run)
    similarities = cosine_similarities(parts.blocks(column), _row_vector(parts, column, row), len(pool))
    similarities.flags.writeable = False
    return similarities


def _row_vector(parts: Parts, column: str, row: int) -> Any:
    number = next(k for k, rows in enumerate(parts.plan) if row in rows)
    position = int(np.flatnonzero(parts.plan[number] == row)[0])
    return parts.values(number, column)[position]


def _draw_nearest(pool: Pool, row: Row, similarity: FloatArray, selection: Selection, noun: str, key: str) -> None:
    """Draw the nearest selected row and how it compares with this one, or that there is none."""
    nearest = find_nearest(similarity, selection.rows, NEAREST, exclude=row.index)
    if not len(nearest):
        st.caption("No other row is selected, so there is nothing to compare with.")
        return
    other = read_rows(pool, nearest[:1].tolist())[0]
    median = float(np.nanmedian(similarity[selection.rows]))
    st.markdown(f"**Most similar selected row: {compare_texts(row, other)}**")
    st.caption(
        f"Cosine similarity of the {noun}: {similarity[other.index]:.3f} (1 = identical); median of the selected "
        f"rows: {median:.3f}. Computed from the base model's mean hidden states."
    )
    _draw_row(pool, other, nearest, f"{key}.nearest", OPEN_HELP)


def _draw_row(pool: Pool, other: Row, rows: IntArray, key: str, help: str) -> None:
    """Draw the text of another row, the first of `rows`, with a button that opens it among them."""
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.badge(escape_markdown(other.place if other.file else other.place.capitalize()), color="gray")
            st.text(other.id, width="stretch")
            show.action("Open", "menu_book", key, partial(state.open_row, pool, rows, similar=True), help=help)
        show.turns(other)


def compare_texts(row: Row, other: Row) -> str:
    """Return in words whether one row duplicates the other."""
    prompt, response = row.prompt == other.prompt, row.response == other.response
    if row.turns == other.turns:
        return "an exact duplicate"
    if prompt and not response:
        return "same prompt, different response"
    if response and not prompt and row.response is not None:
        return "same response, different prompt"
    return "not a duplicate"


# Duplicates


def find_duplicates(pool: Pool, row: int) -> dict[str, IntArray]:
    """Return by column the exact duplicates of a row, itself included, and its other duplicates where those are more.

    The kept row of each group is the first.
    """
    exact = _group(cached.integer_column(pool, EXACT_DUPLICATES), row)
    others = {column: _group(repeats, row) for column, repeats in duplicate_columns(pool).items()}
    return {EXACT_DUPLICATES: exact} | {column: rows for column, rows in others.items() if len(rows) > len(exact)}


def _group(duplicate_of: IntArray, row: int) -> IntArray:
    """Return the first row of a group and all that repeat it. `duplicate_of`: (N,) the row repeated, −1: none."""
    first = int(duplicate_of[row]) if duplicate_of[row] >= 0 else row
    return np.concatenate([[first], np.flatnonzero(duplicate_of == first)]).astype(np.int64)


def _draw_duplicates(pool: Pool, row: Row, duplicates: IntArray, column: str, selection: Selection, key: str) -> None:
    kind = describe_duplicates(column)
    if len(duplicates) < 2:
        st.caption(f":material/check: The pool has no {kind} of this row.")
        return
    selected = np.isin(duplicates, selection.rows)
    n, are = int(selected.sum()), "is" if selected.sum() == 1 else "are"
    semantic = semantic_duplicate_columns(pool).get(column)
    rows = format_rows(len(duplicates))
    words = f"**{rows} are {kind}** of each other" if semantic is None else f"**{rows} form a group of {kind}**"
    st.markdown(f"{words}; {n:,} of them {are} selected.")
    shown = read_rows(pool, duplicates[:MAX_LISTED].tolist())
    table = {
        **({"File": [one.file for one in shown]} if row.file else {}),
        "Line": [one.line for one in shown],
        "Id": [one.id for one in shown],
        "State": ["selected" if c else "unselected" for c in selected[:MAX_LISTED]],
        "Which": [_which(one.index, row.index, int(duplicates[0])) for one in shown],
    }
    if semantic is not None:
        table["Cosine"] = [_cosine(semantic, one.index) for one in shown]
    styles = {"Line": st.column_config.NumberColumn(format="%d")}
    table_key = f"{key}.{column}.{row.index}"

    def open_line() -> None:
        if cells := state.widget_value(table_key)["selection"]["cells"]:
            state.open_row(pool, duplicates, cells[0][0], similar=True)

    look = {"width": "content", "column_config": styles, "alt": f"Rows that are {kind}"}
    show.pick_row(table, key=table_key, on_select=open_line, **look)
    first = f"First {MAX_LISTED} of {format_rows(len(duplicates))}. " if len(duplicates) > MAX_LISTED else ""
    st.caption(f"{first}Click a row to open it.")
    if semantic is not None and semantic.repeats[row.index] >= 0:
        st.markdown(f"**Kept in place of this row, at a cosine of {semantic.similarity[row.index]:.3f}**")
        _draw_row(pool, shown[0], duplicates, f"{key}.kept.{column}", "Open it here; B returns.")


def _which(one: int, opened: int, kept: int) -> str:
    return ", ".join(["this row"] * (one == opened) + ["kept"] * (one == kept))


def _cosine(rows: SimilarRows, row: int) -> float:
    """Return the similarity of a row to the kept one of its group; 1 for that one."""
    return round(float(rows.similarity[row]), 3) if rows.repeats[row] >= 0 else 1.0
