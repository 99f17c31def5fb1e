"""The difference between two settings in words: what a step of undo reverts."""

from collections.abc import Mapping, Sequence
from dataclasses import Field, fields
from typing import Any

from core.methods import METHODS, build_method
from core.methods.params import all_params, value_in_words
from core.methods.suggestions import with_suggestions
from core.selection.budget import Budget
from core.selection.filters import Filter
from core.selection.selection import Pin
from pages.ui.shell import show
from pages.ui.shell.settings import Settings
from pages.ui.words import format_rows, model_name, param_words, shorten

MAX_LENGTH = 60  # characters of a description
MAX_VALUE_LENGTH = 16  # characters of a text parameter that is shown
NAMES = {
    "given": "rows used already",
    "also": "methods to measure",
    "workers": "workers",
    "contenders": "compared methods",
    "reading": "prompt and tokenization settings",
}


def describe_change(before: Settings, after: Settings) -> str:
    """Return what changed, such as "budget 10% → 20%"; the first change and how many more if there are several."""
    changes = [
        *_describe_method(before, after),
        *_describe_budget(before, after),
        *_describe_tags(before.tags, after.tags),
        *_describe_filters(before.filters, after.filters),
        *_describe_pins(before.pins, after.pins),
        *_describe_params(before, after),
        *_describe_rest(before, after),
    ]
    if not changes:
        return "nothing"
    return shorten(changes[0], MAX_LENGTH) + (f" and {len(changes) - 1} more" if len(changes) > 1 else "")


def _arrow(name: str, old: str, new: str) -> list[str]:
    return [f"{name} {old} → {new}"] if old != new else []


def _describe_method(before: Settings, after: Settings) -> list[str]:
    changed = _arrow("method", METHODS[before.method].label, METHODS[after.method].label)
    if changed:
        return changed  # another method has another score, so the limit goes with it
    limits = ("none" if s.threshold is None else f"{s.threshold:g}".replace("-", "−") for s in (before, after))
    return _arrow("score limit", *limits)


def _describe_budget(before: Settings, after: Settings) -> list[str]:
    return _arrow("budget", *(show.format_budget(Budget.parse(s.budget)) for s in (before, after)))


def _describe_filters(before: Sequence[Filter], after: Sequence[Filter]) -> list[str]:
    added, removed = [f for f in after if f not in before], [f for f in before if f not in after]
    if len(added) == len(removed) == 1:
        return [f"filter {removed[0]} → {added[0]}"]
    return [f"filter added: {f}" for f in added] + [f"filter removed: {f}" for f in removed]


def _describe_pins(before: Sequence[Pin], after: Sequence[Pin]) -> list[str]:
    ids = {pin.id for pin in after}
    added, removed = [pin for pin in after if pin not in before], [pin for pin in before if pin.id not in ids]
    words = [f"always {'include' if pin.side == 'in' else 'exclude'} {pin.id}" for pin in added]
    words += [f"no longer always {'include' if pin.side == 'in' else 'exclude'} {pin.id}" for pin in removed]
    if len(words) < 2:
        return words
    sides = {pin.side for pin in added} if not removed else set()
    verb = {"in": "include", "out": "exclude"}[sides.pop()] if len(sides) == 1 else "include or exclude"
    return [f"always {verb} {len(words):,} rows"]


def _describe_tags(before: Mapping[str, Sequence[str]], after: Mapping[str, Sequence[str]]) -> list[str]:
    gone, new = [name for name in before if name not in after], [name for name in after if name not in before]
    if len(gone) == len(new) == 1 and before[gone[0]] == after[new[0]]:
        return [f"tag '{gone[0]}' → '{new[0]}'"]
    words = [f"tag '{name}' deleted" for name in gone]
    for name, ids in after.items():
        old = before.get(name, ())
        added, removed = len(set(ids).difference(old)), len(set(old).difference(ids))
        words += [f"tag '{name}' on {format_rows(added)}"] * (added > 0 or name in new)
        words += [f"tag '{name}' removed from {format_rows(removed)}"] * (removed > 0)
    return words


def _describe_params(before: Settings, after: Settings) -> list[str]:
    changed = [name for name in METHODS if before.params.get(name, {}) != after.params.get(name, {})]
    return [line for name in changed for line in _describe_params_of(name, before, after)]


def _describe_params_of(name: str, before: Settings, after: Settings) -> list[str]:
    old, new = (
        all_params(build_method(name, with_suggestions(name, s.params.get(name, {}), s.reading.model)))
        for s in (before, after)
    )
    declared: Any = METHODS[name]
    return [line for f in fields(declared) for line in _arrow_of_param(f, old[f.name], new[f.name])]


def _arrow_of_param(f: Field[Any], old: Any, new: Any) -> list[str]:
    label = param_words(f)["label"]
    texts = _format(f, old), _format(f, new)
    if max(map(len, texts)) > MAX_VALUE_LENGTH:
        return [label] if old != new else []
    return _arrow(label, *texts)


def _format(f: Field[Any], value: Any) -> str:
    words = value_in_words(f, value)
    return words or "none" if isinstance(value, str) else words.replace("-", "−")


def _describe_rest(before: Settings, after: Settings) -> list[str]:
    model = _arrow("model", model_name(before.reading.model), model_name(after.reading.model))
    if model:
        return model
    seed = _arrow("seed", str(before.seed), str(after.seed))
    return seed + [words for name, words in NAMES.items() if getattr(before, name) != getattr(after, name)]
