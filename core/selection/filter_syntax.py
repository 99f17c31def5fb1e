"""A filter as one line of text, the way people write it on the command line, and back.

    nll<=2     nll>=0.5     response_tokens in 10..200     task=closed_qa|qa     task!=closed_qa     nll is missing
    prompt contains sum of     prompt~^(Write|Compose)     prompt!~regex     duplicates once     near duplicates once

`not` before any of them takes the complement. What these forms cannot say is said as the JSON object that a recipe
holds, so that every filter can be written as a line and read back as the same.
"""

import re
from dataclasses import asdict
from typing import Any

import orjson

from core.columns import EXACT_DUPLICATES, USUAL_NEAR_DUPLICATES
from core.errors import RecipeError
from core.selection.filters import Filter, duplicates_filter

SYNTAX_HINT = (
    "Write nll<=2, response_tokens in 10..200, task=qa|code, task!=qa, prompt contains text, prompt~pattern, "
    "'duplicates once', or 'not' before one of them"
)

_NUMBER = r"[+-]?(?:\d+\.?\d*(?:e[+-]?\d+)?|\.\d+|inf)"
_FORMS = [
    (kind, re.compile(rf"(?P<column>[\w.@-]+?)\s*{form}", re.DOTALL | re.IGNORECASE))
    for kind, form in (
        ("range", rf"\s+in\s+(?P<low>{_NUMBER})\s*\.\.\s*(?P<high>{_NUMBER})"),
        ("missing", r"\s+is\s+(?P<no>not\s+)?missing"),
        ("contains", r"\s+contains\s(?P<text>.+)"),
        ("low", rf">=\s*(?P<low>{_NUMBER})"),
        ("high", rf"<=\s*(?P<high>{_NUMBER})"),
        ("pattern", r"(?P<no>!)?~\s*(?P<text>.+)"),
        ("values", r"(?P<no>!)?=\s*(?P<text>.*)"),
    )
]
_NOT = re.compile(r"not\s+", re.IGNORECASE)
_ONCE = {"duplicates once": EXACT_DUPLICATES, "near duplicates once": USUAL_NEAR_DUPLICATES}


def parse_filter(line: str) -> Filter:
    """The filter that a line spells; RecipeError with the ways to write one."""
    text = line.strip()
    if text.startswith("{"):
        return _read_json(text)
    denied = _NOT.match(text)
    said = text[denied.end() :] if denied else text
    if said in _ONCE:
        return Filter(_ONCE[said], low=0, exclude=not denied)
    for kind, form in _FORMS:
        found = form.fullmatch(said)
        if found:
            parts = found.groupdict()
            exclude = bool(denied) != bool(parts.pop("no", None))
            return Filter(parts.pop("column"), exclude=exclude, **_condition(kind, parts))
    if re.match(r"[\w.@-]+\s*[<>]\s*[^=]", said):
        raise RecipeError(f"The filter '{line}': a range includes its ends. Write <= or >=.")
    raise RecipeError(f"The filter '{line}' cannot be read. {SYNTAX_HINT}.")


def _condition(kind: str, parts: dict[str, str]) -> dict[str, Any]:
    if kind == "contains":
        return {"contains": parts["text"]}
    if kind == "pattern":
        return {"matches": parts["text"]}
    if kind == "values":
        return {"values": tuple(one.strip() for one in parts["text"].split("|"))}
    if kind == "missing":
        return {"values": (None,)}
    return {end: float(value) for end, value in parts.items()}


def _read_json(text: str) -> Filter:
    try:
        return Filter(**orjson.loads(text))
    except (orjson.JSONDecodeError, TypeError) as error:
        raise RecipeError(f"The filter '{text}' is no JSON object of a filter: {error}.") from error


def format_filter(one: Filter) -> str:
    """The line that reads back as this filter, the plain form where there is one."""
    for words, column in _ONCE.items():
        if one == duplicates_filter(column):
            return words
    line = ("not " if one.exclude else "") + one.column + _plain(one)
    try:
        if parse_filter(line) == one:
            return line
    except RecipeError:
        pass  # a column or a value that the plain form cannot hold
    short = {name: value for name, value in asdict(one).items() if value not in (None, False)}
    return orjson.dumps(short).decode()


def _plain(one: Filter) -> str:
    """What stands behind the column, were the filter as plain as its first condition."""
    if one.low is not None and one.high is not None:
        return f" in {_digits(one.low)}..{_digits(one.high)}"
    if one.low is not None:
        return f">={_digits(one.low)}"
    if one.high is not None:
        return f"<={_digits(one.high)}"
    if one.contains is not None:
        return f" contains {one.contains}"
    if one.matches is not None:
        return f"~{one.matches}"
    values = one.values or ()
    return " is missing" if values == (None,) else "=" + "|".join(str(v) for v in values)


def _digits(number: float) -> str:
    """All of them, and no point where there is nothing behind it."""
    return repr(float(number)).removesuffix(".0")
