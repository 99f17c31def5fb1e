"""From activation states to what methods and pages read: gains of the greedy order, and clusters of rows.

Both are stages of their own: another growth g or number of clusters runs no model.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from core.algorithms.activation_clusters import activation_clusters
from core.columns import SIGNALS
from core.measurement.run_data import read_states
from core.measurement.stages import Sweep
from core.methods.activation_coverage import ActivationCoverage
from core.progress import percent_callback
from core.schema import Columns, Measured, Progress


def cover(sweep: Sweep, method: ActivationCoverage, columns: Columns, seed: int) -> dict[str, Any]:
    """coverage_gain and activation_cluster of every row, from the states that rode on the base pass."""
    states = read_states(sweep.states)
    rows = method.candidates(states, Measured(sweep.pool.fingerprint, columns))
    gain, cluster = SIGNALS["activations"]
    greedy = {"kind": "coverage", "states": sweep.states.name, "g": method.growth, "rows": len(rows)}
    if method.growth == "capped":
        greedy["tau"] = method.tau
    grouping = {"kind": "clusters", "states": sweep.states.name, "rows": len(rows), "k": method.clusters, "seed": seed}
    return {
        gain: _kept(
            sweep, greedy, gain, "Putting rows in order by coverage", lambda on: method.gains(states, rows, on_pick=on)
        ),
        cluster: _kept(
            sweep,
            grouping,
            cluster,
            "Grouping rows by activations",
            lambda on: activation_clusters(states, rows, method.clusters, seed=seed, on_part=on),
        ),
    }


def _kept(sweep: Sweep, spec: dict[str, Any], name: str, stage: str, make: Callable[[Progress], Any]) -> Any:
    """One column (N,) as a stage of one part."""
    n = len(sweep.pool)
    with sweep.timed(str(spec["kind"])), sweep.stage(spec, [np.arange(n)]) as parts:
        if parts.missing():
            sweep.report.stage(stage, rows=0, work=100)
            values = make(percent_callback(sweep.report))
            parts.write(0, pa.table({name: pa.array(values)}))
    return parts.column(name, n)
