"""What the contenders share: verdict, overlap curves, tables of pairs, and sets of rows."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import streamlit as st

from core.analysis.comparison import Overlap, expected_overlap, jaccard
from core.schema import Pool
from core.selection.selection import describe_shortfall
from pages.ui import glossary
from pages.ui.charts import figures, overlap, overlap_tables
from pages.ui.charts.overlap import Look
from pages.ui.compare import contenders
from pages.ui.compare.entries import SHARES, Comparison, Entry, order_correlations, overlap_curve
from pages.ui.data.bins import Values
from pages.ui.shell import show, state
from pages.ui.words import escape_markdown, format_rows, join_words

TABLE_BUDGETS = (1, 2, 5, 10, 20, 30, 50, 75)  # percent: budgets of the table
MAX_NARROW = 5  # entries of a table of pairs that fits into half of the page
MAX_LIT = 3  # curves drawn in colour; the others are grey


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
    """Return the overlaps of one entry and their chance, (C,) each; and the other entries that select rows."""
    reference = list(comparison.entries).index(first)
    values = [matrix[reference] for matrix in overlaps_and_chance(comparison)]
    return values, [k for k in np.flatnonzero(comparison.sizes).tolist() if k != reference]


def headline(comparison: Comparison, first: Entry) -> str:
    """Return the verdict: the contender closest to the reference, and the overlap expected by chance."""
    (share, chance, _, high), others = _overlaps_of(comparison, first)
    at = f"At {show.format_budget(comparison.budget)}"
    if not comparison.selection(first).rows.size:
        return f"{at}, {first.label} selects no rows."
    if not others:
        return f"{at}, only {first.label} selects rows."
    nearest = max(others, key=lambda k: share[k] - chance[k])
    other, alone = comparison.labels[nearest], len(comparison.entries) == 2
    actual, by_chance = _format_percent(share[nearest]), f"expected by chance: {_format_percent(chance[nearest])}"
    if share[nearest] > high[nearest]:
        verb = "overlaps with" if alone else "overlaps most with"
        return f"{at}, {first.label} {verb} {other}: {actual} ({by_chance})."
    if alone:
        return f"{at}, {first.label} overlaps with {other} no more than chance: {actual} ({by_chance})."
    return f"{at}, {first.label} overlaps with no other method more than chance: at most {actual} ({by_chance})."


def _format_percent(share: float) -> str:
    return f"{100 * share:.0f}%" if share >= 0.0995 or share == 0 else f"{100 * share:.1f}%"


def summary(comparison: Comparison, first: Entry) -> str:
    """Return, as markdown, how the reference overlaps with all others, and how many rows all of them select."""
    if not comparison.selection(first).rows.size:
        return "Raise the budget, or loosen the filters or settings of this method, to compare it."
    (share, _, low, high), others = _overlaps_of(comparison, first)
    groups = {
        "above": [k for k in others if share[k] > high[k]],
        "within": [k for k in others if low[k] <= share[k] <= high[k]],
        "below": [k for k in others if share[k] < low[k]],
    }
    present = [(where, _names(comparison, places)) for where, places in groups.items() if places]
    parts = [f"{where} {'it' if k else 'the chance range'} with {names}" for k, (where, names) in enumerate(present)]
    sentences = [f"The overlap of **{escape_markdown(first.label)}** is {'; '.join(parts)}."] if parts else []
    empty = np.flatnonzero(comparison.sizes == 0).tolist()
    if empty:
        sentences += [f"{_names(comparison, empty)} {'selects' if len(empty) == 1 else 'select'} no rows."]
    else:
        shared = int(comparison.patterns.counts[-1])
        rows = f"{format_rows(shared)} {'is' if shared == 1 else 'are'}" if shared else "No row is"
        sentences += [f"{rows} selected by every method."]
    return " ".join(sentences)


def _names(comparison: Comparison, places: Sequence[int]) -> str:
    return escape_markdown(join_words([comparison.labels[k] for k in places]))


def shortfalls(comparison: Comparison, n: int) -> list[str]:
    """Return a sentence for each entry that does not fill the budget; one for all of them if it is the same."""
    sentences: dict[str, list[str]] = {}
    for entry in comparison.entries:
        sentence = describe_shortfall(comparison.selection(entry), comparison.budget, n)
        if sentence is not None:
            sentences.setdefault(sentence, []).append(entry.label)
    return [f"{join_words(names)}: {sentence}" for sentence, names in sentences.items()]


def curves(pool: Pool, comparison: Comparison, first: Entry, styles: Sequence[Look]) -> None:
    """Draw the overlap of the reference with every other contender at every budget."""
    tokens = comparison.tokens if comparison.budget.unit == "tokens" else None
    pairs = [(e, look) for e, look in zip(comparison.entries, styles, strict=True) if e is not first]
    overlaps = [overlap_curve(first, entry, tokens, len(pool)) for entry, _ in pairs]
    left, right = st.columns([13, 7], gap="medium")
    with right:
        lit = _choose_lit([entry for entry, _ in pairs])
        _explain_curves(comparison, first, len(pool))
        _curve_table({entry.label: curve for (entry, _), curve in zip(pairs, overlaps, strict=True)})
    pairs = [(entry, look if entry in lit else look.grey()) for entry, look in pairs]
    left.html(overlap_tables.legend([look for _, look in pairs], overlap_tables.CHANCE_RANGE))
    with left:
        show.chart(
            overlap.overlap_curves(
                SHARES,
                [(look, curve.jaccard) for (_, look), curve in zip(pairs, overlaps, strict=True)],
                np.nan_to_num(np.fmin.reduce([curve.low for curve in overlaps])),
                np.nan_to_num(np.fmax.reduce([curve.high for curve in overlaps])),
                at=min(_budget_percent(comparison, len(pool)), 100.0),
                unit="Budget (% of rows)" if tokens is None else "Budget (% of response tokens)",
            ),
            key="compare.curves",
            config=figures.CONFIG,
            alt=f"Overlap with {first.label} by budget, for each method, with the chance range",
        )


def _explain_curves(comparison: Comparison, first: Entry, n: int) -> None:
    partial = [entry.label for entry in comparison.entries if len(entry.order.rows) < n]
    sentences = [
        f"{glossary.link('overlap', 'Jaccard overlap')} with {escape_markdown(first.label)}.",
        f"The {_chance_range()} is that of random selections of the same sizes.",
    ]
    if partial:
        eligible = glossary.link("eligible", "eligible")
        sentences.append(f"Some rows are not {eligible} for {escape_markdown(join_words(partial))}.")
    st.markdown(f":small[{' '.join(sentences)}]")


def _chance_range() -> str:
    return glossary.link("chance_range", "chance range")


def _choose_lit(others: Sequence[Entry]) -> list[Entry]:
    """Draw the choice of curves in colour, if there are too many; return these: at first methods, then baselines."""
    if len(others) <= MAX_LIT:
        return list(others)
    by_label = {entry.label: entry for entry in others}
    first = sorted(by_label, key=lambda name: by_label[name].method.name in contenders.BASELINES)[:MAX_LIT]
    key = f"compare.lit.{contenders.names_digest(list(by_label))}"
    words = f"Highlighted curves (at most {MAX_LIT})"
    names = show.choose_many(words, list(by_label), key, default=first)
    return [by_label[name] for name in names[-MAX_LIT:]]


def _budget_percent(comparison: Comparison, n: int) -> float:
    """Return the budget in percent of the pool's rows or response tokens."""
    total = {"percent": 100, "rows": n, "tokens": comparison.tokens}[comparison.budget.unit]
    return 100 * comparison.budget.amount / max(total, 1)


