"""A proof on screen: its verdict, the forest plot, a table of figures, training curves and costs."""

from collections.abc import Sequence
from typing import Any

import streamlit as st

from core.algorithms.paired_comparison import BETTER, NONE, WORSE
from core.proof.plan import MACRO, RANDOM, UNTRAINED
from core.proof.prove import list_runs
from core.proof.stored import Proof, open_proof
from core.proof.verdicts import Verdict
from core.workspace.jobs import Job
from pages.ui import glossary
from pages.ui.charts import figures
from pages.ui.charts import proof as charts
from pages.ui.charts.proof import Group
from pages.ui.data import cached
from pages.ui.proof import plan, rows, view, words
from pages.ui.proof.view import View
from pages.ui.shell import jobs, show
from pages.ui.words import escape_markdown

POLL_S = 5.0  # of a proof that runs
MARKS = {BETTER: ":blue[◆]", NONE: ":gray[●]", WORSE: ":red[■]"}  # as charts.LOOKS
NOT_YET = "No verdict yet: it needs two seeds of random and of another arm."


def draw_with_job(proof: Proof, job: Job | None) -> None:
    """Draw a proof. While its job is live, it is drawn again as its training runs come in."""
    if proof.state == "finished":
        draw(proof)
        return
    if job is not None:
        jobs.panel(job)
    else:
        show.note("This proof was started elsewhere and is not finished. If it was interrupted, run its command again.")
    if job is not None and job.live:
        _watch(proof.id)
    else:
        draw(proof)


@st.fragment(run_every=POLL_S)
def _watch(proof_id: str) -> None:
    draw(open_proof(cached.workspace(), proof_id))


def draw(proof: Proof) -> None:
    """Draw everything that a proof has so far."""
    _headline(proof)
    if proof.runs:
        shown = view.choose_view(proof)
        clicked = _forest(proof, shown)
        _table(proof, shown)
        if proof.state == "finished":
            rows.section(proof, shown, clicked)
        _curves(proof, shown)
        _costs(proof)
    with st.expander("Plan", icon=":material/assignment:"):
        plan.draw(proof.plan)


def _headline(proof: Proof) -> None:
    """Draw the verdict, and what was compared."""
    st.subheader(escape_markdown(proof.headline or NOT_YET), anchor=False)
    facts = [words.describe_plan(proof.plan)]
    if proof.state == "finished":
        facts.append(words.format_time(proof.made))
    else:
        facts.append(f"{len(proof.runs):,} of {len(list_runs(proof.plan)):,} training runs finished")
    st.caption(escape_markdown(" · ".join(facts)))


def _forest(proof: Proof, shown: View) -> tuple[str, str] | None:
    """Draw the forest plot; return arm and task of the mark that was clicked."""
    groups = view.group_effects(proof, shown)
    if not groups:
        return None
    about, rates = shown.words, [words.format_rate(rate) for rate in proof.plan.rates]
    link, interval = glossary.link("forest_plot", "difference from random"), glossary.link("interval")
    smallest = glossary.link("smallest_effect", "smallest effect of interest")
    open_rows = " Click a mark to read its rows." if proof.state == "finished" else ""
    st.markdown(
        f":small[{about.label}: {link} and its {interval}, at learning rate {rates[0]}. Shaded: less than the "
        f"{smallest}.{open_rows}]"
    )
    st.markdown(f":small[{_legend(groups, rates[1:])}]")
    title = f"Difference from random,<br>{about.unit}"
    figure = charts.forest(groups, title=title, lower_is_better=about.lower_is_better, digits=about.digits)
    options: dict[str, Any] = {"config": figures.CONFIG, "alt": f"{about.label} of every arm, by task"}
    if proof.state != "finished":
        show.chart(figure, key=f"proof.forest.{proof.id}.running", **options)
        return None
    key = f"proof.forest.{proof.id}.{shown.target}.{shown.figure}.{shown.work}"
    event = show.chart(figure, key=key, on_select="rerun", selection_mode="points", **options)
    points = event["selection"]["points"]
    return (str(points[0]["customdata"][0]), str(points[0]["customdata"][1])) if points else None


def _legend(groups: Sequence[Group], other_rates: Sequence[str]) -> str:
    """Return the marks of the forest plot in words, as markdown."""
    effects = [effect for group in groups for effect in group.effects]
    verdicts = {effect.verdict for effect in effects}
    words = [
        f"{mark} {verdict}" for verdict, mark in MARKS.items() if {verdict, charts.INDICATION + verdict} & verdicts
    ]
    if any(effect.other_rates for effect in effects):
        words.append(f"| at learning rate {', '.join(other_rates)}")
    if any(verdict.startswith(charts.INDICATION) for verdict in verdicts):
        words.append("open marks: only an indication; a verdict needs 5 seeds and 2 learning rates")
    return " · ".join(words)


