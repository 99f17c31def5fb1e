"""The part of the Explore page about influence: towards each target set and away from it, and what that follows."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import streamlit as st

from core.analysis.score_checks import MOSTLY_LENGTH, SATURATED, ScoreCheck
from core.measurement.runs import INFLUENCES, Run, find_signal
from core.methods import build_method
from core.methods.preference_influence import PreferenceInfluence
from core.schema import Pool, Reading
from pages.ui.data import cached
from pages.ui.data.bins import Values
from pages.ui.data.live_selection import LiveSelection
from pages.ui.explore import scores
from pages.ui.words import escape_markdown, format_rows, meaning

SCORE = "influence"
COLUMN_PREFIX = {"preference": "influence", "sft": "less"}  # loss -> what its columns are called
MAX_TARGETS = 8  # targets, or sub-tasks of one, side by side


@dataclass(frozen=True, eq=False)
class ScoredInfluence:
    """The run that holds influences, and the method that scores them: the one in use, or as it was measured."""

    run: Run
    method: PreferenceInfluence

    @property
    def columns(self) -> dict[str, Values]:
        """Measured and scored, (N,) each."""
        return cached.columns(self.run, self.method)

    @property
    def subtasks(self) -> dict[str, tuple[str, ...]]:
        """Every target, with its sub-tasks."""
        return dict(cached.measurements(self.run).need_influences().subtasks)

    @property
    def targets(self) -> list[str]:
        """Those shown side by side: all, or the first MOST with the one in use among them."""
        return limit_targets(list(self.subtasks), self.method.chosen)

    @property
    def key(self) -> tuple[str, str]:
        """What decides the score: for use as cache arguments."""
        return self.run.id, cached.method_key(self.method)

    @property
    def cut(self) -> bool:
        """Does the method in use order rows by this very score?"""
        return self.method.ranks_by == SCORE


def limit_targets(every: Sequence[str], own: str) -> list[str]:
    """The first MOST names, `own` always among them, in their order."""
    first = [name for name in every if name != own][: MAX_TARGETS - 1]
    return [name for name in every if name == own or name in first]


def find_influence_run(pool: Pool, run: Run) -> Run | None:
    """The run that holds influences: `run` itself or one that it is made of, else the newest under its reading."""
    own = next((one for one in (run, *run.members) if INFLUENCES in one.kept), None)
    return own or find_signal(cached.workspace(), pool, "influence", Reading(**run.reading))


def score_influence(run: Run, answer: LiveSelection) -> ScoredInfluence:
    """`run` holds influences; scored as the controls say, where they are this method's."""
    method = answer.method
    if not isinstance(method, PreferenceInfluence):
        method = build_method(run.method["name"], run.method["params"])
        assert isinstance(method, PreferenceInfluence)
    return ScoredInfluence(run, method)


def choose_target(known: ScoredInfluence) -> ScoredInfluence:
    """While another method is in use: which of several targets to look at, for this page alone."""
    names = list(known.subtasks)
    if len(names) == 1:
        return known
    place, _ = st.columns([1, 3])
    with place:
        name = st.selectbox("Target", names, key=f"explore.influence.{known.run.id}", persist_state="session")
    return replace(known, method=replace(known.method, target=name))


# What is said


def format_score_name(known: ScoredInfluence) -> str:
    """The score in use: markdown."""
    name = escape_markdown(known.method.chosen)
    return f"Influence on {name}" + ("" if known.method.objective == "preference" else "'s chosen answers (LESS)")


def headline(known: ScoredInfluence) -> str:
    """The answer of the section, for the title: markdown."""
    about, values = check_score(known), known.columns[SCORE]
    finite = values[np.isfinite(values)]
    if not len(finite):
        return f"{format_score_name(known)}: no row has one"
    if about.constant or about.top_share > SATURATED:
        return f"{format_score_name(known)} orders nothing"
    if abs(about.length_rho) >= MOSTLY_LENGTH:
        return f"{format_score_name(known)} mostly follows response length"
    return f"{format_score_name(known)}: {100 * (finite > 0).mean():.0f} % of rows help"


def reading_help(known: ScoredInfluence) -> str:
    """What the score is and what its two ends mean, and how many rows have it."""
    about = meaning(f"{COLUMN_PREFIX[known.method.objective]}.{known.method.chosen}")
    missing = int((~np.isfinite(known.columns[SCORE])).sum())
    none = f" {format_rows(missing)} without a response: no score." if missing else ""
    several = len(known.subtasks[known.method.chosen]) > 1
    most = f" Of several sub-tasks the highest {'counts' if known.cut else 'is drawn'}." if several else ""
    return f"A cosine, −1 to 1. Above 0: {about.high}. Below 0: {about.low}.{most}{none}"


def check_score(known: ScoredInfluence) -> ScoreCheck:
    """What `core.analysis.score_checks` says of the score in use."""
    return scores.check_score(known.run, known.method, SCORE)


def collect_warnings(known: ScoredInfluence) -> list[str]:
    """Reasons to look twice: at the score, and at its target set as the run tells of it."""
    own = f"{known.method.chosen}: "
    told = [one for one in known.run.summary.get("warnings", ()) if one.startswith(own)]
    return [*check_score(known).warnings, *told]
