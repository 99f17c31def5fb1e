"""Imports: a job reads the pool that the visitor opens, so the server's memory and other visitors do not notice."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import streamlit as st

from core.cli.arguments import pool_arguments
from core.errors import WorkspaceError
from core.schema import FieldMap
from core.selection.recipe import PoolPart
from core.workspace.jobs import Job, cancel_job, delete_job, get_job
from pages.ui.data import cached
from pages.ui.shell import jobs

IMPORT = "winnow.import"  # id of the job that reads a pool for this tab
TICK_S = 0.05


def start(source: str, fields: FieldMap | None = None, **options: Any) -> Job:
    """Start reading a source for this tab, in place of what is being read for it. Options: those of `load_pool`."""
    cancel()
    part = PoolPart(source=source, fields=asdict(fields) if fields else None, **options)
    command = ["inspect", source, *pool_arguments(part), "--workspace", str(cached.workspace().root)]
    job = jobs.launch(command, title=f"Reading {Path(source).name}", about={"kind": "import", "source": source})
    st.session_state[IMPORT] = job.id
    return job


def wait(job: Job, seconds: float) -> Job:
    """Return the job when it has ended, or after so many seconds."""
    deadline = time.monotonic() + seconds
    while job.live and time.monotonic() < deadline:
        time.sleep(TICK_S)
        job = get_job(cached.workspace(), job.id)
    return job


def current() -> Job | None:
    """Return the job that reads a pool for this tab; None if there is none."""
    job_id = st.session_state.get(IMPORT)
    try:
        return get_job(cached.workspace(), job_id) if job_id else None
    except WorkspaceError:  # deleted on another page
        return None


def forget() -> None:
    """Remove the job of this tab, which has ended."""
    job = current()
    if job is not None:
        delete_job(job)
    st.session_state.pop(IMPORT, None)


def cancel() -> None:
    """Stop reading a pool for this tab. The pool that is open stays open."""
    job = current()
    if job is not None and job.live:
        cancel_job(cached.workspace(), job)
    forget()
