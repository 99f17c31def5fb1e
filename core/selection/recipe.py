"""A selection as data: everything that decides which rows are selected, in one editable file.

A recipe is checked once, when it is read. `make_selection` is the one place where method, filters, pins, budget and
threshold meet; the app, the command line and `replay` all use it.
"""

import operator
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import yaml
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator

from core.columns import (
    EXACT_DUPLICATES,
    OVERLAP_PREFIX,
    SCORE_PREFIX,
    TAG_PREFIX,
    USUAL_NEAR_DUPLICATES,
    Duplicates,
    duplicates_of,
    normalise_duplicates,
)
from core.errors import RecipeError
from core.methods import build_method, describe_method
from core.schema import BoolArray, FieldMap, IntArray, Measured, Method, Order, Pool, Reading
from core.selection.budget import Budget, threshold_length
from core.selection.filters import Filter, apply_filters, duplicates_filter
from core.selection.selection import Pin, Selection, apply_pins, select_prefix
from core.selection.tags import Tags, check_tags, has_id, tag_columns
from core.selection.text_search import is_unicode
from core.selection.used_rows import UsedRows, find_repeats, order_rows
from core.workspace.files import write_atomic

DERIVED_TASK = "derived_task"  # column to filter by, if tasks are derived
POOL_TEXTS = ("prompt", "response", "task", "id", "original")  # original: the row as JSON, with every field
POOL_NUMBERS = ("line", "prompt_chars", "response_chars", "duplicate_of")
Format = Literal["original", "alpaca", "messages", "sharegpt", "llamafactory", "annotation"]
MAX_SEED = 2**63 - 1
MAX_BYTES = 64 << 20  # of a recipe file
MAX_VALUES, MAX_DEPTH = 10_000_000, 50  # of a recipe: a short file may name one value many times
_PERCENT = re.compile(r"(\d+(?:\.\d+)?)\s*%")


_FIELD_MAP = TypeAdapter(FieldMap)


