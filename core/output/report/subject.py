"""The subject of a report: one selection with its pool, run and measurements, and what several parts need of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from core.analysis.bins import Values
from core.analysis.composition import Composition, PoolColumns, RandomBand, draw_random_orders, mark_faults
from core.columns import Column
from core.measurement import find_column
from core.measurement.lookup import find_signal
from core.measurement.run_data import load_measured
from core.measurement.runs import Run
from core.pool.pools import load_answer_key
from core.schema import IntArray, Measured, Method, Pool, Reading
from core.selection.recipe import Recipe, score_columns
from core.selection.selection import Selection
from core.workspace.folder import Workspace


@dataclass(frozen=True, eq=False)
class Tasks:
    """A task for every row: the pool's label, or a derived one."""

    names: Sequence[str | None]  # None: rows without a task
    codes: IntArray  # (N,) index into `names`
    derived: bool = False


@dataclass(frozen=True, eq=False)
class Subject:
    """A selection, and what it was made from."""

    recipe: Recipe
    pool: Pool
    run: Run
    workspace: Workspace
    measured: Measured
    selection: Selection

    @cached_property
    def method(self) -> Method:
        """The method with its parameters."""
        return self.recipe.method.build()

    @cached_property
    def columns(self) -> dict[str, Values]:
        """All numeric columns, (N,) each; the ranked one has the values of the order, if it has its own."""
        columns, own = score_columns(self.method, self.measured), self.selection.order.values
        return columns if own is None else columns | {self.method.ranks_by: own}

    @property
    def by_method(self) -> IntArray:
        """The rows that the method selected, best first, without those that are always included."""
        return self.selection.rows[self.selection.n_pinned :]

    @cached_property
    def tasks(self) -> Tasks:
        """The tasks of this run if it derived any, else the pool's labels, else the newest derived ones."""
        if "derived_tasks" in self.measured.artifacts:
            return _derived_tasks(self.measured)
        coded = self.pool.rows["task"].combine_chunks().dictionary_encode()
        if len(coded.dictionary):
            codes = np.asarray(coded.indices.fill_null(len(coded.dictionary)), np.int64)
            return Tasks([*coded.dictionary.to_pylist(), None], codes)
        other = find_signal(self.workspace, self.pool, "tasks", Reading(**self.run.reading))
        if other is not None and other.tasks is not None and other.tasks.derived:
            return _derived_tasks(load_measured(other))
        return Tasks([None], np.zeros(len(self.pool), np.int64))

    @property
    def lengths_of(self) -> str:
        """Whose lengths are counted: "response", or "prompt" if no row has a response."""
        return "response" if self.measured.need("response_tokens").any() else "prompt"

    @cached_property
    def counted(self) -> PoolColumns:
        """The columns that rows are counted by."""
        lengths, prompts = self.measured.need(f"{self.lengths_of}_tokens"), self.measured.need("prompt_tokens")
        key = load_answer_key(self.pool) or {}
        faults = mark_faults(self.pool.rows["id"].to_pylist() if key else [], key)
        return PoolColumns(lengths, prompts, self.tasks.codes, len(self.tasks.names), faults)

    @cached_property
    def composition(self) -> Composition:
        """The composition of the selection."""
        return self.counted.count(self.selection.rows)

    @cached_property
    def composition_of_pool(self) -> Composition:
        """The composition of all rows."""
        return self.counted.count(np.arange(len(self.pool)))

    @cached_property
    def random(self) -> RandomBand:
        """Random selections of the same size, from the same eligible rows."""
        orders = draw_random_orders(self.selection.order.rows, len(self.pool))
        return self.counted.count_random(orders, len(self.selection.rows))


def _derived_tasks(measured: Measured) -> Tasks:
    codes, names = measured.columns["task_code"], measured.artifacts["derived_tasks"]
    return Tasks([*names, None], codes % (len(names) + 1), derived=True)  # -1: without an embedding


def describe_column(name: str) -> Column:
    """Return a column in words; one that no measurement describes has its own name."""
    word, _, target = name.partition(".")
    about = find_column(name) or (find_column(word) if target else None)
    return about or Column(name.replace("_", " "))
