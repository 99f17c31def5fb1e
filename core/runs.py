"""Finished runs: everything a method needs to know about every row of one pool, in one small file.

A run is written once, when all of its measurements are complete, and read in milliseconds by the app
and by `select`. It knows nothing of models, so neither needs torch.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from core.errors import WorkspaceError
from core.methods import describe
from core.methods.params import measure_params
from core.schema import Measured, Method, ModelRef, Reading
from core.store import Workspace, atomic_path, content_key, read_json, write_json

SIGNALS: dict[str, tuple[str, ...]] = {
    "tokens": ("prompt_tokens", "response_tokens", "truncated"),  # the tokenizer alone
    "base": ("nll", "entropy"),  # one forward pass of the model as it is
    "calibrated": ("nll_cal", "entropy_cal"),  # warm-up training, then a second pass
}


@dataclass(frozen=True)
class Run:
    """One finished run over one pool."""

    id: str
    pool_id: str
    method: Mapping[str, Any]  # describe(method) as it was measured
    reading: Mapping[str, Any]  # Reading, as asked for
    model: Mapping[str, Any]  # name, revision
    encoder: str  # digest of tokenizer and template
    seed: int
    columns: tuple[str, ...]
    folder: Path
    summary: Mapping[str, Any] = field(default_factory=dict)  # seconds, tokens, rounds, warnings, dtype

    @property
    def signals(self) -> tuple[str, ...]:
        """The signals (of SIGNALS) that this run holds."""
        return tuple(s for s, names in SIGNALS.items() if set(names) <= set(self.columns))


def run_key(pool_id: str, method: Method, reading: Reading, ref: ModelRef, seed: int) -> str:
    """The id of the run that measures this: changes with anything that changes a column."""
    calibrated = "calibrated" in method.needs
    return content_key(
        {
            "pool": pool_id,
            "needs": sorted(method.needs),
            "params": measure_params(method) if calibrated else {},
            "seed": seed if calibrated else 0,
            "reading": asdict(reading),
            "revision": ref.revision,
        }
    )


def save_run(workspace: Workspace, run: Run, columns: Mapping[str, Any]) -> Run:
    """Keep a finished run; `run.json` is written last, so a run is whole or absent."""
    with atomic_path(run.folder / "columns.parquet") as temporary:
        pq.write_table(pa.table({name: pa.array(v) for name, v in columns.items()}), temporary)
    document = {k: v for k, v in asdict(run).items() if k != "folder"}
    write_json(run.folder / "run.json", document)
    return run


def open_run(workspace: Workspace, run_id: str) -> Run:
    """One finished run by its id; WorkspaceError when there is none."""
    folder = workspace.folder("runs", run_id)
    if not (folder / "run.json").exists():
        raise WorkspaceError(f"There is no finished run '{run_id}' in {workspace.root}. Measure first.")
    document = read_json(folder / "run.json")
    return Run(**{**document, "columns": tuple(document["columns"]), "folder": folder})


def list_runs(workspace: Workspace, pool_id: str) -> list[Run]:
    """Finished runs on one pool, newest first."""
    files = sorted(workspace.root.glob("runs/*/run.json"), key=lambda f: (f.stat().st_mtime_ns, f), reverse=True)
    runs = (open_run(workspace, file.parent.name) for file in files)
    return [run for run in runs if run.pool_id == pool_id]


def find_run(workspace: Workspace, pool_id: str, method: Method, reading: Reading, seed: int) -> Run | None:
    """The newest run under this reading that holds all the method needs; None when there is none.

    A method that needs a calibrated model finds only runs with its own measuring parameters and seed;
    the others share any run of the same model and reading. A reading without a revision finds any.
    """
    for run in list_runs(workspace, pool_id):
        if reads_alike(run, reading) and fits(run, method, seed):
            return run
    return None


def reads_alike(run: Run, reading: Reading) -> bool:
    """Whether the run was made with this reading, and with its revision when it names one."""
    same = asdict(reading) | {"revision": None} == dict(run.reading) | {"revision": None}
    return same and reading.revision in (None, run.model["revision"])


def fits(run: Run, method: Method, seed: int) -> bool:
    """Whether the run holds what this method, with these measuring parameters, needs."""
    if not set(method.needs) <= set(run.signals):
        return False
    if "calibrated" not in method.needs:
        return True
    asked, made = describe(method), run.method
    same = all(made["params"].get(k) == v for k, v in measure_params(method).items())
    return bool(asked["name"] == made["name"] and same and run.seed == seed)


def load_measured(run: Run) -> Measured:
    """The run's columns as read-only arrays, one value per pool row."""
    table = pq.read_table(run.folder / "columns.parquet")
    columns = {name: table[name].to_numpy() for name in run.columns}
    for values in columns.values():
        values.flags.writeable = False
    return Measured(run.pool_id, columns)
