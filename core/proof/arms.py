"""Arms: from the words of a command to the rows that each arm is trained on.

    entropy_shift                  a method, with the parameters suggested for the model that measured
    bottom=reversed:entropy_shift  the eligible rows of its order, worst first
    mine=chosen.recipe.yaml        a recipe, or the recipe of a .manifest.json: method, filters, threshold, pins; with
                                   the rows that it has as used already
    theirs=rows.jsonl              a file of rows of the pool, or of their ids
    all                            every row that may be trained on

Always in: `random`, with a new draw for each seed, and `longest`. Rows that may not be trained on leave before a method
orders the others, and a budget in percent is a share of what is left.
"""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import orjson
import pyarrow as pa

from core.errors import RecipeError
from core.measurement.recipe_inputs import find_recipe_duplicates, with_good_end
from core.measurement.run_data import load_measured
from core.measurement.runs import Run
from core.methods import METHODS, NEEDS_SETUP
from core.methods.baselines import Longest, Random
from core.methods.suggestions import with_suggestions
from core.progress import Reporter
from core.proof.plan import LONGEST, RANDOM, UNTRAINED, WHOLE_POOL, Arm, hash_rows
from core.proof.row_files import find_file_rows, is_file
from core.schema import BoolArray, Columns, IntArray, Measured, Method, Order, Pool
from core.selection.budget import Budget, allowed_amount
from core.selection.recipe import (
    Recipe,
    eligible_rows,
    find_used,
    load_recipe,
    make_selection,
    parse_recipe,
    select_from_order,
)
from core.selection.selection import Selection
from core.selection.tags import tags_of_filters
from core.selection.used_rows import order_rows
from core.workspace.files import disk_errors, file_digest
from core.workspace.folder import Workspace

ALWAYS_IN = (RANDOM, LONGEST)
RESERVED = (UNTRAINED, *ALWAYS_IN, WHOLE_POOL)  # names that mean something else than a file or method
REVERSED = "reversed:"
SHARED_WORK = ("tokens", "loading", "probe")  # kinds of work that baselines need too
NAME = re.compile(r"\w[\w .+-]{0,59}")
RECIPE_ENDINGS, MANIFEST_ENDING = (".yaml", ".yml"), ".manifest.json"
Require = Callable[[Recipe, Pool, Workspace], Run]  # the finished run that a recipe reads, or an error with the remedy


@dataclass(frozen=True, eq=False)
class ArmRequest:
    """An arm that is asked for, before its rows are known. One of `recipe` and `file` is given, or none for `all`."""

    name: str
    kind: Literal["method", "recipe", "rows", "baseline"]
    recipe: Recipe | None = None
    file: Path | None = None
    reversed: bool = False


@dataclass(frozen=True, eq=False)
class TrainingPool:
    """The rows that may be trained on."""

    pool: Pool
    workspace: Workspace
    report: Reporter
    counts: Columns  # the signal "tokens", as the trained model reads the rows
    removed: Mapping[str, BoolArray]  # reason -> (N,) rows that may not be trained on; a row has one reason
    budget: Budget
    seeds: tuple[int, ...]
    require_run: Require

    @property
    def allowed(self) -> BoolArray:
        """(N,) which rows may be trained on."""
        return np.asarray(~np.logical_or.reduce(list(self.removed.values())), np.bool_)

    @property
    def trainable(self) -> BoolArray:
        """(N,) which of them have a response."""
        return self.allowed & (self.counts["response_tokens"] > 0)

    @property
    def budget_left(self) -> str:
        """The budget, with a share of the rows that may be trained on as a number of rows."""
        in_percent = self.budget.unit == "percent"
        return str(allowed_amount(self.budget, int(self.allowed.sum()))) if in_percent else str(self.budget)


def parse_arms(
    words: Sequence[str], settings: Mapping[str, Mapping[str, str]], base: Recipe, where: str = "--arms"
) -> list[ArmRequest]:
    """Return the arms of these words, without those that are always in. RecipeError, with the word, for a wrong one.

    `settings`: parameters of methods by the arm's name. `base`: pool, reading, seed and budget of arms that are
    methods.
    """
    asked = [
        _parse(word.strip(), settings, base, where) for word in words if word.strip() not in (UNTRAINED, *ALWAYS_IN)
    ]
    names = [request.name for request in asked]
    for name in names:
        if names.count(name) > 1:
            raise RecipeError(f"{where}: two arms are called '{name}'. Name one of them: other={name}.")
    for name in settings:
        if name not in {request.name for request in asked if request.kind == "method"}:
            raise RecipeError(
                f"--set {name}: no arm of {where} is a method called '{name}'. Write --set NAME.key=value."
            )
    return asked


