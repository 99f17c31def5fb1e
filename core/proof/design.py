"""Design of a proof: from what is asked for to a complete plan, the rows of every arm, and the rows to evaluate on."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from math import isfinite

import numpy as np

from core.errors import RecipeError
from core.measurement.stages import PoolStages
from core.progress import Reporter
from core.proof.arms import ArmRequest, Require, TrainingPool, build_arms
from core.proof.evaluation import SIMILARITY, build_evaluation, hold_out, parse_target
from core.proof.plan import EvaluatedRows, Plan, Training, Work
from core.schema import IntArray, Pool, Reading
from core.selection.budget import Budget
from core.workspace.folder import Workspace

HELD_OUT_ROWS = "300"
MAX_SEEDS, MAX_STEPS, MAX_EPOCHS = 100, 1_000_000, 1000
HELD_OUT_REASON, NEAR_REASON, PROMPT_REASON = "held out", "near-duplicates of held-out rows", "prompts of targets"


# Learning rates at which a training of the usual length moves a model: the embedded one, which is tiny, and others. At
# 1e-3 the embedded one learns its rows by heart: in 50 steps its held-out NLL fell by 0.06, at 3e-4 by 0.11.
EMBEDDED_RATES, USUAL_RATES = (1e-4, 3e-4), (1e-5, 3e-5)
EMBEDDED_WORK = Work(steps=60, tokens_per_step=512)  # minutes on two cores


def suggested_rates(model: str) -> tuple[float, ...]:
    """Return the learning rates of a proof that names none."""
    return EMBEDDED_RATES if model == "embedded" else USUAL_RATES


def suggested_work(model: str, **given: int | None) -> Work:
    """Return the work of a proof: fields that are given, and for the others what is suggested for the model."""
    suggested = EMBEDDED_WORK if model == "embedded" else Work()
    return replace(suggested, **{name: value for name, value in given.items() if value is not None})


@dataclass(frozen=True)
class ProofOptions:
    """What a proof is asked for. RecipeError for a value that no proof can have."""

    arms: tuple[ArmRequest, ...]
    reading: Reading  # how the trained model reads rows; its model is the one to train
    rates: tuple[float, ...]
    budget: str = "10%"
    targets: tuple[str, ...] = ()  # FILE or NAME=FILE
    seed: int = 0  # of the first training; the others follow
    seeds: int = 5
    held_out: str = HELD_OUT_ROWS  # rows, or a share of the pool
    work: Work = field(default_factory=Work)
    training: Training = field(default_factory=Training)
    smallest_effect: float = 0.01  # share of the random arm's NLL
    prompts_allowed: bool = False

    def __post_init__(self) -> None:
        Budget.parse(self.budget)
        _check(2 <= self.seeds <= MAX_SEEDS, f"--seeds {self.seeds}", f"2 to {MAX_SEEDS}; 5 or more for a verdict")
        _check(len(self.rates) > 0, "--rates", "one or more learning rates, such as 1e-5,3e-5")
        for rate in self.rates:
            _check(isfinite(rate) and 0 < rate <= 1, f"--rates {rate:g}", "above 0 and at most 1")
        _check(len(set(self.rates)) == len(self.rates), "--rates", "different from each other")
        work = self.work
        _check(1 <= work.steps <= MAX_STEPS, f"--steps {work.steps}", f"1 to {MAX_STEPS:,}")
        _check(1 <= work.tokens_per_step <= MAX_STEPS, f"--tokens-per-step {work.tokens_per_step}", "1 to 1,000,000")
        _check(0 <= work.epochs <= MAX_EPOCHS, f"--epochs {work.epochs}", f"0 (leave them out) to {MAX_EPOCHS:,}")
        effect = self.smallest_effect
        _check(isfinite(effect) and 0 <= effect < 1, f"--smallest-effect {effect:g}", "0% to below 100%")
        _check(0 <= self.training.lora_rank <= 1024, f"--lora-rank {self.training.lora_rank}", "0 (full) to 1,024")


def _check(good: bool, option: str, must: str) -> None:
    if not good:
        raise RecipeError(f"{option} is not valid: it must be {must}.")


@dataclass(frozen=True, eq=False)
class Design:
    """A proof that is ready to run."""

    plan: Plan
    rows: Mapping[str, tuple[IntArray, ...]]  # arm -> (K,) rows of the pool for each seed, or for all
    evaluated: tuple[EvaluatedRows, ...]  # of plan.targets
    stages: PoolStages  # of the pool, as the trained model reads it
    choosing_seconds: Mapping[str, float | None]  # arm -> what measuring took; None: not known

    def arm_rows(self, arm: str, seed: int) -> IntArray:
        """Return the rows that an arm trains on with one of the plan's seeds."""
        rows = self.rows[arm]
        return rows[self.plan.seeds.index(seed) if len(rows) > 1 else 0]


