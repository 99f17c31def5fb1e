"""Measurements at work: what each will give, and its progress, for the pages that wait for it.

A page that has its scores already shows a line above itself; one that has none shows the progress in its place.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, NoReturn

import streamlit as st

from core.methods import METHODS
from core.methods.combined import parts_of
from core.methods.params import measure_params
from core.schema import Method, Pool, Reading
from core.workspace.folder import content_key
from core.workspace.jobs import Job, get_job
from pages.ui.data import cached
from pages.ui.shell import show
from pages.ui.words import escape_markdown, join_words

POLL_S = 2.0  # of a page that waits; only while a job is live
STRIP_POLL_S = 10.0  # of a line above controls: polling can swallow their updates
ROWS = "rows"  # what a job counts, unless it says something else
KEPT = "You can close this tab: the job continues, and it keeps what is finished."


def measurement_key(method: Method, reading: Reading, seed: int) -> str:
    """Return a key of everything that decides what is measured for one method on a pool."""
    params = measure_params(method)
    return content_key(
        {"needs": list(method.needs), "params": params, "reading": asdict(reading), "seed": seed if params else 0}
    )


def describe_methods(methods: Sequence[Method], reading: Reading, seed: int) -> dict[str, Any]:
    """Return what a job will measure, by which `find` finds it: part of `Job.about`."""
    return {
        "methods": {method.name: measurement_key(method, reading, seed) for method in methods},
        "signals": sorted({signal for method in methods for signal in method.needs}),
        "reading": reading_key(reading),
    }


def reading_key(reading: Reading) -> str:
    """Return a key of the model and of how it reads a row."""
    return content_key(asdict(reading))


def measuring(pool: Pool) -> list[Job]:
    """Return the live measurements of a pool, newest first."""
    return [
        job
        for job in cached.live_jobs()
        if job.about.get("kind") == "measure" and job.about.get("pool") == pool.fingerprint
    ]


def find(pool: Pool, method: Method, reading: Reading, seed: int) -> Job | None:
    """Return the live job that measures what a method needs, or one of its members; None if there is none."""
    methods = parts_of(method) or (method,)
    return next((job for job in measuring(pool) if any(_gives(job.about, m, reading, seed) for m in methods)), None)


def _gives(about: Mapping[str, Any], method: Method, reading: Reading, seed: int) -> bool:
    if about.get("methods", {}).get(method.name) == measurement_key(method, reading, seed):
        return True
    shared = not measure_params(method) and set(method.needs) <= set(about.get("signals", ()))
    return shared and about.get("reading") == reading_key(reading)


# On screen


def progress(job: Job) -> None:
    """Draw what a live job does and how far it is."""
    if job.state == "queued":
        st.caption(
            f":material/schedule: {escape_markdown(job.message or 'Waiting for its turn.')} It starts by itself."
        )
        return
    st.progress(min(max(job.fraction, 0.0), 1.0), text=escape_markdown(job.stage or "Starting"))
    facts, unit = [f"{job.fraction:.0%}"] if job.fraction else [], job.about.get("unit", ROWS)
    facts += [f"{job.done:,} of {job.total:,} {unit}"] if job.total else []
    if job.total and job.rate > 0 and unit == ROWS:
        facts.append(f"{show.format_rate(job.rate)} rows/s{' together' if job.task else ''}")
    if job.eta is not None:
        facts.append(f"{show.format_duration(job.eta)} left in this stage")
    st.caption(" · ".join([*facts, KEPT]))


def wait_page(job: Job, title: str) -> NoReturn:
    """Show the progress of the job that a page waits for; the page is drawn again when it ends. Stops the page."""
    with st.container(border=True):
        st.subheader(title, anchor=False)
        _watch(job.id)
        st.page_link(show.PAGES["measure"]["page"], label="Go to Measure", icon=show.PAGES["measure"]["icon"])
    st.stop()


@st.fragment(run_every=POLL_S)
def _watch(job_id: str) -> None:
    job = get_job(cached.workspace(), job_id)
    if not job.live:
        st.rerun()
    progress(job)


@st.fragment(run_every=STRIP_POLL_S)
def line(job_id: str, measured: Sequence[str]) -> None:
    """Draw a line about a running measurement. It does not name the methods that are measured already."""
    job = get_job(cached.workspace(), job_id)
    with st.container(horizontal=True, vertical_alignment="center", key=f"running-{job_id}"):
        st.caption(f":material/progress_activity: {describe(job, measured)}", width="content")
        st.page_link(show.PAGES["measure"]["page"], label="Show on Measure")


def describe(job: Job, measured: Sequence[str] = ()) -> str:
    """Return a sentence on a measurement: its methods without those measured, and how far it is or how it ended."""
    methods = [name for name in job.about.get("methods", ()) if name in METHODS]
    names = [METHODS[name].label for name in methods if name not in measured or not job.live]
    what = join_words(names if len(names) < 4 else [*names[:2], f"{len(names) - 2} more"]) or "a method"
    if job.state == "queued":
        return f"Queued: {what}."
    if not job.live:
        return f"{what}: {'measured' if job.state == 'done' else job.state}."
    left = "" if job.eta is None else f", about {show.format_duration(job.eta)} left in this stage"
    stage = f" ({escape_markdown(job.stage)})" if job.stage else ""
    return f"Measuring {what}: {job.fraction:.0%}{left}{stage}."
