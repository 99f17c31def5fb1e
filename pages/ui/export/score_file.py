"""The scores of every row of the pool, as a file for other tools."""

import streamlit as st

from core.measurement.runs import list_runs
from core.output.score_files import collect_scores, write_score_file
from core.pool.pool_columns import columns_stamp
from core.schema import Pool
from core.workspace.folder import content_key
from core.workspace.inventory import format_size
from pages.ui.data import cached
from pages.ui.shell import show

HELP = (
    "All scores of every row of the pool, selected or not, in OpenDataArena's form: one object with the row's id a "
    "line. The section Scores from other tools on the Pool page reads it back."
)


def draw(pool: Pool) -> None:
    """Draw the button that writes the file, then its download. New scores are another file."""
    runs = list_runs(cached.workspace(), pool.fingerprint)
    stamp = columns_stamp(cached.workspace().root, pool.fingerprint)
    key = content_key({"scores": pool.fingerprint, "runs": [run.id for run in runs], "columns": stamp})
    path = cached.workspace().folder("exports", key) / "scores.jsonl"
    with st.container(horizontal=True, width="content"):
        if not path.exists() and st.button("Save scores", icon=":material/table_rows:", key="scores.save", help=HELP):
            with show.errors(), st.spinner("Writing the scores"):
                path.parent.mkdir(parents=True, exist_ok=True)
                write_score_file(pool, collect_scores(runs), path)
                st.rerun()  # without the button
        if path.exists():
            show.download(f"Download scores.jsonl ({format_size(path.stat().st_size)})", path)
