"""Ways to open another pool: the demo, a path or hub id, an upload, or a recent pool."""

import hashlib
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import streamlit as st

from core.errors import PoolError, WinnowError
from core.pool import pools
from core.workspace.files import write_atomic
from pages.ui.data import cached
from pages.ui.shell import recent, roots, show, state, visitors
from pages.ui.words import escape_markdown

WAYS = {
    "recent": ":material/history: Recent",
    "source": ":material/folder_open: Path or hub id",
    "upload": ":material/upload: Upload",
    "demo": ":material/science: Demo",
}
UPLOADS = ("jsonl", "json", "ndjson", "csv", "tsv", "parquet", "gz")
MAX_RECENT = 8  # recent pools shown


def panel() -> None:
    """Draw the choice of ways, and the one chosen."""
    way = st.segmented_control(
        "Open from", list(WAYS), format_func=WAYS.get, default="recent", key="open.way", label_visibility="collapsed"
    )
    {"recent": _recent_list, "source": _source_form, "upload": _upload_form, "demo": _demo_button}[way or "recent"]()


def open_source(source: str, **options: Any) -> None:
    """Import a pool, with progress on the page, and open it. Show a failure in its own words."""
    bar = st.progress(0.0, "Reading the pool")

    def report(done: int, total: int) -> None:
        bar.progress(min(done / max(total, 1), 1.0), f"Reading the pool: {done / max(total, 1):.0%}")

    try:
        pool = pools.load_pool(source, workspace=cached.workspace().root, on_progress=report, **options)
        state.open_pool(pool.fingerprint)
    except WinnowError as error:
        bar.empty()
        show.error(error)
        return
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
        st.caption(
            "JSONL, JSON array, CSV or Parquet, also .gz, or a save_to_disk folder. Files in: "
            + ", ".join(escape_markdown(root) for root in roots.allowed_folders())
        )
        submitted = st.form_submit_button("Open", type="primary")
    if submitted:
        with show.errors():
            source = roots.check_source(typed)
            open_source(source, **(hub if roots.is_hub_id(source) and source != "demo" else {}))


def _upload_form() -> None:
    upload = st.file_uploader(
        "A small pool from this computer",
        type=list(UPLOADS),
        key="open.upload",
        help="Kept in the workspace. For anything large give its path instead.",
    )
    if upload is not None and st.button("Open the upload", type="primary", key="open.uploaded"):
        with show.errors():
            open_source(str(store_upload(upload.name, upload.getvalue())))


def store_upload(name: str, data: bytes) -> Path:
    """Store an upload in the visitor's folder, under its own name in a folder named after its content."""
    safe = re.sub(r"[^\w.-]+", "_", Path(name.replace("\\", "/")).name).lstrip(".") or "upload"
    if safe.rsplit(".", 1)[-1].lower() not in UPLOADS:
        raise PoolError(f"{name}: not a kind of file that can be opened. Give one of {', '.join(UPLOADS)}.")
    target = visitors.home() / "uploads" / hashlib.sha256(data).hexdigest()[:16] / safe
    if not target.exists():
        write_atomic(target, data)
    return target


def _demo_button() -> None:
    st.caption(
        "About 2,400 short rows of a dozen task families, made by a generator, with faults planted on purpose: "
        "swapped and truncated responses, gibberish, duplicates. The answer key is kept apart, so you can see what "
        "each method does with known faults."
    )
    if st.button("Open the demo pool", type="primary", key="open.demo"):
        open_source("demo")
