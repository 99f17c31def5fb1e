"""Costs of measurements by the rates of earlier trials on this pool, and the table of an estimate."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from core.measurement import measurement_of
from core.measurement.lookup import find_signal
from core.measurement.stage_times import StageTime, pass_seconds, planned_times, work_seconds
from core.schema import Pool
from core.workspace.inventory import format_size
from core.workspace.jobs import Job, list_jobs
from pages.ui.data import cached
from pages.ui.measure.status import Status
from pages.ui.shell import running, show, state

NOT_KNOWN = "not known"


@dataclass(frozen=True)
class Prices:
    """What is known about times on this machine, with the current model and the settings of how it reads."""

    rates: Mapping[str, float]  # of core.measurement.trial.Rates; empty before a trial
    rows: int
    tokens: int
    base_stored: bool  # the base model has read the pool
    trial: Mapping[str, Any]  # result of the newest trial; empty before one


def find_prices(pool: Pool) -> Prices:
    """Collect the rates of all trials with the current model; of the same rate the newest."""
    now = state.settings()
    results = [job.result for job in list_jobs(cached.workspace()) if _is_trial(job, pool)]
    rates: dict[str, Any] = {}
    for result in reversed(results):
        rates |= {name: rate for name, rate in result.get("rates", {}).items() if rate}
    base = find_signal(cached.workspace(), pool, "base", now.reading)
    trial: Mapping[str, Any] = results[0] if results else {}
    return Prices(rates, len(pool), trial.get("tokens", 0), base is not None, trial)


def _is_trial(job: Job, pool: Pool) -> bool:
    about, key = job.about, running.reading_key(state.settings().reading)
    wanted = ("estimate", pool.fingerprint, key)
    return job.state == "done" and (about.get("kind"), about.get("pool"), about.get("reading")) == wanted


def needs_base(status: Status) -> bool:
    """Return whether a method needs the base model to read the pool."""
    return status.work.base_pass or "base" in status.method.needs


def reads_again(status: Status, prices: Prices) -> bool:
    """Return whether a method needs a pass of the base model that is not stored."""
    return needs_base(status) and (not prices.base_stored or "activations" in status.method.needs)


def describe(status: Status, statuses: Sequence[Status], prices: Prices) -> str:
    """Return what measuring one method adds: time where it is known, and the work."""
    if not measurement_of(status.method.name).uses_model:
        return "no model"
    if not needs_base(status) and not status.work.words:
        return "tokenizer only"
    others = [other for other in statuses if other.waits and other is not status and reads_again(other, prices)]
    first = status.ticked and all(statuses.index(status) < statuses.index(other) for other in others)
    pays = reads_again(status, prices) and (not others or first)
    words = status.work.words or ("1 pass" if pays else "same pass")
    seconds = work_seconds(status.work, prices.rates, prices.rows, prices.tokens)
    if not prices.rates or seconds is None:
        return words
    seconds += pass_seconds(prices.rates, prices.rows, prices.tokens) if pays else 0
    return f"+ {show.format_duration(seconds) if seconds else '0 min'} ({words})"


def stages_to_come(waiting: Sequence[Status], prices: Prices, live: Sequence[Job]) -> list[StageTime] | None:
    """Return the stages of measuring these methods, with the queue before them; None before a trial of such work."""
    works, base = [status.work for status in waiting], any(reads_again(status, prices) for status in waiting)
    stages = planned_times(works, base=base, rates=prices.rates, rows=prices.rows, tokens=prices.tokens)
    if stages and (served := prices.rows * sum(work.served for work in works)):
        stages.append(StageTime("Generated answers", f"up to {served:,} tokens by the server", float("nan")))
    if stages is None or not live:
        return stages
    known = [job.eta for job in live if job.eta is not None]
    before = "1 job before it" if len(live) == 1 else f"{len(live)} jobs before it"
    return [StageTime("Queue", before, sum(known) if len(known) == len(live) else float("nan")), *stages]


def table(stages: Sequence[StageTime], *, estimated: bool) -> None:
    """Draw stages as a table, with their sum."""
    seconds = [stage.seconds for stage in stages]
    sign = "≈ " if estimated else ""
    known = sum(value for value in seconds if value == value)
    lines = [(stage.stage, stage.what, _format(stage.seconds, sign)) for stage in stages]
    lines.append(("**Total**", "", f"**{_format(known, sign)}**"))
    st.table(
        {name: [line[place] for line in lines] for place, name in enumerate(("Stage", "What", "Time"))},
        border="horizontal",
        hide_index=True,
    )


def _format(seconds: float, sign: str) -> str:
    return (sign + show.format_duration(seconds)).replace(" ", "\u00a0") if seconds == seconds else NOT_KNOWN


def about_trial(trial: Mapping[str, Any]) -> None:
    """Draw memory and disk of a trial, and a warning if the disk is too small."""
    st.caption(
        f"Memory at its peak {format_size(trial['memory_bytes'])}, disk {format_size(trial['disk_bytes'])} of "
        f"{format_size(trial['disk_free_bytes'])} free. From a trial of {trial['trial_rows']:,} rows on "
        f"{trial['device']}."
    )
    if trial["disk_bytes"] > trial["disk_free_bytes"]:
        show.warning("There is not enough free disk space for this measurement.")
