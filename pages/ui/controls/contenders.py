"""Contenders, which Compare compares and a combination combines: which exist, and how each is labelled.

A contender is a method with its current settings, a method with parameters of its own, or a saved selection. The first
two order the rows under the current filters and without pins; a saved selection keeps its own filters and pins.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from core.errors import WinnowError
from core.measurement.lookup import pick_run
from core.measurement.runs import Run, list_runs
from core.methods import METHODS, NEEDS_SETUP, build_method, standalone_methods
from core.methods.combined import parts_of
from core.methods.params import all_params
from core.schema import Method, Pool
from pages.ui.data import cached
from pages.ui.shell import state
from pages.ui.shell.state import Contender, Settings

MAX_CONTENDERS = 8  # compared at once
BASELINES = ("random", "longest", "lowest_nll", "highest_nll")
JOINED = {"rank average": " + ", "union": " or ", "intersection": " and ", "filtered": " among the top of "}
OPTIONAL_BASELINES = ("lowest_nll", "highest_nll")  # not compared by default


def list_pool_runs(pool: Pool) -> list[Run]:
    """Return every finished run of the pool, to be read once for all contenders."""
    return list_runs(cached.workspace(), pool.fingerprint)


def available(pool: Pool, runs: Sequence[Run]) -> list[Contender]:
    """Return the contenders that have a run: methods, their saved variants, imported scores and saved selections."""
    now = state.settings()
    names = [name for name in METHODS if name not in NEEDS_SETUP or (now.params.get(name) and state.is_set_up(name))]
    methods = [Contender(name) for name in names if find_run_of(pool, runs, Contender(name))]
    imported = [Contender("imported", dict(run.method["params"])) for run in runs if run.method["name"] == "imported"]
    saved = [Contender(saved=name) for name in state.saved_selections(pool)]
    measured: list[Contender] = []
    for contender in [*methods, *now.contenders, *imported, *saved]:
        if contender not in measured and find_run_of(pool, runs, contender):
            measured.append(contender)
    return measured


def default_contenders(candidates: Sequence[Contender]) -> list[Contender]:
    """Return the default contenders: the current method, all other measured ones, random and longest."""
    now = state.settings().method
    names = [now, *(name for name in standalone_methods() if name not in OPTIONAL_BASELINES)]
    defaults = [Contender(name) for name in dict.fromkeys(names)]
    return [contender for contender in defaults if contender in candidates][:MAX_CONTENDERS]


def current_contenders(candidates: Sequence[Contender]) -> list[Contender]:
    """Return the available ones of the contenders in the settings; if there are none, the defaults."""
    picked = [contender for contender in state.settings().contenders if contender in candidates]
    return picked or default_contenders(candidates)


def settings_of(pool: Pool, contender: Contender) -> Settings | None:
    """Return the settings of a contender; None for a saved selection that was deleted."""
    now = state.settings()
    if contender.saved:
        return state.saved_selections(pool).get(contender.saved)
    params = now.params if contender.params is None else {**now.params, contender.method: contender.params}
    # with the same seed, random would repeat the random numbers of other methods
    seed = now.seed + 1 if contender.method == "random" else now.seed
    return replace(now, method=contender.method, params=params, seed=seed, pins=(), threshold=None)


def find_run_of(pool: Pool, runs: Sequence[Run], contender: Contender) -> Run | None:
    """Return the run that a contender reads; None if it is not measured or cannot be."""
    settings = settings_of(pool, contender)
    if settings is None:
        return None
    try:
        return pick_run(runs, pool, state.method(settings), settings.reading, settings.seed)
    except WinnowError:
        return None  # parameters of another version of the method


def build(pool: Pool, contender: Contender) -> Method:
    """Build the method of a contender that exists."""
    settings = settings_of(pool, contender)
    assert settings is not None
    return state.method(settings)


def label(contender: Contender) -> str:
    """Return the label of a contender."""
    if contender.saved:
        return f"saved: {contender.saved}"
    if contender.label:
        return contender.label
    if contender.method == "imported" and contender.params:
        return f"{contender.params['field']} ({contender.params.get('end', 'high')}est first)"
    return METHODS[contender.method].label


def make_variant(method: Method) -> Contender:
    """Return a contender with the method's current parameters, labelled by those that differ from the defaults.

    A combination is labelled by its methods.
    """
    if parts := parts_of(method):
        members = (label(Contender(part.name, all_params(part))) for part in parts)
        return Contender(method.name, all_params(method), JOINED[all_params(method)["rule"]].join(members))
    params, defaults = all_params(method), all_params(build_method(method.name, {}))
    changed = {name: value for name, value in params.items() if value != defaults[name] and not isinstance(value, str)}
    changed |= {name: value for name, value in params.items() if value != defaults[name] and len(str(value)) < 16}
    changes = ", ".join(f"{name.replace('_', ' ')} {_format_value(value)}" for name, value in changed.items())
    return Contender(method.name, params, f"{method.label} ({changes or 'default settings'})")


def _format_value(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def name_contenders(contenders: Sequence[Contender]) -> Mapping[str, Contender]:
    """Return contenders by label; a label that is taken gets a number."""
    named: dict[str, Contender] = {}
    for contender in contenders:
        name, number = label(contender), 2
        while name in named:
            name, number = f"{label(contender)} ({number})", number + 1
        named[name] = contender
    return named


def names_digest(names: Sequence[str]) -> int:
    """Return a checksum of the names, so that the key of a widget changes with its options."""
    return zlib.crc32("\n".join(names).encode())
