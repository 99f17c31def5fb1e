"""Colours of the rows on the map: by any measured column of any run, or by a category."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import streamlit as st

from core.columns import TAG_PREFIX, describe_duplicates
from core.measurement.lookup import reads_alike
from core.measurement.runs import Run, list_runs
from core.schema import BoolArray, IntArray, Pool, Reading
from pages.ui.data import cached, live_selection
from pages.ui.data.bins import Values
from pages.ui.data.cached import find_coverage_run
from pages.ui.data.grouping import find_grouping
from pages.ui.data.live_selection import LiveSelection
from pages.ui.map.clusters import Clusters
from pages.ui.row import answer_source
from pages.ui.row.duplicates import duplicate_columns
from pages.ui.shell import state
from pages.ui.theme import REST, SELECTED, WARNING
from pages.ui.words import is_identifier, meaning

# Categories without a meaning of their own, largest first. At least 28 apart (CIE76 Lab), also with the three
# common colour-vision deficiencies simulated after Machado et al. 2009; visible on white and on the dark background.
CATEGORY_COLOURS = ("#6F86FF", "#FF967D", "#2C6544", "#D0BD37", "#3DD7FF", "#9D199B", "#7C1CF4", "#886A00")
OTHERS = "others"
TAGGED = CATEGORY_COLOURS[5]
SELECTION, RANK, TASK, CLUSTER, BIN, FAULT = "selection", "rank", "task", "cluster", "bin", "known bad row"
NAMED = "named cluster"  # the clusters that have their names on the map
COLUMN = "column."  # prefix of score columns
DUPLICATES = "duplicates."  # prefix of columns of duplicates


@dataclass(frozen=True, eq=False)
class ContinuousColours:
    """A number for every row; NaN: none."""

    title: str
    values: Values  # (N,)


@dataclass(frozen=True, eq=False)
class CategoricalColours:
    """A category for every row."""

    colours: Mapping[str, str]  # name -> colour, in code order
    codes: IntArray  # (N,) index into `colours`; −1: none


Colours = ContinuousColours | CategoricalColours


def colour_choices(pool: Pool, run: Run, live: LiveSelection) -> dict[str, str]:
    """Return what rows can be coloured by, with labels."""
    groups = find_grouping(pool, run)
    labels = {SELECTION: "Selection", RANK: f"Rank by {live.method.label}"}
    if live_selection.fault_masks(pool):
        labels[FAULT] = "Known bad rows"
    if len(groups.names) > 1:
        labels[TASK] = groups.noun.capitalize()
    labels[NAMED] = "Clusters named on the map"
    if find_coverage_run(pool, run) is not None:
        labels[CLUSTER] = "Activation cluster"
    if answer_source.find_answers_run(pool, run) is not None:
        labels[BIN] = "Semantic bin"
    labels |= {f"{TAG_PREFIX}{name}": f"Tag: {name}" for name in sorted(state.settings().tags)}
    for column in duplicate_columns(pool):
        labels[DUPLICATES + column] = describe_duplicates(column).capitalize()
    own = live_selection.numbers(run, live)
    return labels | {f"{COLUMN}{name}": meaning(name).label for name in [*own, *_others(pool, run, own)]}


def choose_colours(pool: Pool, run: Run, live: LiveSelection) -> str:
    """Let the user choose what rows are coloured by."""
    choices = colour_choices(pool, run, live)
    bound = state.view_choice("colour", list(choices), "explore.map.colour")
    return str(st.selectbox("Colour by", list(choices), format_func=choices.__getitem__, width=200, **bound))


def choose_bright_rows(by: str, pool: Pool, live: LiveSelection) -> BoolArray:
    """Let the user dim the unselected rows; return the mask of rows in their own colour, (N,)."""
    plain, bound = by == SELECTION, state.view_choice("dim", (True, False), "explore.map.grey")
    dim = st.toggle("Dim unselected rows", disabled=plain, **bound)
    bright = np.full(len(pool), plain or not dim, np.bool_)
    bright[live.selection.rows] = True
    return bright


def _others(pool: Pool, run: Run, own: Collection[str]) -> dict[str, Run]:
    """Return the numeric columns of other runs under the same reading, each with the newest run that has it."""
    reading, columns = Reading(**run.reading), {}
    for other in list_runs(cached.workspace(), pool.fingerprint):
        if other.id != run.id and reads_alike(other, reading):
            for name in other.columns:
                if name not in own and not is_identifier(name):
                    columns.setdefault(name, other)
    return columns


def colour_rows(by: str, pool: Pool, run: Run, live: LiveSelection, clusters: Clusters | None) -> Colours:
    """Colour every row of the pool by one of the choices."""
    if by.startswith(COLUMN):
        name = by.removeprefix(COLUMN)
        return ContinuousColours(meaning(name).title, column_values(name, pool, run, live))
    if by == RANK:
        return ContinuousColours("rank (1 = first)", ranks(live, len(pool)))
    if by == FAULT:
        return _colour_by_fault(pool)
    if by == TASK:
        groups = find_grouping(pool, run)
        return colour_by_category(groups.labels, groups.codes)
    if by == NAMED and clusters is not None:
        return colour_by_category(list(clusters.names), clusters.codes)
    if by.startswith((TAG_PREFIX, DUPLICATES)):
        return _colour_by_mark(by, pool)
    if by in (CLUSTER, BIN):
        return _colour_by_number(by, pool, run)
    return colour_by_selection(live, len(pool))


def column_values(name: str, pool: Pool, run: Run, live: LiveSelection) -> Values:
    """Return a column of the current run and method, or else of another run, (N,); only that column is loaded."""
    own = live_selection.columns(run, live)
    return own[name] if name in own else _load_column(_others(pool, run, own)[name], name)


@cached.keep()
def _load_column(run: Run, name: str) -> Values:
    return run.load_columns([name])[name].astype(np.float32)


def colour_by_selection(live: LiveSelection, n: int) -> CategoricalColours:
    """Colour rows by whether they are selected."""
    codes = np.ones(n, np.int64)
    codes[live.selection.rows] = 0
    return CategoricalColours({"selected": SELECTED, "unselected": REST}, codes)


def ranks(live: LiveSelection, n: int) -> Values:
    """Return each row's rank, (N,), 1 is first; NaN for rows outside the order."""
    values = np.full(n, np.nan, np.float32)
    values[live.selection.order.rows] = np.arange(1, len(live.selection.order.rows) + 1)
    return values


