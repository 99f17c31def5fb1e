"""Colours with a meaning, the same on every page and in both themes.

Chosen to stay apart under protanopia, deuteranopia and tritanopia (at least 17 in CIE76 Lab, simulated after
Machado et al. 2009), and to be seen on white and on the dark background alike: so nothing depends
on knowing which theme is on. Where colour carries meaning, a word or a shape carries it too.
The same values head `chartCategoricalColors` in .streamlit/config.toml.
"""

SELECTED = "#2F7FC1"  # rows that are chosen
REST = "#8C949E"  # rows that are not: greyed, never hidden
RANDOM = "#D19A1B"  # the random control
WARNING = "#CC3D12"  # cut lines, faults, what to look at twice
BAND = "#2FAE66"  # the band a filter keeps
PINNED = "#A8336F"  # rows put in or out by hand

EXTRA = ("#5B5BD6", "#4E9AA8")  # further series without a meaning of their own
GRID = "rgba(128, 138, 150, 0.22)"  # axis and grid lines on either background


def faint(colour: str, opacity: float) -> str:
    """The same colour, see-through: for bands and areas behind something else."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, {opacity})"
