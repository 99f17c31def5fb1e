"""Dots as a picture."""

from base64 import b64decode
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from core.analysis import raster
from core.analysis.raster import PIXELS, SIDE, Layer


def test_dots_by_hand():
    canvas = np.zeros((3, 5), np.uint8)
    corners = np.array([0, SIDE, 0], np.uint16), np.array([0, SIDE, SIDE], np.uint16)
    layer = Layer(*corners, ["#000000"] * 3, np.arange(3), 0.5)
    raster.paint_dots(canvas, layer, np.array([1, 2, 3], np.uint8))
    assert canvas.tolist() == [[3, 0, 0, 0, 2], [0, 0, 0, 0, 0], [1, 0, 0, 0, 0]]  # row 0 is at the top
    raster.paint_dots(canvas, Layer(*corners, [], np.arange(3), 1.0), np.array([1, 2, 3], np.uint8))
    assert canvas.tolist() == [[3, 3, 0, 2, 2], [3, 0, 0, 0, 2], [1, 1, 0, 0, 0]]  # clipped at the edges


def test_a_disc_and_a_ring():
    assert sorted(raster.disc_offsets(1)) == [(-1, 0), (0, -1), (0, 0), (0, 1), (1, 0)]
    assert sorted(raster.disc_offsets(1, hole=1)) == [(-1, 0), (0, -1), (0, 1), (1, 0)]
    assert raster.disc_offsets(0.5) == [(0, 0)]


def test_the_image_is_a_png_that_is_transparent_between_dots():
    middle = np.array([SIDE // 2], np.uint16)
    address = raster.encode_png([Layer(middle, middle, ["#102030"], np.array([0]), 0.5, 0.5)])
    assert address.startswith("data:image/png;base64,")
    image = np.asarray(Image.open(BytesIO(b64decode(address.split(",")[1]))).convert("RGBA"))
    assert image.shape == (PIXELS, PIXELS, 4)
    ((y, x),) = np.argwhere(image[:, :, 3])
    assert image[y, x].tolist() == [0x10, 0x20, 0x30, 128] and (x, y) == pytest.approx((PIXELS / 2, PIXELS / 2), abs=1)
