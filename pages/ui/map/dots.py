"""Dots that the browser draws: which rows are sent, their colours, and how each is drawn.

Positions, row numbers and first words of a set of dots are sent once, by an address of their own; a colour and flags
of each are sent with every change.
"""

import json
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from core.analysis.projection import sample_by_group
from core.analysis.raster import Places
from core.schema import BoolArray, IntArray, Pool
from pages.ui.charts.figures import shorten
from pages.ui.charts.scales import mix_colours
from pages.ui.data import cached
from pages.ui.data.bins import Values, rows_in_box
from pages.ui.data.grouping import Grouping
from pages.ui.map import job
from pages.ui.map.colours import Colours, ContinuousColours
from pages.ui.map.view import MapLayout
from pages.ui.theme import REST

# Lightness grows from blue to yellow: readable with any colour vision, on white and on the dark background.
SCALE = ("#4B4FC4", "#8A4BB0", "#B5458F", "#DB5E62", "#E98A3F", "#E8B73A")
SCALE_STEPS = 64  # colours of the scale
SCALE_QUANTILES = (0.02, 0.98)  # quantiles at the ends of the scale
FEW, SOME = 3_000, 15_000  # row counts up to which dots are large, or medium-sized
RADII = (2.3, 1.7, 1.2)  # pixels
MAX_DOTS = 50_000  # dots of a set
MAX_LIT = 5_000  # highlighted rows outside the sample that are sent too
MAX_SETS = 9  # cached, for all visitors: about 3 MB each
MAX_CHARACTERS = 56  # characters of a row's text; fewer if the total would exceed the next limit
MAX_TEXT_BYTES = 2_500_000  # bytes of text over all rows
FEW_WORDS = 5_000  # rows up to which prompts are read one by one, instead of a slice of all
GREY = 255  # code of a dot without a colour
BRIGHT, LIT, PINNED = 1, 2, 4  # flags
Window = tuple[float, float, float, float]  # x low, x high, y low, y high


@dataclass(frozen=True, eq=False)
class Dots:
    """Rows that are sent, with their positions. All (S,)."""

    rows: IntArray
    x: Places
    y: Places
    words: Sequence[str]  # first words of each row
    key: str  # identifies the set

    def body(self) -> bytes:
        """Return what the browser fetches: arrays as base64, words as they are."""
        arrays = {"x": self.x, "y": self.y, "row": self.rows.astype(np.uint32)}
        return json.dumps({name: pack(values) for name, values in arrays.items()} | {"words": self.words}).encode()


def pack(values: NDArray[np.generic]) -> str:
    """Return the bytes of an array as base64."""
    return b64encode(np.ascontiguousarray(values).tobytes()).decode()


@dataclass(frozen=True)
class Sent:
    """The sets of dots that the browser draws; no row is in two of them."""

    sets: tuple[Dots, ...]
    total: int  # rows on the map
    zoomed: bool = False  # to a part of the map, where more rows than in the sample are sent
    complete: bool = True  # whether all rows are sent, or all in that part

    @property
    def rows(self) -> int:
        """Return the number of rows."""
        return sum(len(dots.rows) for dots in self.sets)

    @property
    def words(self) -> str:
        """Return how many rows have a dot."""
        if self.whole:
            return f"All {self.total:,} rows shown"
        more = "all rows in view" if self.complete else "zoom in to see all rows of a part"
        return f"{self.rows:,} of {self.total:,} rows shown over the density of all rows; {more}"

    @property
    def whole(self) -> bool:
        """Return whether the first set has all rows, so that no zoom shows more."""
        return len(self.sets[0].rows) == self.total


# Which rows


def choose_dots(
    pool: Pool, map_layout: MapLayout, groups: Grouping, pinned: IntArray, lit: BoolArray | None, window: Window | None
) -> Sent:
    """Return the rows that have a dot: a sample of the map, all rows in the window, and the highlighted rows."""
    base, total = sample_dots(pool, map_layout, groups, pinned), len(map_layout.rows)
    if len(base.rows) == total:
        return Sent((base,), total)
    sets, complete = [base], False
    if window is not None:
        more, complete = window_dots(pool, map_layout, window, base.rows)
        sets.append(more)
    if lit is not None:
        sets.append(lit_dots(pool, map_layout, lit, np.concatenate([dots.rows for dots in sets])))
    return Sent(tuple(sets), total, window is not None, complete)


def sample_dots(pool: Pool, map_layout: MapLayout, groups: Grouping, pinned: IntArray) -> Dots:
    """Return the rows of the whole map: all, or a fixed sample by task that includes every pinned row."""
    return _sample_dots(map_layout.key, groups.key, pinned.tobytes(), pool, map_layout, groups)


@cached.keep(cached.MAX_POOLS)
def _sample_dots(key: str, tasks: str, pinned: bytes, pool: Pool, _layout: MapLayout, _groups: Grouping) -> Dots:
    keep = np.flatnonzero(np.isin(_layout.rows, np.frombuffer(pinned, np.int64)))
    rows = sample_by_group(_groups.codes[_layout.rows], MAX_DOTS, seed=job.SEED, include=keep)
    return make_dots(pool, _layout, _layout.rows[rows])


