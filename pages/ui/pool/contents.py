"""What is in a pool: headline, lengths and tasks, skipped rows, and mapping."""

from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import orjson
import pyarrow.compute as pc
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.measurement.runs import list_runs
from core.pool import pools
from core.pool.schema_detection import SCHEMAS
from core.pool.validation import SET_ASIDE_SCHEMA
from core.schema import BoolArray, FieldMap, Pool
from core.workspace.files import atomic_path
from pages.ui import glossary
from pages.ui.charts import pool as charts
from pages.ui.controls import pick_bars
from pages.ui.data import cached
from pages.ui.pool import opening, rows
from pages.ui.row import duplicates
from pages.ui.shell import show, state
from pages.ui.words import escape_markdown, the_model

PAGE = 100  # skipped rows sent to the browser at once


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


def pictures(pool: Pool, highlight: BoolArray | None) -> None:
    """Draw lengths and tasks, side by side; a click on a task highlights its rows."""
    left, right = show.columns(2)
    with left.container(border=True, height="stretch"):
        st.markdown("**Lengths** of prompts and responses")
        st.html(_length_histogram(pool, _digest(highlight), highlight))
    with right.container(border=True, height="stretch"):
        st.markdown("**Tasks** by number of rows")
        names, codes = cached.tasks(pool)
        if names == (None,):
            st.caption("No field is mapped to the task. You can choose one under Mapping.")
            return
        lit = None if highlight is None else np.bincount(codes[highlight], minlength=len(names))
        html = charts.task_bars(names, np.bincount(codes, minlength=len(names)), lit)
        pick_bars.draw(html, "pool.tasks", lambda key: state.pick(rows.bar_term(names, int(key))))


def _digest(highlight: BoolArray | None) -> str:
    return "" if highlight is None else sha256(np.packbits(highlight)).hexdigest()


@cached.keep()
def _length_histogram(pool: Pool, key: str, _highlight: BoolArray | None) -> str:
    lengths = (cached.integer_column(pool, name) for name in ("prompt_chars", "response_chars"))
    return charts.length_histogram(*lengths, highlight=_highlight)


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