def design_proof(
    options: ProofOptions, pool: Pool, workspace: Workspace, report: Reporter, require_run: Require
) -> Design:
    """Design a proof. `require_run` returns the finished run that a recipe reads, or raises what to do.

    Nothing is trained or stored but tokens, near-duplicates and the pools of targets. Raise RecipeError or PoolError
    for arms and targets that cannot be used.
    """
    from core.models.reference import resolve_model  # imports torch

    reading = options.reading
    ref = resolve_model(reading.model, reading.revision, models=workspace.models)
    stages = PoolStages(pool, reading, ref, workspace, report)
    held_out = hold_out(stages, options.held_out, seed=options.seed)
    targets = [parse_target(word) for word in options.targets]
    _check_names([name for name, _ in targets])
    evaluation = build_evaluation(stages, held_out, targets, options.seed)
    drawn = np.zeros(len(pool), np.bool_)
    drawn[held_out.rows] = True
    removed = {HELD_OUT_REASON: drawn, NEAR_REASON: held_out.near_duplicates}
    if not options.prompts_allowed:
        removed[PROMPT_REASON] = evaluation.prompts
    seeds = tuple(range(options.seed, options.seed + options.seeds))
    budget = Budget.parse(options.budget)
    place = TrainingPool(pool, workspace, report, stages.counts, removed, budget, seeds, require_run)
    if not place.trainable.any():
        counts = ", ".join(f"{int(mask.sum()):,} {reason}" for reason, mask in removed.items())
        raise RecipeError(
            f"{pool.name} has no row left to train on ({counts}). Hold out fewer rows, or add --allow-target-prompts."
        )
    arms, chosen = build_arms(options.arms, place)
    models = {request.recipe.reading.model for request in options.arms if request.recipe}
    plan = Plan(
        pool={"fingerprint": pool.fingerprint, "name": pool.name, "source": pool.source, "rows": len(pool)},
        measured_with=", ".join(sorted(models)) or None,
        train_model={"name": ref.name, "revision": ref.revision},
        reading=_plain_reading(reading, stages.dtype),
        budget=str(budget),
        seeds=seeds,
        rates=options.rates,
        work=options.work,
        training=options.training,
        arms=tuple(arms),
        targets=tuple(one.target for one in evaluation.evaluated),
        prompts_allowed=options.prompts_allowed,
        similarity=SIMILARITY,
        smallest_effect=options.smallest_effect,
    )
    rows = {name: one.rows for name, one in chosen.items()}
    seconds = {name: one.seconds for name, one in chosen.items()}
    return Design(plan, rows, evaluation.evaluated, stages, seconds)


def _check_names(names: list[str]) -> None:
    repeated = [name for name in names if names.count(name) > 1]
    if repeated:
        raise RecipeError(f"--target: two targets are called '{repeated[0]}'. Write --target NAME=FILE.")


def _plain_reading(reading: Reading, dtype: str) -> dict[str, object]:
    kept = {k: v for k, v in asdict(reading).items() if k not in ("model", "revision", "device")}
    return kept | {"dtype": dtype}
