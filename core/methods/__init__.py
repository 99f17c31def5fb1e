"""All methods, by name. To add one: write its file, add it here; forms, recipes and contract tests follow."""

from collections.abc import Mapping
from typing import Any

from core.errors import MethodError
from core.methods.activation_coverage import ActivationCoverage
from core.methods.answer_divergence import AnswerDivergence
from core.methods.combined import Combined
from core.methods.controls import HighestNLL, Longest, LowestNLL, Random
from core.methods.entropy_shift import EntropyShift
from core.methods.imported import Imported
from core.methods.params import all_params, read_params
from core.methods.preference_influence import PreferenceInfluence
from core.methods.task_confidence import TaskConfidence
from core.schema import Method

METHODS: dict[str, type[Method]] = {
    "entropy_shift": EntropyShift,
    "activation_coverage": ActivationCoverage,
    "task_confidence": TaskConfidence,
    "preference_influence": PreferenceInfluence,
    "answer_divergence": AnswerDivergence,
    "random": Random,
    "longest": Longest,
    "lowest_nll": LowestNLL,
    "highest_nll": HighestNLL,
    "imported": Imported,
    "combined": Combined,
}
NEEDS_SETUP = ("imported", "combined")  # say nothing before they are told what to read or what to put together


def standalone_methods() -> list[str]:
    """The methods that stand by themselves: what `--also all`, the demo and a first comparison mean by every method."""
    return [name for name in METHODS if name not in NEEDS_SETUP]


def build_method(name: str, params: Mapping[str, Any]) -> Method:
    """The method called `name`; parameters not given keep their defaults, text becomes numbers where needed.

    MethodError, naming what is possible, for an unknown method or parameter and a value out of range.
    """
    if name not in METHODS:
        raise MethodError(f"There is no method '{name}'. There are {', '.join(METHODS)}.")
    make: Any = METHODS[name]
    method: Method = make(**read_params(make, params))
    return method


def describe_method(method: Method) -> dict[str, Any]:
    """The method as data, defaults included; `build(**describe(m))` is `m` again."""
    return {"name": method.name, "params": all_params(method)}
