"""The controls of the Compare page: who is compared, with whom, and what can be added."""

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from core.errors import WinnowError
from core.measurement.imported import import_score, numeric_fields
from core.measurement.runs import Run, reads_alike
from core.methods import build_method
from core.schema import Pool
from pages.ui.compare import contenders
from pages.ui.compare.contenders import MAX_CONTENDERS
from pages.ui.compare.entries import Entry
from pages.ui.data import cached
from pages.ui.shell import state
from pages.ui.shell.state import Contender
from pages.ui.words import escape_markdown


def choose_contenders(found: Sequence[Contender], picked: Sequence[Contender]) -> None:
    """Which of all there are, in the order they were picked."""
    named = contenders.name_contenders(found)
    key = state.set_widget("compare.who", [next(name for name, one in named.items() if one == p) for p in picked])
    st.multiselect(
        "Compare",
        list(named),
        max_selections=MAX_CONTENDERS,
        key=key,
        help="Methods as they are set, kept variants, imported scores and saved selections, of what is measured.",
        on_change=lambda: _take(named, state.widget_value(key)),
    )


def _take(named: Mapping[str, Contender], names: Sequence[str]) -> None:
    state.change(contenders=tuple(named[name] for name in names))


def choose_reference(entries: Sequence[Entry]) -> Entry:
    """The one that all others are held against: the first, unless another was chosen in this tab."""
    names = [entry.label for entry in entries]
    picked = st.selectbox(
        "against",
        names,
        key=f"compare.reference.{contenders.names_digest(names)}",
        help="The curves, the title and the strongest disagreements are about this one.",
    )
    return entries[names.index(picked)]


# More to compare


def add_panel(pool: Pool, runs: Sequence[Run], picked: Sequence[Contender]) -> None:
    """Add the method in use as it is set now, or a score that the rows brought along."""
    with st.popover("Add", icon=":material/add:", width="stretch"):
        if len(picked) >= MAX_CONTENDERS:
            st.caption(f"{MAX_CONTENDERS} are compared already. Take one away first.")
            return
        _variant(picked)
        _imported(pool, runs, picked)


def _variant(picked: Sequence[Contender]) -> None:
    now = contenders.make_variant(state.method())
    st.markdown("**A method as it is set now**")
    st.caption("It stays as it is when you go on tuning, so that the two can be compared.")
    st.text(now.label)
    st.button(
        "Keep to compare",
        key="compare.keep",
        icon=":material/bookmark_add:",
        disabled=now in picked,
        on_click=lambda: state.change(contenders=(*picked, now)),
    )


def _imported(pool: Pool, runs: Sequence[Run], picked: Sequence[Contender]) -> None:
    st.markdown("**A score that the rows brought along**")
    fields = list(_fields(pool.fingerprint, pool))
    now = state.settings().reading
    counted = next((run for run in runs if reads_alike(run, now)), None)
    if not fields or counted is None:
        st.caption("No field of these rows holds numbers." if not fields else "Measure any method first.")
        return
    field = st.selectbox("Field", fields, key="compare.field")
    end = st.segmented_control("Take first", ["high", "low"], default="high", required=True, key="compare.end")
    st.button(
        "Add this score",
        key="compare.import",
        icon=":material/input:",
        on_click=_import,
        args=(pool, counted, str(field), str(end), tuple(picked)),
    )


@st.cache_resource(show_spinner=False, max_entries=cached.MAX_POOLS)
def _fields(fingerprint: str, _pool: Pool) -> Mapping[str, int]:
    return numeric_fields(_pool)


def _import(pool: Pool, counted: Run, field: str, end: str, picked: Sequence[Contender]) -> None:
    params: dict[str, Any] = {"field": field, "end": end}
    now = state.settings()
    try:
        method = build_method("imported", params)
        if contenders.find_run_of(pool, contenders.list_pool_runs(pool), Contender("imported", params)) is None:
            import_score(cached.workspace(), pool, method, counted, now.seed)  # type: ignore[arg-type]
    except WinnowError as error:
        state.leave_notice(str(error))
        return
    state.change(contenders=(*picked, Contender("imported", params)))


def show_refused(sentences: Sequence[str]) -> None:
    """Who has no order under these filters, and why."""
    for sentence in sentences:
        st.warning(escape_markdown(sentence), icon=":material/warning:")
