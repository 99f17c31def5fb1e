"""Overlap with benchmarks: which rows a benchmark contains, the texts side by side, and the job that compares."""

from functools import partial
from pathlib import Path
from typing import Any

import streamlit as st

from core.cli.arguments import DEFAULT_WORKSPACE
from core.pool import benchmarks
from core.pool.benchmarks import Benchmark
from core.pool.pool_columns import check_name
from core.pool.pools import read_rows
from core.schema import Pool
from core.selection.filters import Filter
from pages.ui.data import cached
from pages.ui.shell import data_files, jobs, roots, show, state
from pages.ui.shell.terms import Match
from pages.ui.words import escape_markdown, format_rows, shorten

JOB = "benchmarks.job"  # key of the job that this tab started
PAGE = 100  # rows of a table of matches
ABOUT = (
    "Rows of a benchmark do not belong in training data. A row overlaps if prompt or response has 13 adjacent words of "
    "a benchmark's text, or half of its pairs of words."
)


def panel(pool: Pool) -> None:
    """Draw the benchmarks that the pool was compared with, and the form for another."""
    stored = list(benchmarks.list_benchmarks(cached.workspace().root, pool.fingerprint).values())
    with st.expander(
        "Overlap with benchmarks", icon=":material/fact_check:", key="benchmarks", on_change="rerun"
    ) as opened:
        if opened.open:
            st.caption(ABOUT)
            _finder(pool)
            for one in stored:
                _draw(pool, one)


# Comparing


def _finder(pool: Pool) -> None:
    """Draw the form that starts a comparison, or the progress of its job."""
    if jobs.follow(JOB):
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        file = st.selectbox(
            "Benchmark file",
            [str(path) for path in data_files.find_files()],
            index=None,
            format_func=lambda path: Path(path).name,
            accept_new_options=True,
            placeholder="Choose a file, or type a path",
            key="benchmarks.file",
        )
        name = st.text_input("Name (optional)", key="benchmarks.name", placeholder="the file name", width=200)
        show.action("Compare", "search", "benchmarks.start", _start, pool, file, name, disabled=not file)


def _start(pool: Pool, file: str, name: str) -> None:
    with state.failures_as_notices():
        path = str(roots.check_path(file))
        name = check_name(name.strip() or benchmarks.default_name([path]))
        command = ["decontaminate", pool.fingerprint, "--against", path, "--as", name]
        if cached.workspace().root != DEFAULT_WORKSPACE.absolute():
            command += ["--workspace", str(cached.workspace().root)]
        shown = show.pool_name(pool.name, pool.source)
        about = {"kind": "decontaminate", "key": name, "pool": pool.fingerprint, "pool_name": shown}
        state.set_widget(JOB, jobs.launch(command, title=f"Overlap of {shown} with {name}", about=about).id)


# Result


def _draw(pool: Pool, one: Benchmark) -> None:
    """Draw one benchmark: how many rows overlap, what can be done with them, and the matching texts."""
    with st.container(border=True):
        sides = ", ".join(f"{count:,} by {side}" for side, count in one.by_side.items() if count)
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(
                f"**{escape_markdown(one.name)}** · {format_rows(one.overlapping)} of {len(pool):,} overlap"
                + (f" ({sides})" if sides else ""),
                width="stretch",
            )
            overlapping = Filter(one.column, values=(0.0,), exclude=True)
            excluded = Filter(one.column, values=(0.0,))
            none = not one.overlapping
            pick = partial(state.pick, Match(overlapping, f"overlap with {one.name}"))
            show.action("Highlight", "highlight", f"benchmarks.pick.{one.name}", pick, disabled=none)
            is_excluded = excluded in state.settings().filters
            label = "Excluded" if is_excluded else "Exclude these rows"
            exclude = partial(state.change, filters=(*state.settings().filters, excluded))
            key = f"benchmarks.exclude.{one.name}"
            show.action(label, "filter_alt", key, exclude, disabled=none or is_excluded)
        files = ", ".join(file["name"] for file in one.files)
        st.caption(
            f"{escape_markdown(files)}: {format_rows(one.rows)}, {one.texts:,} texts; {one.short:,} of fewer than "
            f"{benchmarks.MIN_WORDS} words were compared only as part of their row."
        )
        if one.overlapping:
            _draw_matches(pool, one)


def _draw_matches(pool: Pool, one: Benchmark) -> None:
    """Draw the rows that overlap most, each with the benchmark's text."""
    matches = benchmarks.load_matches(cached.workspace().root, pool.fingerprint, one.name)
    shown = matches.slice(0, PAGE).to_pylist()
    listed = matches["row"].to_numpy()
    key = f"benchmarks.rows.{one.name}"

    def open_row() -> None:
        if cells := state.widget_value(key)["selection"]["cells"]:
            state.open_row(pool, listed, cells[0][0])

    table = [
        {
            "Words": 100 * match["coverage"],
            "Similarity": match["similarity"],
            "Row": shorten(_text(row, match["side"])),
            "Benchmark": shorten(match["text"]),
            "Where": f"{match['file']}, line {match['line']}",
        }
        for match, row in zip(shown, read_rows(pool, [match["row"] for match in shown]), strict=True)
    ]
    show.pick_row(
        table,
        key=key,
        on_select=open_row,
        row_height=34,
        height=min(420, 34 * (len(table) + 1) + 3),
        alt="Rows that overlap with the benchmark, each next to its text",
        column_config={
            "Words": st.column_config.NumberColumn(
                format="%.0f%%", width=70, help="Share of the text's words in a shared run"
            ),
            "Similarity": st.column_config.NumberColumn(format="%.2f", width=80),
            "Row": st.column_config.TextColumn(width=270),
            "Benchmark": st.column_config.TextColumn(width=270),
            "Where": st.column_config.TextColumn(width=140),
        },
    )
    if one.overlapping > PAGE:
        st.caption(
            f"The first {PAGE} of {format_rows(one.overlapping)}, most overlap first. Highlight them to list all."
        )


def _text(row: Any, side: str) -> str:
    return row.response or "" if side == "response" else row.prompt
