"""Workers of a job on screen: where each runs, what it does, how fast it is, and which were replaced."""

from collections.abc import Sequence

import streamlit as st

from core.workers.records import WorkerRecord, list_workers
from core.workspace.jobs import Job
from pages.ui.data import cached
from pages.ui.shell import show
from pages.ui.words import escape_markdown

MANY, MANY_HEIGHT = 12, 420  # lines of a table that get a box which scrolls, and its height in pixels


def draw(job: Job) -> None:
    """Draw the workers of a live job; nothing for a job that does its work alone."""
    records = list_workers(cached.workspace(), job.task) if job.task else []
    if records:
        height = MANY_HEIGHT if len(records) > MANY else "content"
        st.table(_table(records, job.stage), border="horizontal", hide_index=True, height=height)
    draw_replaced(job)


def draw_replaced(job: Job) -> None:
    """Draw how many workers of a job ended unexpectedly and were replaced."""
    if job.replaced:
        count = len(job.replaced)
        more = f"{count:,} workers ended unexpectedly and were replaced. The last: " if count > 1 else ""
        st.caption(f":material/restart_alt: {more}{escape_markdown(job.replaced[-1])}")


def _table(records: Sequence[WorkerRecord], stage: str) -> dict[str, list[str]]:
    return {
        "Worker": [_number(record) for record in records],
        "Where": [escape_markdown(", ".join(filter(None, (record.place, record.host)))) for record in records],
        "Now": [_describe_work(record, stage) for record in records],
        "Rows/s": [show.format_rate(record.rate) if record.rate else "" for record in records],
    }


def _number(record: WorkerRecord) -> str:
    index, _, count = record.shard.partition("/")
    return f"{int(index) + 1:,} of {int(count):,}"


def _describe_work(record: WorkerRecord, stage: str) -> str:
    """Return what a worker does; its stage only where it is not that of the job, which is shown above the table."""
    if record.waits:
        return "waiting"
    part = f"part {record.part + 1:,} of {record.parts:,}" if record.part >= 0 else ""
    own = escape_markdown(record.stage or "starting") if record.stage != stage or not part else ""
    return ": ".join(filter(None, (own, part)))
