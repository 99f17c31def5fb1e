"""Measurement of imported scores: numbers of another tool, in the rows or joined to them. Needs no model."""

from collections import Counter
from collections.abc import Mapping
from math import isfinite
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from core.columns import Column, Signals
from core.errors import MethodError
from core.measurement.measurement import Measurement, Result
from core.measurement.runs import list_runs
from core.methods.imported import Imported
from core.pool.nested_fields import get_field, iter_fields, to_number
from core.pool.pool_columns import load_columns, remove_column
from core.pool.pools import iter_originals
from core.schema import Columns, Pool
from core.workspace.deletion import delete_items
from core.workspace.folder import Workspace
from core.workspace.inventory import take_inventory

if TYPE_CHECKING:
    from core.measurement.stages import PoolStages

SAMPLE_ROWS = 2000  # rows searched for fields with numbers
MAX_NAMED = 12  # of these fields in an error message


class ImportedMeasurement(Measurement[Imported]):
    """A number from a field of the original rows, or from a column score@NAME of the pool."""

    signals: ClassVar[Signals] = {
        "imported": {
            "imported": Column(
                "Imported score",
                help="A number that the row already has; the tool that made it defines which end is better.",
            )
        }
    }
    uses_model: ClassVar[bool] = False

    def run(self, stages: "PoolStages", method: Imported, columns: Columns, seed: int) -> Result:
        """Read the numbers in the method's field or column."""
        pool = stages.pool
        stored = load_columns(stages.workspace.root, pool.fingerprint)
        known = method.field in stored
        return Result({"imported": np.array(stored[method.field]) if known else read_numbers(pool, method.field)})

    def warnings(self, columns: Mapping[str, Any], result: Result) -> list[str]:
        """Warn about rows without a number."""
        values = columns["imported"]
        missing = int(np.isnan(values).sum())
        return [f"{missing:,} of {len(values):,} rows have no number in this field."] if missing else []


def read_numbers(pool: Pool, field: str) -> NDArray[np.float64]:
    """Return the number in `field` of each original row (N,), NaN where there is none.

    `a.b` is field b of field a (core.pool.nested_fields). A text that parses as a number counts,
    as all cells of some tables are text. Raises MethodError, naming the fields with numbers, if no row has one.
    """
    values = np.full(len(pool), np.nan)
    if field:
        for place, row in enumerate(iter_originals(pool)):
            values[place] = to_number(get_field(row, field))
    if not np.isfinite(values).any():
        names = list(numeric_fields(pool))
        there = f"Its fields with numbers: {', '.join(names[:MAX_NAMED]) or 'none'}."
        what = (
            f"No row of this pool has a number in '{field}'." if field else "Give the field of the score (field=...)."
        )
        raise MethodError(f"{what} {there}")
    return values


def numeric_fields(pool: Pool) -> dict[str, int]:
    """Count the numbers in each field of the first rows, nested fields as `a.b`; the fields with most come first."""
    counts: Counter[str] = Counter()
    for row in iter_originals(pool, SAMPLE_ROWS):
        counts.update(name for name, value in iter_fields(row) if isfinite(to_number(value)))
    return dict(counts.most_common())


def remove_scores(pool: Pool, column: str, workspace: Workspace) -> None:
    """Remove a column score@NAME of a pool, and the runs that ranked by it: the name may get other numbers later.

    Raise WorkspaceError, before anything is removed, if a job uses one of these runs.
    """
    runs = [run for run in list_runs(workspace, pool.fingerprint) if run.method["name"] == Imported.name]
    ids = {run.id for run in runs if run.method["params"].get("field") == column}
    if ids:
        inventory = take_inventory(workspace)
        delete_items(workspace, inventory, [item for item in inventory.of_kind("runs") if item.key in ids])
    remove_column(workspace.root, pool.fingerprint, column)