def _table(proof: Proof, shown: View) -> None:
    """Draw the figures of every arm, with the untrained model."""
    about = shown.words
    verdicts = {each.arm: each for each in view.list_verdicts(proof, shown) if each.task == MACRO}
    arms = [UNTRAINED, *(arm.name for arm in proof.plan.arms)]
    text, number = st.column_config.TextColumn, st.column_config.NumberColumn
    st.dataframe(
        [_line(proof, shown, arm, verdicts.get(arm)) for arm in arms],
        hide_index=True,
        key=f"proof.table.{proof.id}",
        alt="Figures of every arm",
        placeholder="",
        column_config={
            "Figure": number(about.label, format=f"%.{about.digits}f", help="Mean over seeds; tasks count equally."),
            "95% interval": text(width=150),
            "Difference": text(help=f"From random, in {about.unit}."),
            "Verdict": text(width="medium"),
            "Rows": number(format="localized", help="Different rows that were trained on."),
            "Steps": number(format="localized"),
            "Tokens": number(format="localized", help="Response tokens that were trained on, repeated rows included."),
        },
    )


def _line(proof: Proof, shown: View, arm: str, verdict: Verdict | None) -> dict[str, Any]:
    scale, digits = shown.words.scale, shown.words.digits
    runs = view.find_runs(proof, arm, shown.work)
    line: dict[str, Any] = {
        "Arm": words.arm_label(arm),
        "Figure": scale * view.mean_figure(proof, shown, arm),
        "Difference": "",
        "95% interval": "",
        "Verdict": "",
    }
    if verdict is not None:
        line["Difference"] = charts.format_difference(scale * verdict.difference, digits)
        line["95% interval"] = charts.format_interval(scale * verdict.low, scale * verdict.high, digits)
        line["Verdict"] = verdict.verdict
    trained = runs[-1] if runs and arm != UNTRAINED else {}
    line["Seeds"] = len(runs) if trained else None
    counts = {"Rows": "rows", "Steps": "steps", "Tokens": "response_tokens"}
    return line | {name: trained.get(key) for name, key in counts.items()}


def _curves(proof: Proof, shown: View) -> None:
    """Draw the training loss of every arm at one learning rate."""
    st.subheader("Training loss", anchor=False)
    rates = {words.format_rate(rate): rate for rate in proof.plan.rates}
    picked = next(iter(rates))
    if len(rates) > 1:
        picked = show.choose("Learning rate", list(rates), f"proof.rate.{proof.id}")
    losses = {
        words.arm_label(arm.name): [run["losses"] for run in runs]
        for arm in proof.plan.arms
        if (runs := view.find_runs(proof, arm.name, shown.work, rates[picked]))
    }
    if not losses:
        st.caption("No training run of these has finished yet.")
        return
    figure = charts.loss_curves(losses, words.arm_label(RANDOM))
    show.chart(figure, key=f"proof.curves.{proof.id}", config=figures.CONFIG, alt="Training loss by step and arm")
    st.caption("Loss on the rows of the arm itself: running mean, averaged over seeds. It says nothing about targets.")


def _costs(proof: Proof) -> None:
    """Draw what each arm took to select and to train."""
    st.subheader("Cost", anchor=False)
    cost = proof.cost or {}
    choosing = cost.get("choosing_seconds") or {}
    lines = [
        {
            "Arm": words.arm_label(arm.name),
            "Measurement": show.format_duration(choosing[arm.name]) if choosing.get(arm.name) is not None else "",
            "Training and evaluation": show.format_duration(
                sum(run["seconds"] for run in proof.runs if run["arm"] == arm.name)
            ),
            "Training runs": sum(run["arm"] == arm.name for run in proof.runs),
        }
        for arm in proof.plan.arms
    ]
    help = {"Measurement": st.column_config.TextColumn(help="Time of the measurement that the arm's order needs.")}
    st.dataframe(lines, hide_index=True, key=f"proof.costs.{proof.id}", alt="Cost of every arm", column_config=help)
    times = {"Training": "training_seconds", "evaluation": "evaluation_seconds", "estimate": "estimated_seconds"}
    known = [f"{name} {show.format_duration(cost[key])}" for name, key in times.items() if cost.get(key)]
    st.caption(" · ".join(known))
