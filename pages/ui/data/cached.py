"""Cached data, loaded once and shared read-only by every visitor.

Every cache is keyed by content ids (a fingerprint, a run id, a method's description), never by an array or a
table: Streamlit hashes only a sample of large arguments. `keep` takes these ids from a pool, a run or a method itself.
Arguments that begin with an underscore are not hashed.
"""

import gc
import json
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import streamlit as st

from core.demo.measured import unpack_measured
from core.measurement import semantic_duplicates
from core.measurement.lookup import find_signal
from core.measurement.run_data import load_measured
from core.measurement.runs import Run
from core.methods import METHODS, describe_method
from core.pool import pools
from core.pool.near_duplicates import cache_stamp
from core.pool.pool_columns import columns_stamp, load_columns
from core.pool.preference.target_sets import TargetSet, load_target_set, source_identity
from core.schema import Columns, IntArray, Measured, Method, Pool, Reading
from core.workspace.folder import Workspace
from core.workspace.jobs import Job, list_jobs

MAX_POOLS = 3  # open at the same time, for all visitors together
MAX_TABLES = 12
MAX_RUNS = 8  # the scores of one row come from the runs of all methods
MAX_TARGET_SETS = 2  # target sets whose pairs are in memory

F = TypeVar("F", bound=Callable[..., Any])


def workspace() -> Workspace:
    """Return the workspace: WINNOW_WORKSPACE, else ./workspace."""
    return _workspace(os.environ.get("WINNOW_WORKSPACE", "workspace"))


@cache
def _workspace(root: str) -> Workspace:
    return Workspace(root)


def method_key(method: Method) -> str:
    """Return a text that is equal for equal methods, for use as a cache argument."""
    return json.dumps(describe_method(method), sort_keys=True)


CONTENT_IDS: dict[str | type, Callable[[Any], Any]] = {
    Pool: lambda pool: (pool.fingerprint, str(pool.fields.task)),
    Run: lambda run: (run.id, str(workspace().root)),
    **dict.fromkeys(METHODS.values(), method_key),
}


def keep(max_entries: int = MAX_TABLES, show_spinner: bool | str = False) -> Callable[[F], F]:
    """Cache a function for all visitors, by the content ids of the pools, runs and methods it is called with."""
    return st.cache_resource(show_spinner=show_spinner, max_entries=max_entries, hash_funcs=CONTENT_IDS)


def freeze_heap() -> None:
    """Exempt what was just loaded from the full garbage collection after every run."""
    gc.collect()
    gc.freeze()


def stored_pools() -> list[dict[str, Any]]:
    """List the pools in the workspace, last opened first, as `core.pool.pools.recent_pools` does."""
    return pools.recent_pools(workspace().root)


def open_demo() -> Pool:
    """Open the demo pool with the measured results that ship with it."""
    root = workspace().root
    unpack_measured(root, again=all(entry["source"] != pools.DEMO for entry in stored_pools()))
    return pools.load_pool(pools.DEMO, workspace=root)


def pool(key: str) -> Pool:
    """Open the pool that is stored under a key of `stored_pools`, memory-mapped."""
    return _pool(key, str(workspace().root))


@keep(MAX_POOLS)
def _pool(key: str, root: str) -> Pool:
    opened = pools.open_stored(key, workspace=Path(root))
    freeze_heap()
    return opened


def measurements(run: Run) -> Measured:
    """Load the measurements of every row in a run; arrays are read-only."""
    of_pool = workspace().root, run.pool_id
    stamps = (cache_stamp(*of_pool), semantic_duplicates.cache_stamp(*of_pool), columns_stamp(*of_pool))
    return _measurements(run, stamps)


@keep(MAX_RUNS)
def _measurements(run: Run, file_stamps: tuple[int, int, int]) -> Measured:
    loaded = load_measured(run)
    _freeze(loaded.columns)
    return loaded


