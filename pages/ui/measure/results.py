"""What was measured: the results of the ticked methods, and other measurements of the pool."""

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from core.measurement.runs import Run, describe_outdated, list_runs
from core.measurement.shift_groups import describe_groups
from core.measurement.stage_times import OTHER, run_times
from core.measurement.start_model import start_model_sentence
from core.methods import METHODS
from core.schema import Pool, Reading
from pages.ui.charts import figures
from pages.ui.data import cached
from pages.ui.measure import costs
from pages.ui.measure.status import Status
from pages.ui.shell import jobs, running, show, state
from pages.ui.words import escape_markdown, format_rows, join_words, the_model


def panels(pool: Pool, statuses: Sequence[Status]) -> None:
    """Draw every run that ticked methods use, once, under the method it was made for; all warnings stand above them."""
    done = {status.run.id: status.run for status in statuses if status.ticked and status.run is not None}
    if not done:
        return
    st.subheader("Results", anchor=False)
    show.warning(*dict.fromkeys(sentence for run in done.values() for sentence in run.summary.get("warnings", ())))
    for run in done.values():
        label = METHODS[run.method["name"]].label
        title = f"{label} · {format_rows(len(pool))} · {_describe_time(run)}"
        key, expanded = f"result-{run.id}-{label}", len(done) == 1
        opened = st.expander(title, expanded, key=key, icon=":material/check:", on_change="rerun")
        if opened.open:
            with opened:
                _draw(run, key)


def _describe_time(run: Run) -> str:
    """Return how long a user waited for a run; runs of an earlier version state only the time of computing."""
    seconds = run.summary.get("seconds", {})
    if not sum(seconds.values()):
        return "time not recorded"
    return show.format_duration(sum(seconds.values())) + ("" if OTHER in seconds else " of computing")


def _draw(run: Run, key: str) -> None:
    """Draw the model, the time by stage, and what only this method knows of its run."""
    tokens = show.format_count(run.summary.get("tokens", 0))
    st.text(f"{tokens} tokens, measured with {the_model(run.model['name'])}")
    if run.tasks is not None:
        st.caption(escape_markdown(_describe_tasks(run)))
    if "answers" in run.summary:
        st.caption(escape_markdown(_describe_answers(run.summary["answers"])))
    for target in run.summary.get("targets", ()):
        st.caption(escape_markdown(_describe_target(target)))
    _draw_calibration(run, key)
    if "warm_up" in run.summary:
        _draw_adapter(run.summary["warm_up"], key)
    if times := run_times([run]):
        costs.table(times, estimated=False)


def _describe_target(target: Mapping[str, Any]) -> str:
    """Describe one target set: pairs used and left out, accuracy on them, and prompts shared with the pool."""
    used, subtasks = target["pairs"] - target["unused"], len(target["subtasks"])
    left_out = {**target["problems"], "no difference within the maximum length": target["unused"]}
    before, after = (_format_percent(target["accuracy"][end]) for end in (0, -1))
    parts = (
        f"{used:,} of {target['available']:,} pairs used" + (f" from {subtasks:,} sub-tasks" if subtasks > 1 else ""),
        f"skipped: {join_words([f'{n:,} × {why}' for why, n in left_out.items() if n]) or 'none'}",
        f"the model prefers the chosen answer in {before} of the pairs before the warm-up, in {after} after it",
        f"prompts that are also in the pool: {target['shared_pairs']:,}",
    )
    return f"Target {target['name']}: {'; '.join(parts)}."


def _format_percent(share: float | None) -> str:
    return "none" if share is None else f"{share:.0%}"


def _draw_adapter(warm_up: Mapping[str, Any], key: str) -> None:
    """Draw the LoRA warm-up: its rows, its settings, and its loss."""
    st.caption(
        f"Warm-up training of a LoRA adapter of rank {warm_up['rank']:,} on {warm_up['rows']:,} rows: "
        f"{warm_up['steps']:,} steps of {warm_up['batch_size']:,} rows, {len(warm_up['epoch_rates']):,} epochs, peak "
        f"learning rate {warm_up['learning_rate']:.2g}. The chart shows the loss by step and its running mean."
    )
    _draw_loss([warm_up["loss"]], key)