def window_dots(pool: Pool, map_layout: MapLayout, window: Window, sent: IntArray) -> tuple[Dots, bool]:
    """Return the rows in a part of the map that are not yet `sent`, at most MAX_DOTS, and whether these are all."""
    inside = _without(rows_in_box(map_layout.x, map_layout.y, list(window[:2]), list(window[2:])), sent, len(pool))
    some = inside[sample_by_group(np.zeros(len(inside), np.int64), MAX_DOTS, seed=job.SEED)]
    return make_dots(pool, map_layout, some), len(some) == len(inside)


def lit_dots(pool: Pool, map_layout: MapLayout, lit: BoolArray, sent: IntArray) -> Dots:
    """Return the highlighted rows that are not yet `sent`, at most MAX_LIT, a fixed sample of more."""
    rest = _without(map_layout.rows[lit[map_layout.rows]], sent, len(pool))
    return make_dots(pool, map_layout, rest[sample_by_group(np.zeros(len(rest), np.int64), MAX_LIT, seed=job.SEED)])


def _without(rows: IntArray, others: IntArray, n: int) -> IntArray:
    """Return those of `rows` that are not in `others`, in their order; both are below n."""
    keep = np.ones(n, np.bool_)
    keep[others] = False
    return rows[keep[rows]]


def make_dots(pool: Pool, map_layout: MapLayout, rows: IntArray) -> Dots:
    """Return dots for these rows."""
    key = sha256(f"{pool.fingerprint} {map_layout.key}".encode() + rows.tobytes()).hexdigest()
    return _make_dots(key, pool, map_layout, rows)


@cached.keep(MAX_SETS)
def _make_dots(key: str, _pool: Pool, _layout: MapLayout, _rows: IntArray) -> Dots:
    x, y = (np.round(side[_rows]).astype(np.uint16) for side in (_layout.x, _layout.y))
    return Dots(_rows, x, y, first_words(_pool, _rows), key)


def first_words(pool: Pool, rows: IntArray) -> list[str]:
    """Return the start of each prompt on one line. The browser sets it as text, so it needs no escaping."""
    prompts = pool.rows["prompt"]
    if len(rows) <= FEW_WORDS:
        return [
            shorten(" ".join(prompts[int(row)].as_py()[: MAX_CHARACTERS + 1].split()), MAX_CHARACTERS) for row in rows
        ]
    starts = pc.utf8_slice_codeunits(prompts, 0, MAX_CHARACTERS + 1).take(pa.array(rows))
    size = pc.sum(pc.binary_length(starts)).as_py() or 0
    longest = min(MAX_CHARACTERS, MAX_CHARACTERS * MAX_TEXT_BYTES // max(size, 1))
    return [shorten(" ".join(text.split()), longest) for text in starts.to_pylist()]


# Colours


def palette(colours: Colours) -> list[str]:
    """Return the colours that codes index into."""
    is_scale = isinstance(colours, ContinuousColours)
    return mix_colours(SCALE, SCALE_STEPS) if is_scale else list(colours.colours.values())


def colour_codes(colours: Colours, rows: IntArray) -> NDArray[np.uint8]:
    """Return each row's colour as an index into the palette, (S,); GREY without a number or a category of its own."""
    is_scale = isinstance(colours, ContinuousColours)
    places = _scale_steps(colours, rows) if is_scale else colours.codes[rows]
    grey = [k for k, colour in enumerate(palette(colours)) if colour == REST]
    return np.where((places < 0) | np.isin(places, grey), GREY, places).astype(np.uint8)


def flags(rows: IntArray, bright: BoolArray, lit: BoolArray | None, pinned: IntArray) -> NDArray[np.uint8]:
    """Return how each row is drawn, (S,): BRIGHT in its colour, LIT as highlighted, PINNED with a ring."""
    marks = BRIGHT * bright[rows] + PINNED * np.isin(rows, pinned)
    return (marks if lit is None else marks + LIT * lit[rows]).astype(np.uint8)


def _scale_steps(colours: ContinuousColours, rows: IntArray) -> IntArray:
    """Return each row's step of the scale, (S,), −1 without a number."""
    values = colours.values[rows].astype(np.float64)
    low, high = scale_limits(colours.values)
    step = np.clip((values - low) / max(high - low, 1e-12), 0, 1) * (SCALE_STEPS - 1)
    return np.where(np.isfinite(step), np.round(np.nan_to_num(step)), -1).astype(np.int64)


def scale_limits(values: Values) -> tuple[float, float]:
    """Return the ends of the scale, outer quantiles of the finite values."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return 0.0, 1.0
    low, high = np.quantile(finite, SCALE_QUANTILES).tolist()
    return low, high


def dot_radius(n: int) -> float:
    """Return the radius of one of n dots on the whole map, in pixels."""
    return RADII[0 if n <= FEW else 1 if n <= SOME else 2]
