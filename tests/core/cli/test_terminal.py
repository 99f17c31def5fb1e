"""Output of the command line: whole when piped, folded in a terminal."""

import pytest

from core.cli.terminal import format_facts

FACTS = {
    "pool": "a [bold]pool[/bold] :smile:",
    "tasks": {f"task {k}": 1000 * k for k in range(30)},
    "warnings": [],
    "files": ["one.jsonl", "two.jsonl"],
    "rows": [{"id": "漢字", "nll": 1.23456}, {"id": "x" * 90, "nll": 20}],
}


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")  # no bold, whose codes would count as characters


def test_a_pipe_gets_one_line_per_fact_and_no_colours():
    lines = format_facts(FACTS).splitlines()
    assert lines[0] == "pool   a [bold]pool[/bold] :smile:"
    assert lines[1].endswith("task 28: 28,000, task 29: 29,000") and len(lines[1]) > 80
    assert lines[2:4] == ["files  one.jsonl", "       two.jsonl"]
    assert len(lines) == 7 and not any("\x1b" in line or "…" in line or line != line.rstrip() for line in lines)


def test_a_table_right_aligns_numbers_and_counts_wide_characters_as_two():
    head, first, second = format_facts(FACTS).splitlines()[4:]
    assert head.split() == ["rows", "id", "nll"]
    assert first == "       漢字" + 86 * " " + "  1.235"
    assert second == "       " + 90 * "x" + "     20"


def test_a_terminal_gets_lines_folded_to_its_width_and_nothing_cut(monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    text = format_facts(FACTS)
    assert max(map(len, text.splitlines())) <= 80 and "…" not in text
    assert text.count("x") == 90 and text.count("task") == 31


def test_a_mapping_with_a_table_has_a_line_for_each_fact():
    facts = {"facts": {"share": 0.5, "groups": [{"group": "math", "rows": 1200}, {"group": "code", "rows": 7}]}}
    assert format_facts(facts).splitlines() == [
        "facts  share   0.5",
        "       groups  group   rows",
        "               math   1,200",
        "               code       7",
    ]
