"""What the Compare page can compare: which contenders there are, which are chosen, and what each is called.

A contender is a method as it is set, a method with parameters of its own, or a saved selection. The first two make
their order under the present filters and without pins; a saved selection keeps its own filters and pins.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from core.errors import WinnowError
from core.measurement.runs import Run, list_runs, pick_run
from core.methods import METHODS, NEEDS_SETUP, build_method, standalone_methods
from core.methods.params import all_params
from core.schema import Method, Pool
from pages.ui.data import cached
from pages.ui.shell import state
from pages.ui.shell.state import Contender, Settings

MAX_CONTENDERS = 8  # side by side
BASELINES = ("random", "longest", "lowest_nll", "highest_nll")
OPTIONAL_BASELINES = ("lowest_nll", "highest_nll")  # controls that are not compared unless asked for


def list_pool_runs(pool: Pool) -> list[Run]:
    """Every finished run of the pool, read once for all contenders."""
    return list_runs(cached.workspace(), pool.fingerprint)


def available(pool: Pool, runs: Sequence[Run]) -> list[Contender]:
    """All that can be compared now: what is measured, scores that were imported, what was kept, what was saved."""
    now = state.settings()
    asked = [name for name in METHODS if name not in NEEDS_SETUP or now.params.get(name)]
    as_set = [Contender(name) for name in asked if find_run_of(pool, runs, Contender(name))]
    imported = [Contender("imported", dict(run.method["params"])) for run in runs if run.method["name"] == "imported"]
    saved = [Contender(saved=name) for name in state.saved_selections(pool)]
    found: list[Contender] = []
    for one in [*as_set, *now.contenders, *imported, *saved]:
        if one not in found and find_run_of(pool, runs, one):
            found.append(one)
    return found


def default_contenders(found: Sequence[Contender]) -> list[Contender]:
    """What is compared where nobody has chosen: the method in use, then every measured one, random and longest."""
    now = state.settings().method
    names = [now, *(name for name in standalone_methods() if name not in OPTIONAL_BASELINES)]
    wanted = [Contender(name) for name in dict.fromkeys(names)]
    return [one for one in wanted if one in found][:MAX_CONTENDERS]


def current_contenders(found: Sequence[Contender]) -> list[Contender]:
    """Those the settings name, of those there are; else the usual ones."""
    picked = [one for one in state.settings().contenders if one in found]
    return picked or default_contenders(found)


def settings_of(pool: Pool, one: Contender) -> Settings | None:
    """The settings that a contender stands for; None for a saved selection that is gone."""
    now = state.settings()
    if one.saved:
        return state.saved_selections(pool).get(one.saved)
    own = now.params if one.params is None else {**now.params, one.method: one.params}
    seed = now.seed + 1 if one.method == "random" else now.seed  # with theirs it would repeat other methods' draws
    return replace(now, method=one.method, params=own, seed=seed, pins=(), threshold=None)


def find_run_of(pool: Pool, runs: Sequence[Run], one: Contender) -> Run | None:
    """The run that a contender reads; None where it is not measured or cannot be."""
    its = settings_of(pool, one)
    if its is None:
        return None
    try:
        return pick_run(runs, pool, state.method(its), its.reading, its.seed)
    except WinnowError:
        return None  # parameters of another version


def label(one: Contender) -> str:
    """What a contender is called."""
    if one.saved:
        return f"saved: {one.saved}"
    if one.label:
        return one.label
    if one.method == "imported" and one.params:
        return f"{one.params['field']}, {one.params.get('end', 'high')} first"
    return METHODS[one.method].label


def make_variant(method: Method) -> Contender:
    """A method as it is now, kept, and called after what is not as it comes."""
    own, usual = all_params(method), all_params(build_method(method.name, {}))
    changed = {name: value for name, value in own.items() if value != usual[name] and not isinstance(value, str)}
    changed |= {name: value for name, value in own.items() if value != usual[name] and len(str(value)) < 16}
    words = ", ".join(f"{name.replace('_', ' ')} {_word(value)}" for name, value in changed.items())
    return Contender(method.name, own, f"{method.label} ({words or 'as it comes'})")


def _word(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def name_contenders(found: Sequence[Contender]) -> Mapping[str, Contender]:
    """Contenders by what they are called; a second one of the same name gets a number."""
    named: dict[str, Contender] = {}
    for one in found:
        name, number = label(one), 2
        while name in named:
            name, number = f"{label(one)} ({number})", number + 1
        named[name] = one
    return named


def names_digest(words: Sequence[str]) -> int:
    """A number for these words, for the key of a widget that is another one for others."""
    return zlib.crc32("\n".join(words).encode())
