"""The proof that belongs to a selection: verdicts on it, and how all arms compare with random rows."""

from collections.abc import Sequence
from dataclasses import dataclass

from core.algorithms.paired_comparison import BETTER, WORSE
from core.methods import METHODS
from core.output.report import svg
from core.output.report.subject import Subject
from core.proof.headline import UNITS, describe_verdict, format_difference, main_verdict
from core.proof.plan import HELD_OUT, MACRO
from core.proof.stored import Proof, find_proof
from core.proof.verdicts import Verdict

MAX_LINES = 60  # of the table of verdicts
KINDS = {BETTER: "better", WORSE: "worse"}  # others: none
FIGURES = {"nll": "NLL of the response", "preference_accuracy": "Preference accuracy", "exact_match": "Exact match"}


@dataclass(frozen=True)
class Line:
    """A verdict on the selection, as text."""

    target: str
    task: str
    figure: str
    work: str
    difference: str
    interval: str
    verdict: str
    kind: str
    seeds: int


@dataclass(frozen=True)
class ProofPart:
    """What a report says of a proof."""

    sentence: str  # the main verdict on the selection
    headline: str  # the result of the whole proof
    forest: str  # SVG
    caption: str
    lines: Sequence[Line]
    left_out: int  # verdicts
    plan: str


def describe_proof(subject: Subject) -> ProofPart | None:
    """Return the newest proof of the selection; None if it is not proved."""
    found = find_proof(subject.workspace, subject.pool, subject.recipe)
    verdict = found and main_verdict(found[0].verdicts, found[1])
    if not found or not verdict:
        return None
    proof, arm = found
    mine = [each for each in proof.verdicts if each.arm == arm]
    lower = "lower" if verdict.figure == "nll" else "higher"
    caption = (
        f"{FIGURES[verdict.figure]} on {_name_target(verdict)}, average over tasks, at equal steps; {lower} is better. "
        "◆ better, ● no difference shown, ■ worse. Lines: 95% intervals. Shaded: less than the smallest effect of "
        "interest."
    )
    return ProofPart(
        sentence=describe_verdict(verdict),
        headline=proof.headline,
        forest=_draw_forest(proof, verdict),
        caption=caption,
        lines=[_describe(each) for each in mine[:MAX_LINES]],
        left_out=max(0, len(mine) - MAX_LINES),
        plan=_describe_plan(proof),
    )


def _draw_forest(proof: Proof, own: Verdict) -> str:
    """Draw the difference of every arm on the target, figure and work of the main verdict."""
    same = [
        each
        for each in proof.verdicts
        if (each.target, each.task, each.figure, each.work) == (own.target, own.task, own.figure, own.work)
    ]
    effects = [
        svg.Effect(
            name=METHODS[each.arm].label if each.arm in METHODS else each.arm,
            difference=each.difference,
            low=each.low,
            high=each.high,
            kind=KINDS.get(each.plain, "none"),
            words=f"{format_difference(each.difference, each.figure)} ({_interval(each)})",
            own=each.arm == own.arm,
        )
        for each in same
    ]
    title = f"Difference from random, {UNITS[own.figure]}"
    return svg.forest(effects, smallest=own.smallest, title=title, lower_is_better=own.figure == "nll")


def _name_target(verdict: Verdict) -> str:
    return "the held-out rows" if verdict.target == HELD_OUT else verdict.target


def _interval(verdict: Verdict) -> str:
    return " to ".join(format_difference(end, verdict.figure) for end in (verdict.low, verdict.high))


def _describe(verdict: Verdict) -> Line:
    return Line(
        target=_name_target(verdict),
        task="average over tasks" if verdict.task == MACRO else verdict.task,
        figure=FIGURES[verdict.figure],
        work=f"equal {verdict.work}",
        difference=f"{format_difference(verdict.difference, verdict.figure)} {UNITS[verdict.figure]}",
        interval=_interval(verdict),
        verdict=verdict.verdict,
        kind=KINDS.get(verdict.plain, "none"),
        seeds=verdict.seeds,
    )


def _describe_plan(proof: Proof) -> str:
    plan = proof.plan
    arms, seeds = len(plan.arms), len(plan.seeds)
    rates = ", ".join(f"{rate:g}" for rate in plan.rates)
    trained = f"{plan.train_model['name']} (revision {plan.train_model['revision']})"
    return (
        f"Proof {proof.id}: {trained} was trained on {arms} arms with {seeds} seeds each, at learning rates {rates}, "
        f"for {plan.work.steps:,} steps of about {plan.work.tokens_per_step:,} response tokens."
    )