class StrictModel(BaseModel):
    """Frozen data that refuses fields it does not have."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class PoolPart(StrictModel):
    """Which rows to start from."""

    source: str
    fingerprint: str | None = None  # if given, any other pool is refused
    fields: dict[str, Any] | None = None  # a FieldMap; None = detect
    name: str | None = None  # configuration of a hub data set
    split: str | None = None
    revision: str | None = None
    header: bool = True  # of a CSV file; False = its first row is data, and its columns are called 1, 2, 3

    def field_map(self) -> FieldMap | None:
        """Return the mapping, if the recipe fixes one. Raise RecipeError if it is none."""
        if self.fields is None:
            return None
        unknown = sorted(self.fields.keys() - {field.name for field in fields(FieldMap)})
        if unknown:
            raise RecipeError(f"pool.fields: a mapping has no '{unknown[0]}'. `inspect --json` prints one.")
        try:
            return _FIELD_MAP.validate_python(self.fields)
        except ValidationError as error:
            invalid = describe_invalid(error, "the mapping")
            raise RecipeError(f"pool.fields, {invalid}. `inspect --json` prints a mapping.") from error


class MethodPart(StrictModel):
    """Which method, with which parameters."""

    name: str
    params: dict[str, Any] = Field(default_factory=dict)

    def build(self) -> Method:
        """Return the method; MethodError if a parameter is wrong."""
        return build_method(self.name, self.params)


class ReadingPart(StrictModel):
    """How the model reads a row: core.schema.Reading."""

    model: str = "embedded"
    revision: str | None = None
    template: Literal["auto", "chat", "alpaca"] = "auto"
    answers: Literal["last", "all"] = "last"
    max_length: int = Field(default=2048, ge=16, le=1_000_000)
    prompt_share: float = Field(default=0.5, ge=0, le=0.9)
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    device: str = "auto"

    def reading(self) -> Reading:
        """Convert to core.schema.Reading."""
        return Reading(**self.model_dump())


class FilterPart(StrictModel):
    """A filter: core.selection.filters.Filter."""

    column: str
    low: float | None = None
    high: float | None = None
    values: list[str | float | bool | None] | None = None
    exclude: bool = False
    contains: str | None = None
    matches: str | None = None

    _normalise = field_validator("column")(normalise_duplicates)

    def filter(self) -> Filter:
        """Convert to core.selection.filters.Filter."""
        return Filter(**self.model_dump())


class PinPart(StrictModel):
    """One row included or excluded by hand."""

    id: str
    side: Literal["in", "out"]
    reason: str = ""


class ExportPart(StrictModel):
    """What is written, and how."""

    format: Format = Field(default="original", alias="schema")
    with_scores: bool = False
    tags: bool = Field(default=False, exclude_if=operator.not_)  # a list in each row, of all tags of the recipe
    rejected: bool = False
    held_out: float = Field(default=0.0, ge=0, le=0.5)  # share of the selected rows that go to a second file
    apart: str = EXACT_DUPLICATES  # column of the duplicates that hold-out never separates

    @field_validator("held_out", mode="before")
    @classmethod
    def _read_share(cls, share: Any) -> Any:
        """Convert 5%, another way to write 0.05."""
        percent = _PERCENT.fullmatch(share.strip()) if isinstance(share, str) else None
        return float(percent[1]) / 100 if percent else share

    @field_validator("apart")
    @classmethod
    def _names_duplicates(cls, column: str) -> str:
        column = normalise_duplicates(column)
        if column != EXACT_DUPLICATES and duplicates_of(column) is None:
            raise ValueError(
                f"'{column}' is not a column of duplicates; there are {EXACT_DUPLICATES} and {USUAL_NEAR_DUPLICATES}"
            )
        return column


class Recipe(StrictModel):
    """Everything that decides which rows are selected, and how they are written."""

    winnow: Literal[1] = 1  # version of the recipe format
    pool: PoolPart
    method: MethodPart
    reading: ReadingPart = ReadingPart()
    seed: int = Field(default=0, ge=0, le=MAX_SEED)
    workers: Annotated[str, Field(coerce_numbers_to_str=True)] = "local"  # who measures; it changes no score
    budget: str = "10%"
    # on the column the method ranks by; worse rows are not selected
    threshold: float | None = Field(default=None, allow_inf_nan=False)
    filters: list[FilterPart] = Field(default_factory=list)
    pins: list[PinPart] = Field(default_factory=list)
    given: list[str] = Field(default_factory=list, exclude_if=operator.not_)  # ids of rows that are used already
    tags: dict[str, list[str]] = Field(default_factory=dict, exclude_if=operator.not_)  # name -> ids of rows
    export: ExportPart = ExportPart()

    @field_validator("tags")
    @classmethod
    def _check_tags(cls, tags: dict[str, list[str]]) -> dict[str, list[str]]:
        try:
            return check_tags(tags)
        except RecipeError as error:
            raise ValueError(str(error).removesuffix(".")) from error

    def as_data(self) -> dict[str, Any]:
        """Return plain data, defaults included, method parameters complete."""
        data = self.model_dump(by_alias=True)
        return data | {"method": describe_method(self.method.build())}


def parse_recipe(data: Mapping[str, Any], where: str) -> Recipe:
    """Check plain data and return the recipe; RecipeError with the field and what it must be.

    `where` names the file in the error message.
    """
    _check_values(data, where)
    try:
        recipe = Recipe.model_validate(dict(data))
    except ValidationError as error:
        raise RecipeError(f"{where}, {describe_invalid(error, 'the recipe')}.") from error
    Budget.parse(recipe.budget)
    recipe.method.build()
    return recipe


def _check_values(data: Any, where: str) -> None:
    """Raise RecipeError if plain data is more than a recipe holds, or no file could hold it again."""
    values, count = [(data, 0)], 0
    while values:
        value, depth = values.pop()
        count += 1
        if count > MAX_VALUES or depth > MAX_DEPTH:
            raise RecipeError(f"{where} is nested too deeply or has too many values for a recipe. Shorten it.")
        if isinstance(value, Mapping):
            values += [(part, depth + 1) for pair in value.items() for part in pair]
        elif isinstance(value, list | tuple | set):
            if all(isinstance(part, str) for part in value) and is_unicode("".join(value)):  # many ids, as a rule
                count += len(value)
                continue
            values += [(part, depth + 1) for part in value]
        elif isinstance(value, str) and not is_unicode(value):
            raise RecipeError(
                f"{where}: {value[:60]!r} contains half a character, which is not valid text. Write it again."
            )
        elif isinstance(value, int) and abs(value) > MAX_SEED:
            raise RecipeError(f"{where} holds a whole number of more than 63 bits.")


def parse_pool_part(data: Mapping[str, Any]) -> PoolPart:
    """Check plain data and return the pool part of a recipe; RecipeError with the field and what it must be."""
    try:
        return PoolPart.model_validate(dict(data))
    except ValidationError as error:
        invalid = describe_invalid(error, "description")
        raise RecipeError(f"The pool's {invalid}. `inspect --json` prints the fields of a pool.") from error


def describe_invalid(error: ValidationError, whole: str) -> str:
    """Return the first invalid field and what it must be; `whole` names the data if it is all of it."""
    first = error.errors()[0]
    name, message = ".".join(map(str, first["loc"])) or whole, str(first["msg"]).removeprefix("Value error, ")
    words = {"Field required": "is missing", "Extra inputs are not permitted": "is unknown"}
    if message in words:
        return f"{name} {words[message]}"
    must = message.removeprefix("Input should ")
    return f"{name}: {message}" if must == message else f"{name} must {must}"


class _UniqueKeyLoader(yaml.SafeLoader):  # type: ignore[misc]
    """Loader that refuses a key given twice, of which YAML would silently keep the last."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        repeated, times = next(iter(Counter(keys).most_common(1)), (None, 0))
        if times > 1:
            raise yaml.constructor.ConstructorError(None, None, f"'{repeated}' appears twice", node.start_mark)
        return super().construct_mapping(node, deep)


