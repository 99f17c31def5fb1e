"""Entropy shift section: ΔNLL and ΔH of each row against each other, and by task."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import streamlit as st

from core.measurement.runs import Run
from core.schema import IntArray, Method, Pool
from core.selection.filters import Filter
from pages.ui import glossary, theme
from pages.ui.charts import entropy_shift, html_bars, scales
from pages.ui.data import bins, cached, distribution, live_selection, planes
from pages.ui.data.bins import Values
from pages.ui.data.grouping import Grouping, find_shift_grouping
from pages.ui.data.live_selection import LiveSelection
from pages.ui.explore.picks import DOTS_HELP, clickable, draw_plane
from pages.ui.shell import state
from pages.ui.shell.terms import Match, Term
from pages.ui.words import meaning

SHIFT_COLUMNS = ("delta_nll", "delta_entropy")
MAX_TASKS = 16  # more tasks are combined into the last line
BELOW_ZERO = -1e-30  # nearer to 0 than any difference of two entropies
SIDES = (
    Match(Filter(SHIFT_COLUMNS[1], high=BELOW_ZERO), words="expansion"),
    Match(Filter(SHIFT_COLUMNS[1], low=0.0), words="compression"),
)
VIEWS = ("Share expanding", "Quantiles of ΔH")
SPREAD = (0.05, 0.25, 0.5, 0.75, 0.95)
FEW = 0.02  # share of rows up to which expansion (or compression) is an exception


# ΔNLL against ΔH


def has_shift(run: Run, method: Method) -> bool:
    """Return whether both shift columns were measured."""
    return set(SHIFT_COLUMNS) <= set(cached.columns(run, method))


def draw_shifts(pool: Pool, run: Run, live: LiveSelection) -> None:
    """Draw both shifts; rows inside a lasso are highlighted, and a clicked dot is opened."""
    columns = cached.columns(run, live.method)
    figure = _figure(pool, run, live, *(columns[name] for name in SHIFT_COLUMNS))
    alt = "ΔNLL against ΔH, with the ΔNLL band shaded and selected rows in colour"
    words = f"{DOTS_HELP} The legend marks the {glossary.link('nll_band')}."
    draw_plane(pool, figure, words, "explore.shift", alt, x=SHIFT_COLUMNS[0], y=SHIFT_COLUMNS[1])


def _figure(pool: Pool, run: Run, live: LiveSelection, x: Values, y: Values) -> entropy_shift.Figure:
    pinned = live_selection.rows_with_ids(pool, {pin.id for pin in state.settings().pins})
    pinned = pinned[np.isfinite(x[pinned]) & np.isfinite(y[pinned])]
    dots = np.union1d(distribution.sample_scored_rows(run, live.method, SHIFT_COLUMNS), pinned)
    ordered = live_selection.order(pool, run, state.recipe(pool)).rows
    whole_pool = len(ordered) and not getattr(live.method, "per", "")  # else each group has a band of its own
    return entropy_shift.plane(
        distribution.density(run, live.method, SHIFT_COLUMNS),
        planes.split_by_layer(live, dots, x, y),
        band=(float(x[ordered].min()), float(x[ordered].max())) if whole_pool else None,
        cut=live.cutoff if live.method.ranks_by == SHIFT_COLUMNS[1] else None,
        titles=(meaning(SHIFT_COLUMNS[0]).title, meaning(SHIFT_COLUMNS[1]).title),
        ends=("expansion ↓", "compression ↑"),
    )


# Tasks


@dataclass(frozen=True, eq=False)
class ShiftByTask:
    """ΔH of all rows by task; tasks beyond the limit are combined."""

    groups: Grouping
    labels: tuple[str, ...]
    codes: IntArray  # (N,) index into labels
    rows: IntArray  # rows with a ΔH
    counts: IntArray  # (T,) number of them
    expand: Values  # (T,) share with ΔH < 0; NaN if no row
    spread: Values  # (5, T) quantiles of ΔH at SPREAD


def group_by_task(pool: Pool, run: Run, method: Method) -> ShiftByTask:
    """Group ΔH by task; cached per measurement."""
    groups = find_shift_grouping(pool, run)
    return _by_task(run, method, groups.key, groups)


@cached.keep()
def _by_task(run: Run, method: Method, tasks: str, _groups: Grouping) -> ShiftByTask:
    shifted = cached.columns(run, method)[SHIFT_COLUMNS[1]]
    rows = np.flatnonzero(np.isfinite(shifted))
    codes = np.minimum(_groups.codes, MAX_TASKS - 1) if len(_groups.names) > MAX_TASKS else _groups.codes
    labels = tuple(bins.fold_names(_groups.labels, MAX_TASKS))
    counts, expand = count_expanding(codes[rows], shifted[rows], len(labels))
    spread = bins.group_quantiles(codes[rows], shifted[rows], len(labels), SPREAD)
    return ShiftByTask(_groups, labels, codes, rows, counts, expand, spread)


def draw_tasks(pool: Pool, run: Run, live: LiveSelection) -> None:
    """Draw expansion and compression per task, as shares or as spread; the rows of a clicked bar are highlighted."""
    shift = group_by_task(pool, run, live.method)
    shifted = cached.columns(run, live.method)[SHIFT_COLUMNS[1]]
    bound = state.view_choice("by-task", VIEWS, f"explore.view.{run.id}", VIEWS[is_one_sided(shift)])
    view = st.segmented_control("Show", VIEWS, required=True, label_visibility="collapsed", **bound)
    (_shares if view == VIEWS[0] else _spread)(shift, shifted, live)


def is_one_sided(shift: ShiftByTask) -> bool:
    """Return whether nearly all rows expand, or nearly none; shares then do not distinguish tasks."""
    total = shift.counts.sum()
    share = np.nansum(shift.expand * shift.counts) / max(total, 1)
    return bool(share < FEW or share > 1 - FEW)


def _shares(shift: ShiftByTask, shifted: Values, live: LiveSelection) -> None:
    _, among = _count_expanding(shift, shifted, live.selection.rows)
    order = np.argsort(-shift.expand, kind="stable")
    lit = None if live.highlight is None else _count_expanding(shift, shifted, live.highlighted)
    figure = entropy_shift.expansion(*_in_order(shift, order), among[order], _sorted(lit, order))
    _legend(entropy_shift.PART_COLOURS, live, entropy_shift.HIGHLIGHT_NAMES[0])

    def take(point: Any) -> None:
        _pick(shift, int(order[point["point_index"]]), SIDES[point["curve_number"]])

    alt = "Share of rows that expand, by task; click a bar to highlight its rows"
    _clickable(figure, "explore.tasks", alt, take)


def _spread(shift: ShiftByTask, shifted: Values, live: LiveSelection) -> None:
    _, middle = _medians(shift, shifted, live.selection.rows)
    order = np.argsort(shift.spread[2], kind="stable")
    names, expand, counts = _in_order(shift, order)
    lit = None if live.highlight is None else _medians(shift, shifted, live.highlighted)
    figure = entropy_shift.spread(names, shift.spread[:, order], expand, counts, middle[order], _sorted(lit, order))
    _legend(entropy_shift.SPREAD_COLOURS, live, entropy_shift.HIGHLIGHT_NAMES[1])
    alt = "Quantiles of ΔH by task; click a bar to highlight its rows"
    _clickable(figure, "explore.spread", alt, lambda point: _pick(shift, int(order[point["point_index"]])))


def _in_order(shift: ShiftByTask, order: IntArray) -> tuple[list[str], Values, IntArray]:
    return [shift.labels[i] for i in order], shift.expand[order], shift.counts[order]


def _sorted(values: entropy_shift.Lit | None, order: IntArray) -> entropy_shift.Lit | None:
    return None if values is None else (values[0][order], values[1][order])


def _legend(colours: dict[str, str], live: LiveSelection, name: str) -> None:
    st.html(html_bars.legend(colours | ({} if live.highlight is None else {name: theme.HIGHLIGHT})))


def _clickable(figure: entropy_shift.Figure, key: str, alt: str, take: Callable[[Any], None]) -> None:
    """Draw a figure of bars, with marks over them that cannot be picked."""
    clickable(figure, key, alt, take=lambda point: take(point) if point["curve_number"] < len(SIDES) else None)


def _pick(shift: ShiftByTask, task: int, side: Term | None = None) -> None:
    """Highlight the rows of a task that have a ΔH, on one side of 0 if a side (of SIDES) is given."""
    name = f"{shift.groups.noun} {shift.labels[task]}"
    terms: list[Term] = [Match(shift.groups.filter(task, MAX_TASKS), words=name)]
    if side is not None:
        terms.append(side)
    elif len(shift.rows) < len(shift.codes):
        terms.append(Match(Filter(SHIFT_COLUMNS[1], values=(None,), exclude=True), words="with ΔH"))
    state.pick(*terms)


def _count_expanding(shift: ShiftByTask, shifted: Values, rows: IntArray) -> tuple[IntArray, Values]:
    rows = rows[np.isfinite(shifted[rows])]
    return count_expanding(shift.codes[rows], shifted[rows], len(shift.labels))


def _medians(shift: ShiftByTask, shifted: Values, rows: IntArray) -> tuple[IntArray, Values]:
    """Count the rows of each task that have a ΔH, and return their median; NaN for tasks without rows."""
    rows, n = rows[np.isfinite(shifted[rows])], len(shift.labels)
    codes = shift.codes[rows]
    return bins.count_codes(codes, n), bins.group_quantiles(codes, shifted[rows], n, (0.5,))[0]


def count_expanding(codes: IntArray, shifted: Values, n: int) -> tuple[IntArray, Values]:
    """Count the rows of each task and compute the share with ΔH < 0; NaN for tasks without rows."""
    counts = np.bincount(codes, minlength=n)
    below = np.bincount(codes, weights=shifted < 0, minlength=n)
    with np.errstate(invalid="ignore"):
        return counts, below / counts


def headline(run: Run, live: LiveSelection) -> str:
    """Return the section's result as a sentence."""
    shifted = cached.columns(run, live.method)[SHIFT_COLUMNS[1]]
    selected, everything = (v[np.isfinite(v)] for v in (shifted[live.selection.rows], shifted))
    if not len(selected):
        return "No row is selected."
    below, all_below = float((selected < 0).mean()), float((everything < 0).mean())
    if FEW <= all_below <= 1 - FEW:
        return f"{100 * below:.0f}% of selected rows expand, compared with {100 * all_below:.0f}% of all rows."
    middle, of_all = (scales.format_number(float(np.median(v))) for v in (selected, everything))
    return f"The median ΔH of selected rows is {middle}, compared with {of_all} for all rows."


def describe(run: Run, live: LiveSelection) -> str:
    """Count expanding and compressing rows among all rows and among the selected ones."""
    shifted = cached.columns(run, live.method)[SHIFT_COLUMNS[1]]
    parts = []
    for name, values in (("All rows", shifted), ("Selected rows", shifted[live.selection.rows])):
        values = values[np.isfinite(values)]
        if len(values):
            below = int((values < 0).sum())
            parts.append(f"{name}: {100 * below / len(values):.0f}% expand ({below:,}), "
                         f"{100 - 100 * below / len(values):.0f}% compress ({len(values) - below:,})")  # fmt: skip
    return ". ".join(parts) + "." if parts else "No row has ΔH."
