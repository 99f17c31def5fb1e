"""Compare page: how far the methods agree."""

import streamlit as st

from pages.ui.compare import entries, overlap, picker, tabs
from pages.ui.controls import budget, contenders
from pages.ui.shell import hints, running, show, state
from pages.ui.words import escape_markdown

pool = state.need_pool()


@st.fragment
def compare() -> None:
    """Draw the page; a new budget only cuts the cached orders at another place."""
    top = st.container()
    top.title("Compare", anchor=False)
    runs = contenders.list_pool_runs(pool)
    available_contenders = contenders.available(pool, runs)
    if not available_contenders:
        for job in running.measuring(pool)[:1]:
            running.wait_page(job, "The first method is being measured")
        show.empty_page(
            "Nothing is measured yet", "Measure a method; the random baseline comes with it.", page="measure"
        )
    current, panel = contenders.current_contenders(available_contenders), st.container(border=True)
    who, against, more = panel.columns([6, 2, 1], vertical_alignment="bottom")
    with who:
        picker.choose_contenders(available_contenders, current)
    with more:
        picker.add_panel(pool, runs, current)
    built, refused = entries.build_entries(pool, runs, current)
    if len(built) < 2:
        show.warning(*refused)
        st.info("Choose at least two methods to compare.", icon=":material/compare_arrows:")
        return
    with against:
        reference = picker.choose_reference(built)
    comparison = entries.compare_entries(built, state.budget(), len(pool))
    with panel:
        _budget(comparison, reference)
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(overlap.comparison_terms(built), width="stretch")
            picker.combine_button()
    show.warning(*refused)
    with top:
        _verdict(comparison, reference)
    tabs.draw(pool, comparison, reference)


def _verdict(comparison: entries.Comparison, reference: entries.Entry) -> None:
    st.subheader(escape_markdown(overlap.headline(comparison, reference)), anchor=False)
    hints.draw("compare")
    st.markdown(overlap.summary(comparison, reference))
    show.note(" ".join(overlap.shortfalls(comparison, len(pool))))


def _budget(comparison: entries.Comparison, reference: entries.Entry) -> None:
    """Draw the budget that all pages share."""
    base = entries.base_entry(comparison.entries)
    budget.budget(pool, base.run, comparison.selection(reference), order_key=reference.key)


with show.errors():
    compare()
