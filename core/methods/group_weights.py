"""Weights of groups of rows as text: what each group's share of a budget is proportional to.

""                 the number of the group's rows
equal              the same for every group
math:2,code:0.5    as named; groups that are not named weigh 1
{"a, b": 2}        the same as JSON, for labels that hold a comma
"""

import json
from collections.abc import Sequence
from math import isfinite

import numpy as np

from core.errors import MethodError
from core.schema import Float64Array, IntArray

EQUAL = "equal"
HINT = 'Write label:weight with commas between, such as math:2,code:1, or a JSON object such as {"math": 2}, or equal.'


def parse_group_weights(text: str) -> dict[str, float]:
    """Return the weights that a text names, by label; MethodError if it cannot be read or one is below 0."""
    if text in ("", EQUAL):
        return {}
    pairs = _read_json(text) if text.startswith("{") else _read_list(text)
    weights = {}
    for label, value in pairs:
        try:
            weight = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else np.nan
        except ValueError:
            weight = np.nan
        if not isfinite(weight) or weight < 0:
            raise MethodError(f"group_weights: the weight of '{label}' must be a number of 0 or more, not {value!r}.")
        if label in weights:
            raise MethodError(f"group_weights: '{label}' is named twice. Give each group one weight.")
        weights[label] = weight
    return weights


def weigh_groups(text: str, names: Sequence[str], sizes: IntArray) -> Float64Array:
    """Return the weight of each group (T,); MethodError for a label that no group has."""
    if not text:
        return sizes.astype(np.float64)
    given = parse_group_weights(text)
    if unknown := [label for label in given if label not in names]:
        raise MethodError(f"group_weights: there is no group '{unknown[0]}'. There are {', '.join(names)}.")
    return np.array([given.get(name, 1.0) for name in names])


def _read_list(text: str) -> list[tuple[str, str]]:
    parts = [part.strip().rpartition(":") for part in text.split(",")]
    if not all(label.strip() for label, _, _ in parts):
        raise MethodError(f"group_weights cannot be read: '{text}'. {HINT}")
    return [(label.strip(), weight.strip()) for label, _, weight in parts]


def _read_json(text: str) -> list[tuple[str, object]]:
    try:
        value = json.loads(text, object_pairs_hook=list)
    except (ValueError, RecursionError) as error:  # also of numbers with thousands of digits
        raise MethodError(f"group_weights is not JSON ({error}). {HINT}") from error
    return [(label, weight) for label, weight in value]
