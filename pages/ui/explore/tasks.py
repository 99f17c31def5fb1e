"""Tasks section: the model's confidence by task, and the budget that each task gets."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import streamlit as st

from core.analysis import allocation
from core.analysis.allocation import Bands
from core.measurement.lookup import find_signal
from core.measurement.runs import Run
from core.methods import build_method
from core.methods.task_confidence import TaskConfidence
from core.schema import IntArray, Pool, Reading
from pages.ui import glossary, theme
from pages.ui.charts import figures, html_bars, tasks
from pages.ui.data import bins, cached
from pages.ui.data.bins import Values
from pages.ui.data.grouping import Grouping, find_grouping
from pages.ui.data.live_selection import LiveSelection
from pages.ui.explore.picks import clickable
from pages.ui.shell import show, state
from pages.ui.shell.terms import Match
from pages.ui.words import escape_markdown

MAX_TASKS = 60  # tasks in the figure, lowest confidence first
MIN_STANDARD_ERRORS = 2  # standard errors by which two means must differ to count as different; NaN never passes
CLICK_HELP = "Click a line to highlight its rows."
MAX_HEIGHT = 640  # pixels; a taller figure scrolls in a box of this height


@dataclass(frozen=True, eq=False)
class ConfidenceByTask:
    """Confidence of the base model by task; all (T,), in the order of the grouping's names."""

    run: Run
    method: TaskConfidence
    mean: Values  # NaN: not measured
    error: Values  # NaN: fewer than two prompts
    prompts: IntArray


def find_confidence(pool: Pool, run: Run) -> ConfidenceByTask | None:
    """Return task confidence from the current or the newest run that has it; None if there is none for these tasks."""
    is_own = run.method["name"] == TaskConfidence.name and run.tasks
    source = run if is_own else find_signal(cached.workspace(), pool, "tasks", Reading(**run.reading))
    groups = find_grouping(pool, run)
    if source is None or source.tasks is None or set(groups.names) != set(find_grouping(pool, source).names):
        return None  # different names: one set is derived, the other labelled
    return _align_confidence(source, groups.key, groups)


@cached.keep(cached.MAX_POOLS)
def _align_confidence(run: Run, tasks: str, _groups: Grouping) -> ConfidenceByTask:
    method = build_method(run.method["name"], run.method["params"])
    assert isinstance(method, TaskConfidence) and run.tasks is not None
    measured = method.confidence_by_task(cached.measurements(run))
    code = {name: k for k, name in enumerate(run.tasks.names)}
    place = np.array([code.get(name, len(measured[0])) for name in _groups.names])
    none = (np.nan, np.nan, 0)  # of tasks that were not measured
    return ConfidenceByTask(run, method, *(np.append(v, n)[place] for v, n in zip(measured, none, strict=True)))


# Text


def headline(groups: Grouping, confidences: ConfidenceByTask | None, live: LiveSelection, rows: int) -> str:
    """Return the section's result as a sentence of markdown."""
    if confidences is not None and np.isfinite(confidences.mean).sum() > 1:
        ends = [int(np.nanargmin(confidences.mean)), int(np.nanargmax(confidences.mean))]
        (low, high), (lowest, highest) = confidences.mean[ends], (_name(groups, k) for k in ends)
        if high - low <= MIN_STANDARD_ERRORS * np.hypot(*confidences.error[ends]):
            return f"The model is about equally confident on every {groups.noun} ({low:.2f} to {high:.2f})."
        return f"The model is least confident on {lowest} ({low:.2f}) and most confident on {highest} ({high:.2f})."
    n = len(live.selection.rows)
    if not n:
        return "No row is selected."
    share = np.bincount(groups.codes[live.selection.rows], minlength=len(groups.names)) / n
    pool = np.bincount(groups.codes, minlength=len(groups.names)) / max(rows, 1)
    task = int(np.argmax(np.abs(share - pool)))
    side = "over" if share[task] > pool[task] else "under"
    return (
        f"{_name(groups, task)} is {side}-represented: {100 * share[task]:.0f}% of the selection, "
        f"{100 * pool[task]:.0f}% of the pool."
    )


def _name(groups: Grouping, task: int) -> str:
    """Format one task for a sentence in markdown; a derived task by its number only."""
    label = groups.labels[task] if groups.by is None else groups.labels[task].partition(":")[0]
    return escape_markdown(label if len(label) <= 40 else label[:39] + "…")


