"""Comparison of the highlighted rows with all other rows: scores, tasks and words that differ most.

scores   (mean of the set − mean of the rest) / standard deviation over all       Cohen's d, except for the divisor
tasks    share of the set − share of the rest
words    z of the log-odds that a row contains the word, set against rest, with a prior from all rows
         (Monroe, Colaresi, Quinn 2008, https://doi.org/10.1093/pan/mpn018; counts rows, so that no long text dominates)
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from math import log, sqrt
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from core.algorithms.task_clusters import extract_words
from core.schema import IntArray, Pool
from pages.ui.data import bins
from pages.ui.data.bins import Values
from pages.ui.data.grouping import Grouping
from pages.ui.words import meaning

SAMPLE_ROWS = 1_000  # rows per side whose words are counted, a fixed sample
TOP = 10
SIDES = ("Highlighted", "Others")
PRIOR = 10.0  # weight of the prior, in rows
Difference = tuple[str, float, float, float]  # name, value of the set, value of the rest, and how different these are


def score_differences(columns: Mapping[str, Values], rows: IntArray, rest: IntArray) -> list[Difference]:
    """Return name, mean of the set, mean of the rest and standardised difference; largest first, undefined omitted."""
    table = []
    for name, values in columns.items():
        inside, outside = (v[np.isfinite(v)].astype(np.float64) for v in (values[rows], values[rest]))
        spread = np.concatenate([inside, outside]).std() if len(inside) and len(outside) else 0.0
        if spread > 0:
            a, b = float(inside.mean()), float(outside.mean())
            table.append((name, a, b, (a - b) / float(spread)))
    return sorted(table, key=lambda row: -abs(row[3]))


def shares(codes: IntArray, rows: IntArray, rest: IntArray, n: int) -> tuple[Values, Values]:
    """Return the share of each group (n,), codes 0..n−1, in the set and in the rest."""
    inside, outside = (np.bincount(codes[side], minlength=n) for side in (rows, rest))
    return inside / max(len(rows), 1), outside / max(len(rest), 1)


def find_distinctive_words(inside: Counter[str], n: int, outside: Counter[str], m: int) -> list[Difference]:
    """Return word, share among the n rows of the set, share among the m others, and z; the TOP highest z above 0."""
    distinctive = []
    for word, count in inside.items():
        others = outside[word]
        prior = PRIOR * (count + others + 1) / (n + m + 2)
        a, not_a = count + prior, n - count + PRIOR - prior
        b, not_b = others + prior, m - others + PRIOR - prior
        z = (log(a / not_a) - log(b / not_b)) / sqrt(1 / a + 1 / b)
        if z > 0:
            distinctive.append((word, count / n, others / max(m, 1), z))
    return sorted(distinctive, key=lambda row: (-row[3], row[0]))[:TOP]


def count_words(texts: Sequence[str]) -> Counter[str]:
    """Count the texts that contain each word."""
    return Counter(word for text in texts for word in set(extract_words(text)))


def draw_comparison(
    pool: Pool,
    rows: IntArray,
    columns: Mapping[str, Values],
    groups: Grouping,
    *,
    texts: Callable[[IntArray], Sequence[str]],
) -> None:
    """Draw tables of scores, tasks and words. `rows` ascending; the rest is every other row of the pool."""
    rest = np.setdiff1d(np.arange(len(pool)), rows, assume_unique=True)
    if not len(rest):
        st.caption("All rows are highlighted, so there are no others to compare them with.")
        return
    left, middle, right = st.columns([5, 4, 4], gap="medium")
    with left:
        st.markdown("**Scores** with the largest difference")
        _draw_scores(score_differences(columns, rows, rest))
    with middle:
        st.markdown(f"**{groups.title}** with the largest difference")
        _draw_tasks(groups, rows, rest)
    with right:
        st.markdown("**Words** more frequent among them")
        samples = [texts(bins.sample_rows(side, SAMPLE_ROWS)) for side in (rows, rest)]
        (inside, n), (outside, m) = ((count_words(sample), len(sample)) for sample in samples)
        _draw_words(find_distinctive_words(inside, n, outside, m))
    st.caption(
        "Difference: between the two means, in standard deviations. Words: from a sample of up to "
        f"{SAMPLE_ROWS:,} rows on each side, sorted by the z-score of the log-odds."
    )


def _draw_table(table: pd.DataFrame, looks: Mapping[str, Any], alt: str) -> None:
    st.dataframe(table, hide_index=True, height="content", row_height=32, column_config=dict(looks), alt=alt)


def _draw_shares(table: pd.DataFrame, alt: str) -> None:
    column = st.column_config.NumberColumn
    _draw_table(table, {name: column(name, format="%.1f%%", width=80) for name in SIDES}, alt)


def _draw_scores(differences: list[Difference]) -> None:
    rows = [(meaning(name).label, *values) for name, *values in differences[:TOP]]
    table = pd.DataFrame(rows, columns=["Score", *SIDES, "Difference"])
    looks = {name: st.column_config.NumberColumn(width=80, format="%.3g") for name in SIDES}
    looks["Difference"] = st.column_config.NumberColumn(width=75, format="%+.2f")
    _draw_table(table, looks, "Scores of the highlighted rows and of the others")


def _draw_tasks(groups: Grouping, rows: IntArray, rest: IntArray) -> None:
    inside, outside = shares(groups.codes, rows, rest, len(groups.names))
    order = np.argsort(-np.abs(inside - outside), kind="stable")[:TOP]
    table = {groups.noun.capitalize(): [groups.labels[k] for k in order]}
    table |= dict(zip(SIDES, (100 * inside[order], 100 * outside[order]), strict=True))
    _draw_shares(pd.DataFrame(table), "Tasks of the highlighted rows and of the others")


def _draw_words(distinctive: list[Difference]) -> None:
    if not distinctive:
        st.caption("No word is more frequent among the highlighted rows.")
        return
    rows = [(word, 100 * a, 100 * b) for word, a, b, _ in distinctive]
    _draw_shares(pd.DataFrame(rows, columns=["Word", *SIDES]), "Words of the highlighted rows and of the others")
