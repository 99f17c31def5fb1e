"""Proof page: whether a selection trains a better model than random rows."""

import streamlit as st

from pages.ui import glossary
from pages.ui.data import proofs
from pages.ui.proof import picker, results, setup, start
from pages.ui.shell import jobs, show, state

pool = state.need_pool()
heading, choice = st.columns([2, 3], vertical_alignment="bottom")
heading.title("Proof", anchor=False)
with show.errors():
    proving = start.list_proving(pool)
    with choice:
        proof = picker.choose(proofs.list_proofs(pool))
    if proof is not None:
        job = next((job for job in proving if job.about.get("proof") == proof.id), None)
        results.draw_with_job(proof, job)
    else:
        for job in proving:
            if job.live:
                jobs.panel(job)
        intro = glossary.link("proof", "proof")
        st.markdown(
            f"A {intro} trains a model on each selection and on random rows of the same number, and compares what the "
            "trained models have learned."
        )
        form, action = st.columns([3, 2], gap="large")
        with form:
            wanted = setup.draw(pool)
        with action:
            start.panel(pool, wanted)
        start.command_panel(wanted)
