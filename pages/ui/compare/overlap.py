"""What the contenders share: headline, overlap curves, tables of pairs, and sets of rows."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import streamlit as st

from core.analysis.comparison import Overlap, expected_overlap, jaccard
from core.schema import Pool
from pages.ui.charts import figures, overlap, overlap_tables
from pages.ui.charts.overlap import Look
from pages.ui.compare import contenders
from pages.ui.compare.entries import SHARES, Comparison, Entry, order_correlations, overlap_curve
from pages.ui.data.bins import Values
from pages.ui.shell import show, state
from pages.ui.words import escape_markdown, format_rows, join_words

TABLE_BUDGETS = (1, 2, 5, 10, 20, 30, 50, 75)  # percent: budgets of the table


def looks(entries: Sequence[Entry]) -> list[Look]:
    """Return the look of each contender, the same in every figure."""
    methods = [e.contender.method if e.contender.params is None else "" for e in entries]
    return overlap.looks([e.label for e in entries], methods)


def overlaps_and_chance(comparison: Comparison) -> tuple[Values, Values, Values, Values]:
    """Return the overlaps at the budget, and their mean and 95 % range expected by chance; (C, C) each."""
    eligible, sizes = comparison.eligible.shared(), comparison.sizes
    n, a, b = np.diag(eligible), sizes[:, None], sizes[None, :]
    chance = expected_overlap(eligible, n[:, None], n[None, :], *np.broadcast_arrays(a, b))
    return jaccard(comparison.patterns.shared(), a, b), *chance


def _overlaps_of(comparison: Comparison, first: Entry) -> tuple[list[Values], list[int]]:
    """Return the overlaps of one entry and their chance, (C,) each; and the other entries with a defined overlap."""
    reference = list(comparison.entries).index(first)
    values = [matrix[reference] for matrix in overlaps_and_chance(comparison)]
    return values, [k for k in np.flatnonzero(np.isfinite(values[0])).tolist() if k != reference]


def headline(comparison: Comparison, first: Entry) -> str:
    """Return the heading: the contender closest to the reference, and the overlap expected by chance."""
    (share, chance, _, high), others = _overlaps_of(comparison, first)
    if not others:
        return f"{first.label} takes no row at this budget"
    nearest = max(others, key=lambda k: share[k] - chance[k])
    other, alone = comparison.labels[nearest], len(others) == 1
    budget = show.format_budget(comparison.budget)
    actual, expected = _format_percent(share[nearest]), _format_percent(chance[nearest])
    if share[nearest] > high[nearest]:
        verb = "agrees with" if alone else "is closest to"
        return f"At {budget}, {first.label} {verb} {other}: overlap {actual}, by chance {expected}"
    whom = f"{other} no more" if alone else "no other more"
    most = "overlap" if alone else "overlap at most"
    return f"At {budget}, {first.label} agrees with {whom} than by chance: {most} {actual}, by chance {expected}"


def _format_percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.0995 else f"{100 * share:.1f} %"


def summary(comparison: Comparison, first: Entry) -> str:
    """Return, as markdown, how the reference overlaps with all others, and how many rows all of them select."""
    (share, _, low, high), others = _overlaps_of(comparison, first)
    groups = {
        "more than by chance with": [k for k in others if share[k] > high[k]],
        "no more than by chance with": [k for k in others if low[k] <= share[k] <= high[k]],
        "less than by chance with": [k for k in others if share[k] < low[k]],
    }
    parts = [
        f"{words} {escape_markdown(join_words([comparison.labels[k] for k in places]))}"
        for words, places in groups.items()
        if places
    ]
    shared = int(comparison.patterns.counts[-1])
    taken = f"{format_rows(shared)} {'is' if shared == 1 else 'are'}" if shared else "No row is"
    return f"**{escape_markdown(first.label)}** agrees {'; '.join(parts)}. {taken} taken by all."


def curves(pool: Pool, comparison: Comparison, first: Entry, styles: Sequence[Look]) -> None:
    """Draw the overlap of the reference with every other contender at every budget."""
    tokens = comparison.tokens if comparison.budget.unit == "tokens" else None
    pairs = [(e, look) for e, look in zip(comparison.entries, styles, strict=True) if e is not first]
    overlaps = [overlap_curve(first, entry, tokens, len(pool)) for entry, _ in pairs]
    st.html(overlap_tables.legend([look for _, look in pairs], overlap_tables.CHANCE))
    st.plotly_chart(
        overlap.overlap_curves(
            SHARES,
            [(look, curve.jaccard) for (_, look), curve in zip(pairs, overlaps, strict=True)],
            np.nan_to_num(np.fmin.reduce([curve.low for curve in overlaps])),
            np.nan_to_num(np.fmax.reduce([curve.high for curve in overlaps])),
            at=min(_budget_percent(comparison, len(pool)), 100.0),
            unit="budget, in rows of the pool" if tokens is None else "budget, in response tokens of the pool",
        ),
        key="compare.curves",
        config=figures.CONFIG,
        alt=f"Overlap with {first.label} by budget, for each contender, with chance as a grey band",
    )
    partial = [entry.label for entry in comparison.entries if len(entry.order.rows) < len(pool)]
    st.caption(
        f"Overlap with {escape_markdown(first.label)} at every budget: of the rows that either takes, the share that "
        "both take. In the grey band lie 95 % of random subsets of the same sizes, over all pairs drawn; the table "
        "below has it for each pair."
        + (f" Not every row has a place in {escape_markdown(join_words(partial))}." if partial else "")
    )
    _curve_table({entry.label: curve for (entry, _), curve in zip(pairs, overlaps, strict=True)})


def _budget_percent(comparison: Comparison, n: int) -> float:
    """Return the budget in percent of the pool's rows or response tokens."""
    total = {"percent": 100, "rows": n, "tokens": comparison.tokens}[comparison.budget.unit]
    return 100 * comparison.budget.amount / max(total, 1)


