"""Fields of a row by name: `a.b` is field b of the object in field a, at any depth.

A field whose own name is `a.b` comes first, so a name always finds the field that is written like it.
"""

from collections.abc import Iterable, Iterator, Mapping
from math import isfinite
from typing import Any, Final

ABSENT: Final = object()  # in place of a field that a row does not have; None is a value


def get_field(row: Mapping[str, Any], name: str, default: Any = None) -> Any:
    """Return the value of a field, nested or not; `default` if the row has none of this name."""
    if name in row or "." not in name:
        return row.get(name, default)
    for outer, inside in row.items():
        if isinstance(inside, dict) and name.startswith(f"{outer}."):
            value = get_field(inside, name[len(outer) + 1 :], ABSENT)
            if value is not ABSENT:
                return value
    return default


def nested_among(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names that may be those of nested fields."""
    return tuple(name for name in names if "." in name)


def lift_fields(row: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Return the row with the nested fields of these names as fields of its own."""
    values = {name: get_field(row, name, ABSENT) for name in names if name not in row}
    return row | {name: value for name, value in values.items() if value is not ABSENT}


def iter_fields(row: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield name and value of every field that holds no object; those within objects by their nested names."""
    for name, value in row.items():
        if isinstance(value, dict) and value:
            yield from iter_fields(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def to_number(value: Any) -> float:
    """Return the value as a finite number, or NaN; booleans are not numbers."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return float("nan")
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return float("nan")
    return number if isfinite(number) else float("nan")
