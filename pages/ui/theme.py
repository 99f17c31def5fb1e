"""Colours with a meaning, the same on every page and in both themes.

Chosen to be distinct under protanopia, deuteranopia and tritanopia (at least 17 in CIE76 Lab, simulated after
Machado et al. 2009), and visible on white and on the dark background alike, so that nothing depends on which theme is
active. Where colour carries meaning, a word or a shape carries it too.
The same values begin `chartCategoricalColors` in .streamlit/config.toml.
"""

SELECTED = "#2F7FC1"  # selected rows
REST = "#8C949E"  # rows that are not selected: greyed, never hidden
RANDOM = "#D19A1B"  # the random baseline
WARNING = "#CC3D12"  # cutoff lines, faults, warnings
BAND = "#2FAE66"  # the range that a filter keeps
PINNED = "#A8336F"  # pinned rows
HIGHLIGHT = "#9C24FC"  # highlighted rows

EXTRA = ("#5B5BD6", "#4E9AA8")  # further series without a meaning of their own
GRID = "rgba(128, 138, 150, 0.22)"  # axis and grid lines on either background


def contrast(one: str, other: str) -> float:
    """Return the contrast (WCAG 2.2) of two colours, 1 to 21."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    shares = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return sum(weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def faint(colour: str, opacity: float) -> str:
    """Return the colour with an opacity, for bands and areas behind other marks."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, {opacity})"
