"""Jobs on screen: what a new one would run, its progress, and buttons to stop or resume it.

All state is in the workspace (core.workspace.jobs): a reload, a closed tab or a restarted server changes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import streamlit as st

from core.cli.arguments import measure_arguments, replace_workers, workers_arguments
from core.measurement.lookup import pick_run
from core.measurement.runs import list_runs
from core.methods import METHODS
from core.schema import Pool
from core.workspace.folder import content_key
from core.workspace.jobs import Job, cancel_job, delete_job, get_job, list_jobs, restart_job, start_job
from pages.ui.data import cached
from pages.ui.shell import recent, running, show, state, visitors, workers
from pages.ui.shell.running import POLL_S
from pages.ui.words import escape_markdown, join_words, the_model

LOG_LINES = 30
MAX_STOPPED = 3  # unfinished jobs of other settings that are shown

STATE_BADGES = {
    "queued": ("Queued", ":material/schedule:", "orange"),
    "running": ("Running", ":material/play_arrow:", "blue"),
    "done": ("Done", ":material/check:", "green"),
    "failed": ("Failed", ":material/error:", "red"),
    "cancelled": ("Cancelled", ":material/block:", "gray"),
    "interrupted": ("Interrupted", ":material/power_off:", "orange"),
    "unreadable": ("Unreadable", ":material/broken_image:", "red"),
}


@dataclass(frozen=True)
class Plan:
    """The commands that the Start and Estimate buttons run."""

    key: str  # hash of everything that decides what is measured; identifies its jobs
    title: str
    about: dict[str, Any]
    measure: tuple[str, ...]  # after `python -m core`
    estimate: tuple[str, ...]


def plan(pool: Pool) -> Plan:
    """Plan the measurement that the current settings require."""
    now = state.settings()
    recipe = state.recipe(pool, replace(now, given=""))  # which no measurement depends on
    methods = [state.method(), *state.extra_methods()]
    measured = running.describe_methods(methods, now.reading, now.seed)
    key = content_key({"pool": pool.fingerprint, "tasks": pool.fields.task, **measured})
    model = now.reading.model
    names = join_words([method.label for method in methods]) if len(methods) < 4 else f"{len(methods)} methods"
    return Plan(
        key=key,
        title=f"{names} on {show.pool_name(pool.name, pool.source)} with {the_model(model)}",
        about={"key": key, "pool": pool.fingerprint, "pool_name": pool.name, "model": model, **measured},
        measure=(
            *measure_arguments(recipe, "measure", cached.workspace(), methods[1:]),
            *workers_arguments(now.workers),
        ),
        estimate=tuple(measure_arguments(recipe, "estimate", cached.workspace(), methods[1:])),
    )


def start(job_plan: Plan, kind: str) -> None:
    """Start `python -m core measure` (or estimate) for a plan, detached from the server."""
    title = job_plan.title if kind == "measure" else f"Estimate: {job_plan.title}"
    with state.failures_as_notices():
        launch(getattr(job_plan, kind), title=title, about={**job_plan.about, "kind": kind})


def launch(command: Sequence[str], *, title: str, about: Mapping[str, Any]) -> Job:
    """Start `python -m core COMMAND` for the visitor, detached from the server."""
    return start_job(cached.workspace(), command, title=title, about={**about, "visitor": visitors.current()})


def is_own(job: Job) -> bool:
    """Return whether the visitor has started a job, and so may cancel it."""
    return visitors.current() in ("", job.about.get("visitor"))


def resume(job: Job) -> None:
    """Go on with a job that has stopped, with the workers that are set now.

    A job of another visitor, or with other workers, is continued by a new job.
    """
    command = job.command
    if job.about.get("kind") == "measure":
        command = tuple(replace_workers(command, state.settings().workers))
    if is_own(job) and command == job.command:
        restart_job(cached.workspace(), job)
    else:
        launch(command, title=job.title, about=job.about)


def _shown_title(job: Job) -> str:
    """Return the title of a job, unless it names a pool that only others may open."""
    known = is_own(job) or any(job.about.get("pool") == entry["fingerprint"] for entry in recent.recent_pools())
    return job.title if known else "Job of another visitor"


def latest_job(job_plan: Plan, kind: str) -> Job | None:
    """Return the newest job of a kind for a plan; None if there is none."""
    jobs = (job for job in list_jobs(cached.workspace()) if job.about.get("key") == job_plan.key)
    return next((job for job in jobs if job.about.get("kind") == kind), None)


def other_jobs(job_plan: Plan) -> list[Job]:
    """Return all other live jobs, of any pool, an unreadable one, and the stopped measurements of this pool."""
    newest: dict[tuple[Any, ...], Job] = {}
    for job in list_jobs(cached.workspace()):
        if job.about.get("key") != job_plan.key:
            newest.setdefault(tuple(job.about.get(name) for name in ("kind", "key", "pool")), job)
    live = [job for job in newest.values() if job.live or (job.state == "unreadable" and is_own(job))]
    ended = [job for (kind, _, pool), job in newest.items() if kind == "measure" and pool == job_plan.about["pool"]]
    stopped = [job for job in ended if not job.live and job.state != "done"]
    return [*live, *stopped[:MAX_STOPPED]]


# On screen


def badge(live: Sequence[Job]) -> None:
    """Draw the number of live jobs as a link to them; nothing if there are none."""
    if live:
        label = "1 job running" if len(live) == 1 else f"{len(live)} jobs running"
        st.page_link(show.PAGES["measure"]["page"], label=label, icon=":material/progress_activity:")


def strip(page: str) -> None:
    """Draw a line for each measurement of the open pool that is running, on a page that has other scores to show."""
    pool = state.find_open_pool()
    if pool is None or page not in ("explore", "compare", "select", "export"):
        return
    live = running.measuring(pool)
    runs = list_runs(cached.workspace(), pool.fingerprint) if live else []
    if not runs or (page != "compare" and state.run(pool) is None):
        return
    now = state.settings()
    measured = [m for m in METHODS if pick_run(runs, pool, state.method_of(m), now.reading, now.seed)]
    for job in live:
        running.line(job.id, tuple(measured))


def follow(key: str) -> bool:
    """Draw the job whose id this tab has stored under `key`, until it is done; return whether it was drawn."""
    job_id = state.session_value(key)
    job = None if job_id is None else get_job(cached.workspace(), job_id)
    if job is None or job.state == "done":
        return False
    panel(job)
    return True


def panel(job: Job) -> None:
    """Draw a job in full. A live job is polled; when it ends, the whole page is drawn again."""
    if job.live:
        _watch(job.id)
    else:
        _draw(job)


@st.fragment(run_every=POLL_S)
def _watch(job_id: str) -> None:
    job = get_job(cached.workspace(), job_id)
    if not job.live:
        st.rerun()
    _draw(job)


def _draw(job: Job) -> None:
    label, icon, colour = STATE_BADGES[job.state]
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.badge(label, icon=icon, color=colour)  # type: ignore[arg-type]
            st.text(_shown_title(job), width="stretch")
            _buttons(job)
        if job.live:
            running.progress(job)
            workers.draw(job)
        elif job.state != "done":
            _outcome(job)


def _outcome(job: Job) -> None:
    if job.state in ("failed", "unreadable"):
        show.error(job.message or "The job ended unexpectedly with no error message.")
    elif job.message:
        st.caption(escape_markdown(job.message))
    workers.draw_replaced(job)
    log = job.log_tail(LOG_LINES)
    if log:
        with st.expander("End of the log", icon=":material/receipt_long:", expanded=job.state == "interrupted"):
            show.text(log)


def _buttons(job: Job) -> None:
    if job.live and not is_own(job):
        st.caption("Started by another visitor", width="content")
    elif job.live:
        if st.button(
            "Cancel", icon=":material/stop:", key=f"cancel.{job.id}", help="Stops the job. Finished parts are kept."
        ):
            with st.spinner("Stopping the job"):
                cancel_job(cached.workspace(), job)
            st.rerun()
    elif job.state == "unreadable":
        help = "Deletes the record and the log of this job. Its measurements are kept."
        show.action("Delete", "delete", f"delete.{job.id}", _delete, job, help=help)
    elif job.state != "done":
        label, key = "Try again" if job.state == "failed" else "Resume", f"resume.{job.id}"
        help = "Runs the same command again. Finished parts are not repeated."
        if st.button(show.on_primary(label), icon=":material/replay:", type="primary", key=key, help=help):
            resume(job)
            st.rerun()


def _delete(job: Job) -> None:
    with state.failures_as_notices():
        delete_job(job)