def load_recipe(path: Path) -> Recipe:
    """Load a recipe file (YAML or JSON)."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_BYTES + 1)
        if len(text) > MAX_BYTES:
            raise RecipeError(f"{path} is larger than a recipe may be ({MAX_BYTES >> 20} MB).")
        data = yaml.load(text.decode(), _UniqueKeyLoader)
    except OSError as error:
        raise RecipeError(f"{path} cannot be read ({error.strerror or error}). Check the path.") from error
    except RecursionError as error:
        raise RecipeError(f"{path} is nested too deeply for a recipe.") from error
    except (ValueError, LookupError, TypeError, AttributeError) as error:  # PyYAML lets them through
        raise RecipeError(f"{path} is not a YAML file: it is not UTF-8, or a value does not fit its type.") from error
    except yaml.YAMLError as error:
        raise RecipeError(f"{path} is not a YAML file: {' '.join(str(error).split())}.") from error
    if not isinstance(data, dict):
        raise RecipeError(f"{path} is not a recipe: it must be a mapping with pool, method, budget.")
    return parse_recipe(data, str(path))


def dump_recipe(recipe: Recipe, path: Path) -> None:
    """Write a recipe that `load_recipe` reads back unchanged."""
    text = yaml.safe_dump(recipe.as_data(), sort_keys=False, allow_unicode=True, width=100)
    write_atomic(path, text.encode("utf-8"))


def make_selection(recipe: Recipe, pool: Pool, measured: Measured) -> Selection:
    """Select the rows of the recipe from the measurements.

    Filters decide which rows are eligible, the method orders them after those used already, pins move rows to the head
    of the order or out of it, the threshold and the budget cut it. Raises RecipeError for a filter, pin or used row on
    something that does not exist.
    """
    method = recipe.method.build()
    eligible = eligible_rows(method, pool, measured, [f.filter() for f in recipe.filters], recipe.tags)
    order = order_rows(method, measured, eligible, seed=recipe.seed, used=find_used(recipe, pool, measured, method))
    return select_from_order(recipe, pool, measured, method, order)


def eligible_rows(
    method: Method, pool: Pool, measured: Measured, filters: Sequence[Filter], tags: Tags | None = None
) -> BoolArray:
    """Return (N,) a mask of the rows that pass the filters, which may name the method's own scores, and tags."""
    if not filters:
        return np.ones(len(pool), np.bool_)
    names = {f.column for f in filters}
    return apply_filters(list(filters), filter_columns(names, method, pool, measured, tags or {}))


def find_used(recipe: Recipe, pool: Pool, measured: Measured, method: Method) -> UsedRows:
    """Return the rows used already, and those that repeat them: exact duplicates, and those that a filter keeps once.

    Raises RecipeError for an id that the pool does not have.
    """
    if not recipe.given:
        return UsedRows()
    used = np.flatnonzero(has_id(pool, recipe.given, "given has"))
    filters = [part.filter() for part in recipe.filters]
    once = {f.column for f in filters if f == duplicates_filter(f.column)} | {EXACT_DUPLICATES}
    duplicates = filter_columns(once, method, pool, measured, {})
    return UsedRows(used, find_repeats(used, duplicates.values(), len(pool)))


def select_from_order(recipe: Recipe, pool: Pool, measured: Measured, method: Method, order: Order) -> Selection:
    """Apply pins, threshold and budget to an order. A pin on a row used already has no effect."""
    pins = [Pin(p.id, p.side, p.reason) for p in recipe.pins]
    pinned_in, pinned_out = (rows[~np.isin(rows, order.used)] for rows in locate_pins(pool, pins))
    pinned, n = apply_pins(order, pinned_in, pinned_out), len(pinned_in)
    limit = find_limit(recipe, measured, method, pinned, n)
    budget, tokens = Budget.parse(recipe.budget), measured.need("response_tokens")
    return select_prefix(pinned, budget, response_tokens=tokens, pool_id=pool.fingerprint, n_pinned=n, limit=limit)


