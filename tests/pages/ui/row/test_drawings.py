"""The token strip and the tables of one row: all text is there, in order and escaped; higher values are more opaque."""

import re
import tomllib
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from core.measurement.token_files import BASE, CALIBRATED, TokenView
from pages.ui.row import drawings
from pages.ui.row.drawings import RankLine, ScoreLine

HOSTILE = [
    '<script>alert("x")</script>',
    "![beacon](http://evil.example/x.png)",
    "\"><img src=x onerror='alert(1)'>",
    "</span></div>",
    "&lt;b&gt;",
    "\u202eright to left",
    "a\nb",
]


class ParsedHtml(HTMLParser):
    """Every tag with its attributes, and the text between them."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text, self.depth = [], "", 0
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.depth += tag != "br"

    def handle_endtag(self, tag):
        self.depth -= 1

    def handle_data(self, data):
        self.text += data


def row(texts, nll=1.0, entropy=2.0, starts=(0,)):
    n = len(texts)
    return TokenView(tuple(texts), np.full(n, nll, np.float32), np.full(n, entropy, np.float32), tuple(starts))


def opacities(html):
    """Return the opacity of each token's fill, in order."""
    return [float(a) for a in re.findall(r'<span title="[^"]*" style="background:rgba\([\d, ]+, ([\d.]+)\)', html)]


def test_the_strip_is_the_text_of_the_row():
    read = ParsedHtml(drawings.token_strip({BASE: row(["It", " is", "", "日", ".\n", "So"])}, "nll", 600))
    assert read.text == f"It is{drawings.PARTIAL_CHARACTER}日.{drawings.LINE_END}\nSo"


@pytest.mark.parametrize("after", [False, True])
def test_text_of_a_pool_stays_text(after):
    views = {BASE: row(HOSTILE)} | ({CALIBRATED: row(HOSTILE)} if after else {})
    read = ParsedHtml(drawings.token_strip(views, "entropy", 600))
    assert {tag for tag, _ in read.tags} <= {"div", "span"}
    assert {name for _, given in read.tags for name in given} <= {"style", "title", "role", "aria-label"}
    assert read.text.replace(drawings.LINE_END, "") == "".join(HOSTILE)
    assert read.depth == 0


def test_names_of_methods_and_reasons_stay_text():
    lines = [RankLine(text, None, 5, False, text) for text in HOSTILE]
    scores = [ScoreLine(text, text, text, 1.0, 0.5, text) for text in HOSTILE]
    for html in (drawings.rank_table(lines, HOSTILE[0]), drawings.score_table(scores)):
        read = ParsedHtml(html)
        assert {tag for tag, _ in read.tags} <= {"div", "span"}
        assert all(text in read.text for text in HOSTILE)
        assert read.depth == 0


def test_opacity_grows_with_the_value_up_to_a_limit():
    nll = np.array([0, 0.5, 2, 4, 8, 30], np.float32)
    view = TokenView(("a",) * 6, nll, nll[::-1], (0,))
    fills = opacities(drawings.token_strip({BASE: view}, "nll", 600))
    assert fills == pytest.approx(drawings.MAX_OPACITY * np.minimum(nll / 8, 1), abs=1e-3)
    assert opacities(drawings.token_strip({BASE: view}, "entropy", 600)) == fills[::-1]


def test_a_bar_under_each_token_shows_its_value_after_the_warm_up():
    html = drawings.token_strip({BASE: row("ab", nll=8), CALIBRATED: row("ab", nll=4)}, "nll", 600)
    bars = [float(a) for a in re.findall(r"border-bottom:5px solid rgba\([\d, ]+, ([\d.]+)\)", html)]
    assert bars == pytest.approx([drawings.MAX_OPACITY / 2] * 2, abs=1e-3)
    assert "border-bottom" not in drawings.token_strip({BASE: row("ab")}, "nll", 600)


def test_hovering_shows_both_figures_in_both_states():
    views = {BASE: row([" so"], nll=3, entropy=2), CALIBRATED: row([" so"], nll=1.5, entropy=0.25)}
    titles = [
        given["title"] for tag, given in ParsedHtml(drawings.token_strip(views, "nll", 600)).tags if tag == "span"
    ]
    assert titles == ["' so': NLL 3.00 → 1.50, H 2.00 → 0.25 nats"]
    alone = ParsedHtml(drawings.token_strip({BASE: views[BASE]}, "nll", 600)).tags[1][1]["title"]
    assert alone == "' so': NLL 3.00, H 2.00 nats"


def test_a_long_response_is_cut_and_answers_begin_on_a_line_of_their_own():
    html = drawings.token_strip({BASE: row(["x"] * 50, starts=(0, 3, 40))}, "nll", 20)
    assert ParsedHtml(html).text == "x" * 20
    assert html.count("<br>") == 1


def test_the_score_table_shows_value_percentile_and_meaning():
    scores = [
        ScoreLine("delta_entropy", "ΔH", "how", 0.25, 0.838, "surprising"),
        ScoreLine("answers_counted", "K", "", 5, None, "nothing"),
    ]
    table = drawings.score_table(scores)
    text = ParsedHtml(table).text
    assert "ΔH0.2583%surprising" in text and "K5–nothing" in text
    assert table.count("<a ") == 1 and 'href="#glossary-delta_entropy"' in table  # a score with an entry


def test_the_rank_table_shows_the_rank_or_why_there_is_none():
    lines = [
        RankLine("One", 0, 2400, True, "always included"),
        RankLine("Two", None, 9, False, "excluded: no response"),
    ]
    text = ParsedHtml(drawings.rank_table(lines, "10 %")).text
    assert "1 of 2,4000.0%selected · always included" in text
    assert "Two–unselected · excluded: no response" in text


# Colours


def luminance(rgb):
    line = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in np.asarray(rgb) / 255]
    return float(np.dot([0.2126, 0.7152, 0.0722], line))


def rgb(colour):
    return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)], float)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("share", [0, 0.5, 1])
def test_text_of_either_theme_is_readable_on_any_fill(theme, share):
    looks = tomllib.loads((Path(__file__).parents[4] / ".streamlit/config.toml").read_text())["theme"][theme]
    opacity = drawings.MAX_OPACITY * share
    fill = opacity * rgb(drawings.HEAT) + (1 - opacity) * rgb(looks["backgroundColor"])
    light, dark = sorted((luminance(fill), luminance(rgb(looks["textColor"]))), reverse=True)
    assert (light + 0.05) / (dark + 0.05) > 4.5
