"""Text of rows as labels, and formatted numbers."""

import pytest

from pages.ui.shell import show
from pages.ui.words import escape_markdown, model_name


@pytest.mark.parametrize(("n", "words"), [(0, "0"), (15_011, "15,011"), (999_999, "999,999"), (1_234_567, "1.23 M")])
def test_counts(n, words):
    assert show.format_count(n) == words


def test_an_image_in_data_is_no_image_in_a_label():
    escaped = escape_markdown("![x](http://evil/x.png) $a$ :red[b] `c` <b>")
    assert escaped == "\\!\\[x\\]\\(http\\://\u2060evil/x\\.png\\) \\$a\\$ \\:red\\[b\\] \\`c\\` \\<b\\>"


def test_data_in_a_label_stays_on_one_line():
    assert escape_markdown("a\n\n# b") == r"a \# b"


@pytest.mark.parametrize(
    ("name", "words"),
    [("embedded", "built-in model"), ("Qwen/Qwen2.5-0.5B", "Qwen2.5-0.5B"), ("/models/mine/", "mine")],
)
def test_a_model_is_shown_by_the_end_of_its_name(name, words):
    assert model_name(name) == words
