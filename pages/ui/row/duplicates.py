"""Near- and semantic duplicates on screen: which row a row repeats, labels of filters, and the job that finds them."""

from dataclasses import asdict
from typing import Any

import streamlit as st

from core.algorithms.similar_vectors import SimilarRows
from core.analysis.maps import list_sources
from core.cli.arguments import shared_arguments
from core.columns import DUPLICATES, EXACT_DUPLICATES, USUAL_SEMANTIC_DUPLICATES, duplicates_of
from core.measurement import semantic_duplicates
from core.pool.near_duplicates import cache_stamp, duplicate_column, load_near_duplicates
from core.pool.pools import row_place
from core.schema import IntArray, Pool, Reading
from core.selection.recipe import MethodPart, PoolPart, ReadingPart, Recipe
from pages.ui.data import cached
from pages.ui.shell import jobs, show, state
from pages.ui.words import format_rows

JOB = "near.job"  # key of the job that this tab started
COMPARED = {"words": "Words", "response": "Responses", "prompt": "Prompts"}
HELP = {
    "words": "Jaccard similarity of the word pairs of two rows: shared pairs divided by the pairs of either row. "
    "Only the first row of each group is kept.",
    "response": "Cosine of the embeddings of two responses, from the mean of the pool. A row is kept unless it is this "
    "similar to an earlier kept row.",
    "prompt": "Cosine of the embeddings of two prompts, from the mean of the pool. A row is kept unless it is this "
    "similar to an earlier kept row.",
}
STEPS = {"words": 0.05, "response": 0.01, "prompt": 0.01}


def near_duplicate_columns(pool: Pool) -> dict[str, IntArray]:
    """Return the near-duplicate columns computed for the pool: name -> (N,) the row repeated, −1: none."""
    root = cached.workspace().root
    return _load_near(pool.fingerprint, cache_stamp(root, pool.fingerprint), str(root))


@cached.keep()
def _load_near(fingerprint: str, stamp: int, root: str) -> dict[str, IntArray]:
    return load_near_duplicates(cached.workspace().root, fingerprint)


def semantic_duplicate_columns(pool: Pool) -> dict[str, SimilarRows]:
    """Return the semantic duplicates computed for the pool by the model of the present settings, by column."""
    root = cached.workspace().root
    stamp = semantic_duplicates.cache_stamp(root, pool.fingerprint)
    return _load_semantic(pool.fingerprint, asdict(state.settings().reading), stamp, str(root)) if stamp else {}


@cached.keep()
def _load_semantic(fingerprint: str, model: dict[str, Any], stamp: int, root: str) -> dict[str, SimilarRows]:
    return semantic_duplicates.load_semantic_duplicates(cached.workspace().root, fingerprint, Reading(**model))


def duplicate_columns(pool: Pool) -> dict[str, IntArray]:
    """Return the columns of near- and of semantic duplicates: name -> (N,) the row repeated, −1: none."""
    semantic = {column: rows.repeats for column, rows in semantic_duplicate_columns(pool).items()}
    return near_duplicate_columns(pool) | semantic


def duplicate_marks(pool: Pool, index: int) -> list[str]:
    """Return in words which row a row repeats: exactly, else nearly, else in meaning; empty if it repeats none."""
    exact = pool.rows[EXACT_DUPLICATES][index].as_py()
    if exact is not None:
        return [f"duplicate of {row_place(pool, exact)}"]
    near, semantic = near_duplicate_columns(pool), semantic_duplicate_columns(pool)
    if near and (repeats := int(near[duplicate_column(near)][index])) >= 0:
        return [f"near-duplicate of {row_place(pool, repeats)}"]
    rows = semantic.get(USUAL_SEMANTIC_DUPLICATES) or next(iter(semantic.values()), None)
    if rows is None or rows.repeats[index] < 0:
        return []
    return [f"semantic duplicate of {row_place(pool, int(rows.repeats[index]))} (cosine {rows.similarity[index]:.2f})"]


def count_words(pool: Pool) -> str | None:
    """Return in words how many rows nearly repeat an earlier one; None if that was not computed."""
    near = near_duplicate_columns(pool)
    if not near:
        return None
    return f"{int((near[duplicate_column(near)] >= 0).sum()):,} near-duplicates"


def filter_labels(pool: Pool) -> dict[str, str]:
    """Return column -> label of its filter."""
    return {
        column: f"Keep one of each {kind.name} ({kind.limit(column)}): excludes {format_rows(int((rows >= 0).sum()))}"
        for column, rows in duplicate_columns(pool).items()
        if (kind := duplicates_of(column)) is not None
    }


def finder(pool: Pool) -> None:
    """Draw the form that starts the search for duplicates, or the progress of that job."""
    if jobs.follow(JOB):
        return
    compared = _compared(pool)
    by = show.choose("Find duplicates by", compared, "near.by") if len(compared) > 1 else "words"
    kind = DUPLICATES[by]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        threshold = st.number_input(
            f"{kind.name.capitalize()} threshold",
            kind.least,
            1.0,
            kind.usual,
            STEPS[by],
            key=_threshold_key(by),
            help=HELP[by],
        )
        stored = kind.column(threshold) in duplicate_columns(pool)
        help = "Runs in the background and needs no model."
        show.action(f"Find {kind.name}s", "search", "near.find", _start_search, pool, by, disabled=stored, help=help)


def _compared(pool: Pool) -> dict[str, str]:
    """Return what can be compared, with labels: words, and embeddings if the model of the settings has measured."""
    embedded = list_sources(cached.workspace(), pool, state.settings().reading)
    return {name: label for name, label in COMPARED.items() if name == "words" or name in embedded}


def _threshold_key(by: str) -> str:
    return "near.alike" if by == "words" else f"near.alike.{by}"


def _start_search(pool: Pool, by: str) -> None:
    kind, threshold = DUPLICATES[by], float(state.widget_value(_threshold_key(by)))
    reading = ReadingPart(**asdict(state.settings().reading)) if kind.embedding else ReadingPart()
    recipe = Recipe(pool=PoolPart(source=pool.fingerprint), method=MethodPart(name="random"), reading=reading)
    command = ["duplicates", pool.fingerprint, *kind.options, "--threshold", f"{threshold:g}"]
    command += shared_arguments(recipe, cached.workspace())
    name = show.pool_name(pool.name, pool.source)
    about = {"kind": "duplicates", "key": kind.column(threshold), "pool": pool.fingerprint, "pool_name": name}
    with state.failures_as_notices():
        state.set_widget(JOB, jobs.launch(command, title=f"{kind.name.capitalize()}s of {name}", about=about).id)
