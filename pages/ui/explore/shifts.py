"""Entropy shift section: ΔNLL and ΔH of each row against each other, and by task."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import streamlit as st

from core.measurement.runs import Run
from core.schema import IntArray, Method, Pool
from pages.ui import glossary
from pages.ui.charts import entropy_shift, html_bars, scales
from pages.ui.data import bins, cached, distribution, live_selection, planes
from pages.ui.data.bins import Values
from pages.ui.data.grouping import Grouping, find_shift_grouping
from pages.ui.data.live_selection import LiveSelection
from pages.ui.explore.picks import DOTS_HELP, Pick, clicked_points, marked_rows
from pages.ui.shell import state
from pages.ui.words import meaning

SHIFT_COLUMNS = ("delta_nll", "delta_entropy")
MAX_TASKS = 16  # more tasks are combined into the last line
VIEWS = ("Share expanding", "Quantiles of ΔH")
SPREAD = (0.05, 0.25, 0.5, 0.75, 0.95)
FEW = 0.02  # share of rows up to which expansion (or compression) is an exception


# ΔNLL against ΔH


def has_shift(run: Run, method: Method) -> bool:
    """Return whether both shift columns were measured."""
    return set(SHIFT_COLUMNS) <= set(cached.columns(run, method))


def draw_plane(pool: Pool, run: Run, live: LiveSelection) -> Pick | None:
    """Draw both shifts; return the rows of a clicked dot or a lasso with a description."""
    columns = cached.columns(run, live.method)
    x, y = (columns[name] for name in SHIFT_COLUMNS)
    alt = "ΔNLL against ΔH, with the ΔNLL band shaded and selected rows in colour"
    words = f"{DOTS_HELP} The legend marks the {glossary.link('nll_band')}."
    rows = marked_rows(_figure(pool, run, live, x, y), words, "explore.shift", alt, x, y)
    description = "inside the lasso, lowest ΔH first" if len(rows) > 1 else "the clicked row"
    return (bins.sort_by_value(rows, y), description) if len(rows) else None


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
    return ShiftByTask(labels, codes, rows, counts, expand, spread)


def draw_tasks(pool: Pool, run: Run, live: LiveSelection) -> Pick | None:
    """Draw expansion and compression per task, as shares or as spread; return the rows of a clicked bar."""
    shift = group_by_task(pool, run, live.method)
    shifted = cached.columns(run, live.method)[SHIFT_COLUMNS[1]]
    selected = live.selection.rows[np.isfinite(shifted[live.selection.rows])]
    bound = state.view_choice("by-task", VIEWS, f"explore.view.{run.id}", VIEWS[is_one_sided(shift)])
    view = st.segmented_control("Show", VIEWS, required=True, label_visibility="collapsed", **bound)
    return (_shares if view == VIEWS[0] else _spread)(shift, shifted, selected)


def is_one_sided(shift: ShiftByTask) -> bool:
    """Return whether nearly all rows expand, or nearly none; shares then do not distinguish tasks."""
    total = shift.counts.sum()
    share = np.nansum(shift.expand * shift.counts) / max(total, 1)
    return bool(share < FEW or share > 1 - FEW)


def _shares(shift: ShiftByTask, shifted: Values, selected: IntArray) -> Pick | None:
    _, among = count_expanding(shift.codes[selected], shifted[selected], len(shift.labels))
    order = np.argsort(-shift.expand, kind="stable")
    names = [shift.labels[i] for i in order]
    st.html(html_bars.legend(entropy_shift.PART_COLOURS))
    figure = entropy_shift.expansion(names, shift.expand[order], shift.counts[order], among[order])
    points = _clicked_points(
        figure, "explore.tasks", "Share of rows that expand, by task; click a bar to list its rows"
    )
    if not points:
        return None
    task, compress = order[points[0]["point_index"]], points[0]["curve_number"] == 1
    rows = shift.rows[(shift.codes[shift.rows] == task) & ((shifted[shift.rows] >= 0) == compress)]
    return bins.sort_by_value(rows, shifted), f"{shift.labels[task]}, {'compression' if compress else 'expansion'}"


def _spread(shift: ShiftByTask, shifted: Values, selected: IntArray) -> Pick | None:
    middle = bins.group_quantiles(shift.codes[selected], shifted[selected], len(shift.labels), (0.5,))[0]
    order = np.argsort(shift.spread[2], kind="stable")
    names = [shift.labels[i] for i in order]
    st.html(html_bars.legend(entropy_shift.SPREAD_COLOURS))
    figure = entropy_shift.spread(
        names, shift.spread[:, order], shift.expand[order], shift.counts[order], middle[order]
    )
    points = _clicked_points(figure, "explore.spread", "Quantiles of ΔH by task; click a bar to list its rows")
    if not points:
        return None
    task = order[points[0]["point_index"]]
    return bins.sort_by_value(shift.rows[shift.codes[shift.rows] == task], shifted), shift.labels[task]


def _clicked_points(figure: entropy_shift.Figure, key: str, alt: str) -> list[Any]:
    return [p for p in clicked_points(figure, key, alt) if p["curve_number"] < 2]  # without the diamonds


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
