"""Shared parts of figures."""

import pytest

from pages.ui.charts import figures


@pytest.mark.parametrize(("losses", "mode"), [([1.5], "markers"), ([1.5, 1.2], "lines")])
def test_the_loss_of_a_single_step_is_seen(losses, mode):
    assert {trace["mode"] for trace in figures.loss_figure([losses])["data"]} == {mode}
