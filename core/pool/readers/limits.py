"""Limits of what is read, so that no file takes all memory or disk space.

WINNOW_MAX_ROW_MB        megabytes of one row (a line, an element, a record); default 64
WINNOW_MAX_UNPACKED_GB   gigabytes that a packed file may unpack to; default 200 times its size, at least 2
"""

import os

from core.errors import PoolError

MAX_ROW_MB = 64.0
MAX_UNPACKED_GB = 2.0
MAX_RATIO = 200  # of text to gzip; ordinary text has 3 to 20
MB, GB = 10**6, 10**9


def max_row_bytes() -> int:
    """Return the bytes that one row may have. Raise PoolError if the setting is not a number."""
    return int(MB * _setting("WINNOW_MAX_ROW_MB", MAX_ROW_MB))


def max_unpacked_bytes(packed: int) -> int:
    """Return the bytes that a packed file of this size may unpack to. PoolError if the setting is not a number."""
    return int(GB * _setting("WINNOW_MAX_UNPACKED_GB", max(MAX_UNPACKED_GB, MAX_RATIO * packed / GB)))


def format_megabytes(size: int) -> str:
    """Format a number of bytes: 64 MB, 1,074 MB."""
    return f"{size / MB:,.4g} MB" if size < 1000 * MB else f"{size / MB:,.0f} MB"


def _setting(name: str, default: float) -> float:
    text = os.environ.get(name, "")
    try:
        value = float(text or default)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise PoolError(f"{name}={text}: write a number above 0, such as {default:g}.")
    return value
