"""Influence section: how training on a row moves the model towards each target set, and what the score follows."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import streamlit as st

from core.analysis.score_checks import MOSTLY_LENGTH, SATURATED, ScoreCheck
from core.measurement.lookup import find_signal
from core.measurement.preference_influence import INFLUENCES
from core.measurement.runs import Run
from core.methods.preference_influence import PreferenceInfluence
from core.schema import Pool, Reading
from pages.ui import glossary
from pages.ui.data import cached
from pages.ui.data.live_selection import LiveSelection
from pages.ui.explore import scores
from pages.ui.explore.scores import Scored
from pages.ui.shell import state
from pages.ui.words import escape_markdown

SCORE = "influence"
COLUMN_PREFIX = {"preference": "influence", "sft": "less"}  # loss -> prefix of its columns
MAX_TARGETS = 8  # targets, or sub-tasks of one target, shown side by side


class ScoredInfluence(Scored[PreferenceInfluence]):
    """The run with influences and the method that scores it, as currently set or as measured."""

    @property
    def target(self) -> str:
        """The target whose score is shown."""
        return self.method.ranking_target

    @property
    def prefix(self) -> str:
        """The prefix of the columns of the current loss."""
        return COLUMN_PREFIX[self.method.objective]

    def column_of(self, target: str) -> str:
        """Return the column of a target's score, which does not depend on the current target."""
        return f"{self.prefix}.{target}"

    @property
    def subtasks(self) -> dict[str, tuple[str, ...]]:
        """Sub-tasks of every target."""
        return dict(cached.measurements(self.run).need("influences").subtasks)

    @property
    def targets(self) -> list[str]:
        """Targets to show side by side, always with the current one."""
        return limit_targets(list(self.subtasks), self.target)

    @property
    def ranks_rows(self) -> bool:
        """Whether the current method ranks rows by this score."""
        return self.method.ranks_by == SCORE


def limit_targets(names: Sequence[str], current: str) -> list[str]:
    """Return the first MAX_TARGETS names in their order, always with `current` among them."""
    first = [name for name in names if name != current][: MAX_TARGETS - 1]
    return [name for name in names if name == current or name in first]


def find_influence_run(pool: Pool, run: Run) -> Run | None:
    """Return the run with influences: `run`, one of its members, or the newest under the same reading; else None."""
    own_run = next((candidate for candidate in (run, *run.members) if INFLUENCES in candidate.kept), None)
    return own_run or find_signal(cached.workspace(), pool, "influence", Reading(**run.reading))


def score_influence(run: Run, live: LiveSelection) -> ScoredInfluence:
    """Score a run with influences, with the current settings if preference influence is the current method."""
    return ScoredInfluence(run, scores.method_of(run, live, PreferenceInfluence))


def choose_target(scored: ScoredInfluence) -> ScoredInfluence:
    """Let the user pick one of several targets while another method is selected; affects this page only."""
    names = list(scored.subtasks)
    if len(names) == 1:
        return scored
    column, _ = st.columns([1, 3])
    with column:
        name = st.selectbox("Target", names, **state.view_choice("target", names, f"explore.influence.{scored.run.id}"))
    return replace(scored, method=replace(scored.method, target=name))


# Text


def format_score_name(scored: ScoredInfluence) -> str:
    """Name the current score, in markdown."""
    return f'Influence on "{escape_markdown(scored.target)}"' + (
        "" if scored.method.objective == "preference" else " (chosen answers only, LESS)"
    )


def headline(scored: ScoredInfluence) -> str:
    """Return the section's result as a sentence of markdown."""
    trust, values = check_score(scored), scored.columns[SCORE]
    finite = values[np.isfinite(values)]
    if not len(finite):
        return f"{format_score_name(scored)}: no row has a score."
    if trust.constant or trust.top_share > SATURATED:
        return f"{format_score_name(scored)} ranks few rows: {trust.top_share:.0%} of them share one value."
    if abs(trust.length_rho) >= MOSTLY_LENGTH:
        return f"{format_score_name(scored)} mostly tracks response length (ρ = {scores.format_rho(trust.length_rho)})."
    return f"{format_score_name(scored)}: {100 * (finite > 0).mean():.0f}% of rows help."


def reading_help(scored: ScoredInfluence) -> str:
    """Explain the score and its two ends, and count the rows without it, in markdown."""
    missing = int((~np.isfinite(scored.columns[SCORE])).sum())
    none = f" Rows without a response have no score ({missing:,})." if missing else ""
    several = len(scored.subtasks[scored.target]) > 1
    most = (
        f" With several sub-tasks the highest value {'counts' if scored.ranks_rows else 'is shown'}." if several else ""
    )
    above = "above 0, training on the row helps the target; below 0, it harms it"
    return f"{glossary.link('influence')} is a cosine from −1 to 1: {above}.{most}{none}"


def check_score(scored: ScoredInfluence) -> ScoreCheck:
    """Check the current score with `core.analysis.score_checks`."""
    return scores.check_score(scored.run, scored.method, SCORE)


def collect_warnings(scored: ScoredInfluence) -> list[str]:
    """Return the warnings about the current score and, from the run, about its target set."""
    prefix = f"{scored.target}: "
    target_warnings = [warning for warning in scored.run.summary.get("warnings", ()) if warning.startswith(prefix)]
    return [*check_score(scored).warnings, *target_warnings]
