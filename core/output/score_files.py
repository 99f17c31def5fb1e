"""All scores of a pool's rows as a file for other tools, in OpenDataArena's form, one JSON object a line:

    {"id": "row-1", "scores": {"delta_entropy": {"score": -0.12}, "nll": {"score": 1.4}}}

A score that a row does not have is left out. `import-scores` reads the file back.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from core.errors import RecipeError
from core.measurement import find_column
from core.measurement.run_data import load_measured
from core.measurement.runs import Run
from core.methods import build_method
from core.schema import Pool
from core.selection.recipe import score_columns
from core.workspace.files import atomic_path

BATCH_ROWS = 10_000


def collect_scores(runs: Sequence[Run]) -> dict[str, Any]:
    """Return the numeric columns of finished runs, and those of the pool, by name; the newest run comes first."""
    columns: dict[str, Any] = {}
    for run in runs:
        measured = load_measured(run)
        own = score_columns(build_method(run.method["name"], run.method["params"]), measured)
        for name, values in (own | measured.artifacts["pool_columns"]).items():
            about = find_column(name)
            if values.dtype.kind in "fiu" and not (about and about.identifier):
                columns.setdefault(name, values)
    return columns


def write_score_file(pool: Pool, columns: Mapping[str, Any], path: Path) -> int:
    """Write the scores of every row; return how many rows have one. Raise RecipeError if there are no columns."""
    if not columns:
        raise RecipeError(f"No model has measured {pool.name} yet, so it has no scores. Measure it first.")
    written = 0
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        for start in range(0, len(pool), BATCH_ROWS):
            ids = pool.rows["id"].slice(start, BATCH_ROWS).to_pylist()
            values = {name: np.asarray(column[start : start + len(ids)]) for name, column in columns.items()}
            for k, name in enumerate(ids):
                scores = {
                    score: {"score": value.item()}
                    for score, column in values.items()
                    if np.isfinite(value := column[k])
                }
                written += bool(scores)
                file.write(orjson.dumps({"id": name, "scores": scores}) + b"\n")
    return written