def _parse(word: str, settings: Mapping[str, Mapping[str, str]], base: Recipe, where: str) -> ArmRequest:
    given, equals, what = ("", "", word) if is_file(word) else word.rpartition("=")
    given, what = given.strip(), what.strip()
    is_reversed, what = what.startswith(REVERSED), what.removeprefix(REVERSED)
    name = given or (f"{what} reversed" if is_reversed else Path(what).name.partition(".")[0])
    if not what or (equals and not given):
        raise RecipeError(f"{where}: '{word}' names no arm. Write a method, or NAME=METHOD or NAME=FILE.")
    if not NAME.fullmatch(name) or (given in RESERVED):
        raise RecipeError(
            f"{where}: an arm cannot be called '{name}'. Use up to 60 letters, digits, spaces and - _ . +, and none of "
            f"{', '.join(RESERVED)}."
        )
    if what in METHODS:
        params = with_suggestions(what, settings.get(name, {}), base.reading.model)
        recipe = parse_recipe(base.model_dump(by_alias=True) | {"method": {"name": what, "params": params}}, where)
        return ArmRequest(name, "method", recipe, reversed=is_reversed)
    if is_reversed:
        raise RecipeError(f"{where}: '{what}' is no method, and only the order of a method can be reversed.")
    if what == WHOLE_POOL:
        return ArmRequest(WHOLE_POOL, "baseline")
    return _parse_file(name, what, where)


def _parse_file(name: str, what: str, where: str) -> ArmRequest:
    if not is_file(what):
        methods = ", ".join(method for method in METHODS if method not in NEEDS_SETUP)
        raise RecipeError(
            f"{where}: '{what}' is neither a method nor a file. Write one of {methods}, {WHOLE_POOL}, or the path of "
            "a recipe (.yaml), a manifest (.manifest.json) or a file of rows (.jsonl)."
        )
    path = Path(what).expanduser()
    if path.name.endswith(MANIFEST_ENDING):
        return ArmRequest(name, "recipe", _manifest_recipe(path))
    if path.suffix in RECIPE_ENDINGS:
        return ArmRequest(name, "recipe", load_recipe(path))
    return ArmRequest(name, "rows", file=path)


def _manifest_recipe(path: Path) -> Recipe:
    try:
        with disk_errors(path):
            document = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as error:
        raise RecipeError(f"{path} is not JSON ({error}). Give the .manifest.json of an export.") from error
    recipe = document.get("recipe") if isinstance(document, dict) else None
    if not isinstance(recipe, dict):
        raise RecipeError(f"{path} has no recipe. Give the .manifest.json of an export, or its file of rows.")
    return parse_recipe(recipe, str(path))


def describe_recipe(recipe: Recipe) -> dict[str, Any]:
    """Return what decides the rows of a recipe on a given pool, and nothing else: the same for equal selections."""
    data = recipe.as_data()
    reading = {name: value for name, value in data["reading"].items() if name not in ("device", "revision")}
    kept = {name: data[name] for name in ("method", "seed", "threshold", "filters")}
    pins = [{"id": pin.id, "side": pin.side} for pin in recipe.pins]  # their reasons are for whoever pinned
    used = {name: sorted(set(ids)) for name, ids in tags_of_filters(recipe.tags, recipe.filters).items()}
    tags = {"tags": used} if used else {}
    given = {"given": sorted(set(recipe.given))} if recipe.given else {}
    return kept | {"reading": reading, "budget": str(Budget.parse(recipe.budget)), "pins": pins} | tags | given


@dataclass(frozen=True, eq=False)
class ChosenRows:
    """The rows of an arm, and what choosing them took."""

    rows: tuple[IntArray, ...]  # (K,) ascending, for each seed or for all
    left_out: Mapping[str, int] | None = None  # of a recipe or file: what the proof removed of it
    seconds: float | None = None  # of the measurement that it was chosen by


def build_arms(asked: Sequence[ArmRequest], place: TrainingPool) -> tuple[list[Arm], dict[str, ChosenRows]]:
    """Return all arms, those that are always in first, and the rows of each.

    RecipeError if an arm has no rows, is of another pool, has another budget or is not measured.
    """
    arms: list[Arm] = []
    chosen: dict[str, ChosenRows] = {}
    completed = [_complete(request, place) for request in asked]
    for request in (ArmRequest(RANDOM, "baseline"), ArmRequest(LONGEST, "baseline"), *completed):
        one = _choose(request, place)
        one = replace(one, rows=tuple(np.sort(rows) for rows in one.rows))
        if not min(map(len, one.rows)):
            raise RecipeError(
                f"The arm '{request.name}' has no row to train on. Raise the budget, hold out fewer rows, or leave the "
                "arm out."
            )
        chosen[request.name] = one
        arms.append(_describe(request, one, place))
    return arms, chosen


def _complete(request: ArmRequest, place: TrainingPool) -> ArmRequest:
    if request.kind != "method" or request.recipe is None:
        return request
    return replace(request, recipe=with_good_end(request.recipe, place.pool, place.workspace))


