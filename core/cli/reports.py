"""Reports: facts about pools, runs and known bad rows as plain data, for the terminal or as JSON."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow.compute as pc

from core.cli.arguments import Facts
from core.columns import count_cut
from core.measurement.run_data import load_measured
from core.measurement.runs import Run
from core.measurement.shift_groups import describe_groups
from core.measurement.start_model import describe_start_model
from core.pool.pools import load_answer_key, unread_fields
from core.schema import Method, Pool


def count_faults(pool: Pool, rows: Any) -> dict[str, int]:
    """Count known bad rows among these rows, by kind; every kind of the answer key is listed."""
    key = load_answer_key(pool) or {}
    counts = Counter(key[i]["fault"] for i in pool.rows["id"].take(rows).to_pylist() if i in key)
    return {kind: counts[kind] for kind in sorted({fault["fault"] for fault in key.values()})}


def pool_facts(pool: Pool) -> Facts:
    """Summarise a pool in numbers."""
    prompts, responses = (pool.rows[f"{k}_chars"].to_numpy() for k in ("prompt", "response"))
    tasks = pc.value_counts(pool.rows["task"]).to_pylist() if len(pool) else []
    reasons = Counter(pool.set_aside["reason"].to_pylist())
    return {
        "pool": pool.name,
        "schema": pool.fields.schema,
        "fingerprint": pool.fingerprint,
        "rows": len(pool),
        "files": [asdict(file) for file in pool.files],
        "set_aside": dict(reasons.most_common()),
        "duplicates": len(pool) - pool.rows["duplicate_of"].null_count,
        "without_response": pool.rows["response"].null_count,
        "tasks": {
            str(t["values"]): t["counts"] for t in sorted(tasks, key=lambda t: -t["counts"]) if t["values"] is not None
        },
        "prompt_chars": _spread(prompts),
        "response_chars": _spread(responses),
        "fields": {k: v for k, v in asdict(pool.fields).items() if v},
        "fields_not_read": unread_fields(pool),
        "notices": list(pool.notices),
    }


def _spread(values: Any) -> Facts:
    if not len(values):
        return {}
    low, middle, high = np.percentile(values, [5, 50, 95])
    return {"p5": int(low), "median": int(middle), "p95": int(high), "max": int(values.max())}


def runs_facts(runs: Sequence[Run], others: Sequence[Method]) -> Facts:
    """Summarise the first run, and list those of the other methods; methods that measure the same share a run."""
    listed = [{"also": method.label, "run": run.id} for method, run in zip(others, runs[1:], strict=True)]
    return run_facts(runs[0]) | ({"others": listed} if listed else {})


def run_facts(run: Run) -> Facts:
    """Summarise what a run measured, in numbers."""
    measured = load_measured(run)
    tasks = {"tasks": {"source": run.tasks.source, "names": list(run.tasks.names)}} if run.tasks else {}
    means = {
        name: {"mean": float(np.nanmean(v)), "missing": int(np.isnan(v).sum())}
        for name, v in measured.columns.items()
        if v.dtype.kind == "f" and not np.isnan(v).all()
    }
    start_model, groups = describe_start_model(run), describe_groups(run, measured.columns)
    return {
        "run": run.id,
        "rows": len(measured),
        "model": dict(run.model),
        **({"start_model": start_model} if start_model else {}),
        **({"groups": groups} if groups else {}),
        "columns": means,
        **tasks,
        **{name: run.summary[name] for name in ("answers",) if name in run.summary},
        "tokens": run.summary["tokens"],
        "cut": count_cut(measured.columns),
        "seconds": {k: round(v, 1) for k, v in run.summary["seconds"].items()},
        "warnings": list(run.summary["warnings"]),
    }
