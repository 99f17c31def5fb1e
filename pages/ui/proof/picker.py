"""The proof that is shown: one of this pool, or none yet."""

from collections.abc import Sequence
from functools import partial

import streamlit as st

from core.proof.stored import Proof
from pages.ui.proof import words
from pages.ui.shell import show, state
from pages.ui.words import join_words

SHOWN = "proof.shown"  # id of the proof that the visitor opened in this tab; NEW: the form of a new one
NEW = "new"
MAX_ARMS = 2  # named in the choice of a proof


def choose(proofs: Sequence[Proof]) -> Proof | None:
    """Draw the choice of a proof, if there is one. Return it; None for a new one."""
    if not proofs:
        return None
    ids, wanted = [proof.id for proof in proofs], state.session_value(SHOWN)
    current = wanted if wanted in (*ids, NEW) else ids[0]
    labels = {proof.id: _label(proof) for proof in proofs} | {NEW: "New proof"}
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.selectbox(
            "Proofs of this pool",
            list(labels),
            format_func=lambda one: labels[one],
            **state.bind("proof.choice", current, open_proof),
        )
        if current != NEW:
            show.action("New proof", "add", "proof.new", partial(open_proof, NEW))
    return next((proof for proof in proofs if proof.id == current), None)


def open_proof(key: str) -> None:
    """Show this proof, or NEW, from now on in this tab."""
    state.set_widget(SHOWN, key)


def is_open(key: str) -> bool:
    """Return whether the visitor has opened this proof, which may not be stored yet."""
    return bool(state.session_value(SHOWN) == key)


def _label(proof: Proof) -> str:
    names = [words.arm_label(arm.name) for arm in proof.plan.arms if arm.kind != "baseline"]
    more = [f"{len(names) - MAX_ARMS} more"] if len(names) > MAX_ARMS else []
    what = join_words([*names[:MAX_ARMS], *more]) or "baselines"
    when = words.format_time(proof.made) if proof.state == "finished" else "Not finished"
    return f"{when} · {what} · {proof.plan.budget}"