def _describe(request: ArmRequest, chosen: ChosenRows, place: TrainingPool) -> Arm:
    tokens = place.counts["response_tokens"]
    return Arm(
        name=request.name,
        kind=request.kind,
        rows=tuple(map(len, chosen.rows)),
        response_tokens=tuple(int(tokens[rows].sum()) for rows in chosen.rows),
        sha256=tuple(map(hash_rows, chosen.rows)),
        reversed=request.reversed,
        recipe=describe_recipe(request.recipe) if request.recipe else None,
        file={"name": request.file.name, "sha256": file_digest(request.file)} if request.file else None,
        left_out=chosen.left_out,
    )


def _choose(request: ArmRequest, place: TrainingPool) -> ChosenRows:
    if request.file is not None:
        listed = find_file_rows(place.pool, request.file)
        return ChosenRows((listed[place.trainable[listed]],), _count_removed(listed, place))
    if request.recipe is not None:
        return _choose_by_recipe(request, request.recipe, place)
    if request.name == WHOLE_POOL:
        return ChosenRows((np.flatnonzero(place.trainable),), seconds=0.0)
    method, seeds = (Longest(), (0,)) if request.name == LONGEST else (Random(), place.seeds)
    counted = Measured(place.pool.fingerprint, place.counts)
    data = {"pool": {"source": "-"}, "method": {"name": method.name}, "budget": place.budget_left}
    recipe = parse_recipe(data, request.name)
    orders = [method.order(counted, place.trainable, seed=seed) for seed in seeds]
    rows = tuple(select_from_order(recipe, place.pool, counted, method, order).rows for order in orders)
    return ChosenRows(rows, seconds=0.0)


def _choose_by_recipe(request: ArmRequest, recipe: Recipe, place: TrainingPool) -> ChosenRows:
    _check_recipe(request, recipe, place)
    run = place.require_run(recipe, place.pool, place.workspace)
    find_recipe_duplicates(recipe, place.pool, place.workspace, place.report)
    measured = load_measured(run)
    whole = _with_used(make_selection(recipe, place.pool, measured)) if request.kind == "recipe" else None
    left = recipe.model_copy(update={"budget": place.budget_left, "pins": _allowed_pins(recipe, place)})
    method, conditions = recipe.method.build(), [part.filter() for part in recipe.filters]
    eligible = eligible_rows(method, place.pool, measured, conditions, recipe.tags) & place.trainable
    # A budget in tokens counts those of the trained model, as it does for the baselines.
    counted = Measured(measured.pool_id, {**measured.columns, **place.counts}, measured.artifacts)
    used = find_used(recipe, place.pool, measured, method)
    used = replace(used, rows=used.rows[place.trainable[used.rows]])
    seeds = [recipe.seed]
    if method.name == RANDOM and request.kind == "method":  # other draws than those of the baseline
        seeds = [_seed_of(request.name, seed) for seed in place.seeds]
    drawn = []
    for seed in seeds:
        order = order_rows(method, measured, eligible, seed=seed, used=used)
        if request.reversed:
            order = Order(order.rows[::-1], order.excluded)
        drawn.append(_with_used(select_from_order(left, place.pool, counted, method, order)))
    left_out = None if whole is None else _count_removed(whole, place)
    return ChosenRows(tuple(drawn), left_out, _choosing_seconds(run, method))


def _with_used(selection: Selection) -> IntArray:
    """Return the rows that a model is trained on: of a selection that tops up others, these and its own."""
    return np.concatenate([selection.order.used, selection.rows])


def _choosing_seconds(run: Run, method: Method) -> float:
    """Return what measuring for a method took: of a run of another method, what both need."""
    seconds: dict[str, float] = run.summary.get("seconds", {})
    own = run.method["name"] == method.name
    return float(sum(taken for kind, taken in seconds.items() if own or kind in SHARED_WORK))


def _seed_of(name: str, seed: int) -> int:
    return int(hashlib.sha256(f"{name} {seed}".encode()).hexdigest()[:12], 16)


def _check_recipe(request: ArmRequest, recipe: Recipe, place: TrainingPool) -> None:
    expected = recipe.pool.fingerprint
    if expected not in (None, place.pool.fingerprint):
        raise RecipeError(
            f"The arm '{request.name}' is a selection of another pool: its fingerprint is {expected}, that of "
            f"{place.pool.name} {place.pool.fingerprint}. Give a selection of this pool."
        )
    if Budget.parse(recipe.budget) != place.budget:
        raise RecipeError(
            f"The arm '{request.name}' has the budget {recipe.budget}, and the proof {place.budget}. All arms have one "
            f"budget: add --budget {recipe.budget}, or change the selection."
        )


def _allowed_pins(recipe: Recipe, place: TrainingPool) -> list[Any]:
    """Return the pins without rows that may not be trained on: a pin overrides every filter."""
    removed = set(place.pool.rows["id"].filter(pa.array(~place.allowed)).to_pylist()) if recipe.pins else set()
    return [pin for pin in recipe.pins if pin.id not in removed]


def _count_removed(rows: IntArray, place: TrainingPool) -> dict[str, int]:
    return {reason: int(mask[rows].sum()) for reason, mask in place.removed.items()}
