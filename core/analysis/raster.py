"""Dots as a PNG image: small to send for any number of dots, and cheap to draw.

Plotly's own renderer for many dots (WebGL) compiles code at run time, which this server's Content-Security-Policy
forbids; as single shapes 50,000 dots take seconds.
"""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor

from core.schema import IntArray

PIXELS = 1240  # per side of the square image: about two per screen pixel
SIDE = 65535  # positions are integers from 0 to this on both axes: two bytes each, finer than any screen
Places = NDArray[np.uint16]


@dataclass(frozen=True, eq=False)
class Layer:
    """Dots of one size, each with its own colour; later dots are above earlier ones."""

    x: Places  # (S,) 0..SIDE, rightwards
    y: Places  # (S,) upwards
    colours: Sequence[str]  # "#rrggbb"; at most 255 over all layers
    place: IntArray  # (S,) index into `colours`
    radius: float  # of a dot, in pixels
    opacity: float = 1.0
    hole: float = 0.0  # inner radius of a ring


def encode_png(layers: Sequence[Layer]) -> str:
    """Encode the layers on a transparent background as a PNG data URL."""
    canvas = np.zeros((PIXELS, PIXELS), np.uint8)  # 0: transparent
    palette, alpha = [0, 0, 0], [0]
    for layer in layers:
        first = len(alpha)
        paint_dots(canvas, layer, (first + layer.place).astype(np.uint8))
        for colour in layer.colours:
            palette += ImageColor.getrgb(colour)[:3]
            alpha.append(round(255 * layer.opacity))
    image = Image.fromarray(canvas, "P")
    image.putpalette(palette)
    file = BytesIO()
    image.save(file, "PNG", transparency=bytes(alpha), compress_level=5)
    return "data:image/png;base64," + b64encode(file.getvalue()).decode()


def paint_dots(canvas: NDArray[np.uint8], layer: Layer, values: NDArray[np.uint8]) -> None:
    """Write each dot's value into the canvas (H, W), line 0 at the top; dots are clipped at the edges."""
    high, wide = canvas.shape
    column = np.round(layer.x.astype(np.float64) * (wide - 1) / SIDE).astype(np.int64)
    line = np.round((SIDE - layer.y.astype(np.float64)) * (high - 1) / SIDE).astype(np.int64)
    for dx, dy in disc_offsets(layer.radius, layer.hole):
        x, y = column + dx, line + dy
        visible = (x >= 0) & (x < wide) & (y >= 0) & (y < high)
        canvas[y[visible], x[visible]] = values[visible]


def disc_offsets(radius: float, hole: float = 0.0) -> list[tuple[int, int]]:
    """Return the pixels of a disc around (0, 0), or of a ring."""
    reach = range(-int(radius), int(radius) + 1)
    return [(x, y) for x in reach for y in reach if hole**2 <= x * x + y * y <= radius**2 or radius < 1]