def _describe_answers(counts: Mapping[str, int]) -> str:
    """Return how many answers there are, and how many are of little use."""
    problems = {"missing": "are missing", "empty": "are empty"}
    problems |= {"refused": "started with a refusal", "truncated": "hit the token limit"}
    parts = [f"{counts[name]:,} {words}" for name, words in problems.items() if counts[name]]
    advice = ' Raise "Max new tokens" to avoid that.' if counts["truncated"] else ""
    answers = f"{counts['asked'] - counts['missing']:,} answers"
    return f"{answers}; {join_words(parts)}.{advice}" if parts else f"{answers}, all complete."


def _describe_tasks(run: Run) -> str:
    """Return where tasks and confidence come from."""
    assert run.tasks is not None
    model = the_model(run.tasks.embeddings or run.model["name"])
    source = f"derived from embeddings by {model}" if run.tasks.derived else f"from the {run.tasks.source}"
    prompts = run.summary.get("asked")
    words = f" The model continued {prompts:,} prompts by {run.summary['continued']:,} tokens." if prompts else ""
    tasks = len(run.tasks.names)
    return f"{tasks:,} {'task' if tasks == 1 else 'tasks'}, {source}.{words}"


def _draw_calibration(run: Run, key: str) -> None:
    """Draw what calibration started from, and its loss or its groups."""
    if sentence := start_model_sentence(run):
        st.caption(sentence)
    if "groups" in run.summary:
        _draw_groups(run, key)
    if run.summary.get("rounds"):
        _draw_warm_up(run.summary["rounds"], key)


def _draw_warm_up(rounds: list[Mapping[str, Any]], key: str) -> None:
    rows = ", then ".join(f"{one['rows']:,}" for one in rounds)
    st.caption(f"Warm-up training on {rows} rows. The chart shows the loss by step and its running mean.")
    _draw_loss([one["loss"] for one in rounds], key)


def _draw_groups(run: Run, key: str) -> None:
    """Draw the groups that were calibrated each by itself."""
    groups = describe_groups(run, cached.measurements(run).columns)
    st.caption(f"{len(groups):,} groups of {escape_markdown(run.summary['field'])}, each calibrated separately.")
    columns = {
        "Group": [group["group"] for group in groups],
        "Rows": [group["rows"] for group in groups],
        "Warm-up rows": [group["warm_up"] for group in groups],
        "Expand (ΔH < 0)": [group["expand"] for group in groups],
    }
    share = st.column_config.NumberColumn(
        format="percent", help="Share of rows on which the model became less certain."
    )
    st.dataframe(columns, hide_index=True, column_config={"Expand (ΔH < 0)": share}, key=f"groups-{key}")


def _draw_loss(losses: list[list[float]], key: str) -> None:
    alt = "Warm-up loss by training step"
    show.chart(figures.loss_figure(losses), key=f"loss-{key}", config=figures.CONFIG, alt=alt)


def other_work(pool: Pool, plan: jobs.Plan, statuses: Sequence[Status]) -> None:
    """Draw other unfinished jobs, and other measurements of this pool, which can be put into use."""
    shown = {job.id for job in running.measuring(pool)}
    unfinished = [job for job in jobs.other_jobs(plan) if job.id not in shown]
    in_use = {status.run.id for status in statuses if status.ticked and status.run is not None}
    done = [run for run in list_runs(cached.workspace(), pool.fingerprint) if run.id not in in_use]
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
        st.text(f"{METHODS[run.method['name']].label} with {the_model(run.model['name'])}", width="stretch")
        st.caption(f"seed {run.seed} · {show.format_count(run.summary.get('tokens', 0))} tokens", width="content")
        st.button("Use these settings", key=f"use.{run.id}", on_click=_use_run, args=(run,))


def _use_run(run: Run) -> None:
    name = run.method["name"]
    params = {**state.settings().params, name: dict(run.method["params"])}
    state.change(method=name, params=params, reading=Reading(**run.reading), seed=run.seed)
