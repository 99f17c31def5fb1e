"""The pairs of target sets: a table of one set's pairs, and one pair in full, as text."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import orjson
import streamlit as st

from core.methods.preference_influence import TargetSpec
from core.pool.preference.target_sets import TargetSet
from core.schema import format_place
from pages.ui.shell import show
from pages.ui.words import escape_markdown, shorten

PAGE = 100  # pairs, or skipped ones, in a table at once
TABLE_HEIGHT, TEXT_HEIGHT = 280, 260  # pixels
ROW_HEIGHT = 34  # pixels of a line


@st.fragment
def reader(sets: Sequence[TargetSpec], load: Callable[[str], TargetSet]) -> None:
    """Draw the pairs of the sets in use, read by `load` when the user opens them."""
    opened = st.expander("Show the pairs", icon=":material/compare:", key="targets.pairs", on_change="rerun")
    if not opened.open:
        return
    with opened:
        one = _choose_set(sets)
        with show.errors():
            targets = load(one.source)
            _draw_pairs(targets)
            _draw_skipped(targets)


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
    start = PAGE * show.choose_page(-(-len(targets) // PAGE), key=f"{prefix}.page")
    shown = targets.pairs.slice(start, PAGE).to_pylist()
    for pair in shown:
        pair["prompt"] = orjson.loads(pair["prompt"])
    position = _pick_pair(shown, f"{prefix}.{start}")
    st.caption(f"Pairs {start + 1:,}–{start + len(shown):,} of {len(targets):,}. Select one to read it.")
    _draw_pair(shown[position])


def _pick_pair(shown: list[dict[str, Any]], key: str) -> int:
    """Draw the table. Return the position of the ticked pair, else of the first."""
    texts = ("prompt", "chosen", "rejected")
    text, number = st.column_config.TextColumn, st.column_config.NumberColumn
    table = [
        {
            "prompt": shorten(pair["prompt"][-1]["content"]),
            "chosen": shorten(pair["chosen"]),
            "rejected": shorten(pair["rejected"]),
            "subtask": pair["subtask"],
            "file": pair.get("file"),
            "line": pair["line"],
        }
        for pair in shown
    ]
    ticked = show.pick_row(
        table,
        key=key,
        height=min(TABLE_HEIGHT, ROW_HEIGHT * (len(shown) + 1) + 3),
        row_height=ROW_HEIGHT,
        alt="Pairs, one per line",
        column_order=[*texts, *(name for name in ("subtask", "file") if any(one[name] for one in table)), "line"],
        column_config={name: text(name.capitalize(), width=210) for name in texts}
        | {"subtask": text("Sub-task", width=100), "file": text("File", width=90)}
        | {"line": number("Line", format="%d", width=60)},
    )
    return ticked or 0


def _draw_pair(pair: dict[str, Any]) -> None:
    """Draw one pair: the turns of the prompt, and next to it the chosen and the rejected response."""
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        st.badge(escape_markdown(format_place(pair.get("file") or "", pair["line"])), color="gray")
        st.text(pair["subtask"] or "")
    prompt, chosen, rejected = st.columns(3)
    with prompt:
        for turn in pair["prompt"]:
            show.heading(turn["role"], turn["content"])
            _draw_text(turn["content"], TEXT_HEIGHT if len(pair["prompt"]) == 1 else "content")
    for place, icon, side in ((chosen, "thumb_up", "chosen"), (rejected, "thumb_down", "rejected")):
        with place:
            show.heading(side, pair[side], f":material/{icon}:")
            _draw_text(pair[side], TEXT_HEIGHT)


def _draw_text(text: str, height: int | Literal["content"]) -> None:
    with st.container(height=height, border=True):
        show.prose(text)


def _draw_skipped(targets: TargetSet) -> None:
    """Draw the skipped rows and pairs, with line and reason."""
    count = sum(targets.problems.values())
    if not count:
        st.caption(":material/check_circle: No pairs were skipped.")
        return
    more = f"; the first {PAGE} are listed" if count > PAGE else ""
    st.caption(f":material/report: {count:,} skipped{more}.")
    st.dataframe(
        targets.set_aside.slice(0, PAGE).to_pandas(),
        column_order=["file", "line", "reason", "text"],
        hide_index=True,
        key=f"targets.aside.{targets.fingerprint[:12]}",
        alt="Skipped rows and pairs, with the reason",
        height=min(TABLE_HEIGHT, ROW_HEIGHT * (min(count, PAGE) + 1) + 3),
        row_height=ROW_HEIGHT,
        column_config={
            "file": st.column_config.TextColumn("File", width=90),
            "line": st.column_config.NumberColumn("Line", format="%d", width=60),
            "reason": st.column_config.TextColumn("Reason", width=300),
            "text": st.column_config.TextColumn("Start of the text", width=900),
        },
    )
