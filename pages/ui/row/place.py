"""The reader's place in a list of rows: it stays at its row when a pin or a slider changes the list."""

import zlib
from dataclasses import dataclass, replace

import numpy as np

from core.schema import IntArray
from pages.ui.shell import state


@dataclass(frozen=True)
class Place:
    """The open row, its position in a list, and that list."""

    row: int
    position: int
    rows: int | None  # checksum of the list; None: the next list that is drawn, whether or not it has the row
    picked: bool = True  # the user opened it; False: it merely comes first


def checksum(rows: IntArray) -> int:
    """Return a checksum of the rows and their order."""
    return zlib.crc32(np.ascontiguousarray(rows).tobytes())


def find_place(rows: IntArray, place: Place | None) -> tuple[Place, bool]:
    """Return the place in `rows`, which are not empty, and whether the row is one of them.

    A row that left the list with its pin stays open as long as the list stays the same; any other that is not in the
    list gives way to the first row.
    """
    now = checksum(rows)
    if place is not None and place.picked:
        found = np.flatnonzero(rows == place.row)
        if len(found):
            return replace(place, position=int(found[0]), rows=now), True
        if place.rows in (None, now):
            return replace(place, position=min(place.position, len(rows)), rows=now), False
    return Place(int(rows[0]), 0, now, picked=False), True


def place_of(key: str) -> Place | None:
    """Return the place that is stored for the reader `key`."""
    place: Place | None = state.session_value(f"{key}.place")
    return place


def keep_place(key: str, place: Place) -> None:
    """Store the place of the reader `key`."""
    state.set_widget(f"{key}.place", place)
