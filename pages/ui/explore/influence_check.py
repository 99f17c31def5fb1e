"""Influence check: what training on random halves of the rows did, where `check-influence` was run."""

import streamlit as st

from core.proof.influence_check import InfluenceCheck, load_check
from pages.ui.charts import figures, influence
from pages.ui.explore import scores
from pages.ui.explore.influence import ScoredInfluence
from pages.ui.shell import show


def draw_check(scored: ScoredInfluence) -> None:
    """Draw the newest check of the current target and loss; nothing where there is none."""
    check = load_check(scored.run, scored.target, scored.method.objective)
    if check is None:
        return
    st.subheader("Influence check", anchor=False)
    st.markdown(check.sentence)
    scores.draw_warnings([check.warning] if check.warning else [])
    st.caption(describe_halves(check))
    figure = influence.check_dots(check.predicted, check.measured)
    alt = "Fall of the target's loss after training on each random half, against the summed influence of its rows"
    show.chart(figure, key="explore.influence.check", config=figures.CONFIG, alt=alt)


def describe_halves(check: InfluenceCheck) -> str:
    """Describe what a dot is, in markdown."""
    steps = f"{check.steps:,} {'step' if check.steps == 1 else 'steps'}"
    return (
        f"Each dot: a random half of the rows ({check.rows:,}), trained on for {steps} × {check.tokens_per_step:,} "
        "response tokens. Right: more influence. Up: the loss of the target fell more."
    )
