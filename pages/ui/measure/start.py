"""What a measurement costs, its job, its result, and other measurements of the pool."""

import shlex
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import streamlit as st

from core.measurement import MEASUREMENTS
from core.measurement.lookup import signals_of
from core.measurement.runs import Run, describe_outdated, list_runs
from core.measurement.shift_groups import describe_groups
from core.measurement.start_model import start_model_sentence
from core.methods import METHODS
from core.models.reference import describe_weights
from core.schema import Method, Pool, Reading
from core.workspace.inventory import format_size
from pages.ui.charts import figures
from pages.ui.data import cached
from pages.ui.shell import jobs, show, state
from pages.ui.words import escape_markdown, join_words, model_name

ONE_PASS = {"base": "NLL, entropy, embeddings", "activations": "activation states"}
EMBEDDED = (
    "The embedded model is here so that everything runs at once, anywhere, without a download. It is very small and "
    "knows little. For decisions about real training data choose a real model: ideally the one you will fine-tune, "
    "or a small one of its family."
)


def models_used(pool: Pool) -> list[str]:
    """Return the models that have measured this pool, newest first."""
    return list(dict.fromkeys(str(run.reading["model"]) for run in list_runs(cached.workspace(), pool.fingerprint)))


def about_model() -> None:
    """Draw a note about the embedded model, or about weights that are not as published, while one is in use."""
    name = state.settings().reading.model
    if name == "embedded":
        st.caption(f":material/info: {EMBEDDED}")
    elif weights := describe_weights(name):
        st.caption(f":material/info: The model is {weights}.")


def unmeasured_methods(pool: Pool) -> list[Method]:
    """Return the requested further methods that are not measured yet."""
    now = state.settings()
    return [one for one in state.extra_methods() if state.run(pool, replace(now, method=one.name)) is None]


def describe_work(pool: Pool) -> None:
    """Draw the work of the model for all requested methods, as one caption."""
    methods = [state.method(), *state.extra_methods()]
    needs = {signal for method in methods for signal in method.needs}
    outputs = ", ".join(words for signal, words in ONE_PASS.items() if signal in needs)
    sentences = [f"One pass of the model over all rows gives: {outputs}."] if "base" in needs else []
    sentences += [
        sentence
        for measurement in MEASUREMENTS.values()
        for signal, sentence in measurement.work_in_words.items()
        if signal in needs
    ]
    if len(methods) > 1:
        sentences.append(f"That serves {join_words([method.label.lower() for method in methods])}, together.")
    st.caption(" ".join(sentences) or "The tokenizer alone is enough: no model runs.")


def start_panel(plan: jobs.Plan) -> None:
    """Draw the cost and the button that starts a measurement, or the job that is running."""
    job = jobs.latest_job(plan, "measure")
    if job is not None and job.state != "done":
        jobs.panel(job)
        if job.live:
            return
    trial = jobs.latest_job(plan, "estimate")
    if trial is not None and trial.state == "done":
        _draw_cost(trial.result)
    with st.container(horizontal=True, vertical_alignment="center"):
        if job is None or job.state == "done":
            show.action("Start measuring", "play_arrow", "start", jobs.start, plan, "measure", type="primary")
        if trial is None or trial.state in ("cancelled", "interrupted"):
            help = "Reads a few rows with this model to find out: time, memory, disk."
            show.action("What will it cost?", "timer", "estimate", jobs.start, plan, "estimate", help=help)
        st.caption("It runs beside this app and can be stopped and resumed at any moment.")
    if trial is not None and trial.state not in ("done", "cancelled", "interrupted"):
        jobs.panel(trial)


