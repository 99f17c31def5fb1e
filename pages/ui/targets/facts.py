"""What is known of one target set, beside the open pool, and in words: pairs, sub-tasks, problems, lengths, overlap."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import streamlit as st

from core.pool.preference.formats import SHAPES
from core.pool.preference.target_sets import (
    LengthComparison,
    TargetSet,
    compare_lengths,
    find_prompt_overlap,
    source_identity,
)
from core.schema import Pool
from pages.ui.data import cached
from pages.ui.shell import state

MAX_SETS = 64  # sets whose figures are kept
MAX_NAMED = 6  # sub-tasks and reasons named
MAX_NAME_LENGTH = 80  # characters of each
LONGER_SHARE = 0.6  # share of pairs with the longer answer chosen, from which there is a warning


@dataclass(frozen=True)
class Facts:
    """What is said about one set; none of its text is held."""

    shape: str  # one of SHAPES
    pairs: int
    available: int
    subtasks: Mapping[str | None, int]
    problems: Mapping[str, int]
    notices: tuple[str, ...]
    lengths: LengthComparison
    shared_pairs: int  # whose prompt is also in the pool
    shared_rows: int  # of the pool


def load_pairs(source: str) -> TargetSet:
    """The pairs of a set that the present settings ask for. WinnowError when there are none."""
    return cached.targets(source, *_wanted())


def _wanted() -> tuple[str | None, int | None, int]:
    """Sub-task field, limit of pairs and seed; without a limit nothing is drawn."""
    method: Any = state.method()
    return method.subtask or None, method.pairs or None, state.settings().seed if method.pairs else 0


def load_facts(pool: Pool, source: str) -> Facts:
    """What is in a set, beside this pool. WinnowError when it cannot be read."""
    identity = json.dumps(source_identity(source), sort_keys=True)
    return _facts(identity, _wanted(), pool.fingerprint, source, pool)


@st.cache_resource(show_spinner="Reading the target set", max_entries=MAX_SETS)
def _facts(
    identity: str, wanted: tuple[str | None, int | None, int], fingerprint: str, _source: str, _pool: Pool
) -> Facts:
    targets = cached.targets(_source, *wanted)
    shared = find_prompt_overlap(targets, _pool)
    return Facts(
        shape=targets.shape,
        pairs=len(targets),
        available=targets.available,
        subtasks=targets.subtasks(),
        problems=targets.problems,
        notices=targets.notices,
        lengths=compare_lengths(targets),
        shared_pairs=len(shared.pairs),
        shared_rows=len(shared.rows),
    )


# In words


def describe(known: Facts) -> str:
    """How many pairs of what, how they are written, what was set aside, and how long the answers are."""
    drawn = f" of {known.available:,}, drawn by the seed" if known.pairs < known.available else ""
    pairs = "1 pair" if known.pairs == 1 else f"{known.pairs:,} pairs"
    said = [f"{pairs}{drawn}: {SHAPES[known.shape]}."]
    if set(known.subtasks) != {None}:
        said.append(f"Sub-tasks: {_counted((name or 'none', n) for name, n in known.subtasks.items())}.")
    if known.problems:
        said.append(f"Set aside: {_counted(known.problems.items())}.")
    ratio, longer = known.lengths
    said.append(f"Chosen answers are {ratio:.2f} times as long as rejected ones (median); longer in {longer:.0%}.")
    if not known.shared_pairs:
        said.append("None of its prompts is in the pool.")
    return " ".join([*said, *known.notices])


def _counted(counts: Iterable[tuple[str, int]]) -> str:
    """8 × swapped, 8 × truncated; most first."""
    ranked = sorted(counts, key=lambda item: (-item[1], item[0]))
    named = ", ".join(
        f"{n:,} × {name[:MAX_NAME_LENGTH]}{'…' * (len(name) > MAX_NAME_LENGTH)}" for name, n in ranked[:MAX_NAMED]
    )
    return f"{named} and {len(ranked) - MAX_NAMED:,} more" if len(ranked) > MAX_NAMED else named


def list_warnings(known: Facts) -> list[str]:
    """Reasons to take the influence of this set with care."""
    said = []
    if known.lengths.chosen_longer >= LONGER_SHARE:
        said.append(
            f"The chosen answer is the longer one in {known.lengths.chosen_longer:.0%} of the pairs. Summed "
            "log-probabilities favour the longer answer, so influence may follow length: look at it beside length."
        )
    if known.shared_pairs:
        rows = "1 row" if known.shared_rows == 1 else f"{known.shared_rows:,} rows"
        said.append(
            f"{known.shared_pairs:,} of its {known.pairs:,} prompts are also asked in the pool, by {rows}. Such rows "
            "may stand high for that alone."
        )
    return said
