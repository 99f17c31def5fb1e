"""Save report: the same file as the command line writes, of the selection that the page shows."""

import re

import pytest
from typer.testing import CliRunner

from core.__main__ import app as commands
from core.output.report.write import MARK


def links(at):
    return [link.proto.label for link in at.get("link_button")]


def save(at):
    at.button(key="report.save").click().run()
    assert not at.exception
    return at


def offered(at):
    return [label for label in links(at) if label.startswith("Download report.html")]


@pytest.fixture
def written(workspace):
    """Return the text of the report that was written last."""

    def read():
        files = sorted(workspace.root.glob("exports/*/report.html"), key=lambda file: file.stat().st_mtime_ns)
        return files[-1].read_text()

    return read


@pytest.mark.parametrize("page", ["select", "export"])
def test_a_report_is_offered_once_it_is_written(run, app, written, page):
    at = app(page)
    assert not offered(at)
    (label,) = offered(save(at))
    assert re.fullmatch(r"Download report\.html \([\d.]+ kB\)", label)
    assert written().encode().startswith(MARK) and "24 of 240 rows selected" in written()


def test_a_changed_selection_takes_the_offer_back(run, app, written):
    at = save(app("select"))
    at.number_input(key="select.exact.percent").set_value(50.0).run()
    assert not offered(at)
    assert offered(save(at)) and "120 of 240 rows selected" in written()
    at.button(key="select.undo").click().run()
    assert not offered(at)


def test_it_is_what_the_command_line_writes_but_for_the_commands(run, app, workspace, written, tmp_path, pool):
    save(app("select"))
    options = ["--workspace", str(workspace.root), "--out", str(tmp_path / "report.html")]
    result = CliRunner().invoke(commands, ["report", pool.source, *options])
    assert result.exit_code == 0, result.output
    ours, theirs = (text.split("<h3>Recipe")[0] for text in (written(), (tmp_path / "report.html").read_text()))
    assert ours == theirs


def test_after_an_export_the_report_has_its_checksums(run, app, workspace, written):
    at = app("export")
    assert "SHA-256" in written_after(at, written) and "chosen.jsonl" not in checksums(written())
    at.button(key="export.write").click().run()
    assert "chosen.jsonl" in checksums(written_after(at, written))


def written_after(at, written):
    save(at)
    return written()


def checksums(page):
    return page.split("<h3>SHA-256")[1]


def test_an_empty_selection_has_no_report(run, app):
    at = app("select")
    at.number_input(key="select.exact.percent").set_value(0.0).run()
    assert not [button for button in at.button if button.key == "report.save"]
