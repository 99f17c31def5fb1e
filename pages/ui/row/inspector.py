"""One row in parts: text, scores, tokens, ranks, neighbours, answers. Only the open part is computed and drawn."""

from collections.abc import Sequence

import streamlit as st

from core.measurement.runs import Run
from core.schema import Pool, Row
from core.selection.selection import Selection
from pages.ui.row import answers, neighbours, scores, tokens
from pages.ui.row.answer_source import find_answers_run
from pages.ui.shell import show, state

TEXT, SCORES, TOKENS, RANKS, NEAR, ANSWERS = "Text", "Scores", "Tokens", "Ranks", "Similar", "Answers"
LINE_WIDTH = 680  # pixels of a line of text, about 90 characters


def inspect(
    pool: Pool, run: Run | None, row: Row, *, key: str, selection: Selection | None, next_rows: Sequence[int] = ()
) -> None:
    """Draw the parts of one row.

    `selection`: neighbours are searched in it. `next_rows`: rows that will probably be read next. `run`: gives the
    row's answers, or another run of the same reading does; None: nothing is measured, and the row has only its text.
    """
    answers_run = find_answers_run(pool, run) if run is not None else None
    measured = [SCORES, TOKENS, RANKS, NEAR] if run is not None and selection is not None else []
    opened = _choose_part([TEXT, *measured, *([ANSWERS] if answers_run else [])], key)
    with show.errors():
        if opened == TEXT:
            with st.container(width=LINE_WIDTH, gap="small"):
                show.texts(row)
        elif opened == SCORES:
            scores.draw_scores(pool, row)
        elif opened == TOKENS:
            tokens.draw(pool, row, next_rows, key=key)
        elif opened == RANKS:
            scores.draw_ranks(pool, row)
        elif opened == NEAR and selection is not None:
            neighbours.draw(pool, row, selection, key=key)
        elif answers_run is not None:
            answers.draw(pool, answers_run, row)


def _choose_part(names: Sequence[str], key: str) -> str:
    bound = state.view_choice("part", names, f"{key}.part", TEXT)
    return show.choose("Row details", names, label_visibility="collapsed", default=None, **bound)
