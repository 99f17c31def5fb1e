"""Curves of the overlap at every budget: at most three in colour, the others grey."""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
import streamlit as st

from core.analysis.comparison import Overlap
from core.schema import Pool
from pages.ui import glossary
from pages.ui.charts import figures, overlap, overlap_tables
from pages.ui.charts.overlap import Look
from pages.ui.compare.entries import SHARES, Comparison, Entry, overlap_curve
from pages.ui.controls.contenders import names_digest
from pages.ui.shell import show, state
from pages.ui.words import escape_markdown, join_words

TABLE_BUDGETS = (1, 2, 5, 10, 20, 30, 50, 75)  # percent: budgets of the table
MAX_LIT = 3  # curves drawn in colour; the others are grey


def draw(pool: Pool, comparison: Comparison, first: Entry, looks: Sequence[Look]) -> None:
    """Draw the overlap of the reference with every other contender at every budget."""
    tokens = comparison.tokens if comparison.budget.unit == "tokens" else None
    styles = {entry.label: look for entry, look in zip(comparison.entries, looks, strict=True)}
    others = [entry for entry in comparison.entries if entry is not first]
    overlaps = {entry.label: overlap_curve(first, entry, tokens, len(pool)) for entry in others}
    left, right = st.columns([13, 7], gap="medium")
    with right:
        lit = _choose_lit(overlaps)
        _explain(comparison, first, len(pool))
        _table(overlaps)
    grey = [name for name in overlaps if name not in lit]
    lines = [(styles[name].grey(), overlaps[name].jaccard) for name in grey]  # the first are drawn below the others
    lines += [(styles[name], overlaps[name].jaccard) for name in lit]
    rest = [overlap_tables.OTHERS] if grey else []
    with left:
        st.html(overlap_tables.legend([styles[name] for name in lit], *rest, overlap_tables.CHANCE_RANGE))
        show.chart(
            overlap.overlap_curves(
                SHARES,
                lines,
                np.nan_to_num(np.fmin.reduce([curve.low for curve in overlaps.values()])),
                np.nan_to_num(np.fmax.reduce([curve.high for curve in overlaps.values()])),
                at=min(_budget_percent(comparison, len(pool)), 100.0),
                unit="Budget (% of rows)" if tokens is None else "Budget (% of response tokens)",
            ),
            key="compare.curves",
            config=figures.CONFIG,
            alt=f"Overlap with {first.label} by budget, for each method, with the chance range",
        )


def _choose_lit(overlaps: Mapping[str, Overlap]) -> list[str]:
    """Draw the choice of the curves in colour, if there are too many; return their labels."""
    names = list(overlaps)
    if len(names) <= MAX_LIT:
        return names
    numbers = {
        one: ".".join(map(str, one)) for k in range(1, MAX_LIT + 1) for one in combinations(range(len(names)), k)
    }
    default = numbers[tuple(map(names.index, strongest(overlaps)))]
    kept = state.view_choice("curves", list(numbers.values()), f"compare.lit.{names_digest(names)}", default)
    lit = [names[int(number)] for number in str(state.widget_value(kept["key"])).split(".")]

    def take(picked: Sequence[str]) -> None:
        added = [name for name in picked if name not in lit]
        places = sorted(map(names.index, [*(name for name in lit if name in picked), *added][-MAX_LIT:]))
        if places:
            state.set_widget(kept["key"], numbers[tuple(places)])
            kept["on_change"]()

    show.choose_many(
        f"Curves in colour (at most {MAX_LIT})",
        names,
        help="The others are grey; hover over one for its name. At first, the three that differ most from chance.",
        **state.bind("compare.lit", lit, take),
    )
    return lit


def strongest(overlaps: Mapping[str, Overlap]) -> list[str]:
    """Return the labels of the MAX_LIT curves that differ most from chance, on average over all budgets."""

    def difference(name: str) -> float:
        return float(np.nanmean(np.abs(overlaps[name].jaccard - overlaps[name].expected)))

    furthest = sorted(overlaps, key=difference, reverse=True)[:MAX_LIT]
    return [name for name in overlaps if name in furthest]


def _explain(comparison: Comparison, first: Entry, n: int) -> None:
    partial_orders = [entry.label for entry in comparison.entries if len(entry.order.rows) < n]
    chance_range = glossary.link("chance_range", "chance range")
    sentences = [
        f"{glossary.link('overlap', 'Jaccard overlap')} with {escape_markdown(first.label)}.",
        f"The {chance_range} is that of random selections of the same sizes.",
    ]
    if partial_orders:
        eligible = glossary.link("eligible", "eligible")
        sentences.append(f"Some rows are not {eligible} for {escape_markdown(join_words(partial_orders))}.")
    st.markdown(f":small[{' '.join(sentences)}]")


def _budget_percent(comparison: Comparison, n: int) -> float:
    """Return the budget in percent of the pool's rows or response tokens."""
    total = {"percent": 100, "rows": n, "tokens": comparison.tokens}[comparison.budget.unit]
    return 100 * comparison.budget.amount / max(total, 1)


def _table(overlaps: Mapping[str, Overlap]) -> None:
    """Draw the curves as a table, for readers who cannot hover over them."""
    with st.expander("Show as table", icon=":material/table:"):
        at = np.searchsorted(SHARES, TABLE_BUDGETS)
        table: dict[str, list[str]] = {"Budget": [f"{share}%" for share in TABLE_BUDGETS]}
        table |= {name: [_format_overlap(curve, int(k)) for k in at] for name, curve in overlaps.items()}
        st.dataframe(pd.DataFrame(table), hide_index=True, height="content", alt="Overlap by budget")
        st.caption("Brackets: chance range.")


def _format_overlap(curve: Overlap, k: int) -> str:
    share, low, high = (100 * float(values[k]) for values in (curve.jaccard, curve.low, curve.high))
    return f"{share:.1f}% ({low:.1f}–{high:.1f})" if np.isfinite(share) else ""
