"""Details of one row, in parts, wherever a row is opened. Only the open part is computed and drawn."""

from collections.abc import Sequence
from functools import partial

import streamlit as st

from core.measurement.runs import Run
from core.schema import Pool, Row
from core.selection.selection import Selection
from pages.ui.data import live_selection
from pages.ui.row import answers, neighbours, scores, tokens
from pages.ui.row.answer_source import find_answers_run
from pages.ui.shell import show, state

SCORES, TOKENS, RANKS, NEAR, ANSWERS = "Scores", "Tokens", "Ranks", "Similar rows", "Answers"
DEFAULT_PARTS = {"answer_divergence": ANSWERS}  # the part opened first, by method; others: scores
OPENED_KEY = "row.opened"  # key of the part that the user opened in this tab


@st.fragment
def inspect(
    pool: Pool,
    run: Run,
    row: Row,
    *,
    key: str,
    selection: Selection | None = None,
    next_rows: Sequence[int] = (),
    picked: bool = True,
) -> None:
    """Draw the parts of one row.

    `selection`: neighbours are searched in it; None: the selection of the present settings. `next_rows`: rows that will
    probably be read next. `picked`: the user picked this row; one that merely comes first changes with every slider, so
    slow parts wait for a button. `run`: gives the row's answers, or another run of the same reading does.
    """
    answers_run = find_answers_run(pool, run)
    opened = _choose_part([SCORES, TOKENS, RANKS, NEAR, *([ANSWERS] if answers_run else [])], key)
    with show.errors():
        if opened == SCORES:
            scores.draw_scores(pool, row)
        elif opened == TOKENS:
            tokens.draw(pool, row, next_rows, key=key)
        elif opened == RANKS:
            scores.draw_ranks(pool, row)
        elif opened == NEAR:
            neighbours.draw(pool, row, selection or _present_selection(pool), key=key, picked=picked)
        elif answers_run is not None:
            answers.draw(pool, answers_run, row)


def _choose_part(names: Sequence[str], key: str) -> str:
    part = state.session_value(OPENED_KEY) or DEFAULT_PARTS.get(state.settings().method, SCORES)
    bound = state.bind(f"{key}.part", part if part in names else SCORES, partial(state.set_widget, OPENED_KEY))
    return str(st.segmented_control("Row details", names, required=True, label_visibility="collapsed", **bound))


def _present_selection(pool: Pool) -> Selection:
    """Return the selection of the present settings."""
    return live_selection.select(pool, state.need_run(), state.recipe(pool))
