"""Conversion between command line options and recipes, in both directions."""

import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from core.columns import SCORE_PREFIX
from core.errors import RecipeError
from core.methods import METHODS, build_method, expand_names
from core.methods.params import all_params
from core.methods.suggestions import with_suggestions
from core.schema import Method
from core.selection.filter_syntax import format_filter
from core.selection.recipe import PoolPart, ReadingPart, Recipe
from core.selection.text_search import is_unicode
from core.workers.places import LOCAL
from core.workspace.folder import Workspace

DEFAULT_WORKSPACE = Path("workspace")
WORKERS = "--workers"
Facts = dict[str, Any]


def check_text(options: Facts) -> None:
    """Raise RecipeError for an option with bytes that are no UTF-8."""
    for value in options.values():
        for word in value if isinstance(value, list) else [value]:
            if isinstance(word, str | Path) and not is_unicode(str(word)):
                shown = os.fsencode(str(word)).decode("utf-8", "replace")
                raise RecipeError(f"'{shown}' contains bytes that are not UTF-8. Write it in UTF-8.")


def read_pool(words: Sequence[str]) -> str:
    """Return the pool that the words of a command name; RecipeError if there are several, as from a shell's pattern."""
    if len(words) > 1:
        raise RecipeError(
            f"{len(words):,} pools are given, the first {words[0]}. Give one, or quote a pattern of files, such as "
            "'data/*.jsonl', so that the shell leaves it as it is."
        )
    return words[0]


def read_settings(settings: Sequence[str], also: Sequence[str] = ()) -> dict[str, dict[str, str]]:
    """Parse `key=value`, and `method.key=value` of `also`, into parameters by method; "" is that of `--method`."""
    params: dict[str, dict[str, str]] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise RecipeError(f"--set {setting}: write it as key=value, for example --set gamma=0.1.")
        method, _, name = key.strip().rpartition(".")
        if method and method not in expand_names(also):
            raise RecipeError(f"--set {setting}: '{method}' is not measured here. Name it with --also.")
        params.setdefault(method, {})[name] = value.strip()
    return params


def read_ends(words: Sequence[str]) -> dict[str, Any]:
    """Parse `high`, `low` and `SCORE=low` into the good end by score; "" is that of all others."""
    ends = {}
    for word in words:
        score, _, end = word.rpartition("=")
        if end not in ("high", "low"):
            raise RecipeError(f"--end {word}: write high or low, or SCORE=low for one score.")
        ends[score] = end
    return ends


def build_other_methods(names: Sequence[str], settings: Sequence[str], model: str) -> list[Method]:
    """Build the methods that `--also` names ("all": every one), with their settings."""
    params = read_settings(settings, names)
    return [build_method(name, with_suggestions(name, params.get(name, {}), model)) for name in expand_names(names)]


def measure_command(recipe: Recipe, workspace: Workspace) -> str:
    """Return the command that measures what a recipe needs."""
    return shlex.join(["python", "-m", "core", *measure_arguments(recipe, "measure", workspace)])


def measure_arguments(
    recipe: Recipe, command: str, workspace: Workspace | None = None, also: Sequence[Method] = ()
) -> list[str]:
    """Return the arguments of `python -m core` that measure or estimate what a recipe and the `also` methods need."""
    arguments = [command, recipe.pool.source, "--method", recipe.method.name]
    arguments += _settings(recipe.method.build(), recipe.reading.model)
    for method in also:
        arguments += ["--also", method.name, *_settings(method, recipe.reading.model, f"{method.name}.")]
    if command == "measure" and recipe.workers != "local":
        arguments += ["--workers", recipe.workers]
    return arguments + shared_arguments(recipe, workspace)


def workers_arguments(workers: str) -> list[str]:
    """Return the option that names the workers of `measure`, where they are not the default."""
    return [] if workers == LOCAL else [WORKERS, workers]


def replace_workers(arguments: Sequence[str], workers: str) -> list[str]:
    """Return the arguments of `measure` with other workers."""
    rest = list(arguments)
    if WORKERS in rest:
        place = rest.index(WORKERS)
        del rest[place : place + 2]
    return [*rest, *workers_arguments(workers)]


def shared_arguments(recipe: Recipe, workspace: Workspace | None = None) -> list[str]:
    """Return the options of a recipe's reading, seed and pool, and of the workspace, where they are not the default."""
    arguments, defaults = [], ReadingPart()
    for key, value in recipe.reading.model_dump().items():
        if value != getattr(defaults, key):
            arguments += [f"--{key.replace('_', '-')}", str(value)]
    if recipe.seed:
        arguments += ["--seed", str(recipe.seed)]
    arguments += pool_arguments(recipe.pool)
    if workspace is not None and workspace.root != DEFAULT_WORKSPACE.absolute():
        arguments += ["--workspace", str(workspace.root)]
    return arguments


def select_arguments(recipe: Recipe, workspace: Workspace | None = None) -> list[str] | None:
    """Return the arguments of `python -m core` that select the rows of a recipe.

    None if the recipe has pins, tags or rows used already, which no option can express.
    """
    if recipe.pins or recipe.tags or recipe.given:
        return None
    arguments = [*measure_arguments(recipe, "select", workspace), "--budget", recipe.budget]
    for part in recipe.filters:
        arguments += ["--filter", format_filter(part.filter())]
    if recipe.threshold is not None:
        arguments += ["--threshold", str(recipe.threshold)]
    export = recipe.export
    if export.format != "original":
        arguments += ["--schema", export.format]
    arguments += ["--with-scores"] * export.with_scores + ["--rejected"] * export.rejected
    if export.held_out:
        arguments += ["--held-out", f"{100 * export.held_out:.10g}%"]
    return arguments


def _settings(method: Method, model: str, prefix: str = "") -> list[str]:
    """Return `--set` for each parameter that differs from its default or suggested value."""
    params, standard = all_params(method), all_params(METHODS[method.name]()) | with_suggestions(method.name, {}, model)
    if str(params.get("field", "")).startswith(SCORE_PREFIX):
        del standard["end"]  # else the one that was named on import is used
    changed = {key: value for key, value in params.items() if key not in standard or value != standard[key]}
    return [word for key, value in changed.items() for word in ("--set", f"{prefix}{key}={value}")]


def pool_arguments(part: PoolPart) -> list[str]:
    """Return the options that describe a pool, without its source."""
    fields = None if part.fields is None else orjson.dumps(part.fields).decode()
    values = {"--name": part.name, "--split": part.split, "--pool-revision": part.revision, "--fields": fields}
    words = [word for option, value in values.items() if value is not None for word in (option, value)]
    return [*words, *["--no-header"] * (not part.header)]
