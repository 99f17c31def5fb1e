"""Run a proof: all training runs that are not stored yet, then verdicts.

Runs are in an order that gives verdicts early: for each kind of work, seed by seed, all learning rates and arms. The
proof is stored again after every run, with new verdicts when all arms have been trained with one more seed and rate.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from core.measurement.warm_up import TRAINING_COST
from core.progress import Reporter
from core.proof.cost import count_workers, estimate_cost, evaluated_tokens
from core.proof.design import Design
from core.proof.plan import UNTRAINED, Plan, RunSpec
from core.proof.runs import RunFigures, TrainingRun, run_settings
from core.proof.stored import Proof, begin_proof, save_proof
from core.proof.verdicts import describe_run, judge_arms
from core.proof.workers import do_runs


def list_runs(plan: Plan) -> list[RunSpec]:
    """Return all training runs of a plan in their order; the untrained model is first."""
    return [RunSpec(UNTRAINED, 0, 0.0, "steps")] + [
        RunSpec(arm.name, seed, rate, work)
        for work in plan.work.kinds
        for seed in plan.seeds
        for rate in plan.rates
        for arm in plan.arms
    ]


def training_runs(design: Design) -> dict[RunSpec, TrainingRun]:
    """Return every run of a proof, in order."""
    return {spec: _training_run(design, spec) for spec in list_runs(design.plan)}


def _training_run(design: Design, spec: RunSpec) -> TrainingRun:
    rows = design.arm_rows(spec.arm, spec.seed) if spec.rate else np.empty(0, np.int64)
    return TrainingRun(design.stages, run_settings(design.plan, spec), rows, design.evaluated)


def prove(design: Design, report: Reporter, *, workers: int = 0) -> Proof:
    """Do all training runs that are not stored, judge the arms, and return the finished proof.

    `workers`: processes that train beside each other; 0: as many as the processor has cores and the memory holds.
    """
    plan, runs = design.plan, training_runs(design)
    proof = begin_proof(design.stages.workspace, plan, design.rows, design.evaluated)
    figures = {spec: run.load() for spec, run in runs.items() if run.is_stored}
    missing = {spec: run for spec, run in runs.items() if spec not in figures}
    proof = _save(proof, design, runs, figures, judge=True)
    if missing:
        specs, progress = list(missing), _Progress(list(runs.values()), list(missing.values()), report)
        with design.stages.on_device(design.stages.device):
            workers = workers or count_workers(list(missing.values()))
            for index in do_runs(list(missing.values()), workers, progress.step):
                spec = specs[index]
                figures[spec] = missing[spec].load()
                progress.finish(index)
                report.note(f"{describe_spec(spec)}: stored.")
                proof = _save(proof, design, runs, figures, judge=len(figures) % len(plan.arms) == 1)
    return _save(proof, design, runs, figures, judge=True)


def estimate_proof(design: Design) -> dict[str, Any]:
    """Return {"cost": core.proof.cost.estimate_cost of what is not stored yet}; nothing is stored."""
    return {"cost": estimate_cost(design, list(training_runs(design).values()))}


def describe_spec(spec: RunSpec) -> str:
    """Return a training run in words."""
    if not spec.rate:
        return "The untrained model"
    return f"{spec.arm}, seed {spec.seed}, learning rate {spec.rate:g}, equal {spec.work}"


def _save(
    proof: Proof,
    design: Design,
    runs: Mapping[RunSpec, TrainingRun],
    figures: Mapping[RunSpec, RunFigures],
    *,
    judge: bool,
) -> Proof:
    done = {spec: figures[spec] for spec in runs if spec in figures}
    described = tuple(describe_run(spec, run, design.evaluated, runs[spec].key) for spec, run in done.items())
    single = {runs[spec].key: run for spec, run in done.items()}.values()  # arms of the same rows share runs
    cost = {
        "training_seconds": sum(run.training_seconds for run in single),
        "evaluation_seconds": sum(run.evaluation_seconds for run in single),
        "choosing_seconds": dict(design.choosing_seconds),
    }
    verdicts = judge_arms(design.plan, design.evaluated, done) if judge else proof.verdicts
    state: Literal["running", "finished"] = "finished" if len(done) == len(runs) else "running"
    return save_proof(replace(proof, state=state, runs=described, verdicts=verdicts, cost=cost))


class _Progress:
    """Progress over all runs: models as rows, tokens as work, of which one that is trained on costs TRAINING_COST."""

    def __init__(self, runs: Sequence[TrainingRun], missing: Sequence[TrainingRun], report: Reporter) -> None:
        self._report, self._missing = report, missing
        work, every = list(map(_work_of, missing)), sum(map(_work_of, runs))
        self._work, self._done = work, [0] * len(missing)
        self._models, self._stored = len(runs) - len(missing), every - sum(work)
        title = f"Training and evaluating {len(runs):,} models"
        report.stage(title, rows=len(runs), work=every, done_rows=self._models, done_work=self._stored)

    def step(self, index: int, steps: int) -> None:
        """Count the steps of a run."""
        run = self._missing[index]
        self._done[index] = int(TRAINING_COST * run.counts.tokens) * steps // len(run.step_rows)
        self._advance()

    def finish(self, index: int) -> None:
        """Count a run that is stored."""
        self._done[index] = self._work[index]
        self._models += 1
        self._advance()

    def _advance(self) -> None:
        self._report.advance(self._models, self._stored + sum(self._done))


def _work_of(run: TrainingRun) -> int:
    return int(TRAINING_COST * run.counts.tokens) + evaluated_tokens(run)
