"""A workspace that cannot be written is read all the same; only what would write to it says that it cannot."""

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
POOL = ROOT / "tests" / "core" / "stored_pool.jsonl"
PR_CAPBSET_DROP, CAP_DAC_OVERRIDE = 24, 1


def obey_permissions():
    """Take root's right to write everywhere from the program that is about to start."""
    if os.geteuid() == 0:
        assert ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0) == 0


def run(*words):
    command = [sys.executable, "-m", "core", *map(str, words)]
    return subprocess.run(command, cwd=ROOT, preexec_fn=obey_permissions, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    place = tmp_path_factory.mktemp("read-only") / "workspace"
    assert run("measure", POOL, "--method", "longest", "--workspace", place).returncode == 0
    assert run("duplicates", POOL, "--workspace", place).returncode == 0
    folders = [place, *(path for path in place.rglob("*") if path.is_dir())]
    for path in [*folders, *place.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    yield place
    for path in folders:
        path.chmod(0o755)
    shutil.rmtree(place)


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ["inspect"],
        ["measure", "--method", "longest"],
        ["select", "--method", "longest", "--budget", "3", "--filter", "near duplicates once"],
        ["select", "--method", "longest", "--budget", "6", "--held-out", "20%"],
    ],
    ids=lambda words: " ".join(words[:1] + words[-2:]),
)
def test_what_is_stored_is_read(workspace, tmp_path, words):
    out = ["--out", tmp_path / "chosen.jsonl"] if words[0] == "select" else []
    done = run(words[0], POOL, *words[1:], *out, "--workspace", workspace)
    assert (done.returncode, done.stderr) == (0, "")
    assert bool(out) == (tmp_path / "chosen.jsonl").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [["measure", POOL, "--method", "lowest_nll"], ["duplicates", POOL, "--threshold", "0.5"]],
    ids=lambda w: w[0],
)
def test_new_work_is_refused_before_it_begins(workspace, words):
    done = run(*words, "--workspace", workspace)
    assert done.returncode == 2
    assert done.stderr == f"{workspace}/locks: permission is denied; choose another folder or change its rights.\n"


@pytest.mark.slow
def test_a_new_pool_is_refused(workspace, tmp_path):
    (tmp_path / "new.jsonl").write_text('{"instruction": "Add", "output": "2"}\n')
    done = run("inspect", tmp_path / "new.jsonl", "--workspace", workspace)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "permission is denied" in done.stderr
