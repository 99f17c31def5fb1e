"""Proof page: whether a selection trains a better model than random rows."""

import streamlit as st

from core.schema import Pool
from pages.ui import glossary
from pages.ui.data import proofs
from pages.ui.proof import picker, results, setup, start
from pages.ui.shell import show, state
from pages.ui.workbench import layout
from pages.ui.workbench.layout import Places

CHOICE_WIDTH = 520  # pixels of the choice of a proof, beside the title


def new_proof(pool: Pool) -> None:
    """Draw the form of a new proof, and what it takes."""
    st.markdown(
        f"A {glossary.link('proof', 'proof')} trains a model on each selection and on as many random rows, and "
        "compares what the trained models have learned."
    )
    form, action = show.columns([11, 9], gap="large")
    with form:
        wanted = setup.draw(pool)
    with action:
        start.panel(pool, wanted)
    start.command_panel(wanted)


def proof(pool: Pool, places: Places) -> None:
    """Draw the proof that is open, or the form of a new one."""
    stored, proving = proofs.list_proofs(pool), start.list_proving(pool)
    if start.draw_unstored(proving, [proof.id for proof in stored]):
        return
    with places.heading.container(width=CHOICE_WIDTH):
        shown = picker.choose(stored)
    if shown is None:
        new_proof(pool)
    else:
        job = next((job for job in proving if job.about.get("proof") == shown.id), None)
        results.draw_with_job(shown, job)


opened = state.need_pool()
page = layout.open_page("Proof", opened)
with page.body, show.errors():
    proof(opened, page)
