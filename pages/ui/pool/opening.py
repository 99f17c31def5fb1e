"""Ways to open another pool: drop a file, or choose a recent pool, a file in the allowed folders, a path or hub id."""

import hashlib
import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

import streamlit as st

from core.errors import PoolError
from core.pool import pools
from core.workspace.files import is_whole, write_stored
from core.workspace.jobs import get_job
from pages.ui.data import cached
from pages.ui.shell import data_files, imports, recent, roots, show, state, visitors
from pages.ui.words import escape_markdown, format_rows

UPLOADS = ("jsonl", "json", "ndjson", "csv", "tsv", "parquet", "gz")
MAX_RECENT = 8  # recent pools offered
DEMO_LABEL = "Demo pool"
UPLOADED = "open.uploaded"  # whether a file was dropped since the last run
OPENED = "open.count"  # pools opened in this tab; the widgets of each are new, so they are empty again
PATIENCE_S = 2.0  # before the progress of reading a pool is shown
POLL_S = 1.0
HUB_OPTIONS = {"name": "Configuration", "split": "Split", "revision": "Revision"}


def panel() -> None:
    """Draw the place to drop a file, and the choice of a pool, side by side."""
    left, right = st.container(border=True).columns(2, gap="large")
    with right:
        header = _choose_pool()
    with left:
        _drop_file(header)


def _drop_file(header: Mapping[str, bool]) -> None:
    """Draw the place to drop a file; a file that is dropped is opened."""
    upload = st.file_uploader(
        "**Use my data:** drop a file here",
        type=list(UPLOADS),
        key=f"open.upload.{_count()}",
        on_change=state.set_widget,
        args=(UPLOADED, True),
        help="The file is stored in the workspace. Open a large file by its path instead.",
    )
    if state.session_value(UPLOADED) and upload is not None:
        state.set_widget(UPLOADED, False)
        with show.errors():
            open_source(str(store_upload(upload.name, upload.getvalue())), **header)


def _choose_pool() -> dict[str, bool]:
    """Draw the choice of a pool and its button. Return the options of reading a file."""
    options = list_choices()
    with st.container(horizontal=True, vertical_alignment="bottom"):
        choice = st.selectbox(
            "Or choose a pool, or type a path or a hub id",
            list(options),
            index=None,
            format_func=lambda one: options.get(one, one),
            accept_new_options=True,
            placeholder="databricks/databricks-dolly-15k",
            key=f"open.choice.{_count()}",
        )
        pressed = st.button("Open", key="open.open", disabled=choice is None)
    header, hub = _options()
    if pressed and choice:
        _open_choice(choice, header, hub)
    return header


def _count() -> int:
    return state.session_value(OPENED) or 0


def list_choices() -> dict[str, str]:
    """Return what can be chosen besides the open pool, with labels: fingerprints of recent pools, "demo", paths."""
    entries = recent.recent_pools()
    shown = {
        entry["fingerprint"]: f"{show.pool_name(entry['name'], entry['source'])} · {format_rows(entry['rows'])} · "
        + _format_time(entry["opened"])
        for entry in entries[:MAX_RECENT]
        if not state.is_open(entry["fingerprint"])
    }
    if not any(entry["source"] == pools.DEMO for entry in entries[:MAX_RECENT]):
        shown[pools.DEMO] = DEMO_LABEL
    return shown | {str(file): f"{file.name} · {file.parent}" for file in data_files.find_files()}


def _format_time(moment: str | None) -> str:
    if moment is None:
        return "opened by others"
    return f"opened {datetime.fromisoformat(moment).astimezone():%d %b %Y, %H:%M}"


def _options() -> tuple[dict[str, bool], dict[str, str]]:
    """Draw the options of reading a source. Return those of a file, and those of a hub id."""
    with st.popover("Options", icon=":material/tune:", type="tertiary", key="open.options"):
        text = "The first row of the CSV or TSV file is data. Its columns are called 1, 2, 3."
        header = {"header": False} if st.checkbox("No header row", key="open.no_header", help=text) else {}
        typed = {name: st.text_input(f"{label} (hub)", key=f"open.{name}") for name, label in HUB_OPTIONS.items()}
        folders = ", ".join(escape_markdown(root) for root in roots.allowed_folders())
        st.caption(
            "Winnow reads JSONL, JSON arrays, CSV and Parquet, also as .gz, and folders written by save_to_disk. The "
            "files of a folder, or of a pattern such as data/\\*.parquet, are one pool. "
            f"Paths must be in: {folders}"
        )
    return header, {name: value.strip() for name, value in typed.items() if value.strip()}


def _open_choice(choice: str, header: Mapping[str, bool], hub: Mapping[str, str]) -> None:
    """Open a stored pool by its fingerprint, or any source."""
    with show.errors():
        if any(choice == entry["fingerprint"] for entry in recent.recent_pools()):
            _open(choice)
        source = roots.check_source(choice)
        open_source(source, **header, **(hub if roots.is_hub_source(source) and source != pools.DEMO else {}))


def open_source(source: str, **options: Any) -> None:
    """Open a pool: at once if it is stored, else as soon as a job has read it. Show why if it cannot be opened."""
    with show.errors():
        demo = source == pools.DEMO
        pool = cached.open_demo() if demo else pools.load_stored(source, workspace=cached.workspace().root, **options)
        if pool is not None:
            _open(pool.fingerprint)
        job = imports.start(source, **options)
        with st.spinner("Reading the pool"):
            job = imports.wait(job, PATIENCE_S)
        if job.live or job.state == "done":
            st.rerun()
        imports.forget()
        show.error(job.message)


def reading() -> None:
    """Draw the progress of the pool that is being read; open it when it is read, or show why it cannot be opened."""
    job = imports.current()
    if job is None:
        return
    if job.live:
        _progress(job.id)
    elif job.state == "done":
        imports.forget()
        with show.errors():
            _open(str(job.result["fingerprint"]))
    else:
        show.error(job.message)
        show.action("Close", "close", "open.close", imports.forget)


@st.fragment(run_every=POLL_S)
def _progress(job_id: str) -> None:
    job = get_job(cached.workspace(), job_id)
    if not job.live:
        st.rerun()
    with st.container(horizontal=True, vertical_alignment="center", border=True):
        text = f"{escape_markdown(job.title)}: {job.fraction:.0%}"
        st.progress(min(max(job.fraction, 0.0), 1.0), text=text, width="stretch")
        if st.button("Cancel", icon=":material/stop:", key="open.cancel", help="The pool that is open stays open."):
            imports.cancel()
            st.rerun()


def _open(fingerprint: str) -> NoReturn:
    state.open_pool(fingerprint)
    state.set_widget(OPENED, _count() + 1)
    st.rerun()


def store_upload(name: str, data: bytes) -> Path:
    """Store an upload in the visitor's folder, under its own name in a folder named after its content."""
    safe = re.sub(r"[^\w.-]+", "_", Path(name.replace("\\", "/")).name).lstrip(".") or "upload"
    if safe.rsplit(".", 1)[-1].lower() not in UPLOADS:
        raise PoolError(f"{name}: this kind of file cannot be opened. Choose one of {', '.join(UPLOADS)}.")
    target = visitors.home() / "uploads" / hashlib.sha256(data).hexdigest()[:16] / safe
    if not is_whole(target):
        write_stored(target, data)
    return target
