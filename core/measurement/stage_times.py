"""Time of a measurement by stage: what a run took, and what one will take, as rows of a table.

A run states the seconds of every kind of work in `summary["seconds"]`, waiting and loading included, so that their sum
is the time that a user waited. Times to come are the work of each method times the rates of a trial.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from core.measurement.measurement import Work
from core.measurement.runs import Run

OTHER = "other"  # kind of work: all that is timed by no stage
TOKENISED_ROWS_PER_SECOND = 4000  # order of magnitude
STAGES = {  # kind of work -> stage, what it does
    "queue": ("Queue", "waiting for other jobs"),
    "loading": ("Loading", "reading the model from disk"),
    "tokens": ("Tokenization", "every row"),
    "probe": ("Forward passes", "every row, under each state of the model"),
    "warm-up": ("Warm-up training", "on a sample of the rows"),
    "coverage": ("Coverage order", "greedy, over active neurons"),
    "clusters": ("Clusters", "of similar activations"),
    "sentences": ("Embeddings", "of the prompts"),
    "tasks": ("Tasks", "derived from embeddings"),
    "confidence": ("Continuations", "of a sample of prompts per task"),
    "influence": ("Row gradients", "compared with those of the target sets"),
    "answers": ("Generated answers", "several for each prompt"),
    "geometry": ("Answer geometry", "embeddings of the answers"),
    "bins": ("Semantic bins", "k-means on the prompts"),
    OTHER: ("Other", "saving, and work between the stages"),
}


@dataclass(frozen=True)
class StageTime:
    """One line of the table."""

    stage: str
    what: str
    seconds: float


def run_times(runs: Iterable[Run]) -> list[StageTime]:
    """Return the time of each kind of work in these runs together, in the order of the work."""
    totals: dict[str, float] = {}
    for run in runs:
        for kind, seconds in run.summary.get("seconds", {}).items():
            totals[kind] = totals.get(kind, 0.0) + seconds
    known = [kind for kind in STAGES if kind in totals]
    unknown = [kind for kind in totals if kind not in STAGES]
    return [StageTime(*STAGES.get(kind, (kind.capitalize(), "")), totals[kind]) for kind in (*known, *unknown)]


def estimated_times(estimate: Mapping[str, Any]) -> list[StageTime]:
    """Return the stages of a `core.measurement.cost.Estimate`, given as a mapping; stages without work are left out."""
    models, generated = estimate.get("trained_models", 1), estimate.get("generated", 0)
    work = {
        "warm-up": (f"{models:,} models" if models > 1 else "1 model", estimate["calibration_seconds"]),
        "influence": (f"every row, after {estimate.get('epochs', 0)} epochs", estimate.get("gradient_seconds", 0.0)),
        "confidence": (f"up to {estimate.get('asked', 0):,} prompts", estimate.get("asking_seconds", 0.0)),
        "answers": (f"up to {generated:,} tokens", estimate.get("answering_seconds", 0.0)),
    }
    passes = estimate["passes"]
    read = f"{estimate['tokens']:,} tokens{f' × {passes}' if passes > 1 else ''}" if passes else "every row"
    rest = estimate["seconds"] - sum(seconds for _, seconds in work.values())
    stage = "Forward passes" if passes else "Tokenization"
    first = StageTime(f"{stage} and loading" if passes else stage, read, max(rest, 0.0))
    return [first, *(StageTime(STAGES[kind][0], what, seconds) for kind, (what, seconds) in work.items() if seconds)]


def pass_seconds(rates: Mapping[str, float], rows: int, tokens: int) -> float:
    """Return the seconds of one pass of the base model over a pool, tokenization included."""
    return rates["seconds_per_token"] * tokens + rows / TOKENISED_ROWS_PER_SECOND


def work_seconds(work: Work, rates: Mapping[str, float], rows: int, tokens: int) -> float | None:
    """Return the seconds of a method's own work, without the base pass; None if the trial timed no such work."""
    units = {
        "seconds_to_load": 2 * work.trained_models,  # to train it, and to read with it
        "seconds_per_token": tokens * (work.training + work.trained_passes),
        "seconds_per_gradient": tokens * work.gradient_passes,
        "seconds_per_prompt": work.prompts,
        "seconds_per_generated": rows * work.generated,
    }
    if any(count and not rates.get(name) for name, count in units.items()):
        return None
    return sum(count * rates.get(name, 0.0) for name, count in units.items())
