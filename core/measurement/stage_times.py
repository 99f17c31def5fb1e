"""Time of a measurement by stage: what a run took, and what one will take, as rows of a table.

A run states the seconds of every kind of work in `summary["seconds"]`, waiting and loading included, so that their sum
is the time that a user waited. Times to come are the work of each method times the rates of a trial.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields

from core.measurement.measurement import Work
from core.measurement.runs import Run

OTHER = "other"  # kind of work: all that is timed by no stage
STEP, GRADIENT, PROMPT = "seconds_per_step", "seconds_per_gradient", "seconds_per_prompt"  # rates
GENERATED, EMBEDDED = "seconds_per_generated", "seconds_per_embedded"
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
    OTHER: ("Other", "starting, saving, and work between the stages"),
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


def planned_times(
    works: Sequence[Work], *, base: bool, rates: Mapping[str, float], rows: int, tokens: int
) -> list[StageTime] | None:
    """Return the stages of measurements to come, by the rates of a trial; None if it did not time such work.

    base    whether the base model has to read the pool, which it does once for all of them
    tokens  of the pool
    """
    total = Work(**{f.name: sum(getattr(work, f.name) for work in works) for f in fields(Work) if f.name != "words"})
    own = work_seconds(total, rates, rows, tokens)
    passes, models, epochs = base + total.trained_passes, total.trained_models, total.gradient_passes
    load, token = rates.get("seconds_to_load", 0.0), rates.get("seconds_per_token", 0.0)
    if own is None or (base and not token):
        return None
    loads = 1 + 2 * models if own or base else 0
    training = total.training * tokens * token + total.steps * rates.get(STEP, 0.0)
    lines = {
        "loading": (_count(loads, "time"), loads * load),
        "tokens": (_count(rows, "row"), rows / TOKENISED_ROWS_PER_SECOND),
        "probe": (f"{passes:,} × {tokens:,} tokens", passes * tokens * token),
        "warm-up": (f"of {_count(models, 'model')}" if models else "of an adapter", training),
        "influence": (f"every row, after {_count(epochs, 'epoch')}", epochs * tokens * rates.get(GRADIENT, 0.0)),
        "confidence": (f"up to {_count(total.prompts, 'prompt')}", total.prompts * rates.get(PROMPT, 0.0)),
        "answers": (f"up to {rows * total.generated:,} tokens", rows * total.generated * rates.get(GENERATED, 0.0)),
        "geometry": (f"of up to {rows * total.embedded:,} answers", rows * total.embedded * rates.get(EMBEDDED, 0.0)),
    }
    return [StageTime(STAGES[kind][0], what, seconds) for kind, (what, seconds) in lines.items() if seconds]


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def pass_seconds(rates: Mapping[str, float], rows: int, tokens: int) -> float:
    """Return the seconds of one pass of the base model over a pool, tokenization included."""
    return rates["seconds_per_token"] * tokens + rows / TOKENISED_ROWS_PER_SECOND


def work_seconds(work: Work, rates: Mapping[str, float], rows: int, tokens: int) -> float | None:
    """Return the seconds of a method's own work, without the base pass; None if the trial timed no such work."""
    units = {
        "seconds_to_load": 2 * work.trained_models,  # to train it, and to read with it
        "seconds_per_token": tokens * (work.training + work.trained_passes),
        GRADIENT: tokens * work.gradient_passes,
        PROMPT: work.prompts,
        GENERATED: rows * work.generated,
        EMBEDDED: rows * work.embedded,
    }
    if any(count and not rates.get(name) for name, count in units.items()):
        return None
    return sum(count * rates.get(name, 0.0) for name, count in (units | {STEP: work.steps}).items())
