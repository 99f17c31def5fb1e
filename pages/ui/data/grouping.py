"""Groups of rows: by task, with the pool's labels or derived ones, or those that were calibrated by themselves."""

from dataclasses import dataclass

from core.measurement.lookup import find_signal
from core.measurement.runs import Run
from core.schema import IntArray, Pool, Reading
from core.selection.filters import Filter
from core.selection.recipe import DERIVED_TASK
from pages.ui.data import cached
from pages.ui.words import escape_markdown, task_label, the_model


@dataclass(frozen=True, eq=False)
class Grouping:
    """A task for every row."""

    key: str  # equal for equal groupings of one pool, for use as a cache argument
    names: tuple[str | None, ...]  # most rows first; None: rows without a task
    codes: IntArray  # (N,) index into `names`
    by: str | None = None  # model whose embeddings they are derived from; None: the pool's own labels
    field: str | None = None  # whose labels are groups that were calibrated by themselves; None: these are tasks

    @property
    def labels(self) -> list[str]:
        """Return the display names of the tasks."""
        return [task_label(name) for name in self.names]

    @property
    def noun(self) -> str:
        """Return the noun for one of them: "task", "derived task" or "group"."""
        return "group" if self.field else "task" if self.by is None else "derived task"

    @property
    def title(self) -> str:
        """Return the title of a figure or column of these tasks."""
        return "Tasks" if self.by is None else "Derived tasks"

    @property
    def column(self) -> str:
        """Return the column to filter by that holds these groups."""
        return "shift_group" if self.field else "task" if self.by is None else DERIVED_TASK

    def filter(self, group: int, limit: int | None = None) -> Filter:
        """Return the filter on a group, by its index. `limit`: the index is that of `bins.fold_names` at this limit.

        The last of those stands for all groups that are not among the others.
        """
        if limit is not None and len(self.names) > limit and group == limit - 1:
            return Filter(self.column, values=tuple(map(self._value, range(group))), exclude=True)
        return Filter(self.column, values=(self._value(group),))

    def _value(self, group: int) -> str | int | None:
        if self.field is None:
            return self.names[group]
        return -1 if self.names[group] is None else group

    @property
    def origin(self) -> str:
        """Return one sentence of markdown about how these were made; empty for the pool's own tasks."""
        if self.field:
            return f"Each group was calibrated separately; groups are the labels of {escape_markdown(self.field)}."
        made = (
            f"Tasks are derived: clusters of similar prompts, by k-means over embeddings by {escape_markdown(self.by)}."
        )
        return "" if self.by is None else made


def find_grouping(pool: Pool, run: Run) -> Grouping:
    """Return derived tasks if `run` used them, else the pool's labels, else the newest derived tasks of any run.

    One group without a name if there are neither.
    """
    source = run if _is_derived(run) else _find_derived_run(pool, run)
    return Grouping(f"labels: {pool.fields.task}", *cached.tasks(pool)) if source is None else _load_derived(source)


def find_shift_grouping(pool: Pool, run: Run) -> Grouping:
    """Return the groups that entropy shift was calibrated for, if it was per group; else those of `find_grouping`."""
    if "groups" not in run.summary:
        return find_grouping(pool, run)
    names: tuple[str | None, ...] = tuple(group["name"] for group in run.summary["groups"])
    codes = cached.measurements(run).columns["shift_group"]
    if (codes < 0).any():
        names, codes = (*names, None), codes % (len(names) + 1)
    return Grouping(f"groups: {run.id}", names, codes, field=run.summary["field"])


def _is_derived(run: Run) -> bool:
    return run.tasks is not None and run.tasks.derived


def _find_derived_run(pool: Pool, run: Run) -> Run | None:
    """Return a run that derived tasks for a pool without labels, under the same reading; None if there is none."""
    if cached.tasks(pool)[0] != (None,):
        return None
    other = find_signal(cached.workspace(), pool, "tasks", Reading(**run.reading))
    return other if other is not None and _is_derived(other) else None


@cached.keep(cached.MAX_POOLS)
def _load_derived(run: Run) -> Grouping:
    assert run.tasks is not None
    codes, names = cached.measurements(run).columns["task_code"], run.tasks.names
    by = the_model(run.tasks.embeddings or str(run.model["name"]))
    if (codes < 0).any():  # a row without an embedding
        names, codes = (*names, None), codes % (len(names) + 1)
    return Grouping(f"derived: {run.id}", names, codes, by)