def _curve_table(overlaps: Mapping[str, Overlap]) -> None:
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


def pair_tables(comparison: Comparison) -> None:
    """Draw two tables: overlap at the budget, and rank correlation of whole orders."""
    wide = len(comparison.entries) > MAX_NARROW
    left, right = (st.container(), st.container()) if wide else st.columns(2, gap="medium")
    with left:
        st.markdown(f"**Overlap at {escape_markdown(show.format_budget(comparison.budget))} (%)**")
        st.html(overlap_tables.overlap_table(comparison.labels, *overlaps_and_chance(comparison)))
        by_chance, chance_range = glossary.link("expected_by_chance", "expected by chance"), _chance_range()
        st.markdown(f":small[Brackets: {by_chance}. Blue: above, grey: within, red: below the {chance_range}.]")
    with right:
        st.markdown("**Rank correlation**")
        st.html(overlap_tables.correlation_table(comparison.labels, order_correlations(comparison.entries)))
        correlation = glossary.link("rank_correlation", "Spearman correlation")
        st.markdown(
            f":small[{correlation} over the rows that both rank: 1 = same order, 0 = unrelated, −1 = reversed.]"
        )


def exclusive_sets(comparison: Comparison, styles: Sequence[Look]) -> int | None:
    """Draw the number of rows by exactly who selects them. Return the code of the combination that is clicked."""
    if not comparison.sizes.any():
        st.caption("No rows are selected.")
        return None
    event = show.chart(
        overlap.exclusive_sets(comparison.patterns, styles),
        key=f"compare.sets.{contenders.names_digest(comparison.labels)}",
        config=figures.CONFIG,
        on_select="rerun",
        selection_mode="points",
        alt="Number of rows by the methods that select them; the list below opens the same sets",
    )
    count = len(comparison.patterns.pattern_counts())
    rest = (
        f" The figure shows the {overlap.MAX_COMBINATIONS} largest of {count} sets."
        if count > overlap.MAX_COMBINATIONS
        else ""
    )
    st.caption(f"Each row counts once, in the set of methods that select it. Click a bar to list its rows.{rest}")
    clicked = [point["customdata"] for point in event["selection"]["points"] if point.get("customdata")]
    return int(clicked[0][0]) if clicked else None


def comparison_terms(entries: Sequence[Entry]) -> str:
    """Return in words under which filters and pins the methods are compared."""
    filters = len(state.settings().filters)
    words = f"with {filters} active filter{'s' if filters > 1 else ''}" if filters else "over the whole pool"
    saved = any(entry.contender.saved for entry in entries)
    more = " Saved selections keep their own filters and pins, at the same budget." if saved else ""
    random = any(entry.contender.method == "random" for entry in entries)
    more += " Random uses its own seed." if random else ""
    return f"Methods are compared {words}, without pins.{more}"