def describe_weights(groups: Grouping, confidences: ConfidenceByTask, live: LiveSelection) -> str:
    """Describe the weights of task confidence in markdown; empty for other methods."""
    method = live.method
    if not isinstance(method, TaskConfidence):
        return ""
    if method.allocation == "even":
        return "The allocation is even: each task gets one row in turn until it has no rows left."
    weight = 1 / confidences.mean
    weight /= np.nansum(weight)
    least, most = int(np.nanargmin(weight)), int(np.nanargmax(weight))
    return (
        f"{glossary.link('task_weight', 'Task weights')} are 1 / confidence: {_name(groups, most)} gets "
        f"{100 * weight[most]:.1f}% of the rows, {_name(groups, least)} {100 * weight[least]:.1f}%; an even split "
        f"gives {100 / np.isfinite(weight).sum():.1f}%. A task without rows left passes its share to the others."
    )


# Figures


def draw_confidence(groups: Grouping, confidences: ConfidenceByTask, bands: Bands, live: LiveSelection) -> None:
    """Draw tasks by confidence, lowest first; the rows of a clicked task are highlighted."""
    order = np.argsort(confidences.mean, kind="stable")[:MAX_TASKS]  # NaN last
    colour = dict(zip(bands.names, tasks.band_colours(len(bands.names), bands.ranked), strict=True))
    labels = [groups.labels[k] for k in order]
    measured = (values[order] for values in (confidences.mean, confidences.error, confidences.prompts))
    colours, lit = [colour.get(label, tasks.REST) for label in labels], None
    if live.highlight is not None:
        counts = (bins.count_codes(codes, len(groups.names)) for codes in (groups.codes[live.highlight], groups.codes))
        lit = tuple(count[order] for count in counts)
        st.html(html_bars.legend({"highlighted share of the rows": theme.faint(theme.HIGHLIGHT, 0.35)}))
    figure = tasks.confidence(labels, *measured, colours, highlight=lit)
    tall = figure["layout"]["height"] > MAX_HEIGHT
    alt = "Mean confidence of the base model by task, with standard errors; click a line to highlight its rows"

    def take(point: Any) -> None:
        task = int(order[point["point_index"]])
        state.pick(Match(groups.filter(task), words=f"{groups.noun} {groups.labels[task]}"))

    with st.container(height=MAX_HEIGHT if tall else "content", border=False):
        clickable(figure, "explore.confidence", alt, take=take)
    if len(groups.names) > MAX_TASKS:
        st.caption(f"The {MAX_TASKS} tasks with the lowest confidence, of {len(groups.names):,}.")


def draw_allocation(live: LiveSelection, bands: Bands, rows: int) -> None:
    """Draw the share of the selection that each task gets, and the share highlighted, at every budget."""
    order, n = live.selection.order.rows, len(bands.names)
    lengths = allocation.budget_lengths(len(order))
    allocated = allocation.count_allocation(order, bands.codes, n, lengths)
    colours, budget = tasks.band_colours(n, bands.ranked), len(live.selection.rows)
    lit = live.count_highlighted(lengths)
    share = None if lit is None else lit / np.maximum(lengths, 1)
    bands_of = (bands.names, lengths, allocated.counts, allocated.shares, colours)
    alt = "Share of the selection that each task has, at every budget"
    if lit is not None:
        st.html(html_bars.legend({"share of the selection that is highlighted": theme.HIGHLIGHT}))
    figure = tasks.allocation(*bands_of, rows, budget, share)
    show.chart(figure, key="explore.allocation", config=figures.CONFIG, alt=alt)


def stack_tasks(groups: Grouping, confidences: ConfidenceByTask | None) -> Bands:
    """Stack tasks, lowest confidence at the bottom; by size if confidence was not measured."""
    return allocation.stack_bands(groups.labels, groups.codes, None if confidences is None else confidences.mean)


def count_tasks(groups: Grouping) -> int:
    """Count the tasks, without the group of rows that have none."""
    return len([name for name in groups.names if name is not None])


def describe_prompts(confidences: ConfidenceByTask) -> str:
    """Describe how many prompts or rows the confidence is based on."""
    if confidences.method.confidence == "response":
        return f"Mean likelihood of the responses of {confidences.prompts.sum():,} rows, ± standard error. {CLICK_HELP}"
    link = glossary.link("confidence", "confidence")
    return (
        f"Mean {link} over {confidences.prompts.sum():,} continued prompts, ± standard error; the count of each task "
        f"follows its name. {CLICK_HELP}"
    )
