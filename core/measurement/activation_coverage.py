"""Measurement of activation coverage: the active neurons of each row, its gain in the greedy order, its cluster.

The activations are collected in the base pass. Gains and clusters are stages of their own, so another growth g or
number of clusters runs no model.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from core.algorithms.activation_clusters import WIDTH, activation_clusters
from core.algorithms.greedy_coverage import PARTITIONED_SHARE, merged_rows
from core.columns import Column, Signals, Signs, group_column
from core.errors import WorkspaceError
from core.measurement.activation_files import has_activations, read_activations
from core.measurement.measurement import Measurement, Result, Work
from core.measurement.prompt_embeddings import sample_key
from core.measurement.runs import Run
from core.measurement.stages import ActivationOptions, PoolStages
from core.methods.activation_coverage import ActivationCoverage
from core.schema import Columns, Measured, Pool

STAGE = "states"  # key of the activations in a run's `kept`


class CoverageMeasurement(Measurement[ActivationCoverage]):
    """Activations (MADS): gains of the greedy coverage order and clusters."""

    signals: ClassVar[Signals] = {
        "activations": {
            "coverage_gain": Column(
                "Coverage gain",
                "the row activates fewer neurons not yet covered by earlier picks",
                "the row activates more neurons not yet covered by earlier picks",
                "f of the rows up to this one, it included, minus f of the rows before it, in the greedy order.",
                signs=Signs(zero="adds nothing to the coverage of earlier picks"),
            ),
            "activation_cluster": group_column("Activation cluster", "the group of rows with similar activations"),
        }
    }

    def activations(self, method: ActivationCoverage) -> ActivationOptions:
        """Return the share of neurons that count as active, and the tokens that are counted over."""
        return ActivationOptions(method.share, method.tokens)

    def run(self, stages: PoolStages, method: ActivationCoverage, columns: Columns, seed: int) -> Result:
        """Order and cluster rows by the activations of the base pass."""
        folder = stages.activations_folder
        neurons = read_activations(folder)
        rows = method.candidates(neurons, Measured(stages.pool.fingerprint, columns))
        about = {"states": folder.name, "rows": len(rows)}
        greedy = about | {"kind": "coverage", "g": method.growth}
        if method.growth == "capped":
            greedy["tau"] = method.tau
        if (merged := merged_rows(neurons, rows)) < PARTITIONED_SHARE * len(rows):
            greedy["merged"] = merged
        clusters = about | {"kind": "clusters", "k": method.clusters, "seed": seed}
        clusters |= sample_key(stages, len(rows), WIDTH)
        gain, cluster = self.signals["activations"]
        n = len(stages.pool)
        _, gains = stages.once(
            greedy, n, gain, "Ranking rows by coverage", lambda _, on: method.gains(neurons, rows, on_pick=on)
        )
        _, codes = stages.once(
            clusters,
            n,
            cluster,
            "Clustering activations",
            lambda _, on: activation_clusters(neurons, rows, method.clusters, seed=seed, on_part=on),
        )
        return Result({gain: gains, cluster: codes}, {STAGE: folder.name})

    def cost(self, method: ActivationCoverage, pool: Pool) -> Work:
        """Return one pass of the base model."""
        return Work(base_pass=True)

    def load(self, run: Run) -> Mapping[str, Any]:
        """Load the active neurons, memory-mapped; WorkspaceError if their files were removed."""
        folder = run.stage_folder(STAGE)
        if folder is None:
            return {}
        if not has_activations(folder):
            raise WorkspaceError(f"{folder}: the activations of this run are missing. Measure again.")
        return {"activations": read_activations(folder)}
