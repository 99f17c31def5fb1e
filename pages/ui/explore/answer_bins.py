"""Semantic bins in the Answers section: how many rows of each group of similar instructions a selection contains."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import streamlit as st

from core.algorithms.activation_clusters import cluster_diversity
from core.algorithms.task_clusters import PROMPTS_PER_TASK, distinctive_words, extract_words
from core.measurement.runs import Run
from core.methods.answer_divergence import AnswerDivergence
from core.pool.pools import read_rows
from core.schema import IntArray, Pool
from core.selection.filters import Filter
from pages.ui import theme
from pages.ui.charts import answer_divergence, html_bars
from pages.ui.data import bins, cached
from pages.ui.data.live_selection import LiveSelection
from pages.ui.explore.answers import ScoredAnswers
from pages.ui.explore.picks import clickable
from pages.ui.shell import state
from pages.ui.shell.terms import Match
from pages.ui.words import format_rows, join_range

COLUMN = "semantic_bin"
BACKGROUND_ROWS = 1000  # rows of the whole pool that a bin's words are compared with


@dataclass(frozen=True, eq=False)
class BinCounts:
    """Selected rows of each bin; bin 0 is the largest."""

    bin_of: IntArray  # (N,) −1: no bin
    sizes: IntArray  # (B,)
    subset: IntArray  # (B,)
    random: tuple[int, ...]  # bins with a row of each random subset of the same size

    @property
    def share(self) -> float:
        """Selected share of all rows that have a bin."""
        return float(self.subset.sum() / max(int(self.sizes.sum()), 1))

    @property
    def untouched(self) -> IntArray:
        """Bins without a selected row."""
        return np.flatnonzero(self.subset == 0)


def assign_bins(scored: ScoredAnswers) -> IntArray:
    """Assign each row to a bin, (N,), for the number of bins that the slider is set to."""
    return _assign_bins(scored.run, scored.method.bins, scored.method)


@cached.keep()
def _assign_bins(run: Run, bins: int, _method: AnswerDivergence) -> IntArray:
    return _method.bin_of(cached.measurements(run))


def count_by_bin(bin_of: IntArray, rows: IntArray, random: Sequence[IntArray]) -> BinCounts:
    """Count selected and random rows by bin."""
    count = int(bin_of.max(initial=-1)) + 1
    touched = tuple(cluster_diversity(bin_of, sample, count)[0] for sample in random)
    return BinCounts(bin_of, bins.count_codes(bin_of, count), bins.count_codes(bin_of[rows], count), touched)


def describe(counts: BinCounts) -> str:
    """Compare the number of bins with random rows and count the rows of bins without a selected row, in markdown."""
    touched_bins, all_bins = int((counts.subset > 0).sum()), len(counts.sizes)
    text = f"The selection has rows from **{touched_bins:,} of {all_bins:,}** bins"
    if counts.random:
        text += f"; random selections have rows from {join_range(f'{min(counts.random):,}', f'{max(counts.random):,}')}"
    if touched_bins < all_bins:
        text += (
            f". The other **{all_bins - touched_bins:,}** hold {format_rows(int(counts.sizes[counts.untouched].sum()))}"
        )
    return text + "."


def draw_bins(counts: BinCounts, pool: Pool, scored: ScoredAnswers, live: LiveSelection) -> None:
    """Draw the bins; the rows of a clicked one are highlighted."""
    entries = [
        name
        for name in answer_divergence.BIN_COLOURS
        if name != answer_divergence.NONE_SELECTED or len(counts.untouched)
    ]
    legend = {name: answer_divergence.BIN_COLOURS[name] for name in entries}
    lit = None if live.highlight is None else bins.count_codes(counts.bin_of[live.highlight], len(counts.sizes))
    legend |= {f"{100 * counts.share:.3g}% of all rows": theme.WARNING}
    st.html(html_bars.legend(legend | ({} if lit is None else {"highlighted": theme.HIGHLIGHT})))
    names = [f"bin {k + 1:,}" for k in range(len(counts.sizes))]
    figure = answer_divergence.bin_shares(counts.sizes, counts.subset, names, share=counts.share, highlight=lit)
    alt = "Selected share of each semantic bin by its size; click a dot to highlight its rows"

    def take(point: Any) -> None:
        if "customdata" in point:
            state.pick(term_of(counts, pool, scored, int(point["customdata"])))

    clickable(figure, "explore.bins", alt, take=take)


def term_of(counts: BinCounts, pool: Pool, scored: ScoredAnswers, number: int) -> Match:
    """Return the term of one bin, by the measured bins that it consists of, with its distinctive words."""
    measured = np.unique(scored.columns[COLUMN][counts.bin_of == number])
    text = ", ".join(find_distinctive_words(pool, scored, number))
    words = f"bin {number + 1:,}" + (f" ({text})" if text else "")
    return Match(Filter(COLUMN, values=tuple(measured.tolist())), words=words)


def find_distinctive_words(pool: Pool, scored: ScoredAnswers, number: int) -> list[str]:
    """Return up to three words that are more frequent in the prompts of this bin than in the pool."""
    return _find_distinctive_words(pool, scored.run, scored.method.bins, number, scored)


@cached.keep(10 * cached.MAX_TABLES)
def _find_distinctive_words(pool: Pool, run: Run, bins: int, number: int, _scored: ScoredAnswers) -> list[str]:
    bin_rows = np.flatnonzero(assign_bins(_scored) == number)
    background = _shares(pool, np.arange(len(pool)), BACKGROUND_ROWS)
    return distinctive_words([_shares(pool, bin_rows, PROMPTS_PER_TASK), background])[0]


def _shares(pool: Pool, rows: IntArray, limit: int) -> dict[str, float]:
    """Return the share of a fixed sample of prompts that contain each word."""
    sampled = bins.sample_rows(rows, limit)
    shares: dict[str, float] = {}
    for row in read_rows(pool, sampled.tolist()):
        for word in set(extract_words(row.prompt)):
            shares[word] = shares.get(word, 0.0) + 1 / len(sampled)
    return shares