def pool_columns(pool: Pool) -> dict[str, Any]:
    """Return the columns of the pool that no run measured, read-only."""
    root = workspace().root
    return _pool_columns(pool, columns_stamp(root, pool.fingerprint), str(root))


@keep(MAX_POOLS)
def _pool_columns(pool: Pool, stamp: int, root: str) -> dict[str, Any]:
    return load_columns(Path(root), pool.fingerprint)


@keep()
def scores(run: Run, method: Method) -> dict[str, Any]:
    """Compute the method's own score columns for a run; read-only."""
    score_columns = method.scores(measurements(run))
    _freeze(score_columns)
    return score_columns


def columns(run: Run, method: Method) -> dict[str, Any]:
    """Return all numeric columns of a run: measurements, the method's scores, and those of the pool itself."""
    measured = measurements(run)
    return {**measured.artifacts["pool_columns"], **measured.columns, **scores(run, method)}


@keep(MAX_POOLS)
def tasks(pool: Pool) -> tuple[tuple[str | None, ...], IntArray]:
    """Return task names, most rows first (None: rows without a task), and each row's index into them, (N,)."""
    coded = pool.rows["task"].combine_chunks().dictionary_encode(null_encoding="encode")
    codes = np.asarray(coded.indices, np.int64)
    names = coded.dictionary.to_pylist()
    order = np.argsort(-np.bincount(codes, minlength=len(names)), kind="stable")
    return tuple(names[i] for i in order), _frozen(np.argsort(order)[codes])


@keep()
def integer_column(pool: Pool, column: str) -> IntArray:
    """Return an integer column of the pool, (N,), read-only; nulls are -1."""
    return _frozen(np.asarray(pool.rows[column].fill_null(-1).combine_chunks().cast(pa.int64()), np.int64))


@keep()
def column_total(pool: Pool, column: str) -> int:
    """Return the sum of an integer column of the pool."""
    return int(pc.sum(pool.rows[column]).as_py() or 0)


def count_duplicates(pool: Pool) -> int:
    """Count the exact duplicates of earlier rows."""
    return len(pool) - int(pool.rows["duplicate_of"].null_count)


@keep()
def sorted_rows(pool: Pool, column: str, *, descending: bool) -> IntArray:
    """Return the row numbers sorted by an integer column, read-only; ties go to the earlier row."""
    values = integer_column(pool, column)
    return _frozen(np.argsort(-values if descending else values, kind="stable"))


@keep(MAX_POOLS)
def answer_key(pool: Pool) -> dict[str, dict[str, Any]] | None:
    """Return the planted faults of the demo pool by row id; None for any other pool."""
    return pools.load_answer_key(pool)


def targets(source: str, subtask: str | None, limit: int | None, seed: int) -> TargetSet:
    """Load the pairs of a target set, again whenever its file changes. Raises WinnowError if it has none."""
    return _targets(json.dumps(source_identity(source), sort_keys=True), source, subtask, limit, seed)


@st.cache_resource(show_spinner="Reading the target set", max_entries=MAX_TARGET_SETS)
def _targets(identity: str, source: str, subtask: str | None, limit: int | None, seed: int) -> TargetSet:
    return load_target_set(source, subtask=subtask, limit=limit, seed=seed)


def live_jobs() -> list[Job]:
    """List the queued and running jobs, newest first; read from disk every time."""
    return [job for job in list_jobs(workspace()) if job.state in ("queued", "running")]


def _freeze(arrays: Columns) -> None:
    for values in arrays.values():
        _frozen(values)


def _frozen(values: IntArray) -> IntArray:
    values.flags.writeable = False
    return values


def find_coverage_run(pool: Pool, run: Run) -> Run | None:
    """Return `run` if it stored activations, else the newest such run under the same reading; None if there is none."""
    return run if "states" in run.kept else find_signal(workspace(), pool, "activations", Reading(**run.reading))