def find_limit(recipe: Recipe, measured: Measured, method: Method, pinned: Order, n_pinned: int) -> int | None:
    """Return how many leading rows of an order with pins the threshold allows; None without a threshold."""
    if recipe.threshold is None:
        return None
    values = pinned.values if pinned.values is not None else score_columns(method, measured).get(method.ranks_by)
    if values is None:
        raise RecipeError(
            f"threshold: {method.label} has no score to compare with {recipe.threshold:g}. Remove the threshold."
        )
    return n_pinned + threshold_length(pinned.rows[n_pinned:], values, method.prefer, recipe.threshold)


def score_columns(method: Method, measured: Measured) -> dict[str, NDArray[Any]]:
    """Return every numeric column of the rows: measured ones and the method's own."""
    return dict(measured.columns) | method.scores(measured)


def require_duplicates(name: str, pool: Pool, measured: Measured) -> IntArray:
    """Return (N,) the row that each row repeats, -1: none; RecipeError with the command if they are not computed."""
    kind = duplicates_of(name)
    if kind is not None and name not in measured.artifacts.get("duplicates", {}):
        options = " ".join((*kind.options, "--threshold", f"{kind.similarity(name):g}"))
        raise RecipeError(
            f"{kind.name.capitalize()}s are not computed yet for '{name}'. First run: python -m core duplicates "
            f"{pool.source} {options}"
        )
    repeats: IntArray = measured.artifacts["duplicates"][name]
    return repeats


def named_duplicates(recipe: Recipe) -> dict[str, Duplicates]:
    """Return the columns of duplicates that a recipe needs computed, with their kinds."""
    named = {part.column for part in recipe.filters} | ({recipe.export.apart} if recipe.export.held_out else set())
    return {column: kind for column in sorted(named) if (kind := duplicates_of(column)) is not None}


def filter_columns(names: set[str], method: Method, pool: Pool, measured: Measured, tags: Tags) -> dict[str, Any]:
    """Return the columns that filters name; RecipeError, listing the possible ones, for an unknown name.

    Texts of the pool stay memory-mapped, for core.selection.text_search.
    """
    numbers = score_columns(method, measured) | measured.artifacts.get("pool_columns", {})
    derived = (DERIVED_TASK,) if "derived_tasks" in measured.artifacts else ()
    tagged = {TAG_PREFIX + name: name for name in tags}
    columns: dict[str, Any] = {}
    for name in sorted(names):
        if name in numbers:
            columns[name] = numbers[name]
        elif name in POOL_TEXTS:
            columns[name] = pool.rows[name]
        elif name in POOL_NUMBERS:
            columns[name] = pool.rows[name].to_numpy()
        elif name in derived:
            columns[name] = np.array(measured.task_names(), object)
        elif name in tagged:
            columns |= tag_columns(pool, {tagged[name]: tags[tagged[name]]})
        elif duplicates_of(name):
            columns[name] = require_duplicates(name, pool, measured)
        else:
            raise _no_column(name, pool, (*POOL_TEXTS, *derived, *POOL_NUMBERS, *sorted(numbers), *sorted(tagged)))
    return columns


def _no_column(name: str, pool: Pool, possible: Sequence[str]) -> RecipeError:
    """Return the error for a column that does not exist: the command that makes it, or the columns that exist."""
    prefix, _, own = name.partition("@")
    command = {OVERLAP_PREFIX: "decontaminate {} --against", SCORE_PREFIX: "import-scores {}"}.get(f"{prefix}@")
    what = f"First run: python -m core {command.format(pool.source)} FILE --as {own}" if command else ""
    there = f"There are {', '.join(possible)}."
    return RecipeError(f"filters: there is no column '{name}'. {what or there}")


def locate_pins(pool: Pool, pins: Sequence[Pin]) -> tuple[IntArray, IntArray]:
    """Return row numbers pinned in (in the order pinned) and out; RecipeError for an id that the pool does not have."""
    if not pins:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    side_of_pin = {pin.id: pin.side for pin in pins}
    ids = pool.rows["id"]
    rows = np.flatnonzero(pc.is_in(ids, value_set=pa.array(list(side_of_pin), pa.string())).to_numpy())
    places = dict(zip(ids.take(pa.array(rows)).to_pylist(), rows.tolist(), strict=True))
    missing = [pin_id for pin_id in side_of_pin if pin_id not in places]
    if missing:
        raise RecipeError(
            f"pins: the pool has no row with id '{missing[0]}'. Remove this pin, or open the pool it belongs to."
        )
    sides = {side: [places[i] for i, s in side_of_pin.items() if s == side] for side in ("in", "out")}
    return np.array(sides["in"], np.int64), np.array(sides["out"], np.int64)
