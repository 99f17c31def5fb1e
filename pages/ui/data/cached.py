"""What is loaded once and shared by every visitor, read-only.

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

from core.measurement.run_data import load_measured
from core.measurement.runs import Run, find_signal
from core.methods import build_method, describe_method
from core.pool import pools
from core.pool.near_duplicates import cache_stamp
from core.pool.preference.target_sets import TargetSet, load_target_set, source_identity
from core.schema import Columns, IntArray, Measured, Method, Pool, Reading
from core.workspace.folder import Workspace
from core.workspace.jobs import Job, list_jobs
from pages.ui.data import cached

MAX_POOLS = 3  # open at the same time, over all visitors
MAX_TABLES = 12
MAX_RUNS = 8  # one row's scores are those of every method
MAX_TARGET_SETS = 2  # target sets whose pairs are in memory


def workspace() -> Workspace:
    """The folder everything is kept in: WINNOW_WORKSPACE, else ./workspace."""
    return _workspace(os.environ.get("WINNOW_WORKSPACE", "workspace"))


@st.cache_resource(show_spinner=False)
def _workspace(root: str) -> Workspace:
    return Workspace(root)


def freeze_heap() -> None:
    """Keep what was just loaded out of the full garbage collection that follows every run."""
    gc.collect()
    gc.freeze()


def recent_pools() -> list[dict[str, Any]]:
    """Pools in the workspace, last opened first, each content once (as it was mapped last)."""
    found: dict[str, dict[str, Any]] = {}
    for one in pools.recent_pools(workspace().root):
        found.setdefault(one["fingerprint"], one)
    return list(found.values())


def pool(fingerprint: str) -> Pool:
    """An imported pool, memory-mapped, mapped as it was last. PoolError when it is not in the workspace (any more)."""
    keys = [one["key"] for one in recent_pools() if one["fingerprint"] == fingerprint]
    return _pool(fingerprint, keys[0] if keys else "", str(workspace().root))


@st.cache_resource(show_spinner=False, max_entries=MAX_POOLS)
def _pool(fingerprint: str, key: str, root: str) -> Pool:
    opened = pools.open_pool(fingerprint, workspace=Path(root))
    freeze_heap()
    return opened


def measurements(run: Run) -> Measured:
    """What models said about every row; arrays are read-only."""
    root = workspace().root
    return _measured(run.id, cache_stamp(root, run.pool_id), str(root), run)


@st.cache_resource(show_spinner=False, max_entries=MAX_RUNS)
def _measured(run_id: str, known: int, root: str, _run: Run) -> Measured:
    loaded = load_measured(_run)
    _freeze(loaded.columns)
    return loaded


def method_key(method: Method) -> str:
    """A text that is equal for equal methods: for use as a cache argument."""
    return json.dumps(describe_method(method), sort_keys=True)


def scores(run: Run, method: Method) -> dict[str, Any]:
    """The method's own score columns over one run, read-only."""
    return _scores(run.id, method_key(method), str(workspace().root), run)


@st.cache_resource(show_spinner=False, max_entries=MAX_TABLES)
def _scores(run_id: str, key: str, root: str, _run: Run) -> dict[str, Any]:
    described = json.loads(key)
    made = build_method(described["name"], described["params"]).scores(measurements(_run))
    _freeze(made)
    return made


def columns(run: Run, method: Method) -> dict[str, Any]:
    """Every numeric column known about the rows: measured and scored."""
    return {**measurements(run).columns, **scores(run, method)}


def tasks(pool: Pool) -> tuple[tuple[str | None, ...], IntArray]:
    """Task names, most rows first (None: rows without one), and each row's place in them, (N,)."""
    return _tasks(pool.fingerprint, str(pool.fields.task), pool)


