"""Results of a proof that was trained elsewhere, from a folder that `prove --write` made (core/output/hand_over.py).

A result is results/RUN.jsonl: a line on the run, then a line for every evaluated row with its target, id, summed NLL
(nats) and response tokens; of a pair also those of the rejected response, of a short response whether it is matched.
Results are checked row by row, stored as training runs are, and judged in the same way.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from core.errors import WorkspaceError
from core.progress import Reporter
from core.proof.plan import Plan, RunSpec, TargetRows, hash_rows, read_plan
from core.proof.runs import MARGIN, MATCH, NLL, RunCounts, RunFigures
from core.proof.stored import PLAN, Proof, begin_proof, save_proof
from core.proof.verdicts import describe_run, judge_arms
from core.workspace.files import disk_errors, file_digest, read_json
from core.workspace.folder import Workspace, content_key
from core.workspace.stages import Stages

RUNS, RESULTS = "runs.json", "results"
Line = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Collected:
    """A proof with the results that a folder holds."""

    proof: Proof
    found: int  # training runs with a result, the untrained model among them
    missing: tuple[str, ...]  # names of those without one


def collect_results(folder: Path, workspace: Workspace, report: Reporter) -> Collected:
    """Read the results in a folder, and store the proof with the verdicts that they allow.

    WorkspaceError, with file and line, for a result of another plan, for a row that is missing, unknown or repeated,
    and for a value that is not a finite number or has another number of tokens than the plan.
    """
    about = read_runs(folder)
    handed = _read_proof(folder, str(about["plan"]))
    specs = {name: RunSpec(run["arm"], run["seed"], run["rate"], run["work"]) for name, run in about["runs"].items()}
    counts = {name: RunCounts(**run["counts"]) for name, run in about["runs"].items()}
    files = {name: folder / RESULTS / f"{name}.jsonl" for name in specs}
    _check_names(folder, list(files.values()))
    found = [name for name, file in files.items() if file.exists()]
    if not found:
        raise WorkspaceError(f"{folder / RESULTS} holds no result. Run `sh run.sh` in {folder} first.")
    report.stage("Reading results", rows=len(found), work=len(found))
    stages, runs, described = Stages(workspace, report), {}, []
    for done, name in enumerate(found, start=1):
        lines = _read_lines(files[name])
        figures = read_result(files[name], lines, handed, name, counts[name])
        stage = _store(stages, figures, name, files[name], handed.plan)
        runs[specs[name]] = figures
        described.append(describe_run(specs[name], figures, handed.targets, stage) | {"trainer": lines[0]["trainer"]})
        report.advance(done, done)
    missing = tuple(name for name in files if name not in found)
    begun = begin_proof(workspace, handed.plan, handed.arm_rows, handed.targets)
    _check_unmixed(begun)
    judged = replace(
        begun,
        state="running" if missing else "finished",
        runs=tuple(described),
        verdicts=judge_arms(handed.plan, handed.targets, runs),
        cost=_sum_seconds(runs.values()),
    )
    return Collected(save_proof(judged), len(found), missing)


def read_runs(folder: Path) -> dict[str, Any]:
    """Return the training runs that a folder was written for; WorkspaceError if it is no hand-over of a proof."""
    remedy = "Give the folder that `prove --write` made."
    file = folder / RUNS
    if not file.is_file():
        raise WorkspaceError(f"{folder} is no hand-over of a proof: it has no {RUNS}. {remedy}")
    with disk_errors(file):
        text = file.read_bytes()
    try:
        about = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise WorkspaceError(f"{file} is not JSON ({error}). {remedy}") from error
    if not isinstance(about, dict) or not {"plan", "runs"} <= about.keys():
        raise WorkspaceError(f"{file} does not list training runs. {remedy}")
    return about


def _read_proof(folder: Path, plan_id: str) -> Proof:
    """Return the proof that a folder holds, without results; its rows are those of the plan."""
    proof = Proof(read_plan(read_json(folder / PLAN)), folder)
    hashes = {arm.name: tuple(map(hash_rows, proof.arm_rows.get(arm.name, ()))) for arm in proof.plan.arms}
    same = {arm.name: tuple(arm.sha256) for arm in proof.plan.arms} == hashes
    same &= [hash_rows(one.rows) for one in proof.targets] == [target.sha256 for target in proof.plan.targets]
    if proof.id != plan_id or not same:
        raise WorkspaceError(f"The files in {folder} are of different plans. Write the folder again.")
    return proof


def _check_names(folder: Path, files: Sequence[Path]) -> None:
    unknown = sorted(set((folder / RESULTS).rglob("*.jsonl")) - set(files))
    if unknown:
        raise WorkspaceError(f"{unknown[0]} is the result of no training run in {folder / RUNS}. Remove it.")


def _check_unmixed(proof: Proof) -> None:
    own = sum("trainer" not in run for run in proof.runs)
    if own:
        raise WorkspaceError(
            f"{own:,} training runs of this proof were made in this workspace. Collect into another one (--workspace)."
        )


def _read_lines(file: Path) -> list[Line]:
    with disk_errors(file):
        text = file.read_bytes()
    lines = []
    for number, line in enumerate(text.rstrip(b"\n").split(b"\n"), start=1):
        try:
            lines.append(orjson.loads(line))
        except orjson.JSONDecodeError as error:
            raise WorkspaceError(f"{file}, line {number:,}: not JSON ({error}). Repeat this run.") from error
        if not isinstance(lines[-1], dict):
            raise WorkspaceError(f"{file}, line {number:,}: not an object. Repeat this run.")
    return lines


def read_result(file: Path, lines: Sequence[Line], proof: Proof, name: str, counts: RunCounts) -> RunFigures:
    """Return the figures of one result; WorkspaceError with the line if it does not fit the plan."""
    about = lines[0]
    if about.get("plan") != proof.id:
        raise WorkspaceError(f"{file} is a result of the plan {about.get('plan')}, not of {proof.id}. Repeat this run.")
    if about.get("run") != name:
        raise WorkspaceError(f"{file} is the result of the run {about.get('run')}. Give it the name of its run.")
    rows: dict[str, dict[int, tuple[int, Line]]] = {target.name: {} for target in proof.plan.targets}
    for number, line in enumerate(lines[1:], start=2):
        of_target = rows.get(str(line.get("target")))
        if of_target is None:
            raise _fault(file, number, f"the plan has no target '{line.get('target')}'")
        if line.get("id") in of_target:
            raise _fault(file, number, f"row {line['id']} of '{line['target']}' is repeated")
        of_target[line.get("id", -1)] = number, line
    tables = {one.target.name: _read_target(file, one, rows[one.target.name]) for one in proof.targets}
    return RunFigures(
        counts=counts,
        losses=np.array(about["losses"], np.float32),
        training_seconds=float(about["training_seconds"]),
        evaluation_seconds=float(about["evaluation_seconds"]),
        nll={target: table["nll"] for target, table in tables.items()},
        margins={target: table["margin"] for target, table in tables.items() if "margin" in table},
        matches={target: table["match"] for target, table in tables.items() if "match" in table},
    )


def _read_target(file: Path, target: TargetRows, lines: Mapping[int, tuple[int, Line]]) -> dict[str, Any]:
    """Return (R,) values of one target's rows, in the plan's order."""
    name, ids = target.target.name, target.rows.tolist()
    missing = [row for row in ids if row not in lines]
    if missing:
        raise WorkspaceError(
            f"{file}: {len(missing):,} of the {len(ids):,} rows of '{name}' are missing, first {missing[0]}. "
            "Repeat this run."
        )
    unknown = sorted(lines.keys() - set(ids), key=str)
    if unknown:
        raise _fault(file, lines[unknown[0]][0], f"'{name}' has no row {unknown[0]}")
    values: dict[str, list[Any]] = {"nll": []}
    for row, tokens, short in zip(ids, target.response_tokens.tolist(), target.short.tolist(), strict=True):
        number, line = lines[row]
        if line.get("tokens") != tokens:
            fault = f"row {row} of '{name}' has {line.get('tokens')} response tokens, and {tokens} in the plan"
            raise _fault(file, number, fault)
        nll = _number(file, number, line, "nll")
        values["nll"].append(nll)
        if target.target.kind == "pairs":
            rejected = _number(file, number, line, "rejected_nll") / _number(file, number, line, "rejected_tokens")
            values.setdefault("margin", []).append(rejected - nll / tokens)
        elif target.short.any():
            values.setdefault("match", []).append(short and _flag(file, number, line))
    types = {"nll": np.float64, "margin": np.float64, "match": np.bool_}
    return {key: np.array(column, types[key]) for key, column in values.items()}


def _number(file: Path, number: int, line: Line, field: str) -> float:
    value = line.get(field)
    lowest = 1 if field == "rejected_tokens" else 0
    if not isinstance(value, int | float) or not math.isfinite(value) or value < lowest:
        raise _fault(file, number, f"{field} is {value}, and must be a number of at least {lowest}")
    return float(value)


def _flag(file: Path, number: int, line: Line) -> bool:
    if not isinstance(line.get("match"), bool):
        raise _fault(file, number, "match is missing: true or false, whether the short response is given exactly")
    return bool(line["match"])


def _fault(file: Path, number: int, what: str) -> WorkspaceError:
    return WorkspaceError(f"{file}, line {number:,}: {what}. Repeat this run.")


def _store(stages: Stages, figures: RunFigures, name: str, file: Path, plan: Plan) -> str:
    """Store the figures row by row, in the columns of a training run; return the key of the stage."""
    spec = {"kind": "proof", "collected": {"plan": plan.id, "run": name, "sha256": file_digest(file)}}
    columns: dict[str, Any] = {"losses": figures.losses} | asdict(figures.counts)
    columns |= {"training_seconds": figures.training_seconds, "evaluation_seconds": figures.evaluation_seconds}
    for prefix, values in ((NLL, figures.nll), (MARGIN, figures.margins), (MATCH, figures.matches)):
        columns |= {prefix + target: column for target, column in values.items()}
    table = pa.table({column: [value] for column, value in columns.items()})
    stages.fill(spec, [np.arange(1)], f"Storing {name}", lambda: lambda _: table)
    return content_key(spec)


def _sum_seconds(runs: Any) -> dict[str, Any]:
    sums = {name: sum(getattr(run, name) for run in runs) for name in ("training_seconds", "evaluation_seconds")}
    return {"estimated_seconds": None, "choosing_seconds": {}} | sums
