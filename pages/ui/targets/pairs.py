"""The pairs of target sets: a table of one set's pairs, and one pair in full, as text."""

from collections.abc import Callable, Sequence
from typing import Any

import orjson
import streamlit as st

from core.errors import WinnowError
from core.methods.preference_influence import TargetSpec
from core.pool.preference.target_sets import TargetSet
from pages.ui.shell import show
from pages.ui.words import escape_markdown, shorten

PAGE = 100  # pairs, or rows set aside, in a table at once
TABLE_HEIGHT, TEXT_HEIGHT = 280, 260  # pixels
ROW_HEIGHT = 34  # pixels of a line


@st.fragment
def reader(sets: Sequence[TargetSpec], load: Callable[[str], TargetSet]) -> None:
    """Draw the pairs of the sets in use, read by `load` when the user opens them."""
    opened = st.expander("See the pairs", icon=":material/compare:", key="targets.pairs", on_change="rerun")
    if not opened.open:
        return
    with opened:
        one = _choose_set(sets)
        try:
            targets = load(one.source)
        except WinnowError as error:
            show.error(error)
            return
        _draw_pairs(targets)
        _draw_set_aside(targets)


def _choose_set(sets: Sequence[TargetSpec]) -> TargetSpec:
    if len(sets) == 1:
        return sets[0]
    picked = st.segmented_control(
        "Pairs of",
        range(len(sets)),
        format_func=lambda k: escape_markdown(sets[k].name),
        default=0,
        required=True,
        key=f"targets.of.{'.'.join(one.name for one in sets)}",
    )
    return sets[int(picked or 0)]


def _draw_pairs(targets: TargetSet) -> None:
    prefix = f"targets.{targets.fingerprint[:12]}"  # another set starts afresh
    pages = -(-len(targets) // PAGE)
    page = 1
    if pages > 1:
        with st.container(horizontal_alignment="right"):
            page = int(st.pagination(pages, key=f"{prefix}.page"))
    start = PAGE * (page - 1)
    shown = targets.pairs.slice(start, PAGE).to_pylist()
    for pair in shown:
        pair["prompt"] = orjson.loads(pair["prompt"])
    position = _pick_pair(shown, f"{prefix}.{start}")
    st.caption(f"{start + 1:,} to {start + len(shown):,} of {len(targets):,} pairs. Tick one to read it.")
    _draw_pair(shown[position])


def _pick_pair(shown: list[dict[str, Any]], key: str) -> int:
    """Draw the table. Return the position of the ticked pair, else of the first."""
    event = st.dataframe(
        [
            {
                "prompt": shorten(pair["prompt"][-1]["content"]),
                "chosen": shorten(pair["chosen"]),
                "rejected": shorten(pair["rejected"]),
                "subtask": pair["subtask"],
                "line": pair["line"],
            }
            for pair in shown
        ],
        key=key,
        height=min(TABLE_HEIGHT, ROW_HEIGHT * (len(shown) + 1) + 3),
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        row_height=ROW_HEIGHT,
        alt="Pairs, one per line",
        column_order=[
            *("prompt", "chosen", "rejected"),
            *(["subtask"] if any(pair["subtask"] for pair in shown) else []),
            "line",
        ],
        column_config={
            "prompt": st.column_config.TextColumn("Prompt", width=210),
            "chosen": st.column_config.TextColumn("Chosen", width=210),
            "rejected": st.column_config.TextColumn("Rejected", width=210),
            "subtask": st.column_config.TextColumn("Sub-task", width=100),
            "line": st.column_config.NumberColumn("Line", format="%d", width=60),
        },
    )
    ticked = event["selection"]["rows"]
    return int(ticked[0]) if ticked and ticked[0] < len(shown) else 0


def _draw_pair(pair: dict[str, Any]) -> None:
    """Draw one pair: the turns of the prompt, and next to it the chosen and the rejected response."""
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        st.badge(f"line {pair['line']:,}", color="gray")
        st.text(pair["subtask"] or "")
    prompt, chosen, rejected = st.columns(3)
    with prompt:
        for turn in pair["prompt"]:
            _draw_heading(show.ROLES.get(turn["role"], ":material/chat:"), turn["role"], turn["content"])
            show.text(turn["content"], height=TEXT_HEIGHT if len(pair["prompt"]) == 1 else None)
    for place, icon, side in ((chosen, "thumb_up", "chosen"), (rejected, "thumb_down", "rejected")):
        with place:
            _draw_heading(f":material/{icon}:", side, pair[side])
            show.text(pair[side], height=TEXT_HEIGHT)


def _draw_heading(icon: str, label: str, text: str) -> None:
    st.caption(f"{icon} {escape_markdown(label)} · {len(text):,} characters")


def _draw_set_aside(targets: TargetSet) -> None:
    """Draw what was not usable, with its line and the reason."""
    count = sum(targets.problems.values())
    if not count:
        st.caption(":material/check_circle: Nothing was set aside.")
        return
    more = f"; the first {PAGE} are shown" if count > PAGE else ""
    st.caption(f":material/report: {count:,} set aside{more}.")
    st.dataframe(
        targets.set_aside.slice(0, PAGE).to_pandas(),
        hide_index=True,
        key=f"targets.aside.{targets.fingerprint[:12]}",
        alt="Rows and pairs set aside, with the reason",
        height=min(TABLE_HEIGHT, ROW_HEIGHT * (min(count, PAGE) + 1) + 3),
        row_height=ROW_HEIGHT,
        column_config={
            "line": st.column_config.NumberColumn("Line", format="%d", width=60),
            "reason": st.column_config.TextColumn("Reason", width=300),
            "text": st.column_config.TextColumn("How it begins", width=900),
        },
    )
