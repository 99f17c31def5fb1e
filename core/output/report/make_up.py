"""The make-up of a selection: what it consists of, compared with the pool and with random selections."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from core.analysis.axes import format_number
from core.analysis.bins import Values, bin_values, quantiles
from core.analysis.composition import LENGTH_EDGES
from core.methods import display_column
from core.output.report import svg
from core.output.report.subject import Subject, describe_column

MAX_TASKS = 20  # listed; the others are one line


@dataclass(frozen=True)
class Figure:
    """One number about the whole selection."""

    label: str
    value: str
    comparison: str  # with random selections, or with the pool


@dataclass(frozen=True)
class Share:
    """A group of rows as a share: of the selection, of random selections, of the pool. All 0..1."""

    name: str
    rows: int  # of the selection
    selected: float
    low: float
    high: float
    pool: float

    @property
    def within(self) -> bool:
        """Whether the share is within the chance range."""
        return self.low - 1e-12 <= self.selected <= self.high + 1e-12


def list_figures(subject: Subject) -> list[Figure]:
    """Return the numbers at the head of the report."""
    own, pool, random = subject.composition, subject.composition_of_pool, subject.random
    noun = subject.lengths_of.capitalize()
    figures = [
        Figure("Selected rows", f"{own.rows:,}", f"{_percent(own.rows / max(pool.rows, 1))} of {pool.rows:,}"),
        Figure(f"{noun} tokens", f"{own.response_tokens:,}", _chance(random.response_tokens)),
        Figure(f"Median {noun.lower()} length", *(_median(each.quantiles[2], each is pool) for each in (own, pool))),
        Figure("Eligible rows", f"{len(subject.selection.order.rows):,}", "after filters and what the method needs"),
    ]
    if random.marked:
        kept, planted = sum(own.marked.values()), sum(pool.marked.values())
        figures.append(Figure("Bad rows kept", f"{kept:,} of {planted:,}", _chance(sum(random.marked.values()))))
    return figures


def _median(tokens: float, is_pool: bool) -> str:
    words = "none" if np.isnan(tokens) else f"{tokens:,.0f} tokens"
    return f"pool {words}" if is_pool else words


def _chance(draws: Values | int) -> str:
    low, high = int(np.min(draws)), int(np.max(draws))
    return "chance range " + (f"{low:,}" if low == high else f"{low:,}–{high:,}")


def _percent(share: float) -> str:
    return f"{share:.1%}"


def draw_scores(subject: Subject) -> str | None:
    """Draw the histogram of the score that the method ranks by; None for a method without a score."""
    name = display_column(subject.method)
    if name not in subject.columns:
        return None
    values, log = subject.columns[name], name.endswith("_tokens")
    binned, n = bin_values(values, log=log), len(subject.pool)
    eligible, selected = np.zeros(n, np.bool_), np.zeros(n, np.bool_)
    eligible[subject.selection.order.rows] = True
    selected[subject.selection.rows] = True
    layers = {
        "selected": binned.counts(selected),
        "unselected": binned.counts(eligible & ~selected),
        "excluded": binned.counts(~eligible & ~selected),
    }
    marks, title = quantiles(values), describe_column(name).title
    return svg.histogram(binned.edges, layers, title=title, marks=marks, cutoff=find_cutoff(subject), log=binned.log)


def find_cutoff(subject: Subject) -> float | None:
    """Return the score of the last row that the method selected; None if its order follows no single score."""
    name = subject.method.ranks_by
    if name != display_column(subject.method) or name not in subject.columns or not len(subject.by_method):
        return None
    return float(subject.columns[name][subject.by_method[-1]])


def describe_cutoff(subject: Subject) -> str:
    """Return a sentence about the cutoff; "" if there is none."""
    cutoff, about = find_cutoff(subject), describe_column(subject.method.ranks_by)
    if cutoff is None:
        return ""
    return f"{about.label} at the cutoff: {format_number(cutoff)}{f' {about.unit}' if about.unit else ''}."


def list_tasks(subject: Subject) -> tuple[list[Share], str]:
    """Return the shares of the largest tasks of the selection, and a sentence about those that are not listed."""
    names = ["no task" if name is None else name for name in subject.tasks.names]
    own, pool = subject.composition.tasks, subject.composition_of_pool.tasks
    present = [k for k in np.lexsort((-pool, -own)).tolist() if pool[k]]
    if len(present) < 2:
        return [], "The pool has no task labels."
    listed, rest = present[:MAX_TASKS], present[MAX_TASKS:]
    shares = _shares(subject, [names[k] for k in listed], own[listed], pool[listed], subject.random.tasks[:, listed])
    more = f"{len(rest):,} more tasks have {int(own[rest].sum()):,} selected rows." if rest else ""
    kind = "Tasks are derived: clusters of similar prompts." if subject.tasks.derived else ""
    return shares, " ".join(filter(None, (kind, more)))


def list_lengths(subject: Subject) -> list[Share]:
    """Return the shares of the bins of length that occur in the pool."""
    own, pool = subject.composition.lengths, subject.composition_of_pool.lengths
    bins = np.flatnonzero(pool)
    ends = [f"{low:,}–{high - 1:,}" if high > low + 1 else f"{low}" for low, high in pairwise(LENGTH_EDGES)]
    names = [[*ends, f"{LENGTH_EDGES[-1]:,} and more"][k] for k in bins]
    return _shares(subject, names, own[bins], pool[bins], subject.random.lengths[:, bins])


def list_faults(subject: Subject) -> list[Share]:
    """Return the share of each kind of known bad row; [] for a pool without an answer key."""
    own, pool, random = (each.marked for each in (subject.composition, subject.composition_of_pool, subject.random))
    names = list(pool)
    if not names:
        return []
    kept, planted = (np.array([marked[name] for name in names]) for marked in (own, pool))
    words = [name.replace("_", " ") for name in names]
    return _shares(subject, words, kept, planted, np.stack([random[name] for name in names], axis=1))


def _shares(subject: Subject, names: Sequence[str], own: Values, pool: Values, random: Values) -> list[Share]:
    """Return shares from counts: (G,) of the selection and the pool, (S, G) of random selections."""
    n, n_pool = max(subject.composition.rows, 1), max(subject.composition_of_pool.rows, 1)
    low, high = random.min(axis=0) / n, random.max(axis=0) / n
    return [
        Share(name, int(own[k]), own[k] / n, float(low[k]), float(high[k]), pool[k] / n_pool)
        for k, name in enumerate(names)
    ]
