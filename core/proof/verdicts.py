"""Verdicts: from the figures of training runs to differences from random, with intervals and words.

    nll                  Σ_r NLL_r / Σ_r t_r                 nats per response token; lower is better
    preference_accuracy  share of pairs with margin > 0      margin: mean log-probability per token, chosen − rejected
    exact_match          share of short responses that the model gives exactly

The average over tasks is of their figures, each task with the same weight: that of all rows, with row r of task k
weighted by 1 / Σ_{r in k} t_r. A difference is the arm's figure minus that of random, paired by seed and row
(core/algorithms/paired_comparison.py). p-values are adjusted over arms by Holm's method, and a verdict needs the same
sign at every learning rate.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np

from core.algorithms.kmeans import one_thread
from core.algorithms.paired_comparison import Comparison, adjust_holm, compare, judge
from core.proof.plan import MACRO, RANDOM, Plan, RunSpec, TargetRows, WorkKind
from core.proof.runs import RunFigures
from core.schema import Float64Array, IntArray

Figure = Literal["nll", "preference_accuracy", "exact_match"]
MIN_EXACT_ROWS = 20  # short responses of a target, for a verdict on them
SMALLEST_SHARE = 0.01  # smallest effect of interest on a share of rows: one percentage point
Runs = Mapping[RunSpec, RunFigures]


@dataclass(frozen=True)
class Verdict:
    """One arm compared with random."""

    arm: str
    target: str
    task: str  # MACRO: the average over tasks
    figure: Figure
    work: WorkKind
    difference: float  # arm minus random at the first learning rate
    low: float  # 95% interval
    high: float
    p: float  # adjusted over arms
    verdict: str
    seeds: int
    rates: Mapping[str, float]  # learning rate -> difference
    random: float  # figure of the random arm at the first learning rate
    smallest: float  # smallest difference of interest

    @property
    def plain(self) -> str:
        """The verdict without "indication"."""
        return self.verdict.removeprefix("indication: ")


@dataclass(frozen=True, eq=False)
class Losses:
    """What is compared of one target: the loss of every row, and its weight in a figure."""

    figure: Figure
    places: IntArray  # (R,) rows of the target
    task: IntArray  # (R,)
    tokens: Float64Array  # (R,) response tokens; 1 for a share of rows

    def read(self, target: str, run: RunFigures) -> Float64Array:
        """Return (R,) losses of the rows under one trained model: nats, or 1 for a row that it gets wrong."""
        if self.figure == "nll":
            return np.asarray(run.nll[target], np.float64)[self.places]
        if self.figure == "exact_match":
            return 1.0 - np.asarray(run.matches[target], np.float64)[self.places]
        margins = np.asarray(run.margins[target], np.float64)[self.places]
        return np.where(margins == 0, 0.5, (margins < 0).astype(np.float64))

    def value(self, loss: float) -> float:
        """Return the figure of a mean loss per token: the loss itself, or the share of rows that are right."""
        return loss if self.figure == "nll" else 1.0 - loss

    def of_task(self, task: int) -> "Losses":
        """Return the rows of one task."""
        mine = self.task == task
        return Losses(self.figure, self.places[mine], self.task[mine], self.tokens[mine])

    @property
    def macro(self) -> Float64Array:
        """(R,) weights with which all tasks count the same."""
        totals = np.bincount(self.task, self.tokens)
        return np.asarray(1.0 / totals[self.task])


def list_losses(rows: TargetRows) -> Iterator[Losses]:
    """Yield what is compared of a target: NLL, and exact match if it has enough short responses, or preferences."""
    every = np.arange(len(rows.rows))
    tokens = np.asarray(rows.response_tokens, np.float64)
    if rows.target.kind == "pairs":
        yield Losses("preference_accuracy", every, rows.task, np.ones(len(every)))
        return
    yield Losses("nll", every, rows.task, tokens)
    if rows.short.sum() >= MIN_EXACT_ROWS:
        yield Losses("exact_match", every[rows.short], rows.task[rows.short], np.ones(int(rows.short.sum())))


def judge_arms(plan: Plan, targets: Sequence[TargetRows], runs: Runs) -> list[Verdict]:
    """Return the verdicts that these runs allow: of arms that have two seeds in common with random.

    Verdicts are in the order of targets, figures, tasks (their average first), work and arms.
    """
    with one_thread():  # of many small products, which waiting threads would only slow down
        return [
            verdict
            for rows in targets
            for losses in list_losses(rows)
            for task in _tasks(rows, losses)
            for work in plan.work.kinds
            for verdict in _judge_together(plan, rows, losses, task, work, runs)
        ]


def _tasks(rows: TargetRows, losses: Losses) -> list[str]:
    """Return the tasks with a verdict of their own, after the average; none if there is only one."""
    names = list(rows.target.tasks)
    counts = np.bincount(losses.task, minlength=len(names))
    least = MIN_EXACT_ROWS if losses.figure == "exact_match" else 2
    return [MACRO, *(name for name, n in zip(names, counts, strict=True) if n >= least and len(names) > 1)]


def _judge_together(
    plan: Plan, rows: TargetRows, losses: Losses, task: str, work: WorkKind, runs: Runs
) -> list[Verdict]:
    """Return the verdicts on all arms about one figure, with p-values adjusted for their number."""
    part = losses if task == MACRO else losses.of_task(list(rows.target.tasks).index(task))
    weights = part.macro if task == MACRO else np.ones(len(part.places))
    mine = {spec: run for spec, run in runs.items() if spec.rate and spec.work == work}
    read = {spec: part.read(rows.target.name, run) * weights for spec, run in mine.items()}
    tokens = part.tokens * weights
    pairs = {arm.name: {rate: _pair(plan, arm.name, rate, work, read) for rate in plan.rates} for arm in plan.judged}
    pairs = {arm: {rate: both for rate, both in rates.items() if len(both[0]) > 1} for arm, rates in pairs.items()}
    first = plan.rates[0]
    compared = {
        arm: [compare(*both, tokens) for both in rates.values()] for arm, rates in pairs.items() if first in rates
    }
    adjusted = adjust_holm([comparisons[0].p for comparisons in compared.values()])
    verdicts = []
    for p, (arm, comparisons) in zip(adjusted, compared.items(), strict=True):
        base = float(pairs[arm][first][1].mean(axis=0).sum() / tokens.sum())
        smallest = plan.smallest_effect * base if losses.figure == "nll" else SMALLEST_SHARE
        found = _signed(comparisons, losses.figure)
        verdicts.append(
            Verdict(
                arm=arm,
                target=rows.target.name,
                task=task,
                figure=losses.figure,
                work=work,
                difference=found[0].difference,
                low=found[0].low,
                high=found[0].high,
                p=p,
                verdict=judge(p, comparisons, smallest),
                seeds=min(each.seeds for each in comparisons),
                rates={f"{rate:g}": each.difference for rate, each in zip(pairs[arm], found, strict=True)},
                random=losses.value(base),
                smallest=smallest,
            )
        )
    return verdicts


def _pair(
    plan: Plan, arm: str, rate: float, work: WorkKind, read: Mapping[RunSpec, Float64Array]
) -> tuple[Float64Array, Float64Array]:
    """Return the losses (S, R) of an arm and of random, of the seeds that both have."""
    both = [(RunSpec(arm, seed, rate, work), RunSpec(RANDOM, seed, rate, work)) for seed in plan.seeds]
    pairs = [(read[one], read[two]) for one, two in both if one in read and two in read]
    return np.array([one for one, _ in pairs]), np.array([two for _, two in pairs])


def _signed(comparisons: Sequence[Comparison], figure: Figure) -> list[Comparison]:
    """Return differences of the figure, where a loss is the share of rows that are wrong."""
    if figure == "nll":
        return list(comparisons)
    return [
        replace(each, difference=0.0 - each.difference, low=0.0 - each.high, high=0.0 - each.low)
        for each in comparisons
    ]


def describe_run(spec: RunSpec, run: RunFigures, targets: Sequence[TargetRows], stage: str) -> dict[str, Any]:
    """Return a training run as plain data: counts, losses, and each figure by target; NLL by task and their average.

    `stage` is the key of the stage that stores its figures row by row.
    """
    figures: dict[Figure, dict[str, Any]] = {"nll": {}, "preference_accuracy": {}, "exact_match": {}}
    for rows in targets:
        for losses in list_losses(rows):
            by_task = _figures_by_task(rows, losses, run)
            figures[losses.figure][rows.target.name] = by_task if losses.figure == "nll" else by_task[MACRO]
    seconds = {"seconds": run.training_seconds + run.evaluation_seconds}
    return asdict(spec) | asdict(run.counts) | seconds | {"losses": run.losses.tolist(), "stage": stage} | figures


def _figures_by_task(rows: TargetRows, losses: Losses, run: RunFigures) -> dict[str, float]:
    read = losses.read(rows.target.name, run)
    sums, tokens = (np.bincount(losses.task, values, len(rows.target.tasks)) for values in (read, losses.tokens))
    named = zip(rows.target.tasks, sums, tokens, strict=True)
    means = {task: losses.value(float(total / n)) for task, total, n in named if n}
    return {MACRO: float(np.mean(list(means.values()))), **means}
