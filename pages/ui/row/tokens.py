"""One row token by token: read by a job that is started here, followed while it runs, then drawn as a strip.

The web process loads no model. The job reads the next rows as well, because loading the model takes longest.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import streamlit as st

from core.cli.arguments import measure_arguments
from core.measurement.lookup import find_run, find_signal
from core.measurement.run_data import trained_state
from core.measurement.runs import Run
from core.measurement.token_files import BASE, CALIBRATED, TokenView, read_view, token_file, view_means
from core.schema import Pool, Reading, Row
from core.workspace.jobs import Job, get_job, list_jobs
from pages.ui.data import cached
from pages.ui.row import drawings
from pages.ui.shell import show, state
from pages.ui.shell.jobs import launch
from pages.ui.words import escape_markdown, format_rows

KIND = "tokens"  # kind of the job
ROWS_AHEAD = 7  # rows after this one that the same job reads
MAX_TOKENS = 600  # tokens shown
POLL_S = 1.0
QUANTITIES = {"nll": "NLL", "entropy": "Entropy"}


@dataclass(frozen=True)
class Source:
    """The run whose model reads the tokens."""

    run: Run
    calibrated: bool  # whether the calibrated state that reads the row still exists


def find_source(pool: Pool, row: int) -> Source | None:
    """Return the run of entropy shift as it is set now; else any run whose model has read the pool; else None."""
    now = replace(state.settings(), method="entropy_shift")
    own = find_run(cached.workspace(), pool, state.method(now), now.reading, now.seed)
    if own is not None:
        return Source(own, trained_state(cached.workspace(), own, row) is not None)
    other = find_signal(cached.workspace(), pool, "base", now.reading)
    return Source(other, calibrated=False) if other is not None else None


def draw(pool: Pool, row: Row, next_rows: Sequence[int], *, key: str) -> None:
    """Draw the strip; until it exists, the button that starts its job, or the progress of that job."""
    source = find_source(pool, row.index)
    if source is None:
        st.caption("No model has measured this pool yet. Measure it on the Measure page.")
        return
    if row.response is None:
        st.caption("This row has no response, so it has no token scores.")
        return
    views = load_views(source, row.index)
    if views is not None:
        columns = cached.measurements(source.run).columns
        cut = {side: int(columns[f"{side}_cut"][row.index]) for side in ("prompt", "response")}
        _draw_strip(views, key, cut=cut)
        return
    job = _find_job(source, row.index)
    if job is not None and job.live:
        _show_progress(job.id)
        return
    if job is not None and job.state == "failed":
        show.error(job.message or "The job ended unexpectedly with no error message.")
    with st.container(horizontal=True, vertical_alignment="center"):
        label, arguments = "Compute token scores", (pool, source, [row.index, *next_rows[:ROWS_AHEAD]])
        show.action(label, "segment", f"{key}.tokens", _start_reading, *arguments, type="primary")
        st.caption("NLL and entropy of every token. Loading the model takes a few seconds.")


def load_views(source: Source, row: int) -> dict[str, TokenView] | None:
    """Load the row under each state of the model; None if one of them has not been read yet."""
    workspace = cached.workspace()
    states = {BASE: None} | ({CALIBRATED: trained_state(workspace, source.run, row)} if source.calibrated else {})
    views = {name: read_view(token_file(workspace, source.run, row, trained)) for name, trained in states.items()}
    return {name: view for name, view in views.items() if view} if all(views.values()) else None


# The job


def _start_reading(pool: Pool, source: Source, rows: Sequence[int]) -> None:
    now = replace(state.settings(), method="entropy_shift", reading=Reading(**source.run.reading))
    recipe = state.recipe(pool, now)
    pool_part = recipe.pool.model_copy(update={"source": pool.fingerprint, "fields": None})
    command = measure_arguments(recipe.model_copy(update={"pool": pool_part}), "tokens", cached.workspace())
    command += [word for row in rows for word in ("--number", str(row))]
    about = {"kind": KIND, "pool": pool.fingerprint, "run": source.run.id, "rows": list(rows)}
    title = f"Token scores of {format_rows(len(rows))} of {show.pool_name(pool.name, pool.source)}"
    with state.failures_as_notices():
        launch(command, title=title, about=about)


def _find_job(source: Source, row: int) -> Job | None:
    """Return the newest job that reads this row."""
    jobs = (job for job in list_jobs(cached.workspace()) if job.about.get("kind") == KIND)
    return next((job for job in jobs if job.about["run"] == source.run.id and row in job.about["rows"]), None)


@st.fragment(run_every=POLL_S)
def _show_progress(job_id: str) -> None:
    job = get_job(cached.workspace(), job_id)
    if not job.live:
        st.rerun()
    if job.state == "queued":
        st.caption(f":material/schedule: {escape_markdown(job.message or 'Queued.')}")
        return
    stage = "Loading the model" if job.stage in ("", "Starting", "Reading the pool") else job.stage
    st.progress(min(max(job.fraction, 0.0), 1.0) if job.total else 0.0, text=escape_markdown(stage))


# The strip


def _draw_strip(views: Mapping[str, TokenView], key: str, *, cut: Mapping[str, int]) -> None:
    base = views[BASE]
    if not len(base):
        st.caption("This row has no response, so it has no token scores.")
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        what = show.choose("Shown", QUANTITIES, f"{key}.measure", label_visibility="collapsed", persist_state="session")
        st.html(drawings.token_legend(what, calibrated=CALIBRATED in views))
    st.html(drawings.token_strip(views, what, MAX_TOKENS))
    st.caption(summary(views, what, cut=cut))


def summary(views: Mapping[str, TokenView], what: str, *, cut: Mapping[str, int]) -> str:
    """Return means, and what is not shown, in one line. `cut`: tokens of each side that the model did not read."""
    means = view_means({name: [view] for name, view in views.items()})[0]
    after = f" → {means[f'{what}_cal']:.3f} after warm-up" if CALIBRATED in views else ""
    parts = [f"Mean {QUANTITIES[what]} {means[what]:.3f}{after}", "Hover over a token for its values"]
    if len(views[BASE]) > MAX_TOKENS:
        parts.append(f"First {MAX_TOKENS} of {len(views[BASE]):,} tokens shown")
    parts += [
        f"{tokens:,} tokens of the {side} exceed the maximum sequence length" for side, tokens in cut.items() if tokens
    ]
    return " · ".join(parts)
