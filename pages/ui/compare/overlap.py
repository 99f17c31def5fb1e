"""The parts of the Compare page that say how much the contenders share: the title, the curves, the tables, the sets."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import streamlit as st

from core.analysis.comparison import Overlap, expected_overlap, jaccard
from core.schema import Pool
from pages.ui.charts import figures, overlap, overlap_tables
from pages.ui.charts.overlap import Look
from pages.ui.compare import contenders
from pages.ui.compare import entries as comparefield
from pages.ui.compare.entries import Comparison, Entry
from pages.ui.data.bins import Values
from pages.ui.shell import show, state
from pages.ui.words import escape_markdown, format_rows, join_words

TABLE_BUDGETS = (1, 2, 5, 10, 20, 30, 50, 75)  # percent: budgets of the table


def looks(entries: Sequence[Entry]) -> list[Look]:
    """How each is drawn, in every figure."""
    as_set = [e.contender.method if e.contender.params is None else "" for e in entries]
    return overlap.looks([e.label for e in entries], as_set)


def overlaps_and_chance(known: Comparison) -> tuple[Values, Values, Values, Values]:
    """(C, C) overlap of each two at the budget; what chance gives on average, at least and at most."""
    able, sizes = known.eligible.shared(), known.sizes
    n, a, b = np.diag(able), sizes[:, None], sizes[None, :]
    chance = expected_overlap(able, n[:, None], n[None, :], *np.broadcast_arrays(a, b))
    return jaccard(known.patterns.shared(), a, b), *chance


def headline(known: Comparison, first: Entry) -> str:
    """The answer: whom the reference is closest to, and what chance would give."""
    place = list(known.entries).index(first)
    share, chance, _, high = (values[place] for values in overlaps_and_chance(known))
    others = [k for k in range(len(known.entries)) if k != place and np.isfinite(share[k])]
    if not others:
        return f"{first.label} takes no row at this budget"
    nearest = max(others, key=lambda k: share[k] - chance[k])
    other, alone = known.labels[nearest], len(others) == 1
    budget = show.format_budget(known.budget)
    one, usual = _percent(share[nearest]), _percent(chance[nearest])
    if share[nearest] > high[nearest]:
        verb = "agrees with" if alone else "is closest to"
        return f"At {budget}, {first.label} {verb} {other}: overlap {one}, by chance {usual}"
    whom = f"{other} no more" if alone else "no other more"
    most = "overlap" if alone else "overlap at most"
    return f"At {budget}, {first.label} agrees with {whom} than by chance: {most} {one}, by chance {usual}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.0995 else f"{100 * share:.1f} %"


def summary(known: Comparison, first: Entry) -> str:
    """How the reference stands to all others, and which rows all of them take; markdown."""
    place = list(known.entries).index(first)
    share, _, low, high = (values[place] for values in overlaps_and_chance(known))
    others = [k for k in range(len(known.entries)) if k != place and np.isfinite(share[k])]
    found = {
        "more than by chance with": [k for k in others if share[k] > high[k]],
        "no more than by chance with": [k for k in others if low[k] <= share[k] <= high[k]],
        "less than by chance with": [k for k in others if share[k] < low[k]],
    }
    said = [
        f"{words} {escape_markdown(join_words([known.labels[k] for k in places]))}"
        for words, places in found.items()
        if places
    ]
    every = int(known.patterns.counts[-1])
    taken = f"{format_rows(every)} {'is' if every == 1 else 'are'} taken by all" if every else "No row is taken by all"
    return f"**{escape_markdown(first.label)}** agrees {'; '.join(said)}. {taken}."


def curves(pool: Pool, known: Comparison, first: Entry, named: Sequence[Look]) -> None:
    """Overlap of the reference with every other at every budget."""
    tokens = known.tokens if known.budget.unit == "tokens" else None
    pairs = [(e, look) for e, look in zip(known.entries, named, strict=True) if e is not first]
    found = [comparefield.overlap_curve(first, entry, tokens, len(pool)) for entry, _ in pairs]
    st.html(overlap_tables.legend([look for _, look in pairs], overlap_tables.CHANCE))
    st.plotly_chart(
        overlap.overlap_curves(
            comparefield.SHARES,
            [(look, one.jaccard) for (_, look), one in zip(pairs, found, strict=True)],
            np.nan_to_num(np.fmin.reduce([one.low for one in found])),
            np.nan_to_num(np.fmax.reduce([one.high for one in found])),
            at=min(_place(known, len(pool)), 100.0),
            unit="budget, in rows of the pool" if tokens is None else "budget, in response tokens of the pool",
        ),
        key="compare.curves",
        config=figures.CONFIG,
        alt=f"Overlap with {first.label} by budget, for each contender, with chance as a grey band",
    )
    partial = [entry.label for entry in known.entries if len(entry.order.rows) < len(pool)]
    st.caption(
        f"Overlap with {escape_markdown(first.label)} at every budget: of the rows that either takes, the share that "
        "both take. In the grey band lie 95 % of random subsets of the same sizes, over all pairs drawn; the table "
        "below has it for each pair."
        + (f" Not every row has a place in {escape_markdown(join_words(partial))}." if partial else "")
    )
    _tabled({entry.label: one for (entry, _), one in zip(pairs, found, strict=True)})


def _place(known: Comparison, n: int) -> float:
    """The budget in percent of the pool's rows or response tokens."""
    whole = {"percent": 100, "rows": n, "tokens": known.tokens}[known.budget.unit]
    return 100 * known.budget.amount / max(whole, 1)


