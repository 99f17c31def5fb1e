"""One line about the proof of the current selection, for the pages that show the selection."""

import streamlit as st

from core.proof.plan import HELD_OUT, RANDOM
from core.proof.verdicts import Verdict
from core.schema import Pool
from core.selection.recipe import Recipe
from pages.ui.charts.proof import format_difference, format_interval
from pages.ui.data import proofs
from pages.ui.proof import picker, words
from pages.ui.shell import show
from pages.ui.words import escape_markdown


def draw(pool: Pool, recipe: Recipe) -> None:
    """Draw the verdict on a selection with a button to its proof, or a button to prove it."""
    if recipe.method.name == RANDOM:
        return
    found = proofs.find_proof(pool, recipe)
    sentence, label = "No proof of this selection yet.", "Prove it"
    if found:
        sentence, label = f"Proof: {describe(found[1])}", "Show the proof"
    with st.container(horizontal=True, vertical_alignment="center", key="proof-line"):
        st.caption(f":material/science: {escape_markdown(sentence)}", width="content")
        if st.button(label, key="proof.show", type="tertiary"):
            picker.open_proof(found[0].id if found else picker.NEW)
            st.switch_page(show.PAGES["proof"]["page"])


def describe(verdict: Verdict) -> str:
    """Return a verdict as a sentence, with difference, interval and seeds."""
    about, target = words.FIGURES[verdict.figure], verdict.target
    low, middle, high = (about.scale * value for value in (verdict.low, verdict.difference, verdict.high))
    difference = f"{format_difference(middle, about.digits)} {about.unit}"
    interval = format_interval(low, high, about.digits)
    where = "held-out rows" if target == HELD_OUT else target
    return f"{verdict.verdict} on {where} ({difference}, 95% interval {interval}, {verdict.seeds} seeds)."
