"""Details of one row, in parts, wherever a row is opened. Only the open part is computed and drawn."""

from collections.abc import Callable, Sequence

import streamlit as st

from core.errors import WinnowError
from core.schema import Pool, Row
from core.selection.selection import Selection
from pages.ui.data import live_selection
from pages.ui.row import neighbours, scores, tokens
from pages.ui.shell import show, state

SCORES, TOKENS, RANKS, NEAR, ANSWERS = "Scores", "Tokens", "Ranks", "Neighbours", "Answers"
DEFAULT_PARTS = {"answer_divergence": ANSWERS}  # the part opened first, by method; others: scores
OPENED_KEY = "row.opened"  # key of the part that the user opened in this tab


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
    """Draw the parts of one row.

    `selection`: neighbours are searched in it; None: the selection of the present settings. `next_rows`: rows that will
    probably be read next. `picked`: the user picked this row; one that merely comes first changes with every slider, so
    slow parts wait for a button. `draw_answers`: a function for the row's answers; None if none were measured.
    """
    opened = _choose_part([SCORES, TOKENS, RANKS, NEAR, *([ANSWERS] if draw_answers else [])], key)
    try:
        if opened == SCORES:
            scores.draw_scores(pool, row)
        elif opened == TOKENS:
            tokens.draw(pool, row, next_rows, key=key)
        elif opened == RANKS:
            scores.draw_ranks(pool, row)
        elif opened == NEAR:
            neighbours.draw(pool, row, selection or _present_selection(pool), key=key, picked=picked)
        elif draw_answers is not None:
            draw_answers(row)
    except WinnowError as error:
        show.error(error)


def _choose_part(names: Sequence[str], key: str) -> str:
    part = state.session_value(OPENED_KEY) or DEFAULT_PARTS.get(state.settings().method, SCORES)
    widget = state.set_widget(f"{key}.part", part if part in names else SCORES)
    st.segmented_control(
        "About this row",
        names,
        required=True,
        key=widget,
        on_change=lambda: state.set_widget(OPENED_KEY, state.widget_value(widget)),
        label_visibility="collapsed",
    )
    return str(state.widget_value(widget))


def _present_selection(pool: Pool) -> Selection:
    """Return the selection of the present settings."""
    return live_selection.select(pool, state.need_run(), state.recipe(pool))