def _tabled(found: Mapping[str, Overlap]) -> None:
    """The same curves as figures, for who cannot hover over them."""
    with st.expander("The same as a table", icon=":material/table:"):
        at = np.searchsorted(comparefield.SHARES, TABLE_BUDGETS)
        table: dict[str, list[str]] = {"Budget": [f"{share} %" for share in TABLE_BUDGETS]}
        table |= {name: [_beside(one, int(k)) for k in at] for name, one in found.items()}
        st.dataframe(pd.DataFrame(table), hide_index=True, height="content", alt="Overlap by budget")
        st.caption("In brackets where 95 % of random subsets lie.")


def _beside(one: Overlap, k: int) -> str:
    share, low, high = (100 * float(values[k]) for values in (one.jaccard, one.low, one.high))
    return f"{share:.1f} % ({low:.1f} to {high:.1f})" if np.isfinite(share) else ""


def pair_tables(known: Comparison) -> None:
    """Two tables: overlap at the budget, and how whole orders go together."""
    left, right = st.columns(2, gap="medium")
    with left:
        st.markdown(f"**Overlap at {escape_markdown(show.format_budget(known.budget))}, in %**")
        st.html(overlap_tables.overlap_table(known.labels, *overlaps_and_chance(known)))
        st.caption("In brackets what chance gives. Blue: more than chance; grey: no other than chance; red: less.")
    with right:
        st.markdown("**Rank correlation of whole orders**")
        st.html(overlap_tables.correlation_table(known.labels, comparefield.order_correlations(known.entries)))
        st.caption("Spearman over the rows that both can choose: 1 = the same order, 0 = unrelated, −1 = turned round.")


def exclusive_sets(known: Comparison, named: Sequence[Look]) -> int | None:
    """Rows by exactly who takes them; the combination that is clicked."""
    event = st.plotly_chart(
        overlap.exclusive_sets(known.patterns, named),
        key=f"compare.sets.{contenders.names_digest(known.labels)}",
        config=figures.CONFIG,
        on_select="rerun",
        selection_mode="points",
        alt="Rows by exactly which contenders take them; the list below opens the same sets",
    )
    there = len(known.patterns.pattern_counts())
    rest = f" The {overlap.MAX_COMBINATIONS} largest of {there} sets." if there > overlap.MAX_COMBINATIONS else ""
    st.caption(f"Each row counts once, above those that take it; blue: all do. Click a bar to read its rows.{rest}")
    clicked = [point["customdata"] for point in event["selection"]["points"] if point.get("customdata")]
    return int(clicked[0][0]) if clicked else None


def comparison_terms(entries: Sequence[Entry]) -> str:
    """Under what filters and pins the orders are compared, as one sentence."""
    filters = len(state.settings().filters)
    words = f"under the {filters} filter{'s' if filters > 1 else ''} in force" if filters else "over the whole pool"
    saved = any(entry.contender.saved for entry in entries)
    more = " Saved selections keep their own filters and pins, cut at the same budget." if saved else ""
    drawn = any(entry.contender.method == "random" for entry in entries)
    more += " Random has a seed of its own, so that it repeats no other method's draws." if drawn else ""
    return f"Orders are compared {words} and without pins.{more}"
