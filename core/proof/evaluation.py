"""Evaluated rows: held-out rows of the pool, and targets from elsewhere, as the trained model reads them.

Held-out rows are drawn before anything is selected, one of each group of near-duplicates, and the whole group leaves
the pool. Tasks of few rows are joined, so that every task of an average has at least MIN_TASK_ROWS.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from core.errors import PoolError, RecipeError
from core.measurement.stages import PoolStages
from core.measurement.target_pairs import WHOLE, Pairs, encode_pairs
from core.pool.near_duplicates import find_near_duplicates
from core.pool.pools import keep_last_opened, load_answer_key, load_pool
from core.pool.preference.target_sets import digest_prompts, digest_target_prompts, holds_pairs, load_target_set
from core.progress import percent_callback
from core.proof.plan import HELD_OUT, EvaluatedRows, Target, hash_rows
from core.proof.row_files import is_file
from core.schema import BoolArray, IntArray
from core.selection.budget import Budget, allowed_amount

SIMILARITY = 0.8  # of near-duplicates that leave the pool with a held-out row
MIN_TASK_ROWS = 20  # of a task by itself
OTHER, ALL_ROWS, NO_TASK = "other", "all rows", "no task"
MAX_TARGET_ROWS = 2000  # evaluated of a target; of a larger one, so many are drawn
SHORT_TOKENS = 8  # of a response that counts as right or wrong
DRAW = 20_259  # begins the seeds of draws of evaluated rows, so that no arm is drawn by the same


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Rows that leave the pool before anything is selected."""

    rows: IntArray  # (R,) evaluated, ascending
    near_duplicates: BoolArray  # (N,) rows that leave with them


def hold_out(stages: PoolStages, size: str, *, seed: int) -> HeldOut:
    """Draw held-out rows: `size` is a number of rows or a share of the pool (10%).

    Known bad rows and rows without a response are not drawn. RecipeError if fewer than 2 rows or more than half of the
    pool would be held out.
    """
    budget = Budget.parse(size)
    if budget.unit == "tokens":
        raise RecipeError(f"--held-out {size}: write a number of rows (300) or a share of the pool (10%).")
    pool = stages.pool
    count = allowed_amount(budget, len(pool))
    group = group_duplicates(stages)
    faulty = set(load_answer_key(pool) or ())
    usable = stages.counts["response_tokens"] > 0
    if faulty:
        usable &= np.array([name not in faulty for name in pool.rows["id"].to_pylist()], np.bool_)
    order = np.random.default_rng([DRAW, seed]).permutation(np.flatnonzero(usable))
    _, first = np.unique(group[order], return_index=True)  # one row of each group
    drawn = order[np.sort(first)][:count]
    leaves = np.isin(group, group[drawn])
    if count < 2 or len(drawn) < count or leaves.sum() > len(pool) / 2:
        raise RecipeError(
            f"--held-out {size}: {pool.name} has {len(pool):,} rows, {len(first):,} of them different and with a "
            f"response. Hold out at least 2 rows and at most half of the pool, for example --held-out 10%."
        )
    leaves[drawn] = False
    return HeldOut(np.sort(drawn), leaves)


