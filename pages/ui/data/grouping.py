"""The tasks that a page shows rows by: the pool's labels; for a pool without any, those that Winnow derived."""

from dataclasses import dataclass

import streamlit as st

from core.measurement.runs import Run, find_signal
from core.schema import IntArray, Pool, Reading
from pages.ui.data import cached
from pages.ui.words import escape_markdown, model_name, task_label


@dataclass(frozen=True, eq=False)
class Grouping:
    """A task for every row."""

    key: str  # equal for equal groupings of one pool: for use as a cache argument
    names: tuple[str | None, ...]  # most rows first; None: rows without a task
    codes: IntArray  # (N,) place in `names`
    by: str | None = None  # derived: by whose embeddings; None: the pool's own labels

    @property
    def labels(self) -> list[str]:
        """Names for people."""
        return [task_label(name) for name in self.names]

    @property
    def noun(self) -> str:
        """What one of them is called."""
        return "task" if self.by is None else "derived task"

    @property
    def title(self) -> str:
        """What these tasks are called over a picture or a column."""
        return "Tasks" if self.by is None else "Derived tasks"

    @property
    def origin(self) -> str:
        """Where they come from, as one sentence of markdown; nothing for the pool's own."""
        made = f"Tasks are derived: groups of like prompts, by k-means over embeddings by {escape_markdown(self.by)}."
        return "" if self.by is None else made


def find_grouping(pool: Pool, run: Run) -> Grouping:
    """Derived tasks where `run` was made with them, else the pool's labels, else the newest derived ones there are.

    One group without a name where there are neither.
    """
    source = run if _derived(run) else _other(pool, run)
    if source is None:
        return Grouping(f"labels: {pool.fields.task}", *cached.tasks(pool))
    return _derived_by(source)


def _derived(run: Run) -> bool:
    return run.tasks is not None and run.tasks.derived


def _other(pool: Pool, run: Run) -> Run | None:
    """A run that derived tasks for a pool without labels, under the same reading."""
    if cached.tasks(pool)[0] != (None,):
        return None
    other = find_signal(cached.workspace(), pool, "tasks", Reading(**run.reading))
    return other if other is not None and _derived(other) else None


def _derived_by(run: Run) -> Grouping:
    return _loaded(run.id, str(cached.workspace().root), run)


@st.cache_resource(show_spinner=False, max_entries=cached.MAX_POOLS)
def _loaded(run_id: str, root: str, _run: Run) -> Grouping:
    assert _run.tasks is not None
    codes, names = cached.measurements(_run).columns["task_code"], _run.tasks.names
    by = model_name(_run.tasks.embeddings or str(_run.model["name"]))
    if (codes < 0).any():  # a row without an embedding
        names, codes = (*names, None), codes % (len(names) + 1)
    return Grouping(f"derived: {run_id}", names, codes, by)
