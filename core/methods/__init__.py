"""Methods that order rows, one file each, on arrays only.

    entropy_shift         rows on which the model grows less certain (InstructDiff)
    activation_coverage   greedy coverage of active neurons (MADS)
    task_confidence       more rows for tasks of low confidence (Weighted Task Diversity)
    preference_influence  influence on a preference loss (ROSE, LESS)
    answer_divergence     spread of generated answers within semantic bins (ADG)
    baselines             random, longest, lowest and highest NLL
    imported              a score from another tool
    combined              several methods as one order
    ranking               from values to an order: what the methods share
    group_weights         weights of groups of rows, read from text
    params                declaration and checks of parameters
    suggestions           parameters that suit the embedded model

To add one: write its file, add it to METHODS; forms, recipes and contract tests follow.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from core.errors import MethodError
from core.methods.activation_coverage import ActivationCoverage
from core.methods.answer_divergence import AnswerDivergence
from core.methods.baselines import HighestNLL, Longest, LowestNLL, Random
from core.methods.combined import Combined
from core.methods.entropy_shift import EntropyShift
from core.methods.imported import Imported
from core.methods.params import read_params, written_params
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
NEEDS_SETUP = ("imported", "combined")  # cannot run with default parameters: need a field name, or member methods

DISPLAY_COLUMNS = {  # methods that rank inside groups -> the score that decides inside a group
    "entropy_shift": "delta_entropy",
    "answer_divergence": "divergence",
    "preference_influence": "influence",
}


def standalone_methods() -> list[str]:
    """Return the names of methods that run with default parameters: what `--also all` and the demo mean by "all"."""
    return [name for name in METHODS if name not in NEEDS_SETUP]


def expand_names(names: Iterable[str]) -> list[str]:
    """Return these method names, each once; `standalone_methods()` if "all" is one of them."""
    unique = list(dict.fromkeys(names))
    return standalone_methods() if "all" in unique else unique


def display_column(method: Method) -> str:
    """Return the column that a method is shown by: the one it ranks by, or the score that decides inside its groups."""
    return DISPLAY_COLUMNS.get(method.name, method.ranks_by)


def build_method(name: str, params: Mapping[str, Any]) -> Method:
    """Return the method called `name`; missing parameters keep their defaults, text becomes numbers where needed.

    Raises MethodError, listing what is possible, for an unknown method or parameter and for a value out of range.
    """
    if name not in METHODS:
        raise MethodError(f"There is no method '{name}'. There are {', '.join(METHODS)}.")
    make: Any = METHODS[name]
    method: Method = make(**read_params(make, params))
    return method


def describe_method(method: Method) -> dict[str, Any]:
    """Return the method as data, defaults included except those of `params.written_params`.

    `build_method(**describe_method(m))` equals `m`.
    """
    return {"name": method.name, "params": written_params(method)}
