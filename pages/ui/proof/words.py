"""Names of arms, figures and settings of a proof, as the page shows them."""

from dataclasses import dataclass
from datetime import datetime

from core.methods import METHODS
from core.proof.plan import HELD_OUT, LONGEST, MACRO, RANDOM, UNTRAINED, WHOLE_POOL, Plan
from pages.ui.words import format_rows, model_name

ARMS = {UNTRAINED: "Untrained model", RANDOM: "Random", LONGEST: METHODS["longest"].label, WHOLE_POOL: "Whole pool"}
WORKS = {"steps": "Equal steps", "epochs": "Equal epochs"}
REVERSED = " reversed"


@dataclass(frozen=True)
class Figure:
    """What trained models are compared by."""

    label: str
    unit: str  # of a difference
    lower_is_better: bool
    scale: float = 1.0  # from the stored number to the shown one
    digits: int = 3


FIGURES = {
    "nll": Figure("NLL", "nats per response token", lower_is_better=True),
    "preference_accuracy": Figure("Preference accuracy", "percentage points", False, 100.0, 1),
    "exact_match": Figure("Exact match", "percentage points", False, 100.0, 1),
}


def arm_label(name: str) -> str:
    """Return the label of an arm: of a baseline or a method its own, else the name that it was given."""
    method = name.removesuffix(REVERSED)
    if name not in ARMS and method in METHODS:
        return METHODS[method].label + name.removeprefix(method)
    return ARMS.get(name, name)


def target_label(name: str) -> str:
    """Return the label of a target."""
    return "Held-out rows" if name == HELD_OUT else name


def task_label(name: str) -> str:
    """Return the label of a task; the average over tasks is one, too."""
    return "Average over tasks" if name == MACRO else name


def format_rate(rate: float) -> str:
    """Format a learning rate: 3e-4."""
    mantissa, exponent = f"{rate:e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def format_time(moment: str) -> str:
    """Format an ISO time: 26 Nov 2026, 14:05."""
    return f"{datetime.fromisoformat(moment).astimezone():%d %b %Y, %H:%M}"


def describe_plan(plan: Plan) -> str:
    """Return what a plan compares, in one line."""
    rates, trained = [format_rate(rate) for rate in plan.rates], model_name(plan.train_model["name"])
    measured = plan.measured_with and model_name(plan.measured_with)
    words = [
        f"{plan.budget} of {format_rows(plan.pool['rows'])}",
        f"{len(plan.seeds)} seeds",
        f"learning rate {rates[0]}" if len(rates) == 1 else f"learning rates {', '.join(rates)}",
        f"{plan.work.steps:,} steps of {plan.work.tokens_per_step:,} response tokens",
        f"trained: {trained}",
        *([f"measured with: {measured}"] if measured and measured != trained else []),
    ]
    return " · ".join(words)
