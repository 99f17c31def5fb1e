"""Influence check (leave k out): does the measured influence predict what training on the rows does?

    predicted   Σ_{i in half} influence_i                 on the target, mean over its sub-tasks weighted by their pairs
    measured    loss before any training − loss after training on the half     nats; high: the half helps the target
    result      correlation over M random halves of the rows, with its interval: Spearman's ρ and Pearson's r

The loss is the method's own on the pairs of the target: of preferences, the DPO loss −log σ(z) with the untrained model
as reference (ROSE); of chosen answers, their mean NLL per token (LESS). Each half is a stored training run
(core.proof.runs), for as many steps of as many response tokens as the others, with the adapter of the measurement.

The idea is that of leave-k-out retraining (https://arxiv.org/abs/2202.00622), where the rows of a subset are left out;
here the half is what is trained on, and its complement is left out.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from core.algorithms.correlation import Correlation, correlate
from core.algorithms.influences import Influences, Objective
from core.errors import RecipeError
from core.measurement.preference_influence import adapter_spec
from core.measurement.run_data import load_measured
from core.measurement.runs import Run
from core.measurement.stages import PoolStages
from core.measurement.target_pairs import Pairs, read_pairs
from core.methods.preference_influence import PreferenceInfluence, parse_targets
from core.progress import Reporter
from core.proof.evaluation import count_tokens, evaluated_pairs
from core.proof.plan import EvaluatedRows, Target
from core.proof.runs import RunFigures, TrainingRun
from core.schema import Float64Array, IntArray, Pool, Reading
from core.workspace.files import read_json, write_json
from core.workspace.folder import Workspace

if TYPE_CHECKING:
    from core.models.training.schedule import TrainSpec

FILE = "influence_check.json"  # in the folder of a run
DRAW = 20_260  # begins the seeds of halves
MIN_HALVES, MAX_HALVES = 5, 1000


@dataclass(frozen=True)
class InfluenceCheck:
    """A finished check of one target and loss."""

    target: str
    objective: Objective
    spearman: Correlation
    pearson: Correlation
    predicted: tuple[float, ...]  # (M,) summed influence of each half
    measured: tuple[float, ...]  # (M,) nats by which the loss of the target fell
    loss: float  # before any training
    rows: int  # of a half
    steps: int
    tokens_per_step: int
    seconds: float  # of all training runs, those that were stored before among them

    @property
    def sentence(self) -> str:
        """The result in a sentence."""
        rho = self.spearman
        if not np.isfinite(rho.value):
            return "This check shows nothing: influence, or the loss of the target, is the same for every half."
        found = "predicts" if rho.low > 0 else "predicts the opposite of" if rho.high < 0 else "is not shown to predict"
        return (
            f"Influence {found} what training does: over {len(self.measured)} random halves, Spearman "
            f"{_signed(rho.value)} (95% interval {_signed(rho.low)} to {_signed(rho.high)})."
        )

    @property
    def warning(self) -> str:
        """What to make of an interval that holds 0, or of a negative correlation; "" for neither."""
        if self.spearman.low > 0:
            return ""
        if self.spearman.high < 0:
            return (
                "Halves with more influence helped the target less. Do not select by this influence: check the "
                "pairs of the target, and the response lengths."
            )
        return (
            "The interval contains 0, so this check does not show that influence ranks these rows. Use more halves or "
            "steps, or compare the selection with random rows on the Proof page."
        )


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "\N{MINUS SIGN}")


def draw_halves(rows: IntArray, halves: int, seed: int) -> list[IntArray]:
    """Return `halves` random halves of the rows, each ascending."""
    draws = (np.random.default_rng([DRAW, seed, k]) for k in range(halves))
    return [np.sort(draw.permutation(rows)[: len(rows) // 2]) for draw in draws]


def mean_influence(stored: Influences, target: str, objective: Objective, pairs: Mapping[str, int]) -> Float64Array:
    """Return (N,) influence on a target as a whole: the mean over sub-tasks, weighted by their `pairs`; NaN: none."""
    weights = np.array([pairs[name] for name in stored.subtasks[target]], np.float64)
    return np.asarray(stored.of(target, objective).astype(np.float64) @ (weights / weights.sum()))


def target_loss(figures: RunFigures, untrained: RunFigures, evaluated: EvaluatedRows, objective: Objective) -> float:
    """Return the loss of the target under a trained model, in nats: see the head of this file."""
    from core.models.training.target_directions import dpo_margins  # imports torch

    if objective == "sft":
        return float((figures.nll[evaluated.target.name] / evaluated.response_tokens).mean())
    margins = dpo_margins(_likelihoods(figures, evaluated), _likelihoods(untrained, evaluated))
    return float(np.logaddexp(0.0, -margins).mean())


def _likelihoods(figures: RunFigures, evaluated: EvaluatedRows) -> Float64Array:
    """Return log-likelihoods (P, 2) of chosen and rejected responses, summed over their tokens."""
    nll, chosen = figures.nll[evaluated.target.name], evaluated.response_tokens
    rejected = np.array([count_tokens(spans) for spans in evaluated.rejected_spans], np.int64)
    per_token = nll / chosen + figures.margins[evaluated.target.name]
    return np.stack([-nll, -per_token * rejected], axis=1)


def check_influence(
    run: Run,
    method: PreferenceInfluence,
    pool: Pool,
    workspace: Workspace,
    report: Reporter,
    *,
    halves: int,
    steps: int,
) -> InfluenceCheck:
    """Check the influence of a finished run on the method's target, and store the result with the run.

    `steps`: 0: as many as go through half of the rows once. RecipeError for a number out of range, or too few rows.
    """
    if not MIN_HALVES <= halves <= MAX_HALVES:
        raise RecipeError(f"--halves {halves} is not valid: it must be {MIN_HALVES} to {MAX_HALVES:,}.")
    if steps < 0:
        raise RecipeError(f"--steps {steps} is not valid: it must be 0 (half of the rows once) or more.")
    from core.models.reference import resolve_model  # imports torch

    reading = Reading(**run.reading)
    ref = resolve_model(reading.model, run.model["revision"], models=workspace.models)
    stages = PoolStages(pool, reading, ref, workspace, report)
    target = next(each for each in parse_targets(method.targets) if each.name == method.ranking_target)
    evaluated = _evaluated_pairs(read_pairs(stages, method, target.source, run.seed), target.name)
    influence = mean_influence(
        load_measured(run).need("influences"), target.name, method.objective, evaluated.target.tasks
    )
    rows = np.flatnonzero(np.isfinite(influence) & (stages.counts["response_tokens"] > 0))
    if len(rows) < 4:
        raise RecipeError(f"Only {len(rows)} rows have an influence; a check needs at least 4.")
    settings = _settings(stages, method, rows, run.seed, steps)
    drawn = draw_halves(rows, halves, run.seed)
    runs = [TrainingRun(stages, settings, half, (evaluated,)) for half in drawn]
    with stages.on_device(stages.device):
        untrained = TrainingRun(stages, None, np.empty(0, np.int64), (evaluated,)).figures()
        figures = list(_train(runs, stages, settings.steps))
    before = target_loss(untrained, untrained, evaluated, method.objective)
    measured = np.array([before - target_loss(each, untrained, evaluated, method.objective) for each in figures])
    predicted = np.array([influence[half].sum() for half in drawn])
    check = InfluenceCheck(
        target=target.name,
        objective=method.objective,
        spearman=correlate(predicted, measured, ranks=True, seed=run.seed),
        pearson=correlate(predicted, measured, ranks=False, seed=run.seed),
        predicted=tuple(predicted.tolist()),
        measured=tuple(measured.tolist()),
        loss=before,
        rows=len(drawn[0]),
        steps=settings.steps,
        tokens_per_step=settings.response_tokens,
        seconds=sum(each.training_seconds + each.evaluation_seconds for each in (untrained, *figures)),
    )
    store_check(run, check)
    return check


def _train(runs: Sequence[TrainingRun], stages: PoolStages, steps: int) -> Iterator[RunFigures]:
    """Yield the figures of every run, trained now unless stored."""
    for k, one in enumerate(runs, start=1):
        if not one.is_stored:
            stages.report.stage(f"Training on half {k} of {len(runs)}", rows=0, work=steps)
        yield one.figures(lambda done, _total: stages.report.advance(0, done))


def _settings(stages: PoolStages, method: PreferenceInfluence, rows: IntArray, seed: int, steps: int) -> "TrainSpec":
    """Return the settings of every half: the adapter of the warm-up, from the same start, for equal steps.

    A step has the response tokens of the warm-up's rows per step, on average.
    """
    spec = adapter_spec(method, seed, len(rows) // 2, stages.parameters)
    per_row = float(stages.counts["response_tokens"][rows].mean())
    return replace(
        spec,
        epochs=1,
        epoch_checkpoints=False,
        steps=steps or max(1, round(len(rows) / 2 / spec.batch_size)),
        response_tokens=max(1, round(spec.batch_size * per_row)),
    )


def _evaluated_pairs(pairs: Pairs, name: str) -> EvaluatedRows:
    counts = {subtask: pairs.subtasks.count(subtask) for subtask in pairs.names}
    target = Target(name, "pairs", len(pairs.subtasks), counts, pairs.targets.source, pairs.targets.fingerprint)
    return evaluated_pairs(
        target, pairs, np.array([pairs.names.index(subtask) for subtask in pairs.subtasks], np.int64)
    )


# Stored with the run


def _key(target: str, objective: Objective) -> str:
    return f"{objective}:{target}"


def store_check(run: Run, check: InfluenceCheck) -> None:
    """Store a check with its run, in place of an earlier one of the same target and loss."""
    path: Path = run.folder / FILE
    stored = read_json(path) if path.exists() else {}
    write_json(path, stored | {_key(check.target, check.objective): asdict(check)})


def load_check(run: Run, target: str, objective: Objective) -> InfluenceCheck | None:
    """Return the newest check of a run's influence on a target, or None."""
    path = run.folder / FILE
    data = (read_json(path) if path.exists() else {}).get(_key(target, objective))
    if data is None:
        return None
    found = {name: _read_correlation(data[name]) for name in ("spearman", "pearson")}
    pairs = {name: tuple(data[name]) for name in ("predicted", "measured")}
    return InfluenceCheck(**{**data, **found, **pairs})


def _read_correlation(data: Mapping[str, float | None]) -> Correlation:
    """Return a stored correlation; JSON has null for NaN."""
    return Correlation(**{name: float("nan") if value is None else value for name, value in data.items()})
