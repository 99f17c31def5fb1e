"""What is in a pool: headline, lengths and tasks, skipped rows, mapping, and a table of rows."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow.compute as pc
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.errors import WinnowError
from core.measurement.runs import list_runs
from core.pool import pools
from core.pool.schema_detection import SCHEMAS
from core.pool.validation import SET_ASIDE_SCHEMA
from core.schema import FieldMap, IntArray, Pool, Row
from core.workspace.files import atomic_path
from core.workspace.folder import content_key
from pages.ui import glossary
from pages.ui.charts import pool as pooldrawn
from pages.ui.data import cached
from pages.ui.pool import opening
from pages.ui.row import duplicates
from pages.ui.shell import show, state
from pages.ui.words import escape_markdown, the_model

PAGE = 100  # rows of the table sent to the browser at once
MAX_MATCHES = 10_000  # most rows that a search returns
CELL_LENGTH = 300  # characters of a text in the table
HEIGHT = 520  # pixels of the table and of the open row


def headline(pool: Pool) -> None:
    """Draw the name of the pool, its rows, tokens or characters, tasks, duplicates, skipped rows, and its source."""
    st.header(escape_markdown(show.pool_name(pool.name, pool.source)), anchor=False)
    if pool.source == pools.DEMO:
        st.markdown(f":small[{_describe_demo(pool)}]")
    names, _ = cached.tasks(pool)
    named = len([name for name in names if name is not None])
    prompt, response = cached.column_total(pool, "prompt_chars"), cached.column_total(pool, "response_chars")
    with st.grid(5, min_column_width=130):
        show.metric("Rows", show.format_count(len(pool)))
        tokens = _count_tokens(pool)
        if tokens is None:
            help = f"Prompts have {prompt:,}, responses {response:,}. Measuring counts tokens."
            show.metric("Characters", show.format_count(prompt + response), help=help)
        else:
            help = f"Tokens of {tokens[1]}. Prompts and responses have {prompt + response:,} characters."
            show.metric("Response tokens", show.format_count(tokens[0]), help=help)
        show.metric("Tasks", show.format_count(named) if named else "none")
        show.metric(
            "Exact duplicates",
            show.format_count(cached.count_duplicates(pool)),
            duplicates.count_words(pool),
            help="Exact duplicates have the same prompt and response as an earlier row, near-duplicates almost the "
            "same. All of them stay in the pool.",
        )
        show.metric(
            "Skipped rows",
            show.format_count(pool.set_aside.num_rows),
            help="Lines that cannot be used. They are listed below with the reason.",
        )
    schema, source = escape_markdown(pool.fields.schema), escape_markdown(pool.source)
    files = f" · {len(pool.files):,} files" if len(pool.files) > 1 else ""
    st.caption(f"{schema} schema · fingerprint {pool.fingerprint[:12]} · {source}{files}")
    for notice in pool.notices:
        st.caption(f":material/info: {escape_markdown(notice)}")


def _describe_demo(pool: Pool) -> str:
    tasks, bad = len(cached.tasks(pool)[0]), len(cached.answer_key(pool) or ())
    words = glossary.link("known_bad_rows", "known bad rows")
    return (
        f"The demo pool has short examples from {tasks} tasks. {bad} of them are {words}, planted on purpose (swapped "
        "or truncated responses, gibberish, duplicates), so that you can see which methods discard them."
    )


def _count_tokens(pool: Pool) -> tuple[int, str] | None:
    runs = list_runs(cached.workspace(), pool.fingerprint)
    if not runs:
        return None
    tokens = cached.measurements(runs[0]).columns["response_tokens"]
    return int(tokens.sum()), the_model(str(runs[0].model["name"]))


def pictures(pool: Pool) -> None:
    """Draw lengths and tasks, side by side."""
    left, right = st.columns(2)
    with left.container(border=True, height="stretch"):
        st.markdown("**Lengths** of prompts and responses")
        st.html(_length_histogram(pool))
    with right.container(border=True, height="stretch"):
        st.markdown("**Tasks** by number of rows")
        names, codes = cached.tasks(pool)
        if names == (None,):
            st.caption("No field is mapped to the task. You can choose one under Mapping.")
            return
        st.html(pooldrawn.task_bars(names, np.bincount(codes, minlength=len(names))))


@cached.keep()
def _length_histogram(pool: Pool) -> str:
    lengths = (cached.integer_column(pool, name) for name in ("prompt_chars", "response_chars"))
    return pooldrawn.length_histogram(*lengths)


def problems(pool: Pool) -> None:
    """Draw the skipped rows: how many for each reason, which they are, and all of them as a file."""
    if not pool.set_aside.num_rows:
        st.caption(":material/check_circle: All lines were read; no rows were skipped.")
        return
    counted = pc.value_counts(pool.set_aside["reason"]).to_pylist()
    ranked = sorted(counted, key=lambda one: (-one["counts"], one["values"]))
    words = ", ".join(f"{one['counts']:,} × {escape_markdown(one['values'])}" for one in ranked[:4])
    more = f" and {len(ranked) - 4} more reasons" if len(ranked) > 4 else ""
    number = pool.set_aside.num_rows
    label = f"{number:,} skipped {'row' if number == 1 else 'rows'}: {words}{more}"
    opened = st.expander(label, icon=":material/report:", key="set.aside", on_change="rerun")
    if opened.open:
        with opened:
            st.dataframe(
                pool.set_aside.slice(0, PAGE).to_pandas(),
                column_order=["file", *SET_ASIDE_SCHEMA.names],
                hide_index=True,
                key="set.aside.table",
                alt="Skipped rows, with the reason",
                column_config={
                    "file": st.column_config.TextColumn("file", width="small"),
                    "line": st.column_config.NumberColumn("line", format="%d", width="small"),
                    "reason": st.column_config.TextColumn("reason", width="medium"),
                    "text": st.column_config.TextColumn("beginning", width="large"),
                },
            )
            if pool.set_aside.num_rows > PAGE:
                st.caption(f"The table shows the first {PAGE} of {number:,}; the file has all.")
            show.download("Skipped rows (JSONL)", skipped_rows_file(pool), f"{pool.name}.skipped.jsonl")


def skipped_rows_file(pool: Pool) -> Path:
    """Write all skipped rows as JSONL, once, and return the file."""
    path = cached.workspace().folder("exports", pool.fingerprint) / "skipped.jsonl"
    if not path.exists():
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            for batch in pool.set_aside.to_batches(max_chunksize=10_000):
                file.writelines(orjson.dumps(one) + b"\n" for one in batch.to_pylist())
    return path


# Mapping


def mapping(pool: Pool) -> None:
    """Draw which field means what, and the form to change it."""
    label = f"Mapping: {escape_markdown(describe_mapping(pool.fields))}"
    with st.expander(label, icon=":material/schema:"), st.form("mapping", border=False):
        mapped = _mapping_form(pool.fields, pools.field_names(pool), f"map.{pool.fingerprint[:8]}")
        if st.form_submit_button("Apply mapping", icon=":material/refresh:"):
            opening.open_source(pool.source, fields=mapped, **pools.source_options(pool))
    not_read = pools.unread_fields(pool)
    if not_read:
        st.caption(f"Fields that are not read: {escape_markdown(', '.join(not_read))}.")


def describe_mapping(mapped: FieldMap) -> str:
    """Return a mapping in words: instruction + input → prompt, output → response, category → task."""
    if mapped.turns:
        parts = [f"{mapped.turns} → turns"]
    else:
        parts = [f"{' + '.join(mapped.prompt)} → prompt", f"{mapped.response or 'nothing'} → response"]
    others = {name: getattr(mapped, name) for name in ("system", "history", "tools", "task", "id")}
    return ", ".join([*parts, *(f"{field} → {name}" for name, field in others.items() if field)])


def _mapping_form(mapped: FieldMap, names: list[str], key: str) -> FieldMap:
    now = asdict(mapped)
    in_use = [value for name, value in now.items() if isinstance(value, str) and name != "schema"]
    names = list(dict.fromkeys([*names, *mapped.prompt, *in_use]))
    first, second, third = st.columns(3)
    schema = first.selectbox("Schema", list(SCHEMAS), index=list(SCHEMAS).index(mapped.schema), key=f"{key}.schema")
    with second:
        label = "Prompt (joined in the order picked)"
        prompt = show.choose_many(label, names, f"{key}.prompt", default=list(mapped.prompt))
    others = ("turns", "system", "history", "tools", "task", "id")
    places = {"response": third, **dict(zip(others, st.columns(6), strict=True))}
    picked = {name: _field_choice(place, names, now[name], name, key) for name, place in places.items()}
    return replace(mapped, schema=schema, prompt=tuple(prompt), **picked)


def _field_choice(place: DeltaGenerator, names: list[str], value: str | None, name: str, key: str) -> str | None:
    """Draw the choice of the field that has one meaning; return it, None for no field."""
    options, label = ["", *names], name.capitalize()
    index = options.index(value or "")
    return place.selectbox(label, options, index, key=f"{key}.{name}", format_func=lambda one: one or "none") or None


# Table

SORTS = {
    "file": ("file order", None, False),
    "longest": ("longest responses first", "response_chars", True),
    "shortest": ("shortest responses first", "response_chars", False),
    "long_prompt": ("longest prompts first", "prompt_chars", True),
    "short_prompt": ("shortest prompts first", "prompt_chars", False),
}


@st.fragment
def table(pool: Pool) -> None:
    """Draw all rows, a page at a time, and the selected one next to them."""
    names, _ = cached.tasks(pool)
    prefix = f"browse.{pool.fingerprint[:8]}"  # another pool starts afresh
    with st.container(horizontal=True, vertical_alignment="bottom"):
        text = st.text_input("Search prompts and responses", key=f"{prefix}.text", icon=":material/search:")
        task = st.selectbox(
            "Task",
            ["all", *range(len(names))],
            key=f"{prefix}.task",
            format_func=lambda one: "all" if one == "all" else names[one] or "no task",
        )
        sort = st.selectbox("Order", list(SORTS), key=f"{prefix}.sort", format_func=lambda one: SORTS[one][0])
        number = st.container(width=130)
    try:
        rows = matching_rows(pool, text, task, sort)
    except WinnowError as error:
        show.error(error)
        return
    if not len(rows):
        st.caption("No rows match. Change the search or the task.")
        return
    pages = -(-len(rows) // PAGE)
    view = f"{prefix}.{content_key({'text': text, 'task': task, 'sort': sort})}"  # another view starts on page 1
    start = PAGE * (number.number_input("Page", 1, pages, key=f"{view}.page", disabled=pages == 1) - 1)
    opened = pools.read_rows(pool, rows[start : start + PAGE].tolist())
    _draw_rows(pool, rows, start, opened, f"{view}.{start}")
    limit = f"; a search finds at most {MAX_MATCHES:,}" if text.strip() and len(rows) == MAX_MATCHES else ""
    st.caption(f"Rows {start + 1:,}–{start + len(opened):,} of {len(rows):,}{limit}. Click a row to open it.")


def matching_rows(pool: Pool, text: str, task: Any, sort: str) -> IntArray:
    """Return the rows that match, in the order `sort`."""
    _, column, descending = SORTS[sort]
    order = np.arange(len(pool)) if column is None else cached.sorted_rows(pool, column, descending=descending)
    if task != "all":
        order = order[cached.tasks(pool)[1][order] == task]
    return order[np.isin(order, cached.search_rows(pool, text.strip(), MAX_MATCHES))] if text.strip() else order


def _draw_rows(pool: Pool, listed: IntArray, start: int, rows: Sequence[Row], key: str) -> None:
    """Draw one page of rows as a table; a click opens a row in the reader."""

    def take() -> None:
        if cells := state.widget_value(key)["selection"]["cells"]:
            state.open_row(pool, listed, start + cells[0][0])

    text, number = st.column_config.TextColumn, st.column_config.NumberColumn
    table = [
        {
            "file": row.file,
            "line": row.line,
            "task": row.task,
            "prompt": row.prompt[:CELL_LENGTH],
            "response": row.response and row.response[:CELL_LENGTH],
            "characters": len(row.prompt) + len(row.response or ""),
        }
        for row in rows
    ]
    show.pick_row(
        table,
        alt="Rows of the pool",
        height=HEIGHT,
        key=key,
        on_select=take,
        row_height=34,
        column_order=[name for name in table[0] if name not in ("file", "task") or any(one[name] for one in table)],
        column_config={
            "file": text(width=90),
            "line": number(format="%d", width=50),
            "task": text(width=105),
            "prompt": text(width=180),
            "response": text(width=180),
            "characters": number(format="localized", width=80),
        },
    )
