"""Figures are well-formed, hold no text that a browser would run, and put marks where the numbers are."""

import re
from xml.etree import ElementTree

import numpy as np

from core.output.report import svg

HOSTILE = '</text><script>alert(1)</script><img src=x onerror="alert(1)">&<>"'
NAMESPACE = "{http://www.w3.org/2000/svg}"


def parse(figure):
    return ElementTree.fromstring(figure)


def texts(figure):
    return [node.text for node in parse(figure).iter("text")]


def test_a_histogram_stacks_its_layers_and_marks_the_cutoff():
    layers = {"selected": np.array([3, 0]), "unselected": np.array([1, 4])}
    figure = svg.histogram(np.array([0.0, 1.0, 2.0]), layers, title="ΔH", marks={0.5: 1.0}, cutoff=1.0, log=False)
    back, front = (node.get("points") for node in parse(figure).iter("polygon"))
    tops = [min(float(point.split(",")[1]) for point in points.split()) for points in (back, front)]
    assert tops[0] < tops[1]  # the sum is higher than the first layer, behind it
    (line,) = (node for node in parse(figure).iter("line") if node.get("class") == "cutoff")
    assert float(line.get("x1")) == svg.WIDTH / 2
    assert {"cutoff 1", "median", "ΔH"} <= set(texts(figure))
    assert parse(figure).get("aria-label") == "Histogram of ΔH: 3 selected, 5 unselected rows"


def test_a_curve_is_broken_where_there_is_no_overlap_to_speak_of():
    values = np.array([np.nan, 0.0, 1.0])
    figure = svg.overlap_curve(np.array([0, 0.5, 1]), values, values, values, at=0.1, title="Random")
    (path,) = parse(figure).iter("path")
    assert re.fullmatch(r"M[\d.]+ 128\.0L[\d.]+ 24\.0", path.get("d"))


def test_a_forest_puts_lower_on_the_left_and_says_which_side_is_better():
    effects = [
        svg.Effect("a", -0.2, -0.3, -0.1, "better", "−0.200", own=True),
        svg.Effect("b", 0.1, 0, 0.2, "none", "+"),
    ]
    figure = svg.forest(effects, smallest=0.01, title="nats", lower_is_better=True)
    shapes = {node.get("class"): node.get("points") for node in parse(figure).iter("polygon")}
    (disc,) = parse(figure).iter("circle")
    zero = next(float(node.get("x1")) for node in parse(figure).iter("line") if node.get("class") == "random")
    assert float(shapes["better"].split(",")[0]) < zero < float(disc.get("cx"))
    assert "← better" in texts(figure)
    assert "← worse" in texts(svg.forest(effects, smallest=0.01, title="nats", lower_is_better=False))


def test_names_are_text_in_every_figure():
    line = np.array([0.0, 1.0])
    figures = [
        svg.histogram(line, {"selected": np.array([1])}, title=HOSTILE, marks={}, cutoff=None, log=False),
        svg.overlap_curve(line, line, line, line, at=0.5, title=HOSTILE),
        svg.forest([svg.Effect(HOSTILE, 1, 0, 2, "worse", HOSTILE)], smallest=0, title=HOSTILE, lower_is_better=True),
    ]
    for figure in figures:
        assert {node.tag for node in parse(figure).iter()} <= {"svg", "text", "line", "polygon", "path", "circle"}
        assert any("<script>" in (words or "") or "</text>" in (words or "") for words in texts(figure))
