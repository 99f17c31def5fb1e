"""Controls of the Compare page: contenders, reference, and contenders to add."""

from collections.abc import Sequence
from functools import partial

import streamlit as st

from core.measurement.imported import numeric_fields
from core.measurement.runs import Run
from core.methods.combined import NAME as COMBINED
from core.schema import Pool
from pages.ui.compare import entries, overlap
from pages.ui.compare.entries import Entry
from pages.ui.controls import contenders, imported
from pages.ui.controls.contenders import MAX_CONTENDERS
from pages.ui.data import cached
from pages.ui.shell import show, state
from pages.ui.shell.state import Contender


def draw(pool: Pool) -> tuple[list[Entry], Entry | None]:
    """Draw what is compared. Return its entries and the reference; None if they are fewer than two."""
    runs = contenders.list_pool_runs(pool)
    candidates = contenders.available(pool, runs)
    current = contenders.current_contenders(candidates)
    built, refused = entries.build_entries(pool, runs, current)
    reference = None
    with st.container(horizontal=True, vertical_alignment="bottom"):
        with st.popover(f"{len(current)} compared", icon=":material/compare_arrows:"):
            choose_contenders(candidates, current)
            st.caption(overlap.comparison_terms(built))
            add_panel(pool, current)
        if len(built) > 1:
            reference = choose_reference(built)
        combine_button()
    show.warning(*refused)
    return built, reference


def choose_contenders(candidates: Sequence[Contender], current: Sequence[Contender]) -> None:
    """Draw the choice of contenders, in the order in which they were picked."""
    by_label = contenders.name_contenders(candidates)
    labels = [next(name for name, contender in by_label.items() if contender == picked) for picked in current]

    def set_contenders(names: Sequence[str]) -> None:
        if len(names) > MAX_CONTENDERS:
            state.leave_notice(f"At most {MAX_CONTENDERS} can be compared. Remove one first.")
        state.change(contenders=tuple(by_label[name] for name in names[:MAX_CONTENDERS]))

    show.choose_many(
        "Methods",
        list(by_label),
        help="Measured methods (current settings), saved variants, imported scores, saved selections.",
        **state.bind("compare.who", labels, set_contenders),
    )


def choose_reference(built: Sequence[Entry]) -> Entry:
    """Return the contender that the others are compared with: the current method, unless another was chosen."""
    names, now = [entry.label for entry in built], state.settings().method
    current = next((e.label for e in built if (e.contender.method, e.contender.params) == (now, None)), names[0])
    key = f"compare.reference.{contenders.names_digest(names)}.{now}"  # another method is another reference
    picked = st.selectbox(
        "Reference",
        names,
        help="The verdict, the curves, the chance range and the disagreements refer to this one.",
        width=260,
        **state.view_choice("reference", names, key, current),
    )
    return built[names.index(picked)]


def combine_button() -> None:
    """Draw the button that leads to Select, where a combination is set up as a method."""
    if st.button("Combine methods on Select", icon=":material/merge:", key="compare.combine", type="tertiary"):
        state.change(method=COMBINED, threshold=None)
        st.switch_page(show.PAGES["select"]["page"])


# More to compare

_numeric_fields = cached.keep(cached.MAX_POOLS)(numeric_fields)


def add_panel(pool: Pool, current: Sequence[Contender]) -> None:
    """Draw what can be added: the current method with its parameters, or a score of another tool."""
    if len(current) >= MAX_CONTENDERS:
        st.caption(f"At most {MAX_CONTENDERS} can be compared. Remove one to add a variant or a score.")
        return
    if state.is_set_up(state.settings().method):
        _variant_form(current)
    _import_form(pool, current)


def _variant_form(current: Sequence[Contender]) -> None:
    variant = contenders.make_variant(state.method())
    st.markdown("**Variant with the current settings**")
    st.caption("The variant keeps these settings while you change the method, so that you can compare the two.")
    st.text(variant.label)
    keep = partial(state.change, contenders=(*current, variant))
    show.action("Add variant", "bookmark_add", "compare.keep", keep, disabled=variant in current)


def _import_form(pool: Pool, current: Sequence[Contender]) -> None:
    st.markdown("**Score from another tool**")
    ends = imported.good_ends(pool.fingerprint)
    fields, measured = [*ends, *_numeric_fields(pool)], imported.find_measured(pool)
    if not fields or measured is None:
        st.caption(
            "The rows have no numeric field. Import scores on Pool." if not fields else "Measure any method first."
        )
        return
    field = str(st.selectbox("Field", fields, key="compare.field"))
    if field in ends:
        end = ends[field]
        st.caption(f"The {end}est is best, as chosen on import.")
    else:
        end = show.choose("Prefer", {"high": "Highest", "low": "Lowest"}, "compare.end")
    show.action("Add score", "input", "compare.import", _import_score, pool, measured, field, end, tuple(current))


def _import_score(pool: Pool, measured: Run, field: str, end: str, current: Sequence[Contender]) -> None:
    contender = Contender("imported", {"field": field, "end": end})
    with state.failures_as_notices():
        imported.make_run(pool, measured, contender)
        state.change(contenders=(*current, contender))
