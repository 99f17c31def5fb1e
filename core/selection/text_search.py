"""Search a column of text for words or a pattern, without one Python string per row.

Arrow searches with RE2, in time linear in the text for any pattern (https://github.com/google/re2), so no pattern
can stall on a text; it has no look-ahead and no back-references. The cost of a pattern per character grows with its
counted repetitions, so those are bounded too. Long columns are searched in blocks, with a time limit for all of them.
"""

import re
from collections.abc import Callable, Sequence
from functools import partial
from time import monotonic
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from core.errors import RecipeError
from core.schema import BoolArray

LIMIT_S = 30.0  # for one column; a million rows of a thousand characters take about 2 s
FIRST, LAST = 16, 65_536  # rows of a block: it grows while blocks are quick
QUICK_S, SLOW_S = 0.1, 0.5
MAX_PATTERN_CHARS = 1_000  # characters of a pattern
MAX_REPETITION = 5_000  # its length times the sum of its counted repetitions

_COUNTED = re.compile(r"\{(\d+)(?:,(\d*))?\}")


def is_unicode(text: str) -> bool:
    """Return whether a text can be written as UTF-8: it has no lone surrogates."""
    return text.isascii() or text == text.encode("utf-8", "replace").decode()


def arrow_text(column: Any) -> pa.ChunkedArray:
    """Convert a column of text to Arrow; NumPy arrays of str and None are accepted too."""
    if isinstance(column, np.ndarray):
        return pa.chunked_array([pa.array(column, pa.string(), from_pandas=True)])
    return column


def contains_text(column: Any, words: str, *, limit_s: float = LIMIT_S) -> BoolArray:
    """Return (N,) whether each text contains these words, ignoring case; False if it is missing."""
    find = partial(pc.match_substring, pattern=words, ignore_case=True)
    return _in_blocks(arrow_text(column), find, f"The search for '{words}'", limit_s)


def matches_pattern(column: Any, pattern: str, *, limit_s: float = LIMIT_S) -> BoolArray:
    """Return (N,) whether the regular expression matches anywhere in each text; False if it is missing."""
    find = partial(pc.match_substring_regex, pattern=pattern)
    return _in_blocks(arrow_text(column), find, f"The pattern '{pattern}'", limit_s)


def is_one_of(column: Any, values: Sequence[str | None]) -> BoolArray:
    """Return (N,) whether each text is one of `values`; None matches missing texts."""
    texts = arrow_text(column)
    match = pc.is_in(texts, value_set=pa.array([v for v in values if v is not None], texts.type))
    return np.asarray(pc.or_(match, texts.is_null()) if None in values else match)


def check_pattern(pattern: str) -> None:
    """Raise RecipeError if a pattern cannot be used, with what is wrong with it."""
    if len(pattern) > MAX_PATTERN_CHARS:
        raise RecipeError(f"A pattern may have {MAX_PATTERN_CHARS:,} characters; this one has {len(pattern):,}.")
    counted = sum(int(high or low) for low, high in _COUNTED.findall(pattern))
    if len(pattern) * counted > MAX_REPETITION:
        raise RecipeError(
            f"The pattern '{pattern}' repeats too often ({counted:,} times in total) for a fast search. Use * or + "
            "instead of {n}."
        )
    try:
        pc.match_substring_regex(pa.array([""]), pattern)
    except pa.ArrowInvalid as error:
        reason = str(error).removeprefix("Invalid regular expression: ")
        raise RecipeError(
            f"The pattern '{pattern}' is not valid: {reason}. Look-ahead and back-references are not supported; a "
            "\\ makes . ( [ { * + ? | ^ $ plain characters."
        ) from error


def _in_blocks(texts: pa.ChunkedArray, find: Callable[[pa.ChunkedArray], Any], what: str, limit_s: float) -> BoolArray:
    """Apply `find` to all texts; RecipeError if it takes longer than `limit_s`, checked between two blocks."""
    mask = np.zeros(len(texts), np.bool_)
    began, size, start = monotonic(), FIRST, 0
    while start < len(texts):
        if (now := monotonic()) - began > limit_s:
            raise RecipeError(
                f"{what} takes more than {limit_s:g} s on these {len(texts):,} texts. Nothing has changed; use a "
                "simpler search."
            )
        mask[start : start + size] = pc.fill_null(find(texts.slice(start, size)), False)
        start += size
        took = monotonic() - now
        size = min(2 * size, LAST) if took < QUICK_S else max(1, size // 4) if took > SLOW_S else size
    return mask