def _draw_cost(result: Mapping[str, Any]) -> None:
    with st.container(horizontal=True):
        time, tokens = show.format_duration(result["seconds"]), result["tokens"]
        help = f"From a trial of {result['trial_rows']:,} rows on {result['device']}."
        show.metric("Time on this machine", f"≈ {time}", help=help)
        help = f"{tokens:,} tokens, read {result['passes']} times."
        show.metric("Tokens to read", show.format_count(tokens * result["passes"]), help=help)
        show.metric("Memory", format_size(result["memory_bytes"]), help="At its peak, the model included.")
        free = f"{format_size(result['disk_free_bytes'])} are free."
        show.metric("Disk", format_size(result["disk_bytes"]), help=free)
    generated = show.format_count(result.get("generated", 0))
    parts = {
        _describe_training(result.get("trained_models", 1)): result["calibration_seconds"],
        f"gradients of every row, after {result.get('epochs', 0)} epochs": result.get("gradient_seconds", 0),
        f"going on with up to {result.get('asked', 0):,} prompts": result.get("asking_seconds", 0),
        f"drawing up to {generated} tokens of answers": result.get("answering_seconds", 0),
    }
    words = [f"about {show.format_duration(seconds)} are {what}" for what, seconds in parts.items() if seconds]
    if words:
        st.caption(f"Of the time, {' and '.join(words)}.")
    if result.get("generated") and not result["answering_seconds"]:
        st.caption(
            f"The server is asked for up to {generated} tokens of answers; the time that takes is not part of this."
        )
    if result["disk_bytes"] > result["disk_free_bytes"]:
        show.warning("There is not enough free disk for this.")


def _describe_training(models: int) -> str:
    return "warm-up training" if models <= 1 else f"warm-up training of {models:,} models"


def result_panel(run: Run) -> None:
    """Draw the result: tokens, time, warnings, and the loss of the warm-up."""
    seconds = run.summary.get("seconds", {})
    # else another method's base pass was reused
    own_pass = "base" not in signals_of(run) or seconds.get("probe", 0.0) > 0
    how = "in" if own_pass else "read before, for another method;"
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.badge("Measured", icon=":material/check:", color="green")
            tokens = show.format_count(run.summary.get("tokens", 0))
            facts = f"{tokens} tokens {how} {show.format_duration(sum(seconds.values()))}{'' if own_pass else ' more,'}"
            st.text(f"{facts} with {model_name(run.model['name'])}", width="stretch")
            if st.button("See the scores", type="primary", icon=":material/query_stats:", key="to.explore"):
                st.switch_page(show.PAGES["explore"]["page"])
        if run.tasks is not None:
            st.caption(escape_markdown(_describe_tasks(run)))
        if "answers" in run.summary:
            st.caption(escape_markdown(_describe_answers(run.summary["answers"])))
        for target in run.summary.get("targets", ()):
            st.caption(escape_markdown(_describe_target(target)))
        show.warning(*run.summary.get("warnings", ()))
        _draw_calibration(run)
        if "warm_up" in run.summary:
            _draw_adapter(run.summary["warm_up"])


def _describe_target(target: Mapping[str, Any]) -> str:
    """Describe one target set: pairs used and left out, accuracy on them, and prompts shared with the pool."""
    used, subtasks = target["pairs"] - target["unused"], len(target["subtasks"])
    left_out = {**target["problems"], "nothing different to read": target["unused"]}
    before, after = (_format_percent(target["accuracy"][end]) for end in (0, -1))
    parts = (
        f"{used:,} of {target['available']:,} pairs used" + (f", of {subtasks:,} sub-tasks" if subtasks > 1 else ""),
        f"left out: {join_words([f'{n:,} × {why}' for why, n in left_out.items() if n]) or 'none'}",
        f"the chosen answer is the likelier one in {before} before the warm-up, in {after} after it",
        f"prompts that the pool asks too: {target['shared_pairs']:,}",
    )
    return f"Target {target['name']}: {'; '.join(parts)}."


def _format_percent(share: float | None) -> str:
    return "none" if share is None else f"{100 * share:.0f} %"


def _draw_adapter(warm_up: Mapping[str, Any]) -> None:
    """Draw the LoRA warm-up: its rows, its settings, and its loss."""
    st.caption(
        f"Warm-up of an adapter of rank {warm_up['rank']:,} on {warm_up['rows']:,} rows, {warm_up['steps']:,} steps of "
        f"{warm_up['batch_size']:,} rows in {len(warm_up['epoch_rates']):,} epochs, learning rate up to "
        f"{warm_up['learning_rate']:.2g}: loss by step, its running mean drawn over it."
    )
    _draw_loss([warm_up["loss"]])


