"""Text of rows as labels, and formatted numbers."""

import time

import pytest

from pages.ui.shell import show
from pages.ui.shell.show import split_code
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


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("Just words.\n\n  indented", [(False, "Just words.\n\n  indented")]),
        (
            "Run:\n```python\ndef f():\n    return 1\n```\nDone.",
            [(False, "Run:"), (True, "def f():\n    return 1"), (False, "Done.")],
        ),
        ("~~~\na\n```\nb\n~~~", [(True, "a\n```\nb")]),
        ("```\nnever closed", [(False, "```\nnever closed")]),
        ("```\n```", []),
        ("", []),
        ("![x](http://evil) <b> `a`", [(False, "![x](http://evil) <b> `a`")]),
    ],
)
def test_code_between_fences_is_code_and_all_else_is_prose(content, parts):
    assert split_code(content) == parts


def test_many_unclosed_fences_cost_no_more_than_their_lines():
    content = "```x\n~~~y\n" * 50_000
    began = time.perf_counter()
    assert "```x" in split_code(content)[0][1]
    assert time.perf_counter() - began < 2