def _curve_table(overlaps: Mapping[str, Overlap]) -> None:
    """Draw the curves as a table, for readers who cannot hover over them."""
    with st.expander("The same as a table", icon=":material/table:"):
        at = np.searchsorted(SHARES, TABLE_BUDGETS)
        table: dict[str, list[str]] = {"Budget": [f"{share} %" for share in TABLE_BUDGETS]}
        table |= {name: [_format_overlap(curve, int(k)) for k in at] for name, curve in overlaps.items()}
        st.dataframe(pd.DataFrame(table), hide_index=True, height="content", alt="Overlap by budget")
        st.caption("In brackets where 95 % of random subsets lie.")


def _format_overlap(curve: Overlap, k: int) -> str:
    share, low, high = (100 * float(values[k]) for values in (curve.jaccard, curve.low, curve.high))
    return f"{share:.1f} % ({low:.1f} to {high:.1f})" if np.isfinite(share) else ""


def pair_tables(comparison: Comparison) -> None:
    """Draw two tables: overlap at the budget, and rank correlation of whole orders."""
    left, right = st.columns(2, gap="medium")
    with left:
        st.markdown(f"**Overlap at {escape_markdown(show.format_budget(comparison.budget))}, in %**")
        st.html(overlap_tables.overlap_table(comparison.labels, *overlaps_and_chance(comparison)))
        st.caption("In brackets what chance gives. Blue: more than chance; grey: no other than chance; red: less.")
    with right:
        st.markdown("**Rank correlation of whole orders**")
        st.html(overlap_tables.correlation_table(comparison.labels, order_correlations(comparison.entries)))
        st.caption("Spearman over the rows that both can choose: 1 = the same order, 0 = unrelated, −1 = turned round.")


def exclusive_sets(comparison: Comparison, styles: Sequence[Look]) -> int | None:
    """Draw the number of rows by exactly who selects them. Return the code of the combination that is clicked."""
    event = st.plotly_chart(
        overlap.exclusive_sets(comparison.patterns, styles),
        key=f"compare.sets.{contenders.names_digest(comparison.labels)}",
        config=figures.CONFIG,
        on_select="rerun",
        selection_mode="points",
        alt="Rows by exactly which contenders take them; the list below opens the same sets",
    )
    count = len(comparison.patterns.pattern_counts())
    rest = f" The {overlap.MAX_COMBINATIONS} largest of {count} sets." if count > overlap.MAX_COMBINATIONS else ""
    st.caption(f"Each row counts once, above those that take it; blue: all do. Click a bar to read its rows.{rest}")
    clicked = [point["customdata"] for point in event["selection"]["points"] if point.get("customdata")]
    return int(clicked[0][0]) if clicked else None


def comparison_terms(entries: Sequence[Entry]) -> str:
    """Return one sentence on the filters and pins under which the orders are compared."""
    filters = len(state.settings().filters)
    words = f"under the {filters} filter{'s' if filters > 1 else ''} in force" if filters else "over the whole pool"
    saved = any(entry.contender.saved for entry in entries)
    more = " Saved selections keep their own filters and pins, cut at the same budget." if saved else ""
    random = any(entry.contender.method == "random" for entry in entries)
    more += " Random has a seed of its own, so that it repeats no other method's draws." if random else ""
    return f"Orders are compared {words} and without pins.{more}"
