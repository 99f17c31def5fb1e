"""Contrast of all text of a page with what is really behind it: a picture of the page without its text.

Text drawn on a canvas (the cells of tables) is no node of the page and is not measured. Icons and the markers of charts
are not text; disabled controls are exempt (WCAG 2.2, 1.4.3).
"""

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Page

LEAST = 4.5  # to 1, for text of every size
SHARE = 0.15  # of a text's area; a colour behind less of it is a line or an edge
Colours = NDArray[np.float64]  # (..., 3) sRGB from 0 to 255

_HIDE = """
*, *::before, *::after, *::placeholder { color: transparent !important; -webkit-text-fill-color: transparent !important;
    text-shadow: none !important; caret-color: transparent !important; transition: none !important;
    animation: none !important; }
svg text, svg tspan { fill: transparent !important; stroke: transparent !important; }
"""

# Every visible piece of text: its words, the colour it is painted in with all opacities, and the boxes of its lines.
_COLLECT = """() => {
  const pieces = [];
  const skipped = "[disabled], [aria-disabled=true], [aria-hidden=true], [data-testid=stIconMaterial], script, style";
  const shown = (box) => box.width > 1 && box.height > 1 && box.bottom > 0 && box.top < innerHeight;
  function add(element, words, colour, boxes) {
    if (!words.trim() || element.closest(skipped) || !element.checkVisibility({visibilityProperty: true})) return;
    if (element.closest("label")?.querySelector(":disabled")) return;
    let opacity = 1;
    for (let each = element; each; each = each.parentElement) opacity *= Number(getComputedStyle(each).opacity);
    let [red, green, blue, alpha = 1] = colour.match(/[\\d.]+/g).map(Number);
    if (colour.startsWith("color(srgb")) [red, green, blue] = [255 * red, 255 * green, 255 * blue];
    boxes = boxes.filter(shown).map((box) => [box.left, box.top, box.right, box.bottom]);
    if (boxes.length && alpha * opacity > 0.02)
      pieces.push({words: words.trim().slice(0, 60), colour: [red, green, blue], alpha: alpha * opacity, boxes,
                   where: element.closest("[data-testid]")?.dataset.testid ?? ""});
  }
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement, style = getComputedStyle(element), range = document.createRange();
    range.selectNodeContents(walker.currentNode);
    const colour = element.ownerSVGElement ? style.fill : style.webkitTextFillColor;
    if (colour !== "none") add(element, walker.currentNode.textContent, colour, [...range.getClientRects()]);
  }
  const fields = "input:not([type=hidden], [type=checkbox], [type=radio], [type=range]), textarea";
  for (const field of document.querySelectorAll(fields)) {
    const style = getComputedStyle(field, field.value ? null : "::placeholder");
    add(field, field.value || field.placeholder, style.webkitTextFillColor, [field.getBoundingClientRect()]);
  }
  return pieces;
}"""


@dataclass(frozen=True)
class Faint:
    """A text with too little contrast."""

    ratio: float
    words: str
    where: str  # nearest test id
    colours: str  # of the text, and behind it


def faint_texts(page: Page) -> list[Faint]:
    """Return the texts in view that have a contrast below LEAST with a colour behind them, faintest first."""
    pieces = page.evaluate(_COLLECT)
    style = page.add_style_tag(content=_HIDE)
    picture = np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB"), np.float64)
    style.evaluate("element => element.remove()")
    found = []
    for piece in pieces:
        behind = _colours_behind(picture, piece["boxes"])
        text = piece["alpha"] * np.array(piece["colour"], np.float64) + (1 - piece["alpha"]) * behind
        ratios = contrast(text, behind)
        if len(behind) and ratios.min() < LEAST:
            worst = int(ratios.argmin())
            colours = f"{_name(text[worst])} on {_name(behind[worst])}"
            found.append(Faint(round(float(ratios[worst]), 2), piece["words"], piece["where"], colours))
    return sorted(found, key=lambda one: one.ratio)


def _colours_behind(picture: Colours, boxes: list[list[float]]) -> Colours:
    """Return the colours (n, 3) that lie behind at least SHARE of the boxes."""
    parts = [picture[round(t) : round(b), round(x0) : round(x1)].reshape(-1, 3) for x0, t, x1, b in boxes]
    pixels = np.concatenate(parts)
    colours, counts = np.unique(pixels, axis=0, return_counts=True)
    return colours[counts >= SHARE * max(1, len(pixels))]


def contrast(one: Colours, other: Colours) -> NDArray[np.float64]:
    """Return the contrast (WCAG) of colours, elementwise: 1 to 21."""
    light, dark = (f(luminance(one), luminance(other)) for f in (np.maximum, np.minimum))
    return (light + 0.05) / (dark + 0.05)


def luminance(colours: Colours) -> NDArray[np.float64]:
    """Return the relative luminance (WCAG) of colours, 0 to 1."""
    shares = colours / 255
    linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    return linear @ np.array([0.2126, 0.7152, 0.0722])


def _name(colour: Colours) -> str:
    return "#" + "".join(f"{round(c):02X}" for c in colour)
