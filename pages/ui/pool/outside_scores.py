"""Scores from other tools: what a file of scores holds, its import as columns, and the columns that were imported."""

from pathlib import Path
from typing import Any

import streamlit as st

from core.cli.arguments import DEFAULT_WORKSPACE
from core.measurement.imported import remove_scores
from core.pool import outside_scores
from core.pool.outside_scores import ScorePreview
from core.schema import Pool
from core.workspace.files import file_digest
from pages.ui.controls import imported
from pages.ui.data import cached
from pages.ui.pool import opening, storage
from pages.ui.shell import data_files, jobs, roots, show, state
from pages.ui.words import escape_markdown, format_rows, join_words, meaning

JOB = "scores.job"  # key of the job that this tab started
BEST = {"high": "highest", "low": "lowest"}
ABOUT = (
    "A file of ids and numbers, such as the scores of OpenDataArena, deita, IFD, a reward model or a judge. Each score "
    "becomes a column to explore, filter, colour and rank by."
)


def panel(pool: Pool) -> None:
    """Draw the scores that were imported, and the form for another file."""
    with st.expander("Scores from other tools", icon=":material/input:", key="scores", on_change="rerun") as opened:
        if opened.open:
            st.caption(ABOUT)
            _importer(pool)
            stored = outside_scores.list_scores(cached.workspace().root, pool.fingerprint)
            by_file: dict[str, list[str]] = {}
            for column, about in stored.items():
                by_file.setdefault(_describe_file(about), []).append(column)
            for text, columns in by_file.items():
                with st.container(border=True):
                    st.caption(text)
                    for column in columns:
                        _draw(pool, column, stored[column])


# Importing


def _importer(pool: Pool) -> None:
    """Draw the choice of a file, what it holds and the button that imports it, or the progress of its job."""
    if jobs.follow(JOB):
        return
    left, right = st.columns(2, gap="large")
    with left:
        typed = st.selectbox(
            "File of scores",
            [str(path) for path in data_files.find_files()],
            index=None,
            format_func=lambda path: Path(path).name,
            accept_new_options=True,
            placeholder="Choose a file, or type a path",
            key="scores.file",
        )
    with right:
        upload = st.file_uploader("Or drop a file here", type=list(opening.UPLOADS), key="scores.upload")
    if typed or upload is not None:
        with show.errors():
            stored = None if upload is None else opening.store_upload(upload.name, upload.getvalue())
            path = stored or roots.check_path(str(typed))
            _offer(pool, path, _preview(pool, file_digest(path), str(path)))


@cached.keep(show_spinner="Reading the file")
def _preview(pool: Pool, digest: str, path: str) -> ScorePreview:
    return outside_scores.preview_scores(pool, path, cached.workspace())


def _offer(pool: Pool, path: Path, preview: ScorePreview) -> None:
    """Draw what a file holds, ask for the good end of its scores, and offer to import them."""
    of = f"first {format_rows(preview.rows)}" if preview.more else format_rows(preview.rows)
    unmatched = f"; {_describe_unmatched(preview.unmatched, preview.unmatched_ids)}" if preview.unmatched else ""
    st.caption(f"{escape_markdown(path.name)}, {of}: {preview.matched:,} ids are in the pool{unmatched}.")
    scores = list(preview.numbers)
    st.dataframe(
        [
            {"Score": s, "Rows": preview.numbers[s], "Lowest": preview.lowest[s], "Highest": preview.highest[s]}
            for s in scores
        ],
        hide_index=True,
        height=min(320, 35 * (len(scores) + 1) + 3),
        alt="Scores of the file: rows with a number, the lowest and the highest",
    )
    key = f"scores.{path}"  # another file has other scores
    picked = show.choose_many("Scores to import", scores, f"{key}.picked", default=scores)
    low = show.choose_many(
        "Low is good",
        picked,
        f"{key}.low",
        help="Scores whose lowest values mark the best rows, such as a loss. Of all others the highest do.",
    )
    arguments = (pool, path, [score for score in scores if score in picked], low)
    show.action("Import", "input", "scores.start", _start, *arguments, disabled=not picked, type="primary")


def _start(pool: Pool, path: Path, fields: list[str], low: list[str]) -> None:
    with state.failures_as_notices():
        command = ["import-scores", pool.fingerprint, str(path)]
        command += [word for field in fields for word in ("--field", field)]
        command += [word for field in low for word in ("--end", f"{field}=low")]
        if cached.workspace().root != DEFAULT_WORKSPACE.absolute():
            command += ["--workspace", str(cached.workspace().root)]
        shown = show.pool_name(pool.name, pool.source)
        about = {"kind": "import-scores", "key": path.name, "pool": pool.fingerprint, "pool_name": shown}
        state.set_widget(JOB, jobs.launch(command, title=f"Scores of {path.name} for {shown}", about=about).id)


# Imported scores


def _describe_file(about: dict[str, Any]) -> str:
    text = f"{escape_markdown(about['file'])}: {format_rows(about['file_rows'])}"
    if about["unmatched"]:
        text += f"; {_describe_unmatched(about['unmatched'], about['unmatched_ids'])}"
    if about["repeated"]:
        text += f"; {about['repeated']:,} repeated ids, of which the last row counts"
    return f"{text}."


def _describe_unmatched(count: int, ids: Any) -> str:
    are = "1 id is" if count == 1 else f"{count:,} ids are"
    return f"{are} not in the pool, such as {escape_markdown(join_words(list(ids)))}"


def _draw(pool: Pool, column: str, about: dict[str, Any]) -> None:
    """Draw one column: how many rows have it, which end is good, and what can be done with it."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(
            f"**{escape_markdown(meaning(column).label)}** · {about['rows']:,} of {format_rows(len(pool))} · "
            f"the {BEST[about['end']]} is best",
            width="stretch",
        )
        ready = imported.find_measured(pool) is not None
        help = None if ready else "Measure any method first: it counts the tokens of every row."
        options: dict[str, Any] = {"icon": ":material/sort:", "key": f"scores.rank.{column}", "help": help}
        if st.button("Rank by this score", disabled=not ready, **options):
            with show.errors():
                imported.rank_by(pool, column, about["end"])
                st.switch_page(show.PAGES["explore"]["page"])
        if storage.may_delete():
            help = "Removes the column, its rankings, and the filters by it. The file is kept."
            show.action("Remove", "delete", f"scores.remove.{column}", _remove, pool, column, help=help)


def _remove(pool: Pool, column: str) -> None:
    with state.failures_as_notices():
        remove_scores(pool, column, cached.workspace())
        now = state.settings()
        filters = tuple(one for one in now.filters if one.column != column)
        contenders = tuple(one for one in now.contenders if (one.params or {}).get("field") != column)
        state.change(filters=filters, contenders=contenders)
