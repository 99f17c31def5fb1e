"""What is known of one row, in parts, wherever a row is opened. Only the part that is open is computed and drawn."""

from collections.abc import Callable, Sequence

import streamlit as st

from core.errors import WinnowError
from core.schema import Pool, Row
from core.selection.selection import Selection
from pages.ui.data import live_selection
from pages.ui.row import neighbours, scores, tokens
from pages.ui.shell import show, state

SCORES, TOKENS, RANKS, NEAR, ANSWERS = "Scores", "Tokens", "Ranks", "Neighbours", "Answers"
DEFAULT_PARTS = {"answer_divergence": ANSWERS}  # what a method is about; others: their scores
OPENED_KEY = "row.opened"  # the part that was opened by hand, in this tab


@st.fragment
def inspect(
    pool: Pool,
    row: Row,
    *,
    key: str,
    selection: Selection | None = None,
    next_rows: Sequence[int] = (),
    picked: bool = True,
    draw_answers: Callable[[Row], None] | None = None,
) -> None:
    """The parts of one row.

    `selection`: what neighbours are looked for in; None = the present settings'. `next_rows`: the rows read next.
    `picked`: this row was picked by hand; one that merely comes first changes with every slider, and what takes long
    waits for a button. `draw_answers` draws its answers; None where none were measured.
    """
    opened = _choose([SCORES, TOKENS, RANKS, NEAR, *([ANSWERS] if draw_answers else [])], key)
    try:
        if opened == SCORES:
            scores.draw_scores(pool, row)
        elif opened == TOKENS:
            tokens.draw(pool, row, next_rows, key=key)
        elif opened == RANKS:
            scores.draw_ranks(pool, row)
        elif opened == NEAR:
            neighbours.draw(pool, row, selection or _selected(pool), key=key, picked=picked)
        elif draw_answers is not None:
            draw_answers(row)
    except WinnowError as error:
        show.error(error)


def _choose(names: Sequence[str], key: str) -> str:
    wanted = state.session_value(OPENED_KEY) or DEFAULT_PARTS.get(state.settings().method, SCORES)
    widget = state.set_widget(f"{key}.part", wanted if wanted in names else SCORES)
    st.segmented_control(
        "About this row",
        names,
        required=True,
        key=widget,
        on_change=lambda: state.set_widget(OPENED_KEY, state.widget_value(widget)),
        label_visibility="collapsed",
    )
    return str(state.widget_value(widget))


def _selected(pool: Pool) -> Selection:
    """What the present settings choose."""
    return live_selection.select(pool, state.need_run(), state.recipe(pool))
