"""A filter as one line of text, as written on the command line, and back.

    nll<=2     nll>=0.5     response_tokens in 10..200     task=closed_qa|qa     task!=closed_qa     nll is missing
    prompt contains sum of     prompt~^(Write|Compose)     prompt!~regex     duplicates once     near duplicates once
    semantic duplicates once

`not` before any of them takes the complement. Filters beyond these forms are written as the JSON object of a recipe,
so that every filter can be written as a line and parsed back to the same filter.
"""

import re
from dataclasses import asdict
from typing import Any

import orjson
from pydantic import ValidationError

from core.columns import EXACT_DUPLICATES, USUAL_NEAR_DUPLICATES, USUAL_SEMANTIC_DUPLICATES
from core.errors import RecipeError
from core.selection.filters import Filter, duplicates_filter
from core.selection.recipe import FilterPart, describe_invalid

SYNTAX_HINT = (
    "Write nll<=2, response_tokens in 10..200, task=qa|code, task!=qa, prompt contains text, prompt~pattern, "
    "'duplicates once', or 'not' before one of them"
)

_NUMBER = r"[+-]?(?:\d+\.?\d*(?:e[+-]?\d+)?|\.\d+|inf)"
_FORMS = [
    re.compile(rf"(?P<column>[\w.@-]+?)\s*{form}", re.DOTALL | re.IGNORECASE)
    for form in (
        rf"\s+in\s+(?P<low>{_NUMBER})\s*\.\.\s*(?P<high>{_NUMBER})",
        r"\s+is\s+(?P<no>not\s+)?missing",
        r"\s+contains\s(?P<contains>.+)",
        rf">=\s*(?P<low>{_NUMBER})",
        rf"<=\s*(?P<high>{_NUMBER})",
        r"(?P<no>!)?~\s*(?P<matches>.+)",
        r"(?P<no>!)?=\s*(?P<values>.*)",
    )
]
_NOT = re.compile(r"not\s+", re.IGNORECASE)
_ONCE = {
    "duplicates once": EXACT_DUPLICATES,
    "near duplicates once": USUAL_NEAR_DUPLICATES,
    "semantic duplicates once": USUAL_SEMANTIC_DUPLICATES,
}


def parse_filter(line: str) -> Filter:
    """Parse a line into a filter; RecipeError lists the ways to write one."""
    text = line.strip()
    if text.startswith("{"):
        return _read_json(text)
    negation = _NOT.match(text)
    body = text[negation.end() :] if negation else text
    if body in _ONCE:
        return Filter(_ONCE[body], low=0, exclude=not negation)
    for form in _FORMS:
        match = form.fullmatch(body)
        if match:
            parts = match.groupdict()
            exclude = bool(negation) != bool(parts.pop("no", None))
            return Filter(parts.pop("column"), exclude=exclude, **_condition(parts))
    if re.match(r"[\w.@-]+\s*[<>]\s*[^=]", body):
        raise RecipeError(f"The filter '{line}' excludes its limit, and a range includes its ends. Write <= or >=.")
    raise RecipeError(f"The filter '{line}' is not valid. {SYNTAX_HINT}.")


def _condition(parts: dict[str, str]) -> dict[str, Any]:
    """Return fields of a Filter from the texts of a form that are named like them; none: is missing."""
    if "values" in parts or not parts:
        return {"values": tuple(word.strip() for word in parts["values"].split("|")) if parts else (None,)}
    return {name: float(text) if name in ("low", "high") else text for name, text in parts.items()}


def _read_json(text: str) -> Filter:
    try:
        return FilterPart.model_validate(orjson.loads(text)).filter()
    except orjson.JSONDecodeError as error:
        raise RecipeError(f"The filter '{text}' is not a JSON object: {error}.") from error
    except ValidationError as error:
        names = ", ".join(FilterPart.model_fields)
        invalid = describe_invalid(error, "the filter")
        raise RecipeError(f"The filter '{text}', {invalid}. A filter has {names}.") from error


def format_filter(filter_: Filter) -> str:
    """Return the line that parses back to this filter, in the plain form if there is one."""
    for words, column in _ONCE.items():
        if filter_ == duplicates_filter(column):
            return words
    line = ("not " if filter_.exclude else "") + filter_.column + _plain(filter_)
    try:
        if parse_filter(line) == filter_:
            return line
    except RecipeError:
        pass  # a column or a value that the plain form cannot express
    short = {name: value for name, value in asdict(filter_).items() if value not in (None, False)}
    return orjson.dumps(short).decode()


def _plain(filter_: Filter) -> str:
    """Return the text after the column for the filter's first condition alone."""
    if filter_.low is not None and filter_.high is not None:
        return f" in {_digits(filter_.low)}..{_digits(filter_.high)}"
    if filter_.low is not None:
        return f">={_digits(filter_.low)}"
    if filter_.high is not None:
        return f"<={_digits(filter_.high)}"
    if filter_.contains is not None:
        return f" contains {filter_.contains}"
    if filter_.matches is not None:
        return f"~{filter_.matches}"
    values = filter_.values or ()
    return " is missing" if values == (None,) else "=" + "|".join(str(v) for v in values)


def _digits(number: float) -> str:
    """Format all digits, without a decimal point if the number is whole."""
    return repr(float(number)).removesuffix(".0")
