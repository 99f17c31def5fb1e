"""The result of a proof in one sentence: random wins as plainly as a selection does."""

from collections.abc import Callable, Iterable, Sequence

from core.algorithms.paired_comparison import BETTER, NONE, WORSE
from core.methods import METHODS
from core.proof.plan import HELD_OUT, MACRO, Plan
from core.proof.verdicts import Figure, Verdict

UNITS: dict[Figure, str] = {
    "nll": "nats per response token",
    "preference_accuracy": "percentage points of preference accuracy",
    "exact_match": "percentage points of exact match",
}


def write_headline(plan: Plan, verdicts: Sequence[Verdict]) -> str:
    """Return the result in a sentence; "" before there is a verdict.

    It is about the average over tasks at equal steps: on the first target that was given, else on the held-out rows.
    """
    mine = [each for each in verdicts if each.task == MACRO and each.work == "steps"]
    given = [target.name for target in plan.targets if target.name != HELD_OUT]
    name = next((name for name in given if any(each.target == name for each in mine)), HELD_OUT)
    mine = [each for each in mine if each.target == name]
    mine = [each for each in mine if each.figure == mine[0].figure]
    if not mine:
        return ""
    where = f"on {'the held-out rows' if name == HELD_OUT else name}, at equal steps"
    is_indication = any(each.verdict != each.plain for each in mine)
    seeds, rates = min(each.seeds for each in mine), len(mine[0].rates)
    sure = f"Indication from {_count(seeds, 'seed')} and {_count(rates, 'learning rate')}, " if is_indication else ""
    sentence = f"{sure}{where}: {'; '.join(_clauses(mine))}."
    return sentence[0].upper() + sentence[1:]


def _clauses(verdicts: Sequence[Verdict]) -> list[str]:
    better, none, worse = ([each for each in verdicts if each.plain == words] for words in (BETTER, NONE, WORSE))
    clauses = []
    if not better:
        clauses.append("no arm is better than random" if none else "random is better than every other arm")
    for group, words in ((better, BETTER), (worse, WORSE)):
        if group:
            clauses.append(f"{_join(group, describe_difference)} {'is' if len(group) == 1 else 'are'} {words}")
    if none:
        clauses.append(f"no difference shown between random and {_join(none, _name, 'or')}")
    return clauses


def describe_difference(verdict: Verdict) -> str:
    """Return arm, difference and interval, such as "longest (+0.120 nats per response token, 95% interval ...)"."""
    difference, interval = _difference_and_interval(verdict)
    return f"{_name(verdict)} ({difference}, {interval})"


def main_verdict(verdicts: Iterable[Verdict], arm: str) -> Verdict | None:
    """Return the verdict on an arm that the headline is about; None before there is one."""
    mine = [each for each in verdicts if (each.arm, each.task, each.work) == (arm, MACRO, "steps")]
    return min(mine, key=lambda verdict: verdict.target == HELD_OUT, default=None)


def describe_verdict(verdict: Verdict) -> str:
    """Return a verdict as a sentence, with difference, interval, seeds and learning rates."""
    difference, interval = _difference_and_interval(verdict)
    where = "the held-out rows" if verdict.target == HELD_OUT else verdict.target
    result = f"{verdict.verdict} on {where}, at equal {verdict.work}"
    rates = f"learning rate{'s' if len(verdict.rates) > 1 else ''} {', '.join(verdict.rates)}"
    return f"{result[0].upper()}{result[1:]}: {difference} ({interval}; {_count(verdict.seeds, 'seed')}; {rates})."


def _difference_and_interval(verdict: Verdict) -> tuple[str, str]:
    values = (verdict.difference, verdict.low, verdict.high)
    difference, low, high = (format_difference(value, verdict.figure) for value in values)
    return f"{difference} {UNITS[verdict.figure]}", f"95% interval {low} to {high}"


def _name(verdict: Verdict) -> str:
    return verdict.arm.replace("_", " ") if verdict.arm in METHODS else verdict.arm


def format_difference(value: float, figure: Figure) -> str:
    """Format a difference in the unit of its figure, with its sign: +0.120 nats, −1.4 percentage points, 0.000."""
    digits, scaled = (3, value) if figure == "nll" else (1, 100 * value)
    rounded = round(scaled, digits)
    return f"{rounded:+.{digits}f}".replace("-", "\N{MINUS SIGN}") if rounded else f"{0:.{digits}f}"


def _join(verdicts: Iterable[Verdict], write: Callable[[Verdict], str], word: str = "and") -> str:
    names = list(map(write, verdicts))
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {word} {names[-1]}"


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'s' if n != 1 else ''}"
