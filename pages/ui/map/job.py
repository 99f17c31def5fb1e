"""Jobs that make a missing map: UMAP while PCA is shown, or PCA if the embeddings are too large for the page.

UMAP starts automatically if it takes about a minute at most. numba's compiler, slow in the first process on a
machine, runs in the job too. The page redraws with the map when the job ends.
"""

from functools import partial

import streamlit as st

from core.analysis import maps
from core.analysis.maps import EmbeddingSource
from core.cli.arguments import measure_arguments
from core.measurement.runs import Run
from core.schema import Pool
from core.selection.recipe import MethodPart, PoolPart, ReadingPart, Recipe
from core.workspace.jobs import Job, cancel_job, get_job, list_jobs
from pages.ui.data import cached
from pages.ui.shell import jobs, show
from pages.ui.shell.jobs import POLL_S
from pages.ui.words import escape_markdown

SEED = 0  # of every map in the app
MAX_AUTOMATIC_ROWS = 100_000  # rows up to which UMAP starts automatically
NAMES = {"prompt": "Prompts", "response": "Responses", "answers": "Answers", "activations": "Activations"}


def job_arguments(pool: Pool, run: Run, source: EmbeddingSource, layout: str) -> list[str]:
    """Return the arguments of `python -m core` that make this map."""
    reading = ReadingPart(**run.reading)
    recipe = Recipe(pool=PoolPart(source=pool.fingerprint), method=MethodPart(name="random"), reading=reading)
    more = ["--of", source.kind, *(["--layout", layout] if layout != "umap" else [])]
    return [*measure_arguments(recipe, "project", cached.workspace()), *more]


def _find_latest(source: EmbeddingSource, layout: str) -> Job | None:
    """Return the newest job that makes this map."""
    key = _key(source, layout)
    return next((job for job in list_jobs(cached.workspace()) if job.about.get("key") == key), None)


def _key(source: EmbeddingSource, layout: str) -> str:
    return f"{maps.map_folder(cached.workspace(), source, SEED).name} {layout}"


def _start(pool: Pool, run: Run, source: EmbeddingSource, layout: str) -> Job:
    """Start a job, detached from the server."""
    name = show.pool_name(pool.name, pool.source)
    about = {"kind": "map", "key": _key(source, layout), "pool": pool.fingerprint, "pool_name": name}
    title = f"Map of {NAMES[source.kind].lower()} of {name}"
    return jobs.launch(job_arguments(pool, run, source, layout), title=title, about=about)


def draw_pending(pool: Pool, run: Run, source: EmbeddingSource, layout: str) -> None:
    """Draw the state of the job for a "umap" or "pca" map, with buttons to start or cancel it."""
    job = _find_latest(source, layout)
    if job is None and (len(pool) <= MAX_AUTOMATIC_ROWS or layout == "pca"):
        job = _start(pool, run, source, layout)
    if job is not None and job.live:
        _draw_progress(job.id, layout)
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption("The map shows PCA." if job is None or job.state == "done" else _describe_end(job))
        label = "Compute UMAP" if job is None else "Try again"
        text = "Runs in the background: about 1 min for 50,000 rows."
        start = partial(_start_or_restart, job, pool, run, source, layout)
        st.button(label, icon=":material/scatter_plot:", key="explore.map.begin", help=text, on_click=start)


def _start_or_restart(job: Job | None, pool: Pool, run: Run, source: EmbeddingSource, layout: str) -> None:
    if job is None:
        _start(pool, run, source, layout)
    else:
        jobs.resume(job)


def _describe_end(job: Job) -> str:
    return f"The map job did not finish: {escape_markdown(job.message or job.state)}"


@st.fragment(run_every=POLL_S)
def _draw_progress(job_id: str, layout: str) -> None:
    job = get_job(cached.workspace(), job_id)
    if not job.live:
        st.rerun()
    with st.container(horizontal=True, vertical_alignment="center"):
        more = ". The map shows PCA until UMAP is ready" if layout == "umap" else ""
        text = escape_markdown(job.stage or "Starting") + more
        st.progress(min(max(job.fraction, 0.0), 1.0), text=text, width="stretch")
        if jobs.is_own(job) and st.button("Cancel", icon=":material/stop:", key=f"cancel.{job.id}"):
            cancel_job(cached.workspace(), job)
            st.rerun()