def group_duplicates(stages: PoolStages) -> IntArray:
    """Return (N,) a number shared by exact and near-duplicates."""
    pool = stages.pool
    repeats = find_near_duplicates(pool, stages.workspace, SIMILARITY, stages.report)
    group = np.where(repeats < 0, np.arange(len(pool)), repeats)
    exact = pool.rows["duplicate_of"].combine_chunks()
    original = np.where(exact.is_null(), np.arange(len(pool)), exact.fill_null(0).to_numpy())
    return np.asarray(group[original], np.int64)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Everything that trained models are evaluated on, and what it removes from the pool."""

    evaluated: tuple[EvaluatedRows, ...]
    held_out: HeldOut
    prompts: BoolArray  # (N,) rows with a prompt of a target


def build_evaluation(
    stages: PoolStages, held_out: HeldOut, targets: Sequence[tuple[str, str]], seed: int
) -> Evaluation:
    """Return held-out rows and targets (name, source), as the model of `stages` reads them.

    PoolError for a target that cannot be read or has fewer than 2 usable rows.
    """
    own = list(digest_prompts(stages.pool))
    leaves = held_out.near_duplicates.copy()
    leaves[held_out.rows] = True
    rows = _read_rows(stages, held_out.rows, HELD_OUT, available=len(stages.pool))
    target = replace(rows.target, near_duplicates=int(held_out.near_duplicates.sum()))
    built = [(replace(rows, target=target), [own[row] for row in held_out.rows])]
    for name, source in targets:
        try:
            built.append(_load_target(stages, name, source, seed))
        except PoolError as error:
            raise PoolError(f"The target '{name}' cannot be used. {error}") from error
    shared = np.zeros(len(stages.pool), np.bool_)
    evaluated = []
    for one, prompts in built:
        same = np.fromiter(map(set(prompts).__contains__, own), np.bool_, len(own)) & ~leaves
        evaluated.append(replace(one, target=replace(one.target, prompts_in_pool=int(same.sum()))))
        shared |= same
    return Evaluation(tuple(evaluated), held_out, shared)


def parse_target(word: str) -> tuple[str, str]:
    """Return name and source of a target: FILE, NAME=FILE, or a hub id. RecipeError for a name that is taken."""
    name, equals, source = word.partition("=")
    if not equals or is_file(word):
        name, source = Path(word).name.partition(".")[0], word
    name, source = name.strip(), source.strip()
    if not name or not source or name == HELD_OUT:
        raise RecipeError(f"--target {word}: write FILE or NAME=FILE, with another name than '{HELD_OUT}'.")
    return name, source


def _load_target(stages: PoolStages, name: str, source: str, seed: int) -> tuple[EvaluatedRows, list[bytes]]:
    """Return the evaluated rows of a target, and the digests of all its prompts."""
    stages.report.stage(f"Reading the target {name}", rows=0, work=100)
    if holds_pairs(source):
        return _read_target_pairs(stages, name, source, seed)
    progress = percent_callback(stages.report)
    with keep_last_opened(stages.workspace.root):  # the app opens the pool that is proved, not its target
        pool = load_pool(source, workspace=stages.workspace.root, on_progress=progress)
    other = PoolStages(pool, stages.reading, stages.ref, stages.workspace, stages.report)
    usable = np.flatnonzero(other.counts["response_tokens"] > 0)
    return _read_rows(other, _draw(usable, seed), name, available=len(usable)), list(digest_prompts(pool))


def _draw(usable: IntArray, seed: int) -> IntArray:
    if len(usable) <= MAX_TARGET_ROWS:
        return usable
    return np.sort(np.random.default_rng([DRAW, seed]).choice(usable, MAX_TARGET_ROWS, replace=False))


def _read_rows(stages: PoolStages, rows: IntArray, name: str, *, available: int) -> EvaluatedRows:
    pool, tokens = stages.pool, stages.counts["response_tokens"][rows]
    _check_size(pool.source, len(rows))
    batch = stages.tokens.batch(rows)
    named = pool.rows["task"].take(rows).to_pylist()
    tasks, task = join_small_tasks([NO_TASK if each is None else each for each in named])
    short = np.asarray(tokens <= SHORT_TOKENS)
    target = Target(
        name,
        "rows",
        len(rows),
        tasks,
        source=pool.source,
        fingerprint=pool.fingerprint,
        sha256=hash_rows(rows),
        available=available,
        exact_match=int(short.sum()),
    )
    lengths = np.asarray(tokens, np.int64)
    return EvaluatedRows(target, rows, task, lengths, short, tuple(batch["tokens"]), tuple(batch["spans"]))


def _read_target_pairs(stages: PoolStages, name: str, source: str, seed: int) -> tuple[EvaluatedRows, list[bytes]]:
    targets = load_target_set(source, limit=MAX_TARGET_ROWS, seed=seed)
    pairs = encode_pairs(stages, targets)
    _check_size(source, len(pairs.rows))
    tasks, task = join_small_tasks([ALL_ROWS if each == WHOLE else each for each in pairs.subtasks])
    target = Target(
        name,
        "pairs",
        len(pairs.rows),
        tasks,
        source=targets.source,
        fingerprint=targets.fingerprint,
        sha256=hash_rows(pairs.rows),
        available=targets.available,
    )
    return evaluated_pairs(target, pairs, task), digest_target_prompts(targets)


def evaluated_pairs(target: Target, pairs: Pairs, task: IntArray) -> EvaluatedRows:
    """Return the pairs of a target, with the `task` of each (R,), as rows to evaluate."""
    tokens = np.array([count_tokens(spans) for spans in pairs.chosen["spans"]], np.int64)
    return EvaluatedRows(
        target,
        pairs.rows,
        task,
        tokens,
        np.zeros(len(tokens), np.bool_),
        tuple(pairs.chosen["tokens"]),
        tuple(pairs.chosen["spans"]),
        tuple(pairs.rejected["tokens"]),
        tuple(pairs.rejected["spans"]),
    )


def count_tokens(spans: IntArray) -> int:
    """Return the tokens in flat [start, end) pairs."""
    return int(np.sum(spans[1::2] - spans[::2]))


def _check_size(source: str, rows: int) -> None:
    if rows < 2:
        raise PoolError(f"{source} has {'1 row' if rows else 'no row'} with a response; at least 2 are needed.")


def join_small_tasks(names: Sequence[str]) -> tuple[dict[str, int], IntArray]:
    """Return tasks with their numbers of rows, and the task of each row (R,) as an index into them.

    The largest task is first. Tasks of fewer than MIN_TASK_ROWS rows are one, with the smallest of the others if they
    have too few together; one task alone is "all rows".
    """
    counts = sorted(Counter(names).items(), key=lambda task: (-task[1], task[0]))
    kept = [name for name, n in counts if n >= MIN_TASK_ROWS and name != OTHER]
    small = [name for name, _ in counts if name not in kept]
    while small and kept and sum(dict(counts)[name] for name in small) < MIN_TASK_ROWS:
        small.append(kept.pop())
    listed = [*kept, *([OTHER] if small else [])]
    place = {name: kept.index(name) if name in kept else len(kept) for name, _ in counts}
    task = np.array([place[name] for name in names], np.int64)
    sizes = np.bincount(task, minlength=len(listed)).tolist()
    return (dict(zip(listed, sizes, strict=True)) if len(listed) > 1 else {ALL_ROWS: len(names)}), task