@st.cache_resource(show_spinner=False, max_entries=MAX_POOLS)
def _tasks(fingerprint: str, field: str, _pool: Pool) -> tuple[tuple[str | None, ...], IntArray]:
    coded = _pool.rows["task"].combine_chunks().dictionary_encode(null_encoding="encode")
    codes = np.asarray(coded.indices, np.int64)
    names = coded.dictionary.to_pylist()
    counts = np.bincount(codes, minlength=len(names))
    order = np.argsort(-counts, kind="stable")
    place = np.empty(len(names), np.int64)
    place[order] = np.arange(len(names))
    ranked = place[codes]
    ranked.flags.writeable = False
    return tuple(names[i] for i in order), ranked


def integer_column(pool: Pool, column: str) -> IntArray:
    """One integer column of the pool as an array, read-only; nulls are -1."""
    return _number(pool.fingerprint, column, pool)


@st.cache_resource(show_spinner=False, max_entries=MAX_TABLES)
def _number(fingerprint: str, column: str, _pool: Pool) -> IntArray:
    filled = _pool.rows[column].fill_null(-1).combine_chunks()
    values = np.asarray(filled.cast(pa.int64()), np.int64)
    values.flags.writeable = False
    return values


def column_total(pool: Pool, column: str) -> int:
    """The sum of one integer column of the pool."""
    return _total(pool.fingerprint, column, pool)


@st.cache_resource(show_spinner=False, max_entries=MAX_TABLES)
def _total(fingerprint: str, column: str, _pool: Pool) -> int:
    return int(pc.sum(_pool.rows[column]).as_py() or 0)


def count_duplicates(pool: Pool) -> int:
    """How many rows repeat an earlier one."""
    return len(pool) - int(pool.rows["duplicate_of"].null_count)


def sorted_rows(pool: Pool, column: str, *, descending: bool) -> IntArray:
    """Row numbers by one integer column, read-only; ties to the earlier row."""
    return _sorted_rows(pool.fingerprint, column, descending, pool)


@st.cache_resource(show_spinner=False, max_entries=MAX_TABLES)
def _sorted_rows(fingerprint: str, column: str, descending: bool, _pool: Pool) -> IntArray:
    values = integer_column(_pool, column)
    order = np.argsort(-values if descending else values, kind="stable")
    order.flags.writeable = False
    return order


def search_rows(pool: Pool, text: str, limit: int) -> IntArray:
    """Row numbers that hold `text` in prompt or response: the first `limit`, ascending, read-only."""
    return _found(pool.fingerprint, text, limit, pool)


@st.cache_resource(show_spinner="Searching", max_entries=MAX_TABLES)
def _found(fingerprint: str, text: str, limit: int, _pool: Pool) -> IntArray:
    rows = pools.search(_pool, text, limit=limit)
    rows.flags.writeable = False
    return rows


def answer_key(pool: Pool) -> dict[str, dict[str, Any]] | None:
    """The planted faults of the demo pool by row id; None for any other pool."""
    return _answer_key(pool.fingerprint, pool)


@st.cache_resource(show_spinner=False, max_entries=MAX_POOLS)
def _answer_key(fingerprint: str, _pool: Pool) -> dict[str, dict[str, Any]] | None:
    return pools.load_answer_key(_pool)


def targets(source: str, subtask: str | None, limit: int | None, seed: int) -> TargetSet:
    """The pairs of a target set; WinnowError when it has none. Read again when its file changes."""
    return _targets(json.dumps(source_identity(source), sort_keys=True), source, subtask, limit, seed)


@st.cache_resource(show_spinner="Reading the target set", max_entries=MAX_TARGET_SETS)
def _targets(identity: str, source: str, subtask: str | None, limit: int | None, seed: int) -> TargetSet:
    return load_target_set(source, subtask=subtask, limit=limit, seed=seed)


def live_jobs() -> list[Job]:
    """Jobs that are waiting or at work, newest first: read from disk every time."""
    return [job for job in list_jobs(workspace()) if job.state in ("queued", "running")]


def _freeze(arrays: Columns) -> None:
    for values in arrays.values():
        values.flags.writeable = False


def find_coverage_run(pool: Pool, run: Run) -> Run | None:
    """The newest run that holds activation states, under the reading of `run`; None where there is none."""
    return run if "states" in run.kept else find_signal(cached.workspace(), pool, "activations", Reading(**run.reading))
