"""Composition of the selection: tasks, lengths and known bad rows, next to the pool, to chance and to the highlight."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import streamlit as st

from core.analysis.composition import LENGTH_EDGES, Composition, RandomBand
from core.measurement.runs import Run
from core.schema import Pool
from core.selection.filters import Filter
from pages.ui import theme
from pages.ui.charts import html_bars
from pages.ui.controls import pick_bars
from pages.ui.data import bins, live_selection
from pages.ui.data.grouping import Grouping, find_grouping
from pages.ui.data.live_selection import LiveSelection
from pages.ui.select import subset
from pages.ui.select.subset import GroupCounts
from pages.ui.shell import state
from pages.ui.shell.terms import Match, Rows, Term

MAX_TASKS = 16  # tasks shown; the rest is one line
LEGEND = {
    "selection": theme.SELECTED,
    "selection, within the chance range": theme.faint(theme.SELECTED, 0.45),
    "chance range": theme.faint(theme.RANDOM, 0.38),
    "pool": theme.REST,
}


@dataclass(frozen=True, eq=False)
class Panel:
    """Groups of rows by one of their properties, and the rows of each as a term of the highlight."""

    title: str
    counts: GroupCounts  # of the selection and, if there are any, of the highlighted rows
    term: Callable[[int], Term]  # of the group at this line


def draw(pool: Pool, run: Run, live: LiveSelection, band: RandomBand) -> None:
    """Draw the panels beside each other, where there is room; a click on a line highlights its rows."""
    highlighted = [] if live.highlight is None else [live_selection.composition_of(pool, run, live.highlighted)]
    panels = find_panels(pool, run, [live.subset, *highlighted], band)
    legend = LEGEND | ({"highlighted rows": theme.HIGHLIGHT} if highlighted else {})
    st.html(html_bars.legend(legend, "Share of rows. Click a line to highlight its rows."))
    of_pool = live_selection.pool_composition(pool, run)

    def take(key: str) -> None:
        panel, line = map(int, key.split("."))
        state.pick(panels[panel].term(line))

    figures = {
        panel.title: _draw_panel(f"{number}.", panel, [live.subset, *highlighted], of_pool, band)
        for number, panel in enumerate(panels)
    }
    pick_bars.draw(pick_bars.titled(figures), "select.composition", take)
    origin = find_grouping(pool, run).origin
    if origin:
        st.caption(origin)


def find_panels(pool: Pool, run: Run, subsets: Sequence[Composition], band: RandomBand) -> list[Panel]:
    """Return the panels of a pool: tasks if it has several, lengths, known bad rows if there are any."""
    groups, of_pool = find_grouping(pool, run), live_selection.pool_composition(pool, run)
    length_title = f"{subset.length_noun(run).capitalize()} length (tokens)"
    lengths = Panel(length_title, subset.count_lengths(subsets, of_pool, band), lambda k: length_term(run, of_pool, k))
    panels = [lengths]
    if len(groups.names) > 1:
        counts = [bins.fold(each, MAX_TASKS) for each in (*(m.tasks for m in subsets), of_pool.tasks, band.tasks)]
        names = bins.fold_names(groups.labels, MAX_TASKS)
        tasks: GroupCounts = names, counts[:-2], counts[-2], counts[-1]
        panels.insert(0, Panel(groups.title, tasks, lambda k: task_term(groups, k)))
    if band.marked:
        kinds = list(of_pool.marked)
        faults = subset.count_faults(subsets, of_pool, band)
        panels.append(Panel("Known bad rows", faults, lambda k: fault_term(pool, kinds[k])))
    return panels


def _draw_panel(
    prefix: str, panel: Panel, subsets: Sequence[Composition], of_pool: Composition, band: RandomBand
) -> str:
    """Turn counts into shares of their sets, of the random subsets the least and greatest, and draw them."""
    names, counts, in_pool, random = panel.counts
    chance = random / np.maximum(band.rows, 1)[:, None]
    selected, *highlighted = (each / max(one.rows, 1) for each, one in zip(counts, subsets, strict=True))
    shares = selected, in_pool / max(of_pool.rows, 1), chance.min(axis=0), chance.max(axis=0)
    label = f"{panel.title}: share of the selected rows"
    return html_bars.share_bars(names, *shares, label=label, highlight=next(iter(highlighted), None), pick=prefix)


# Terms


def task_term(groups: Grouping, line: int) -> Match:
    """Return the rows of the task at a line; of all others at the last, if the tasks are more than the lines."""
    rest = len(groups.names) - MAX_TASKS + 1 if line == MAX_TASKS - 1 and len(groups.names) > MAX_TASKS else 0
    return Match(groups.filter(line, MAX_TASKS), words=f"{rest:,} smaller {groups.noun}s" if rest else "")


def length_term(run: Run, of_pool: Composition, line: int) -> Match:
    """Return the rows of the length at a line; the first line is the shortest length that the pool has."""
    at = int(np.flatnonzero(of_pool.lengths)[0]) + line
    high = LENGTH_EDGES[at + 1] - 1 if at + 1 < len(LENGTH_EDGES) else None
    return Match(Filter(live_selection.length_column(run), low=LENGTH_EDGES[at], high=high))


def fault_term(pool: Pool, kind: str) -> Rows:
    """Return the known bad rows of a kind, by their ids: no column of the pool names them."""
    rows = np.flatnonzero(live_selection.fault_masks(pool)[kind])
    ids = pool.rows["id"].take(rows).to_pylist()
    return Rows(tuple(ids), f"known bad rows: {kind.replace('_', ' ')}")
