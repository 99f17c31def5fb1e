"""Figures of one target set, and in words: pairs, sub-tasks, problems, lengths, overlap with the open pool."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from core.methods.preference_influence import PreferenceInfluence
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
from pages.ui.shell import state, visitors

MAX_SETS = 64  # sets whose figures are cached
MAX_NAMED = 6  # sub-tasks and reasons named
MAX_NAME_LENGTH = 80  # characters of each name
LONGER_SHARE = 0.6  # share of pairs whose chosen response is longer, from which there is a warning


@dataclass(frozen=True)
class Facts:
    """Figures of one target set, without any of its text."""

    shape: str  # one of SHAPES
    pairs: int
    available: int
    subtasks: Mapping[str | None, int]
    problems: Mapping[str, int]
    notices: tuple[str, ...]
    lengths: LengthComparison
    shared_pairs: int  # pairs whose prompt is also in the pool
    shared_rows: int  # rows of the pool with such a prompt


def load_pairs(source: str) -> TargetSet:
    """Load the pairs of a set that the present settings ask for. Raise WinnowError if there are none."""
    return cached.targets(visitors.check_path(source), *_pair_options())


def _pair_options() -> tuple[str | None, int | None, int]:
    """Return sub-task field, limit of pairs and seed; the seed is 0 without a limit, since nothing is sampled."""
    method: Any = state.method_of(PreferenceInfluence.name)
    return method.subtask or None, method.pairs or None, state.settings().seed if method.pairs else 0


def load_facts(pool: Pool, source: str) -> Facts:
    """Compute what is in a set, and its overlap with the pool. Raise WinnowError if it cannot be read."""
    return _compute_facts(source_identity(visitors.check_path(source)), _pair_options(), source, pool)


@cached.keep(MAX_SETS, "Reading the target set")
def _compute_facts(
    identity: dict[str, Any], options: tuple[str | None, int | None, int], source: str, pool: Pool
) -> Facts:
    targets = cached.targets(source, *options)
    overlap = find_prompt_overlap(targets, pool)
    return Facts(
        shape=targets.shape,
        pairs=len(targets),
        available=targets.available,
        subtasks=targets.subtasks(),
        problems=targets.problems,
        notices=targets.notices,
        lengths=compare_lengths(targets),
        shared_pairs=len(overlap.pairs),
        shared_rows=len(overlap.rows),
    )


# Words


def describe(facts: Facts) -> str:
    """Describe a set: how many pairs, their form, what was skipped, and how long the responses are."""
    sampled = f" of {facts.available:,}, sampled by seed" if facts.pairs < facts.available else ""
    pairs = "1 pair" if facts.pairs == 1 else f"{facts.pairs:,} pairs"
    sentences = [f"{pairs}{sampled}: {SHAPES[facts.shape]}."]
    if set(facts.subtasks) != {None}:
        sentences.append(f"Sub-tasks: {_format_counts((name or 'none', n) for name, n in facts.subtasks.items())}.")
    if facts.problems:
        sentences.append(f"Skipped: {_format_counts(facts.problems.items())}.")
    ratio, longer = facts.lengths
    sentences.append(f"Chosen answers are {ratio:.2f}× as long as rejected ones (median), and longer in {longer:.0%}.")
    if not facts.shared_pairs:
        sentences.append("No prompt overlaps with the pool.")
    return " ".join([*sentences, *facts.notices])


def _format_counts(counts: Iterable[tuple[str, int]]) -> str:
    """Format counts as 8 × swapped, 8 × truncated; the largest first."""
    ranked = sorted(counts, key=lambda item: (-item[1], item[0]))
    named = ", ".join(
        f"{n:,} × {name[:MAX_NAME_LENGTH]}{'…' * (len(name) > MAX_NAME_LENGTH)}" for name, n in ranked[:MAX_NAMED]
    )
    return f"{named} and {len(ranked) - MAX_NAMED:,} more" if len(ranked) > MAX_NAMED else named


def list_warnings(facts: Facts) -> list[str]:
    """Return reasons to interpret the influence of this set with care."""
    sentences = []
    if facts.lengths.chosen_longer >= LONGER_SHARE:
        sentences.append(
            f"The chosen answer is the longer one in {facts.lengths.chosen_longer:.0%} of the pairs. Influence may "
            "track response length, because the loss sums over tokens. Compare it with length on Explore."
        )
    if facts.shared_pairs:
        rows = "1 row" if facts.shared_rows == 1 else f"{facts.shared_rows:,} rows"
        sentences.append(
            f"{facts.shared_pairs:,} of its {facts.pairs:,} prompts are also in the pool, in {rows}. These rows may "
            "rank high for that reason alone."
        )
    return sentences
