"""The model, the button that measures, its progress where it was pressed, and the equivalent command."""

import shlex
from collections.abc import Sequence
from typing import TypeGuard

import streamlit as st

from core.measurement import MEASUREMENTS
from core.measurement.runs import list_runs
from core.models.reference import describe_weights
from core.schema import Pool
from core.workspace.jobs import Job
from pages.ui.data import cached
from pages.ui.measure import costs, workers
from pages.ui.measure.costs import Prices
from pages.ui.measure.status import Status
from pages.ui.shell import jobs, running, show, state

ONE_PASS = {"base": "NLL, entropy, embeddings", "activations": "activations"}
BUILT_IN = (
    "The built-in model is a tiny demo model (5.6 M parameters). Use the model you plan to fine-tune, or a small one "
    "from its family, for real decisions."
)


def models_used(pool: Pool) -> list[str]:
    """Return the models that have measured this pool, newest first."""
    return list(dict.fromkeys(str(run.reading["model"]) for run in list_runs(cached.workspace(), pool.fingerprint)))


def about_model() -> None:
    """Draw a note about the built-in model, or about weights that are not as published, while one is in use."""
    name = state.settings().reading.model
    if name == "embedded":
        st.caption(f":material/info: {BUILT_IN}")
    elif weights := describe_weights(name):
        st.caption(f":material/info: The model is {weights}.")


def panel(pool: Pool, statuses: Sequence[Status], prices: Prices, plan: jobs.Plan) -> None:
    """Draw the running measurements of the pool, or what those to come will take and the button that starts them."""
    waiting = [status for status in statuses if status.waits]
    job = jobs.latest_job(plan, "measure")
    unfinished = job is not None and job.state != "done"
    for each in {one.id: one for one in (*running.measuring(pool), *([job] if job and unfinished else []))}.values():
        jobs.panel(each)
    if waiting and not unfinished and not all(status.job for status in waiting):
        _start(waiting, prices, plan)
    if any(status.run and status.ticked for status in statuses):
        if waiting:
            pressed = st.button("See the scores", icon=":material/query_stats:", key="to.explore")
        else:
            label = show.on_primary("See the scores")
            pressed = st.button(label, type="primary", icon=":material/query_stats:", key="to.explore")
        if pressed:
            st.switch_page(show.PAGES["explore"]["page"])


def _start(waiting: Sequence[Status], prices: Prices, plan: jobs.Plan) -> None:
    trial = jobs.latest_job(plan, "estimate")
    stages = costs.stages_to_come(waiting, prices, cached.live_jobs())
    if stages is None:
        st.caption(_describe_work(waiting, prices))
    else:
        costs.table(stages, estimated=True)
        workers.about_times(prices)
    if trial is not None and trial.state == "done":
        costs.about_trial(trial.result)
    incomplete = [status.method.label for status in waiting if status.problem]
    with st.container(horizontal=True, vertical_alignment="center"):
        label = "Measure 1 method" if len(waiting) == 1 else f"Measure {len(waiting)} methods"
        help = f"First complete the settings of {', '.join(incomplete)}." if incomplete else None
        options = {"type": "primary", "disabled": bool(incomplete), "help": help}
        show.action(label, "play_arrow", "start", jobs.start, plan, "measure", **options)
        if not incomplete and (trial is None or trial.state in ("cancelled", "interrupted")):
            help = "Runs the model on a few rows to estimate time, memory and disk space."
            show.action("Estimate time and memory", "timer", "estimate", jobs.start, plan, "estimate", help=help)
    st.caption("Runs in the background; you can stop and resume it at any time.")
    if _is_shown(trial):
        jobs.panel(trial)


def _is_shown(trial: Job | None) -> TypeGuard[Job]:
    return trial is not None and trial.state not in ("done", "cancelled", "interrupted")


def _describe_work(waiting: Sequence[Status], prices: Prices) -> str:
    """Return a sentence for each kind of work of the model."""
    needs = {signal for status in waiting for signal in status.method.needs}
    outputs = ", ".join(words for signal, words in ONE_PASS.items() if signal in needs)
    reads = any(costs.reads_again(status, prices) for status in waiting)
    sentences = [f"One pass of the model over all rows gives {outputs}."] if reads else []
    sentences += [
        sentence
        for measurement in MEASUREMENTS.values()
        for signal, sentence in measurement.work_in_words.items()
        if signal in needs
    ]
    return " ".join(sentences) or "No model has to run: the scores follow from what is stored or from the tokenizer."


def command_panel(plan: jobs.Plan) -> None:
    """Draw the command that measures the same without the app."""
    with st.expander("Command-line equivalent", icon=":material/terminal:"):
        show.command(shlex.join(["python", "-m", "core", *plan.measure]))
