"""A pool of twenty rows under a tiny model, for real trainings that take a second."""

import json
from pathlib import Path

import numpy as np

from core.measurement.stages import PoolStages
from core.models.reference import resolve_model
from core.pool.pools import load_pool
from core.progress import Reporter, SilentReporter
from core.proof.design import Design
from core.proof.plan import Arm, EvaluatedRows, Plan, Target, Training, Work
from core.schema import Reading
from core.workspace.folder import Workspace

ROWS = [{"prompt": f"Add {k} and three.", "response": f"{k} plus three is {k + 3}."} for k in range(20)]
SETTINGS = {"measured_with": None, "reading": {}, "budget": "50%", "training": Training()}


def make_stages(model: Path, folder: Path, report: Reporter | None = None) -> PoolStages:
    """Return the stages of the pool in a workspace in `folder`."""
    folder.mkdir(exist_ok=True)
    (folder / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    workspace = Workspace(folder / "ws")
    pool = load_pool(str(folder / "pool.jsonl"), workspace=workspace.root)
    reading = Reading(model=str(model), max_length=200, device="cpu")
    return PoolStages(pool, reading, resolve_model(str(model)), workspace, report or SilentReporter())


def make_evaluated(stages, rows, short=(), name="held out"):
    """Return rows of the pool as a target of one task."""
    batch = stages.tokens.batch(np.array(rows))
    mask = np.isin(np.arange(len(rows)), short)
    target = Target(name, "rows", len(rows), {"all": len(rows)})
    counts, task = stages.counts["response_tokens"][rows], np.zeros(len(rows), np.int64)
    return EvaluatedRows(target, np.array(rows), task, counts, mask, tuple(batch["tokens"]), tuple(batch["spans"]))


def make_plan(arms=(), targets=(), **changes):
    """Return a plan of few and short trainings."""
    work = Work(steps=6, tokens_per_step=60, epochs=2)
    plan = {"pool": {}, "train_model": {}, "seeds": (0, 1), "rates": (1e-2,), "work": work} | SETTINGS | changes
    return Plan(arms=tuple(arms), targets=tuple(targets), **plan)


def make_design(stages, *names, evaluated=range(12, 20), **changes):
    """Return a proof of six rows in each arm, drawn anew for each seed, on the last rows of the pool."""
    plan = make_plan(**changes)
    draws = np.random.default_rng(0)
    names = ("random", *names)
    rows = {name: tuple(np.sort(draws.permutation(12)[:6]) for _ in plan.seeds) for name in names}
    arms = [Arm(name, "baseline", (6,), (0,), ("",)) for name in names]
    target = make_evaluated(stages, list(evaluated))
    pool = {"fingerprint": stages.pool.fingerprint, "name": "tiny", "source": "tiny", "rows": len(ROWS)}
    model = {"name": "tiny", "revision": stages.ref.revision}
    plan = make_plan(arms, [target.target], pool=pool, train_model=model, **changes)
    return Design(plan, rows, (target,), stages, dict.fromkeys(names, 0.0))
