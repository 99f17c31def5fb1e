"""Rows on which the models of two arms differ most."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson
import pandas as pd
import streamlit as st

from core.pool.pools import read_rows
from core.pool.preference.target_sets import DEMO
from core.proof.evaluation import MAX_TARGET_ROWS
from core.proof.plan import MACRO, RANDOM, Target
from core.proof.row_losses import RowLosses, load_row_losses
from core.proof.stored import Proof
from core.schema import IntArray
from pages.ui.charts.proof import format_difference
from pages.ui.data import cached
from pages.ui.proof import view, words
from pages.ui.proof.view import View
from pages.ui.shell import recent, show, state, visitors
from pages.ui.words import escape_markdown, format_rows, shorten

MAX_ROWS = 100  # listed
HEIGHT, ROW_HEIGHT = 420, 34  # pixels
ROLES = ("prompt", "response", "rejected")


def section(proof: Proof, shown: View, clicked: tuple[str, str] | None) -> None:
    """Draw the choice of two arms and a task, and the rows on which they differ most.

    `clicked`: arm and task of the mark that was clicked in the forest plot; they are chosen at first.
    """
    st.subheader("Rows where two arms differ most", anchor=False)
    arm, task = clicked or (_most_different(proof, shown), MACRO)
    key = f"proof.rows.{proof.id}.{shown.target}.{arm}.{task}"
    arms = {each.name: escape_markdown(words.arm_label(each.name)) for each in proof.plan.arms}
    tasks = {MACRO: "All tasks"} | {name: escape_markdown(name) for name in proof.plan.find_target(shown.target).tasks}
    left, middle, right = show.columns(3)
    with left:
        one = _choose("Arm", arms, arm, f"{key}.one")
    with middle:
        other = _choose("Compared with", arms, RANDOM, f"{key}.other")
    with right:
        task = _choose("Task", tasks, task, f"{key}.task")
    better = {one: f"{arms[one]} is better", other: f"{arms[other]} is better"}
    with show.errors():
        losses = load_row_losses(cached.workspace(), proof, shown.target, shown.work, (one, other))
        leader = one if losses.difference(one, other).mean() <= 0 else other
        options: dict[str, Any] = {"default": leader, "label_visibility": "collapsed"}
        first = show.choose("Rows", better, f"{key}.side.{one}.{other}", **options)
        pair = (one, other) if first == one else (other, one)
        _draw(losses, pair, _rank(losses, pair, task), f"{key}.{pair}")


def _choose(label: str, options: Mapping[str, str], default: str, key: str) -> str:
    names = list(options)
    index = names.index(default) if default in options else 0
    return str(st.selectbox(label, names, index, format_func=lambda name: options[name], key=key))


def _most_different(proof: Proof, shown: View) -> str:
    """Return the arm whose average differs most from random."""
    verdicts = [each for each in view.list_verdicts(proof, shown) if each.task == MACRO]
    return max(verdicts, key=lambda verdict: abs(verdict.difference)).arm if verdicts else RANDOM


def _rank(losses: RowLosses, pair: tuple[str, str], task: str) -> IntArray:
    """Return the places of the rows on which the first of a pair is better, the largest difference first."""
    differences, about = losses.difference(*pair), losses.target
    fits = differences < 0
    if task != MACRO:
        fits &= about.task == list(about.target.tasks).index(task)
    places = np.flatnonzero(fits)
    return places[np.argsort(differences[places], kind="stable")][:MAX_ROWS]


def _draw(losses: RowLosses, pair: tuple[str, str], places: IntArray, key: str) -> None:
    """Draw the table. A row of the open pool opens in the reader, any other below the table."""
    if not len(places):
        st.caption("No rows.")
        return
    about, target, pool = losses.target, losses.target.target, state.need_pool()
    rows, in_pool = about.rows[places], target.kind == "rows" and target.fingerprint == pool.fingerprint
    opened, tasks = _read(target, rows), list(target.tasks)
    table = pd.DataFrame(
        {
            "Difference": [format_difference(value) for value in losses.difference(*pair)[places]],
            **{words.arm_label(arm): losses.by_arm[arm][places] for arm in pair},
            "Task": [tasks[code] for code in about.task[places]],
            "Prompt": [shorten(row["prompt"]) for row in opened],
            "Response": [shorten(row["response"]) for row in opened],
        }
    )

    def open_line() -> None:
        if cells := state.widget_value(f"{key}.table")["selection"]["cells"]:
            state.open_row(pool, rows, cells[0][0])

    options: dict[str, Any] = {"height": min(HEIGHT, ROW_HEIGHT * (len(places) + 1) + 3), "row_height": ROW_HEIGHT}
    options |= {"on_select": open_line} if in_pool else {}
    with st.container(key="proof-rows"):
        styles = _column_styles(pair, target)
        line = show.pick_row(table, key=f"{key}.table", alt="Rows, one per line", column_config=styles, **options) or 0
    st.caption(f"{format_rows(len(places))}, the largest difference first. Click a row to open it.")
    if not in_pool:
        _draw_row(opened[line])


def _column_styles(pair: tuple[str, str], target: Target) -> dict[str, Any]:
    what = "NLL in nats per response token" if target.kind == "rows" else "Log-probability, rejected minus chosen"
    number, text = st.column_config.NumberColumn, st.column_config.TextColumn
    styles = {words.arm_label(arm): number(format="%.3f", help=f"{what}, mean over seeds") for arm in pair}
    return styles | {"Prompt": text(width=200), "Response": text(width=200)}


def _draw_row(row: Mapping[str, str]) -> None:
    """Draw a row that is not one of the open pool, its texts beside each other."""
    roles = [role for role in ROLES if role in row]
    with st.container(height=HEIGHT, border=True, key="proof-row"):
        for place, role in zip(show.columns(len(roles)), roles, strict=True):
            with place:
                show.heading(role, row[role])
                show.prose(row[role])


def _read(target: Target, rows: IntArray) -> Sequence[Mapping[str, str]]:
    """Return the texts of rows: of the target's pool, or of its pairs."""
    if target.kind == "rows":
        opened = read_rows(recent.load(target.fingerprint), rows.tolist())
        return [{"prompt": row.prompt, "response": row.response or ""} for row in opened]
    source = target.source if target.source == DEMO else visitors.check_path(target.source)
    pairs = cached.targets(source, None, MAX_TARGET_ROWS, 0).pairs.take(rows).to_pylist()
    return [
        {
            "prompt": orjson.loads(pair["prompt"])[-1]["content"],
            "response": pair["chosen"],
            "rejected": pair["rejected"],
        }
        for pair in pairs
    ]
