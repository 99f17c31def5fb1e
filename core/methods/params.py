"""Parameters of methods: their defaults, limits and form metadata.

A method is a frozen `BaseMethod`; each of its fields is declared with `param` or `measure_param`. A new parameter is
therefore one new line in one file: the form draws it, the recipe stores it, `BaseMethod` validates it.

Metadata of every field: `label` and `help` (for people), `low` and `high` (both inclusive; None for choices and text),
`stage`, `names` (what a text parameter names; None for the rest), `later` (added after runs had been stored), `words`
(value -> what people read in its place, such as 0 -> "automatic"), `minor` (rarely changed: a form may fold it away),
`used_if` (method -> whether the parameter has an effect, given the others; None: always).

    stage "order"     changes only the order: array arithmetic, a live slider
    stage "measure"   changes what has to be measured: part of the measurement's key, behind a button
"""

from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields
from functools import partial
from typing import Any, ClassVar, Literal, get_args

from numpy.typing import NDArray

from core.errors import MethodError
from core.schema import IntArray, Measured, Method, Order

Stage = Literal["order", "measure"]
# model id or folder; path; URL; any single word; ...
Names = Literal["model", "file", "server", "word", "targets", "target", "methods"]


def number(default: float, low: float, high: float, *, label: str = "", zero: str = "") -> dict[str, Any]:
    """Describe a number for `param`. The type of `default` decides between whole numbers (1) and floats (1.0).

    `zero` is what people read in place of 0 where it means something else, such as "automatic".
    """
    words = {0: zero} if zero else {}
    return {"default": default, "label": label, "low": low, "high": high, "names": None, "words": words}


def option(
    default: str, *, label: str = "", names: Names | None = None, words: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Describe a text for `param`, or a choice: a field annotated with a Literal. `words` name its values."""
    return {"default": default, "label": label, "low": None, "high": None, "names": names, "words": dict(words or {})}


def param(
    value: dict[str, Any],
    help: str,
    *,
    stage: Stage = "order",
    later: bool = False,
    minor: bool = False,
    used_if: Callable[[Any], bool] | None = None,
) -> Any:
    """Return a dataclass field for one parameter, described by `number` or `option`.

    A parameter that is added `later` has the default under which stored runs were measured: at it, keys and
    descriptions of methods omit it, and so remain as they were.
    """
    about = {"help": help, "stage": stage, "later": later, "minor": minor, "used_if": used_if}
    return field(default=value["default"], metadata=value | about)


measure_param = partial(param, stage="measure")


def list_choices(f: Field[Any]) -> tuple[str, ...]:
    """Return the choices of a field annotated with a Literal; none for numbers and text."""
    return get_args(f.type)


def name_param(f: Field[Any]) -> str:
    """Return the label of a parameter: the declared one, or its name in words."""
    return str(f.metadata["label"]) or f.name.replace("_", " ").capitalize()


def value_in_words(f: Field[Any], value: Any) -> str:
    """Return what people read in place of a value: its declared words ("automatic" for 0), or the value itself."""
    words: str | None = f.metadata["words"].get(value)
    return words or (f"{value:,}" if type(value) is int else f"{value:g}" if type(value) is float else str(value))


def has_effect(method: Method, f: Field[Any]) -> bool:
    """Return whether a parameter of a method has an effect, given the values of the others."""
    used_if: Callable[[Any], bool] | None = f.metadata["used_if"]
    return used_if is None or used_if(method)


@dataclass(frozen=True)
class BaseMethod:
    """Base class of methods: a frozen dataclass whose fields are parameters; MethodError for a value out of range.

    Whole numbers in float fields become floats, so that `gamma=0` and `gamma=0.0` are one method with one key.
    """

    label: ClassVar[str]
    paper: ClassVar[str] = ""
    unscored: ClassVar[str] = ""

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if type(value) is int and isinstance(f.default, float):
                value = float(value)
                object.__setattr__(self, f.name, value)
            if not _allowed(f, value):
                raise MethodError(f"{self.label}: {f.name} must be {_range(f)}, not {value!r}.")

    def scores(self, measured: Measured) -> dict[str, NDArray[Any]]:
        """Return no columns: the order follows a measured column, or none."""
        return {}

    def facts(self, measured: Measured, order: Order, rows: IntArray) -> dict[str, Any]:
        """Return no facts."""
        return {}

    def facts_in_words(self, facts: Mapping[str, Any]) -> list[str]:
        """Return no sentence."""
        return []


def read_params(cls: type[Method], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return `given` with text converted to numbers in numeric fields (`--set gamma=0.2`).

    Raises MethodError for an unknown parameter and for text that is not a number.
    """
    fields_by_name = {f.name: f for f in _params(cls)}
    for name in given:
        if name not in fields_by_name:
            choices = f"It has {', '.join(fields_by_name)}." if fields_by_name else "It has none."
            raise MethodError(f"{cls.label} has no parameter '{name}'. {choices}")
    return {name: _read(cls, fields_by_name[name], value) for name, value in given.items()}


def measure_params(method: Method) -> dict[str, Any]:
    """Return the parameters that decide what is measured, by name."""
    stages = {f.name: f.metadata["stage"] for f in _params(method)}
    return {name: getattr(method, name) for name, stage in stages.items() if stage == "measure"}


def written_params(method: Method) -> dict[str, Any]:
    """Return every parameter by name, except those that were added later and are at their defaults."""
    added = later_defaults(method)
    return {name: value for name, value in all_params(method).items() if name not in added or value != added[name]}


def later_defaults(method: Method) -> dict[str, Any]:
    """Return the defaults of the parameters that were added after runs had been stored."""
    return {f.name: f.default for f in _params(method) if f.metadata["later"]}


def all_params(method: Method) -> dict[str, Any]:
    """Return every parameter by name, defaults included."""
    return {f.name: getattr(method, f.name) for f in _params(method)}


def _params(method: Method | type[Method]) -> tuple[Field[Any], ...]:
    dataclass: Any = method  # the Method protocol cannot express that a method is a dataclass
    return fields(dataclass)


def _allowed(f: Field[Any], value: Any) -> bool:
    if type(value) is not type(f.default):  # so True is not 1, and 1.5 is not a whole number
        return False
    if choices := list_choices(f):
        return value in choices
    if isinstance(value, str):
        return value == value.strip()
    return bool(f.metadata["low"] <= value <= f.metadata["high"])  # NaN is in no range


def _range(f: Field[Any]) -> str:
    if choices := list_choices(f):
        return "one of " + ", ".join(choices)
    if isinstance(f.default, str):
        return "text without space around it"
    kind = "a whole number" if isinstance(f.default, int) else "a number"
    return f"{kind} from {f.metadata['low']:g} to {f.metadata['high']:g}"


def _read(cls: type[Method], f: Field[Any], value: Any) -> Any:
    if not isinstance(value, str) or isinstance(f.default, str):
        return value
    kind: Any = type(f.default)
    try:
        return kind(value)
    except ValueError:
        raise MethodError(f"{cls.label}: {f.name} must be {_range(f)}, not {value!r}.") from None
