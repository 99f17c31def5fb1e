"""A small soak test, as `make soak` runs a large one; and that it finds what it looks for."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.soak import lines, process, scenes

ROOT = Path(__file__).parents[2]


def soak(folder, *options):
    argv = [sys.executable, "-m", "tests.soak", *options, "--lanes", "1", "--folder", str(folder), "--seed", "7"]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.soak
def test_no_trial_ends_in_a_finding(tmp_path):
    done = soak(tmp_path, "--kills", "12", "--lines", "1000", "--flips", "5", "--commands", "20")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    sections = json.loads((tmp_path / "soak.json").read_text())["sections"]
    assert {s["section"]: s["trials"] for s in sections} == {"kills": 3, "lines": 4, "flips": 5, "commands": 20}
    assert sections[0]["outcomes"]["killed"] > 0


def test_an_unknown_section_is_named(tmp_path):
    done = soak(tmp_path, "floods")
    assert done.returncode == 2 and "there is no section 'floods'" in done.stderr


@pytest.mark.parametrize(
    ("line", "whole", "row", "aside"),
    [
        (b"{}", None, None, None),
        (b"{}", None, {"original": "{}"}, {"reason": "x"}),
        (b"{}", None, None, {"reason": ""}),
        (b" ", None, {"original": " "}, None),
        (b'{"a": 1}', {"a": 1}, None, {"reason": "x"}),
        (b'{"a": 1}', {"a": 1}, {"original": '{"a": 2}'}, None),
    ],
)
def test_a_line_that_is_lost_or_changed_is_a_finding(line, whole, row, aside):
    assert lines.check(line, whole, row, aside)


def test_a_whole_line_that_is_read_and_a_damaged_one_set_aside_are_none():
    assert lines.check(b'{"a": 1}', {"a": 1}, {"original": '{"a": 1}'}, None) is None
    assert lines.check(b"{", None, None, {"reason": "not JSON"}) is None


@pytest.mark.parametrize(
    ("code", "err"), [(1, "Traceback (most recent call last):\n  x"), (2, ""), (1, "no"), (-11, ""), (-1, "")]
)
def test_a_traceback_a_crash_and_a_command_without_end_are_findings(code, err):
    assert process.Ended(code, "", err, 0).fault
    assert process.Ended(2, "", "One sentence.", 0).fault is None


def test_two_states_differ_in_a_value_a_file_and_a_name(tmp_path):
    for name, value in (("a", 1), ("b", 2)):
        (tmp_path / name / "out").mkdir(parents=True)
        (tmp_path / name / "out/x.json").write_text(json.dumps({"k": [value], "same": 0}))
        (tmp_path / name / "out/data").write_bytes(bytes([value]))
        (tmp_path / name / f"only-{name}").touch()
    one, other = (scenes.state(tmp_path / name) for name in ("a", "b"))
    assert scenes.differences(one, other) == ["only-a", "only-b", "out/data", "out/x.json/k/0"]


@pytest.mark.slow
def test_a_command_is_killed_before_the_event_that_is_named(tmp_path):
    scenes.write_pool(tmp_path)
    whole = process.run(tmp_path, ["inspect", "pool.jsonl"])
    assert whole.code == 0 and whole.events > 5
    assert process.run(tmp_path, ["inspect", "pool.csv"], kill_at=3).code == -9
