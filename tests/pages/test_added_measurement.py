"""Adding a measurement takes three edits and three files (CONTRIBUTING.md): followed here with a toy.

The two classes below would be core/methods/digit_share.py and core/measurement/digit_share.py; the edits are an entry
in METHODS, an entry in MEASUREMENTS and a section in docs/methods.md.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from core.__main__ import app as commands
from core.columns import Column, Signals
from core.measurement import MEASUREMENTS
from core.measurement.measurement import Measurement, Result
from core.measurement.stages import PoolStages
from core.methods import METHODS
from core.methods.params import BaseMethod, option, param
from core.methods.ranking import FILTERED, NOT_MEASURED, rank_rows, split_eligible
from core.schema import NO_ROWS, BoolArray, Columns, IntArray, Measured, Order


@dataclass(frozen=True)
class DigitShare(BaseMethod):
    """Rows by the share of digits in their response."""

    name: ClassVar[str] = "digit_share"
    label: ClassVar[str] = "Share of digits"
    summary: ClassVar[str] = "Takes the responses first that consist of digits."
    needs: ClassVar[tuple[str, ...]] = ("tokens", "digits")
    ranks_by: ClassVar[str] = "digit_share"

    end: Literal["high", "low"] = param(option("high", label="Take first"), "Which end is taken first.")

    @property
    def prefer(self) -> Literal["high", "low", "middle"]:
        return self.end

    def order(self, measured: Measured, eligible: BoolArray, *, seed: int, used: IntArray = NO_ROWS) -> Order:
        values = measured.need("digit_share")
        rows, excluded = split_eligible({FILTERED: ~eligible, NOT_MEASURED: ~np.isfinite(values)})
        return Order(rank_rows(values, rows, prefer=self.end), excluded)


class DigitMeasurement(Measurement[DigitShare]):
    """Share of digits among the characters of a response; NaN without a response."""

    signals: ClassVar[Signals] = {
        "digits": {
            "digit_share": Column("Digits", "digits are fewer", "digits are more", "Digits over characters.", "share")
        }
    }
    uses_model: ClassVar[bool] = False

    def run(self, stages: PoolStages, method: DigitShare, columns: Columns, seed: int) -> Result:
        spec = {"kind": "digits", "pool": stages.pool.fingerprint}
        _, share = stages.once(spec, len(stages.pool), "digit_share", "Counting digits", self._count(stages))
        return Result({"digit_share": share})

    def _count(self, stages: PoolStages) -> Any:
        texts = stages.pool.rows["response"].to_pylist()
        shares = [sum(c.isdigit() for c in text) / len(text) if text else np.nan for text in texts]
        return lambda folder, progress: np.array(shares, np.float32)

    def warnings(self, columns: Mapping[str, Any], result: Result) -> list[str]:
        return ["No response has a digit."] if not np.nansum(columns["digit_share"]) else []


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    """Make the two entries."""
    monkeypatch.setitem(METHODS, "digit_share", DigitShare)
    monkeypatch.setitem(MEASUREMENTS, "digit_share", DigitMeasurement())


def invoke(workspace, *words):
    result = CliRunner().invoke(
        commands, [*map(str, words), "--method", "digit_share", "--workspace", str(workspace.root)]
    )
    assert result.exit_code == 0, result.output


def test_it_is_measured_selected_and_written_with_its_score(tmp_path, workspace):
    file = tmp_path / "pool.jsonl"
    rows = [{"instruction": f"row {i}", "output": text} for i, text in enumerate(["ab", "a1", "12", "a123"])]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    invoke(workspace, "measure", file)
    out, scores = tmp_path / "chosen.jsonl", tmp_path / "scores.parquet"
    invoke(workspace, "select", file, "--budget", "2", "--out", out, "--scores", scores)
    table = pq.read_table(scores)
    assert table["digit_share"].to_pylist() == pytest.approx([0, 0.5, 1, 0.75])
    assert table["digit_share.rank"].to_pylist() == [3, 2, 0, 1]
    assert [json.loads(line)["output"] for line in out.read_text().splitlines()] == ["12", "a123"]


def test_it_is_in_the_list_of_scores_on_the_explore_page(pool, workspace, app):
    invoke(workspace, "measure", pool.source)
    at = app("select")
    at.get_by_key("select.method").set_value("digit_share").run()
    at.switch_page("pages/explore.py").run()
    assert not at.exception
    box = at.selectbox(key="explore.column.digit_share")
    assert box.value == "digit_share" and "Digits" in box.options
    assert "Highest digits is selected first: rows where digits are more." in "\n".join(
        str(part.value) for part in (*at.markdown, *at.caption)
    )
