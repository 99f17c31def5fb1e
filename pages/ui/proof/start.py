"""A new proof: its plan and cost first, then the button that starts it."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from core.proof.plan import read_plan
from core.proof.stored import PLAN as PLAN_FILE
from core.schema import Pool
from core.workspace.folder import content_key
from core.workspace.jobs import Job, list_jobs
from pages.ui.data import cached
from pages.ui.proof import picker, plan
from pages.ui.proof.setup import Setup
from pages.ui.shell import jobs, show, state
from pages.ui.shell.running import POLL_S

PLAN, PROVE = "plan", "prove"  # kinds of jobs
UNIT = "training runs"  # what they count


def list_proving(pool: Pool) -> list[Job]:
    """Return the jobs that prove something on a pool, newest first; of the same proof the newest."""
    newest: dict[str, Job] = {}
    for job in list_jobs(cached.workspace()):
        if (job.about.get("kind"), job.about.get("pool")) == (PROVE, pool.fingerprint):
            newest.setdefault(str(job.about.get("proof")), job)
    return list(newest.values())


def draw_unstored(proving: Sequence[Job], stored: Sequence[str]) -> bool:
    """Draw the jobs whose proof is not stored yet: they prepare it, or have failed before. `stored`: ids of proofs.

    Return whether the visitor waits for one of them, and so for nothing else on the page.
    """
    unstored = [job for job in proving if job.state != "done" and job.about.get("proof") not in stored]
    for job in unstored:
        jobs.panel(job)
        if job.live:
            _wait(str(job.about["proof"]))
    return any(job.live and picker.is_open(str(job.about["proof"])) for job in unstored)


@st.fragment(run_every=POLL_S)
def _wait(proof_id: str) -> None:
    """Draw the page again as soon as a proof is stored."""
    if (cached.workspace().folder("proofs", proof_id) / PLAN_FILE).exists():
        st.rerun()


def panel(pool: Pool, setup: Setup) -> None:
    """Draw the plan and its cost once they are known, and the button that starts what comes next."""
    job = _latest(PLAN, setup)
    st.caption(f"Budget {state.settings().budget} · {setup.runs:,} training runs")
    if job is not None and job.state == "done":
        _draw_plan(job.result)
        show.action("Start the proof", "play_arrow", "proof.start", _start, pool, setup, job, type="primary")
        st.caption("Runs in the background; you can stop and resume it at any time.")
        return
    if job is not None and job.state not in ("cancelled", "interrupted"):
        jobs.panel(job)
    if job is None or not job.live:
        help = "Draws the rows of every arm, and trains for a few steps to estimate the time."
        show.action("Plan and cost", "assignment", "proof.plan", _plan, pool, setup, type="primary", help=help)


def command_panel(setup: Setup) -> None:
    """Draw the command that proves the same without the app."""
    with st.expander("Command-line equivalent", icon=":material/terminal:"):
        show.command(shlex.join(["python", "-m", "core", *setup.arguments]))


def _draw_plan(result: Mapping[str, Any]) -> None:
    st.metric("Estimated time", show.format_duration(result["cost"]["estimated_seconds"]), border=True)
    plan.draw(read_plan(result["plan"]))


def _key(setup: Setup) -> str:
    return content_key({"command": list(setup.arguments)})


def _latest(kind: str, setup: Setup) -> Job | None:
    wanted = (kind, _key(setup))
    found = (job for job in list_jobs(cached.workspace()) if (job.about.get("kind"), job.about.get("key")) == wanted)
    return next(found, None)


def _about(pool: Pool, setup: Setup, kind: str) -> dict[str, Any]:
    return {"key": _key(setup), "pool": pool.fingerprint, "pool_name": pool.name, "kind": kind, "unit": UNIT}


def _plan(pool: Pool, setup: Setup) -> None:
    with state.failures_as_notices():
        command = [*setup.arguments, "--estimate"]
        jobs.launch(command, title=f"Plan: {setup.title}", about=_about(pool, setup, PLAN))


def _start(pool: Pool, setup: Setup, planned: Job) -> None:
    with state.failures_as_notices():
        about = _about(pool, setup, PROVE) | {"proof": planned.result["id"]}
        jobs.launch(setup.arguments, title=setup.title, about=about)
        picker.open_proof(planned.result["id"])
