"""A small soak test, as `make soak` runs a large one; and that it notices what it looks for."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def soak(folder, *options):
    argv = [sys.executable, "-m", "tests.soak", *options, "--lanes", "1", "--folder", str(folder), "--seed", "7"]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "options", [["kills", "--kills", "16"], ["lines", "--lines", "1000"], ["flips", "--flips", "5"],
    ["commands", "--commands", "25"]], ids=lambda options: options[0],
)  # fmt: skip
def test_no_trial_ends_in_a_finding(options, tmp_path):
    done = soak(tmp_path, *options)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    assert " 0 findings" in done.stdout


def test_an_unknown_section_is_named(tmp_path):
    done = soak(tmp_path, "floods")
    assert done.returncode == 2 and "there is no section 'floods'" in done.stderr