def colour_by_category(names: list[str], codes: IntArray) -> CategoricalColours:
    """Give the largest categories their own colours and all others one; names (T,) by size, codes (N,)."""
    colours = dict(zip(names, CATEGORY_COLOURS, strict=False))
    if len(names) > len(CATEGORY_COLOURS):
        colours |= {f"{len(names) - len(CATEGORY_COLOURS):,} {OTHERS}": REST}
    return CategoricalColours(colours, np.minimum(codes, len(CATEGORY_COLOURS)))


def _colour_by_fault(pool: Pool) -> CategoricalColours:
    marks = live_selection.fault_masks(pool)
    codes = np.full(len(pool), -1, np.int64)
    for place, mask in enumerate(marks.values()):
        codes[mask] = place
    categories = colour_by_category([name.replace("_", " ") for name in marks], codes)
    return CategoricalColours(dict.fromkeys(categories.colours, WARNING), codes) if len(marks) == 1 else categories


def _colour_by_mark(by: str, pool: Pool) -> CategoricalColours:
    """Colour rows by whether they have a tag, or whether they are duplicates."""
    if by.startswith(DUPLICATES):
        return colour_by_duplicates(duplicate_columns(pool)[by.removeprefix(DUPLICATES)])
    codes = np.ones(len(pool), np.int64)
    codes[live_selection.rows_with_ids(pool, state.settings().tags[by.removeprefix(TAG_PREFIX)])] = 0
    return CategoricalColours({"tagged": TAGGED, "not tagged": REST}, codes)


def colour_by_duplicates(repeats: IntArray) -> CategoricalColours:
    """Colour rows by whether they repeat a kept row (N,), −1: none, are kept in place of others, or neither."""
    codes = np.full(len(repeats), 2, np.int64)
    codes[repeats[repeats >= 0]] = 1
    codes[repeats >= 0] = 0
    return CategoricalColours({"duplicate": WARNING, "kept of a group": SELECTED, "no duplicate": REST}, codes)


def _colour_by_number(by: str, pool: Pool, run: Run) -> CategoricalColours:
    """Colour rows by cluster or bin, which are numbered by size."""
    source = find_coverage_run(pool, run) if by == CLUSTER else answer_source.find_answers_run(pool, run)
    assert source is not None
    column = "activation_cluster" if by == CLUSTER else "semantic_bin"
    codes = cached.measurements(source).need(column)
    return colour_by_category([f"{by} {k + 1:,}" for k in range(int(codes.max(initial=-1)) + 1)], codes)


def find_pinned_rows(pool: Pool) -> IntArray:
    """Return the rows that are always included or always excluded, ascending."""
    return live_selection.rows_with_ids(pool, {pin.id for pin in state.settings().pins})
