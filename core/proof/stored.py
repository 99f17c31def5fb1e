"""Proofs in the workspace: `proofs/<id>/` holds plan.json, rows.parquet and proof.json.

    plan.json     the plan, written before the first step
    rows.parquet  rows of every arm and seed, and the evaluated rows of every target with task and response tokens
    proof.json    plan, training runs, verdicts, cost and headline; written again after every training run

They are read without torch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from core.errors import DamagedFile, WorkspaceError
from core.proof.arms import describe_recipe
from core.proof.headline import write_headline
from core.proof.plan import Plan, TargetRows, read_plan
from core.proof.verdicts import Verdict
from core.schema import IntArray, Pool
from core.selection.recipe import Recipe
from core.workspace.files import log_once, read_json, reading, stored_path, write_json
from core.workspace.folder import Workspace

PLAN, ROWS, PROOF = "plan.json", "rows.parquet", "proof.json"
ROWS_SCHEMA = pa.schema(
    [
        ("kind", pa.string()),  # "arm" or "target"
        ("name", pa.string()),
        ("seed", pa.int64()),  # of an arm whose rows differ by seed; null: all seeds
        ("rows", pa.list_(pa.int64())),  # of the pool, of the target's own pool, or pairs
        ("task", pa.list_(pa.int64())),  # of a target: see core.proof.plan.TargetRows
        ("response_tokens", pa.list_(pa.int64())),
        ("short", pa.list_(pa.bool_())),
    ]
)


@dataclass(frozen=True, eq=False)
class Proof:
    """A proof, finished or in progress."""

    plan: Plan
    folder: Path
    state: Literal["running", "finished"] = "running"  # running: also one that was interrupted
    made: str = ""  # ISO time of the last training run
    runs: Sequence[Mapping[str, Any]] = ()  # core.proof.verdicts.describe_run
    verdicts: Sequence[Verdict] = ()
    cost: Mapping[str, Any] | None = None

    @property
    def id(self) -> str:
        """The id of the plan."""
        return self.plan.id

    @property
    def headline(self) -> str:
        """The result in a sentence; "" before there is a verdict."""
        return write_headline(self.plan, self.verdicts)

    def as_data(self) -> dict[str, Any]:
        """Return the content of proof.json."""
        return {
            "id": self.id,
            "plan": self.plan.as_data(),
            "state": self.state,
            "made": self.made,
            "runs": list(self.runs),
            "verdicts": [asdict(verdict) for verdict in self.verdicts],
            "cost": dict(self.cost or {}),
            "headline": self.headline,
        }

    @cached_property
    def arm_rows(self) -> dict[str, tuple[IntArray, ...]]:
        """The rows of each arm: for each seed, or for all."""
        rows: dict[str, tuple[IntArray, ...]] = {}
        for each in self._rows:
            if each["kind"] == "arm":
                rows[each["name"]] = (*rows.get(each["name"], ()), np.array(each["rows"], np.int64))
        return rows

    @cached_property
    def targets(self) -> tuple[TargetRows, ...]:
        """The evaluated rows of each target."""
        return tuple(
            TargetRows(
                self.plan.find_target(each["name"]),
                np.array(each["rows"], np.int64),
                np.array(each["task"], np.int64),
                np.array(each["response_tokens"], np.int64),
                np.array(each["short"], np.bool_),
            )
            for each in self._rows
            if each["kind"] == "target"
        )

    @cached_property
    def _rows(self) -> list[dict[str, Any]]:
        with reading(self.folder / ROWS):
            rows: list[dict[str, Any]] = pq.read_table(self.folder / ROWS).to_pylist()
        return rows


def begin_proof(
    workspace: Workspace, plan: Plan, rows: Mapping[str, Sequence[IntArray]], evaluated: Sequence[TargetRows]
) -> Proof:
    """Store a plan and its rows before the first step, and return its proof; one that has begun is as it was left."""
    folder = workspace.folder("proofs", plan.id)
    if not (folder / PLAN).exists():
        entries: list[dict[str, Any]] = [
            {"kind": "arm", "name": name, "seed": seed, "rows": own}
            for name, by_seed in rows.items()
            for seed, own in zip(plan.seeds if len(by_seed) > 1 else (None,), by_seed, strict=True)
        ]
        entries += [
            {"kind": "target", "name": one.target.name, "rows": one.rows, "task": one.task, "short": one.short}
            | {"response_tokens": one.response_tokens}
            for one in evaluated
        ]
        with stored_path(folder / ROWS) as temporary:
            pq.write_table(pa.Table.from_pylist(entries, ROWS_SCHEMA), temporary)
        write_json(folder / PLAN, plan.as_data())
        return save_proof(Proof(plan, folder))
    return open_proof(workspace, plan.id)


def save_proof(proof: Proof) -> Proof:
    """Write proof.json, and return the proof as it is read back."""
    made = datetime.now(UTC).isoformat(timespec="seconds")
    write_json(proof.folder / PROOF, proof.as_data() | {"made": made})
    return _read(proof.folder)


def open_proof(workspace: Workspace, proof_id: str) -> Proof:
    """Open a proof by its id; WorkspaceError if there is none."""
    folder = workspace.folder("proofs", proof_id)
    if not (folder / PLAN).exists():
        raise WorkspaceError(f"There is no proof '{proof_id}' in {workspace.root}. `prove` makes one.")
    return _read(folder)


def _read(folder: Path) -> Proof:
    try:
        return _parse(folder)
    except (KeyError, TypeError) as error:
        raise DamagedFile(f"{folder} holds a proof of another form. Run `prove` again, or delete it.") from error


def _parse(folder: Path) -> Proof:
    if not (folder / PROOF).exists():
        return Proof(read_plan(read_json(folder / PLAN)), folder)
    data = read_json(folder / PROOF)
    verdicts = [Verdict(**verdict) for verdict in data["verdicts"]]
    return Proof(
        read_plan(data["plan"]), folder, data["state"], data["made"], tuple(data["runs"]), tuple(verdicts), data["cost"]
    )


def list_proofs(workspace: Workspace, pool_id: str) -> list[Proof]:
    """Return the proofs on one pool, newest first. Damaged ones are logged and left out."""
    files = sorted(workspace.root.glob(f"proofs/*/{PLAN}"), key=lambda file: (_changed(file), file), reverse=True)
    proofs = (_read_unless_damaged(file.parent) for file in files)
    return [proof for proof in proofs if proof is not None and proof.plan.pool["fingerprint"] == pool_id]


def _changed(plan: Path) -> int:
    return max(file.stat().st_mtime_ns for file in (plan, plan.with_name(PROOF)) if file.exists())


def _read_unless_damaged(folder: Path) -> Proof | None:
    try:
        return _read(folder)
    except DamagedFile as error:
        log_once(str(error))
        return None


def find_proof(workspace: Workspace, pool: Pool, recipe: Recipe) -> tuple[Proof, str] | None:
    """Return the newest proof with verdicts on this selection, and the name of its arm; None if there is none.

    An arm is this selection if method, parameters, filters, threshold, pins, budget, reading and seed are the same.
    """
    wanted = describe_recipe(recipe)
    for proof in list_proofs(workspace, pool.fingerprint):
        judged = {verdict.arm for verdict in proof.verdicts}
        for arm in proof.plan.arms:
            if arm.name in judged and not arm.reversed and arm.recipe == wanted:
                return proof, arm.name
    return None
