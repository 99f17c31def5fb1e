"""Charts of a pool, on numbers worked out by hand."""

import re

import numpy as np
import pytest

from pages.ui.charts import pool

PROMPT = np.array([1, 1, 10, 100, 0])
RESPONSE = np.array([100, 100, 100, 10, 10])


def bins(html):
    """Return the numbers of prompts and responses in each bin, from left to right."""
    pairs = re.findall(r"characters: ([\d,]+) prompts, ([\d,]+) responses", html)
    return np.array([[int(n.replace(",", "")) for n in pair] for pair in pairs])


def heights(html):
    """Return the highest point of each shape in percent of the box: prompt, its outline, response, its outline."""
    shapes = re.findall(r"clip-path:polygon\(([^\"]*)\)\"", html)
    return [100 - min(float(y) for y in re.findall(r" ([\d.e-]+)%", shape)) for shape in shapes]


def test_every_row_with_a_text_is_in_one_bin():
    counts = bins(pool.length_histogram(PROMPT, RESPONSE))
    assert counts.sum(axis=0).tolist() == [4, 5]
    assert counts[0].tolist() == [2, 0] and counts[-1].tolist() == [1, 3]


def test_a_bin_is_labelled_by_its_whole_numbers():
    named = re.findall(r'title="([\d, to]+) characters', pool.length_histogram(PROMPT, RESPONSE))
    ends = [[int(n.replace(",", "")) for n in name.split(" to ")] for name in named]
    assert named[:2] == ["1", "2"] and named[-1] == "91 to 100"  # 100.01 / 100.01 ** (1 / 48) is 90.9
    assert [n for first, *last in ends for n in range(first, (last or [first])[0] + 1)] == list(range(1, 101))


def test_heights_are_in_proportion_and_the_highest_bin_fits():
    prompt, rim, response, other = heights(pool.length_histogram(PROMPT, RESPONSE))
    assert prompt == rim and response == other
    assert prompt / response == pytest.approx(2 / 3, rel=1e-3)
    assert response == pytest.approx(100 / 1.04, rel=1e-3)


def test_an_outline_runs_forth_and_back():
    shapes = re.findall(r"clip-path:polygon\(([^\"]*)\)\"", pool.length_histogram(PROMPT, RESPONSE))
    for area, rim in zip(shapes[::2], shapes[1::2], strict=True):
        corners = area.split(",")
        back = [corner.replace("calc(", "").replace(" + 1.5px)", "") for corner in rim.split(",")[len(corners) :]]
        assert back == corners[::-1] and rim.startswith(area)


def test_lengths_have_a_text_description():
    html = pool.length_histogram(PROMPT, RESPONSE)
    assert "prompt 1 to 100, half of them up to 6; response 10 to 100, half of them up to 100" in html


@pytest.mark.parametrize(
    ("prompt", "response"), [([0, 0], [0, 0]), ([7, 7], [0, 0]), ([1], [1_000_000])], ids=["empty", "one side", "wide"]
)
def test_any_lengths_can_be_drawn(prompt, response):
    html = pool.length_histogram(np.array(prompt), np.array(response))
    assert bins(html).sum() == np.count_nonzero(prompt) + np.count_nonzero(response)
    assert "nan" not in html and "inf" not in html


def test_an_axis_of_many_decades_is_labelled_at_powers_of_ten():
    wide = pool.length_histogram(np.array([1]), np.array([100_000]))
    named = re.findall(r"translateX\(-50%\)\">([\d,]+)<", wide)
    assert named == ["1", "10", "100", "1,000", "10,000", "100,000"]


def test_a_short_axis_is_labelled_in_even_steps_of_whole_characters():
    short = pool.length_histogram(np.array([32]), np.array([71]))
    assert re.findall(r"translateX\(-50%\)\">([\d,.]+)<", short) == ["40", "50", "60", "70"]
    tiny = pool.length_histogram(np.array([2]), np.array([3]))
    assert re.findall(r"translateX\(-50%\)\">([\d,.]+)<", tiny) == ["2", "3"]


def rows(html):
    return re.findall(r'title="([^"]*): ([\d,]+) rows"', html)


def test_tasks_keep_their_order_and_their_share_of_the_largest():
    html = pool.task_bars(["qa", None, "code"], np.array([2000, 1000, 500]))
    assert rows(html) == [("qa", "2,000"), ("no task", "1,000"), ("code", "500")]
    assert re.findall(r"width:([\d.]+)%", html) == ["100.00", "50.00", "25.00"]


def test_tasks_beyond_the_limit_are_counted_and_have_no_bar():
    html = pool.task_bars([f"t{k}" for k in range(20)], np.arange(20, 0, -1))
    assert len(rows(html)) == pool.MAX_TASKS + 1
    assert rows(html)[-1] == ("5 more tasks", "15")  # 5 + 4 + 3 + 2 + 1
    widths = [float(width) for width in re.findall(r"width:([\d.]+)%", html)]
    assert widths[0] == max(widths) == 100 and widths[-1] == 0
    assert rows(pool.task_bars([f"t{k}" for k in range(16)], np.full(16, 2)))[-1] == ("1 more task", "2")


def test_highlighted_rows_are_a_part_of_each_bar_and_said_in_words():
    html = pool.task_bars(["qa", None, "code"], np.array([2000, 1000, 500]), np.array([500, 0, 500]))
    assert re.findall(r'title="([^"]*)"', html) == [
        "qa: 2,000 rows, 500 highlighted",
        "no task: 1,000 rows, 0 highlighted",
        "code: 500 rows, 500 highlighted",
    ]
    assert re.findall(r"width:([\d.]+)%", html) == ["100.00", "25.00", "50.00", "25.00", "25.00"]
    many = pool.task_bars([f"t{k}" for k in range(17)], np.full(17, 2), np.arange(17))
    assert "2 more tasks: 4 rows, 31 highlighted" in many  # 15 + 16


def test_lengths_of_highlighted_rows_are_drawn_over_the_others():
    lit = np.array([True, False, False, True, False])
    html = pool.length_histogram(PROMPT, RESPONSE, lit)
    counts = [int(n) for n in re.findall(r"(\d+) highlighted responses", html)]
    assert sum(counts) == 2 and counts[-1] == 1
    prompts_only = pool.length_histogram(PROMPT, np.zeros(5, np.int64), lit)
    assert sum(int(n) for n in re.findall(r"(\d+) highlighted prompts", prompts_only)) == 2


def tags(html):
    return set(re.findall(r"<(\w+)", html))


def test_names_are_escaped():
    hostile = '<img src=x onerror=alert(1)> "quoted" & more'
    assert tags(pool.task_bars([hostile], np.array([3]))) == {"div"}
    assert tags(pool.length_histogram(PROMPT, RESPONSE)) == {"div", "span"}
