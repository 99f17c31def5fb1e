"""What of a proof is shown: one target, one figure, one amount of work; and the numbers of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any, cast

import streamlit as st

from core.proof.plan import HELD_OUT, MACRO, UNTRAINED, WorkKind
from core.proof.stored import Proof
from core.proof.verdicts import Verdict
from pages.ui import glossary
from pages.ui.charts.proof import Effect, Group
from pages.ui.proof.words import FIGURES, WORKS, Figure, arm_label, format_rate, target_label, task_label
from pages.ui.shell import show
from pages.ui.words import escape_markdown


@dataclass(frozen=True)
class View:
    """What of a proof is shown."""

    target: str
    figure: str  # of FIGURES
    work: WorkKind

    @property
    def words(self) -> Figure:
        """How the figure is named and formatted."""
        return FIGURES[self.figure]


def choose_view(proof: Proof) -> View:
    """Draw the choice of target, figure and work; of what there is only one, nothing."""
    key, works = f"proof.{proof.id}", proof.plan.work.kinds
    names = sorted((target.name for target in proof.plan.targets), key=lambda name: name == HELD_OUT)
    targets = {name: escape_markdown(target_label(name)) for name in names}  # that of the headline first
    with st.container(horizontal=True, vertical_alignment="bottom", gap="large"):
        target = show.choose("Target", targets, f"{key}.target") if len(targets) > 1 else next(iter(targets))
        figures = _figures(proof, target)
        figure = next(iter(figures))
        if len(figures) > 1:
            figure = show.choose("Figure", figures, f"{key}.figure.{target}")
        steps, epochs = glossary.link("equal_steps"), glossary.link("equal_epochs")
        options = {"help": f"{steps} and {epochs} can rank arms differently, so both are trained."}
        work = show.choose("Work", WORKS, f"{key}.work", **options) if len(works) > 1 else works[0]
    return View(target, figure, cast("WorkKind", work))


def _figures(proof: Proof, target: str) -> Mapping[str, str]:
    """Return name -> label of the figures that a target has."""
    found = [name for name in FIGURES if any(target in run[name] for run in proof.runs)]
    about = proof.plan.find_target(target)
    default = "preference_accuracy" if about.kind == "pairs" else "nll"
    return {name: FIGURES[name].label for name in found or [default]}


def list_verdicts(proof: Proof, view: View) -> list[Verdict]:
    """Return the verdicts of a view, all tasks."""
    wanted = (view.target, view.figure, view.work)
    return [each for each in proof.verdicts if (each.target, each.figure, each.work) == wanted]


def group_effects(proof: Proof, view: View) -> list[Group]:
    """Return the effects of a view by task, the average first, arms in the order of the plan."""
    groups: dict[str, list[Verdict]] = {}
    for verdict in list_verdicts(proof, view):
        groups.setdefault(verdict.task, []).append(verdict)
    scale = view.words.scale
    return [
        Group(task, task_label(task), [_effect(each, scale) for each in verdicts], scale * verdicts[0].smallest)
        for task, verdicts in groups.items()
    ]


def _effect(verdict: Verdict, scale: float) -> Effect:
    _, *others = verdict.rates.items()
    return Effect(
        verdict.arm,
        arm_label(verdict.arm),
        scale * verdict.difference,
        scale * verdict.low,
        scale * verdict.high,
        verdict.verdict,
        verdict.seeds,
        {format_rate(float(rate)): scale * value for rate, value in others},
    )


def find_runs(proof: Proof, arm: str, work: str, rate: float | None = None) -> list[Mapping[str, Any]]:
    """Return the training runs of an arm; `rate` None: the first of the plan. The untrained model has one."""
    if arm == UNTRAINED:
        return [run for run in proof.runs if run["arm"] == arm]
    wanted = (arm, work, proof.plan.rates[0] if rate is None else rate)
    return [run for run in proof.runs if (run["arm"], run["work"], run["rate"]) == wanted]


def mean_figure(proof: Proof, view: View, arm: str) -> float:
    """Return the mean figure of an arm over its seeds at the first learning rate; NaN before its first run."""
    values = [run[view.figure].get(view.target) for run in find_runs(proof, arm, view.work)]
    numbers = [each[MACRO] if isinstance(each, dict) else each for each in values if each is not None]
    return fmean(numbers) if numbers else float("nan")
