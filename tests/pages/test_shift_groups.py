"""Entropy shift calibrated per group, on the pages: its settings, its groups, its seats, its start model."""

import json

import numpy as np
import pytest

from core.measurement.run_data import load_measured
from tests.pages.conftest import grouped_shift_run
from tests.pages.test_explore import click, lit


@pytest.fixture
def grouped(workspace, pool):
    return grouped_shift_run(workspace, pool)


@pytest.fixture
def open_page(grouped, app):
    """Return a function that opens a page with the grouped run in use."""

    def show(page, **params):
        at = app("measure")
        at.text_input(key="form.entropy_shift.per").set_value("category").run()
        assert not at.exception
        if page != "measure":
            at.switch_page(f"pages/{page}.py").run()
            assert not at.exception
        return at

    return show


def page_text(at) -> str:
    return "\n".join(
        str(part.value) for part in (*at.title, *at.subheader, *at.caption, *at.warning, *at.error)
    ).replace("\\", "")


def test_the_form_offers_the_field_and_then_the_smallest_group(pool, app):
    at = app("measure")
    keys = {widget.key for widget in at.number_input}
    assert "form.entropy_shift.min_group" not in keys
    at.text_input(key="form.entropy_shift.per").set_value("metadata.source").run()
    at.number_input(key="form.entropy_shift.min_group").set_value(50).run()
    command = next(block.value for block in at.code if "core measure" in block.value)
    assert "--set per=metadata.source --set min_group=50" in command
    at.text_input(key="form.entropy_shift.per").set_value("").run()
    assert not at.exception
    assert "per=" not in next(block.value for block in at.code if "core measure" in block.value)


def test_the_measure_page_lists_groups_and_says_what_it_started_from(open_page):
    at = open_page("measure")
    text = page_text(at)
    assert "3 groups of category, each calibrated separately." in text
    assert "Warm-up training started from a tuned model (its tokenizer has a chat template" in text
    assert "the paper trains a base model, one domain at a time" in text
    table = at.dataframe[0].value
    assert table["Rows"].tolist() == [78, 78, 78]
    assert table["Warm-up rows"].tolist() == [8, 8, 8]
    assert table["Group"].tolist()[1].startswith("*words*")  # in a table of text, where nothing of it is markdown


def test_the_select_page_counts_seats_and_takes_weights(open_page):
    at = open_page("select")
    assert "Selected rows by group: sums 8 of 78, " in page_text(at)
    assert not [caption for caption in at.caption if "](http" in caption.value]  # escaped: no image
    at.text_input(key="select.entropy_shift.group_weights").set_value("facts:4").run()
    assert not at.exception
    assert "sums 4 of 78" in page_text(at) and "facts 16 of 78" in page_text(at)
    assert not [widget for widget in at.slider if "threshold" in str(widget.key)]  # no score cuts this order


def test_weights_that_cannot_be_read_change_nothing(open_page):
    at = open_page("select")
    at.text_input(key="select.entropy_shift.group_weights").set_value("facts").run()
    assert "group_weights cannot be read" in page_text(at)
    assert "sums 8 of 78" in page_text(at)


def test_a_weight_of_no_group_is_an_error_with_a_way_back(open_page):
    at = open_page("select")
    at.text_input(key="select.entropy_shift.group_weights").set_value("fact:4").run()
    assert "there is no group 'fact'. There are sums" in page_text(at)
    at.button(key="select.unweighted").click().run()
    assert not at.error and "sums 8 of 78" in page_text(at)


def test_explore_shows_the_sign_by_group_and_no_common_band(open_page):
    at = open_page("explore")
    at.get_by_key("explore.section").set_value("Entropy shift").run()
    assert not at.exception
    text = page_text(at)
    assert "ΔH by group" in text
    assert "Each group was calibrated separately; groups are the labels of category." in text
    assert "Warm-up training started from a tuned model" in text
    plane, bars = [json.loads(chart.proto.spec) for chart in at.get("plotly_chart")][:2]
    assert "ΔNLL band" not in [trace.get("name") for trace in plane["data"]]
    assert sum("sums" in label for label in bars["layout"]["yaxis"]["ticktext"]) == 1


@pytest.mark.parametrize("group", [1, -1])
def test_a_clicked_group_is_highlighted_by_its_number(open_page, grouped, group):
    at = open_page("explore")
    at.get_by_key("explore.section").set_value("Entropy shift").run()
    bars = json.loads(at.get("plotly_chart")[1].proto.spec)
    name = "no task" if group < 0 else "words"
    place = next(k for k, label in enumerate(bars["layout"]["yaxis"]["ticktext"]) if name in label)
    click(at, "explore.tasks", [{"curve_number": 0, "point_index": place}])
    columns = load_measured(grouped).columns
    rows = (columns["shift_group"] == group) & (columns["entropy"] - columns["entropy_cal"] < 0)
    assert lit(at) == np.flatnonzero(rows).tolist() != []


def test_the_score_is_explained_within_groups(open_page):
    at = open_page("explore")
    assert "Lowest ΔH is selected first in each group" in page_text(at)
