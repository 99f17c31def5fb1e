"""Ways to open another pool: the demo, a path or hub id, an upload, or a recent pool."""

import hashlib
import re
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

import streamlit as st

from core.errors import PoolError
from core.pool import pools
from core.workspace.files import is_whole, write_stored
from core.workspace.jobs import get_job
from pages.ui.data import cached
from pages.ui.shell import imports, recent, roots, show, state, visitors
from pages.ui.words import escape_markdown

WAYS = {
    "recent": ":material/history: Recent",
    "source": ":material/folder_open: Path or hub id",
    "upload": ":material/upload: Upload",
    "demo": ":material/science: Demo",
}
UPLOADS = ("jsonl", "json", "ndjson", "csv", "tsv", "parquet", "gz")
MAX_RECENT = 8  # recent pools shown
PANEL, CLOSING = "open.panel", "open.closing"  # keys of the popover, and of whether it is to close
PATIENCE_S = 2.0  # before the progress of reading a pool is shown
POLL_S = 1.0


def popover() -> None:
    """Draw the button behind which another pool is opened; it closes when one is."""
    if state.session_value(CLOSING):
        state.set_widget(CLOSING, False)
        state.set_widget(PANEL, False, force=True)
    with st.popover("Open another pool", icon=":material/folder_open:", key=PANEL, on_change="rerun"):
        _panel()


def _panel() -> None:
    """Draw the choice of ways, and the one chosen."""
    way = st.segmented_control(
        "Open from", list(WAYS), format_func=WAYS.get, default="recent", key="open.way", label_visibility="collapsed"
    )
    {"recent": _recent_list, "source": _source_form, "upload": _upload_form, "demo": _demo_button}[way or "recent"]()


def open_source(source: str, **options: Any) -> None:
    """Open a pool: at once if it is stored, else as soon as a job has read it. Show a failure in its own words."""
    with show.errors():
        load = pools.load_pool if source == pools.DEMO else pools.load_stored
        pool = load(source, workspace=cached.workspace().root, **options)
        if pool is not None:
            _open(pool.fingerprint)
        job = imports.start(source, **options)
        with st.spinner("Reading the pool"):
            job = imports.wait(job, PATIENCE_S)
        if job.live or job.state == "done":
            state.set_widget(CLOSING, True)
            st.rerun()
        imports.forget()
        show.error(job.message)


def reading() -> None:
    """Draw the progress of the pool that is being read; open it when it is read, or say why it cannot be opened."""
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
    state.set_widget(CLOSING, True)
    st.rerun()


def _recent_list() -> None:
    stored = recent.recent_pools()[:MAX_RECENT]
    for one in stored:
        opened = state.is_open(one["fingerprint"])
        with st.container(horizontal=True, vertical_alignment="center"):
            key, args = f"open.{one['fingerprint']}", (one["fingerprint"],)
            st.button("Open", key=key, on_click=_open_again, args=args, disabled=opened)
            st.text(show.pool_name(one["name"], one["source"]))
            moment = "open now" if opened else _format_time(one["opened"])
            st.caption(f"{one['rows']:,} rows · {escape_markdown(one['schema'])} · {moment}")
    if not stored:
        st.caption("Nothing has been opened yet.")


def _open_again(fingerprint: str) -> None:
    with state.failures_as_notices():
        state.open_pool(fingerprint)
        state.set_widget(CLOSING, True)


def _format_time(moment: str | None) -> str:
    if moment is None:
        return "opened by others"
    return f"{datetime.fromisoformat(moment).astimezone():%d %b %Y, %H:%M}"


def _source_form() -> None:
    with st.form("open.source", border=False):
        typed = st.text_input(
            "Path or hub id", placeholder="~/data/pool.jsonl.gz or databricks/databricks-dolly-15k", key="open.typed"
        )
        words = {"name": "Configuration", "split": "Split", "revision": "Revision"}
        hub = {
            name: column.text_input(f"{words[name]} (hub only)", key=f"open.{name}").strip() or None
            for name, column in zip(words, st.columns(3), strict=True)
        }
        header = _header_choice("open.no_header")
        st.caption(
            "JSONL, JSON array, CSV or Parquet, also .gz, or a save_to_disk folder. Files in: "
            + ", ".join(escape_markdown(root) for root in roots.allowed_folders())
        )
        submitted = st.form_submit_button("Open", type="primary")
    if submitted:
        with show.errors():
            source = roots.check_source(typed)
            options = {name: value for name, value in hub.items() if value}
            open_source(source, **header, **(options if roots.is_hub_id(source) and source != "demo" else {}))


def _header_choice(key: str) -> dict[str, bool]:
    """Draw the choice of reading the first row of a CSV file as data; return the option for it, if any."""
    text = "For a CSV or TSV whose first row is data. Its columns are called 1, 2, 3."
    return {"header": False} if st.checkbox("No header", key=key, help=text) else {}


def _upload_form() -> None:
    upload = st.file_uploader(
        "A small pool from this computer",
        type=list(UPLOADS),
        key="open.upload",
        help="Kept in the workspace. For anything large give its path instead.",
    )
    header = _header_choice("open.upload.no_header")
    if upload is not None and st.button("Open the upload", type="primary", key="open.uploaded"):
        with show.errors():
            open_source(str(store_upload(upload.name, upload.getvalue())), **header)


def store_upload(name: str, data: bytes) -> Path:
    """Store an upload in the visitor's folder, under its own name in a folder named after its content."""
    safe = re.sub(r"[^\w.-]+", "_", Path(name.replace("\\", "/")).name).lstrip(".") or "upload"
    if safe.rsplit(".", 1)[-1].lower() not in UPLOADS:
        raise PoolError(f"{name}: not a kind of file that can be opened. Give one of {', '.join(UPLOADS)}.")
    target = visitors.home() / "uploads" / hashlib.sha256(data).hexdigest()[:16] / safe
    if not is_whole(target):
        write_stored(target, data)
    return target


def _demo_button() -> None:
    st.caption(
        "About 2,400 short rows of a dozen task families, made by a generator, with faults planted on purpose: "
        "swapped and truncated responses, gibberish, duplicates. The answer key is kept apart, so you can see what "
        "each method does with known faults."
    )
    if st.button("Open the demo pool", type="primary", key="open.demo"):
        open_source("demo")