def _describe_answers(counts: Mapping[str, int]) -> str:
    """Return how many answers there are, and how many are of little use."""
    problems = {"missing": "missing", "empty": "empty"}
    problems |= {"refused": "refusals, by how they begin", "truncated": "cut off"}
    parts = [f"{counts[name]:,} {words}" for name, words in problems.items() if counts[name]]
    return f"{counts['asked'] - counts['missing']:,} answers" + (f"; {join_words(parts)}." if parts else ", all whole.")


def _describe_tasks(run: Run) -> str:
    """Return where tasks and confidence come from."""
    assert run.tasks is not None
    model = model_name(run.tasks.embeddings or run.model["name"])
    source = f"derived from embeddings by {model}" if run.tasks.derived else f"from the {run.tasks.source}"
    prompts = run.summary.get("asked")
    words = f" {prompts:,} prompts were continued by {run.summary['continued']:,} tokens." if prompts else ""
    tasks = len(run.tasks.names)
    return f"{tasks:,} {'task' if tasks == 1 else 'tasks'}, {source}.{words}"


def _draw_calibration(run: Run) -> None:
    """Draw what calibration started from, and its loss or its groups."""
    if sentence := start_model_sentence(run):
        st.caption(sentence)
    if "groups" in run.summary:
        _draw_groups(run)
    if run.summary.get("rounds"):
        _draw_warm_up(run.summary["rounds"])


def _draw_warm_up(rounds: list[Mapping[str, Any]]) -> None:
    rows = ", then ".join(f"{one['rows']:,}" for one in rounds)
    st.caption(f"Warm-up training on {rows} rows: loss by step, its running mean drawn over it.")
    _draw_loss([one["loss"] for one in rounds])


def _draw_groups(run: Run) -> None:
    """Draw the groups that were calibrated each by itself."""
    groups = describe_groups(run, cached.measurements(run).columns)
    st.caption(f"{len(groups):,} groups of {escape_markdown(run.summary['field'])}, each calibrated by itself.")
    columns = {
        "Group": [group["group"] for group in groups],
        "Rows": [group["rows"] for group in groups],
        "Warm-up rows": [group["warm_up"] for group in groups],
        "Expand (ΔH < 0)": [group["expand"] for group in groups],
    }
    share = st.column_config.NumberColumn(format="percent", help="Rows on which the model grew less certain.")
    st.dataframe(columns, hide_index=True, column_config={"Expand (ΔH < 0)": share}, key="measure.groups")


def _draw_loss(losses: list[list[float]]) -> None:
    st.plotly_chart(figures.loss_figure(losses), key="loss", config=figures.CONFIG, alt="Warm-up loss by training step")


def command_panel(plan: jobs.Plan) -> None:
    """Draw the command that does the same without the app."""
    with st.expander("The same without the app", icon=":material/terminal:"):
        show.command(shlex.join(["python", "-m", "core", *plan.measure]))


def other_work(pool: Pool, plan: jobs.Plan, run: Run | None) -> None:
    """Draw other unfinished jobs, and other measurements of this pool, which can be put into use."""
    unfinished = jobs.other_jobs(plan)
    done = [one for one in list_runs(cached.workspace(), pool.fingerprint) if run is None or one.id != run.id]
    if unfinished:
        st.subheader("Other jobs", anchor=False)
    for job in unfinished:
        jobs.panel(job)
    if done:
        st.subheader("Other measurements", anchor=False)
    for one in done:
        _draw_other(one)
    if outdated := describe_outdated(cached.workspace(), pool.fingerprint):
        st.caption(f":material/history: {outdated}")


def _draw_other(run: Run) -> None:
    with st.container(horizontal=True, vertical_alignment="center", key=f"run-{run.id}"):
        st.badge("Measured", icon=":material/check:", color="green")
        st.text(f"{METHODS[run.method['name']].label} with {model_name(run.model['name'])}", width="stretch")
        st.caption(f"seed {run.seed} · {show.format_count(run.summary.get('tokens', 0))} tokens", width="content")
        st.button("Use this one", key=f"use.{run.id}", on_click=_use_run, args=(run,))


def _use_run(run: Run) -> None:
    name = run.method["name"]
    params = {**state.settings().params, name: dict(run.method["params"])}
    state.change(method=name, params=params, reading=Reading(**run.reading), seed=run.seed)
