"""Cached data, loaded once and shared read-only by every visitor.

Every cache is keyed by content ids (a fingerprint, a run id, a method's description), never by an array or a
table: Streamlit hashes only a sample of large arguments. Arguments that begin with an underscore are not hashed.
"""

import gc
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import streamlit as st

from core.measurement.lookup import find_signal
from core.measurement.run_data import load_measured
from core.measurement.runs import Run
from core.methods import build_method, describe_method
from core.pool import pools
from core.pool.near_duplicates import cache_stamp
from core.pool.preference.target_sets import TargetSet, load_target_set, source_identity
from core.schema import Columns, IntArray, Measured, Method, Pool, Reading
from core.workspace.folder import Workspace
from core.workspace.jobs import Job, list_jobs

MAX_POOLS = 3  # open at the same time, for all visitors together
MAX_TABLES = 12
MAX_RUNS = 8  # the scores of one row come from the runs of all methods
MAX_TARGET_SETS = 2  # target sets whose pairs are in memory


def workspace() -> Workspace:
    """Return the workspace: WINNOW_WORKSPACE, else ./workspace."""
    return _workspace(os.environ.get("WINNOW_WORKSPACE", "workspace"))


@st.cache_resource(show_spinner=False)
def _workspace(root: str) -> Workspace:
    return Workspace(root)


def freeze_heap() -> None:
    """Exempt what was just loaded from the full garbage collection after every run."""
    gc.collect()
    gc.freeze()


def recent_pools() -> list[dict[str, Any]]:
    """List the pools in the workspace, last opened first; each content once, with its latest mapping."""
    by_fingerprint: dict[str, dict[str, Any]] = {}
    for entry in pools.recent_pools(workspace().root):
        by_fingerprint.setdefault(entry["fingerprint"], entry)
    return list(by_fingerprint.values())


def pool(fingerprint: str) -> Pool:
    """Open an imported pool, memory-mapped, with its latest mapping. Raises PoolError if it is not in the workspace."""
    keys = [entry["key"] for entry in recent_pools() if entry["fingerprint"] == fingerprint]
    return _pool(fingerprint, keys[0] if keys else "", str(workspace().root))


@st.cache_resource(show_spinner=False, max_entries=MAX_POOLS)
def _pool(fingerprint: str, key: str, root: str) -> Pool:
    opened = pools.open_pool(fingerprint, workspace=Path(root))
    freeze_heap()
    return opened


def measurements(run: Run) -> Measured:
    """Load the measurements of every row in a run; arrays are read-only."""
    root = workspace().root
    return _measurements(run.id, cache_stamp(root, run.pool_id), str(root), run)


@st.cache_resource(show_spinner=False, max_entries=MAX_RUNS)
def _measurements(run_id: str, file_stamp: int, root: str, _run: Run) -> Measured:
    loaded = load_measured(_run)
    _freeze(loaded.columns)
    return loaded


def method_key(method: Method) -> str:
    """Return a text that is equal for equal methods, for use as a cache argument."""
    return json.dumps(describe_method(method), sort_keys=True)


def scores(run: Run, method: Method) -> dict[str, Any]:
    """Compute the method's own score columns for a run; read-only."""
    return _scores(run.id, method_key(method), str(workspace().root), run)


@st.cache_resource(show_spinner=False, max_entries=MAX_TABLES)
def _scores(run_id: str, key: str, root: str, _run: Run) -> dict[str, Any]:
    described = json.loads(key)
    score_columns = build_method(described["name"], described["params"]).scores(measurements(_run))
    _freeze(score_columns)
    return score_columns


def columns(run: Run, method: Method) -> dict[str, Any]:
    """Return all numeric columns of a run: measurements and the method's scores."""
    return {**measurements(run).columns, **scores(run, method)}


def tasks(pool: Pool) -> tuple[tuple[str | None, ...], IntArray]:
    """Return task names, most rows first (None: rows without a task), and each row's index into them, (N,)."""
    return _tasks(pool.fingerprint, str(pool.fields.task), pool)


@st.cache_resource(show_spinner=False, max_entries=MAX_POOLS)
def _tasks(fingerprint: str, field: str, _pool: Pool) -> tuple[tuple[str | None, ...], IntArray]:
    coded = _pool.rows["task"].combine_chunks().dictionary_encode(null_encoding="encode")
    codes = np.asarray(coded.indices, np.int64)
    names = coded.dictionary.to_pylist()
    counts = np.bincount(codes, minlength=len(names))
    order = np.argsort(-counts, kind="stable")
    new_index = np.empty(len(names), np.int64)
    new_index[order] = np.arange(len(names))
    ranked = new_index[codes]
    ranked.flags.writeable = False
    return tuple(names[i] for i in order), ranked


def integer_column(pool: Pool, column: str) -> IntArray:
    """Return an integer column of the pool, (N,), read-only; nulls are -1."""
    return _integer_column(pool.fingerprint, column, pool)


@st.cache_resource(show_spinner=False, max_entries=MAX_TABLES)
def _integer_column(fingerprint: str, column: str, _pool: Pool) -> IntArray:
    filled = _pool.rows[column].fill_null(-1).combine_chunks()
    values = np.asarray(filled.cast(pa.int64()), np.int64)
    values.flags.writeable = False
    return values


def column_total(pool: Pool, column: str) -> int:
    """Return the sum of an integer column of the pool."""
    return _column_total(pool.fingerprint, column, pool)


@st.cache_resource(show_spinner=False, max_entries=MAX_TABLES)
def _column_total(fingerprint: str, column: str, _pool: Pool) -> int:
    return int(pc.sum(_pool.rows[column]).as_py() or 0)


def count_duplicates(pool: Pool) -> int:
    """Count the exact duplicates of earlier rows."""
    return len(pool) - int(pool.rows["duplicate_of"].null_count)


def sorted_rows(pool: Pool, column: str, *, descending: bool) -> IntArray:
    """Return the row numbers sorted by an integer column, read-only; ties go to the earlier row."""
    return _sorted_rows(pool.fingerprint, column, descending, pool)


@st.cache_resource(show_spinner=False, max_entries=MAX_TABLES)
def _sorted_rows(fingerprint: str, column: str, descending: bool, _pool: Pool) -> IntArray:
    values = integer_column(_pool, column)
    order = np.argsort(-values if descending else values, kind="stable")
    order.flags.writeable = False
    return order


def search_rows(pool: Pool, text: str, limit: int) -> IntArray:
    """Return the first `limit` rows with `text` in prompt or response, ascending, read-only."""
    return _search_rows(pool.fingerprint, text, limit, pool)


@st.cache_resource(show_spinner="Searching", max_entries=MAX_TABLES)
def _search_rows(fingerprint: str, text: str, limit: int, _pool: Pool) -> IntArray:
    rows = pools.search(_pool, text, limit=limit)
    rows.flags.writeable = False
    return rows


def answer_key(pool: Pool) -> dict[str, dict[str, Any]] | None:
    """Return the planted faults of the demo pool by row id; None for any other pool."""
    return _answer_key(pool.fingerprint, pool)


@st.cache_resource(show_spinner=False, max_entries=MAX_POOLS)
def _answer_key(fingerprint: str, _pool: Pool) -> dict[str, dict[str, Any]] | None:
    return pools.load_answer_key(_pool)


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
        values.flags.writeable = False


def find_coverage_run(pool: Pool, run: Run) -> Run | None:
    """Return `run` if it stored activations, else the newest such run under the same reading; None if there is none."""
    return run if "states" in run.kept else find_signal(workspace(), pool, "activations", Reading(**run.reading))
