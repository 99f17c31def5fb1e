"""A lack of memory is one sentence, from the command line and in a job's file, and loses nothing that was finished."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from core.errors import NO_MEMORY
from core.workspace.files import read_json, write_json

ROOT = Path(__file__).parents[3]
POOL = ROOT / "tests" / "core" / "stored_pool.jsonl"
FREE = 8 << 20  # bytes of address space that are left when the work begins
# Limit the process once everything is imported: what a library does when it cannot even be loaded is not ours.
SCARCE = f"""
import re, resource, sys
import core.cli.app as cli, core.measurement.measure, core.pool.importer, core.output.curate, core.analysis.maps
work = cli.Workspace
def limited(root):
    used = int(re.search(r"VmSize:\\s+(\\d+)", open("/proc/self/status").read())[1]) << 10
    resource.setrlimit(resource.RLIMIT_AS, (used + {FREE}, used + {FREE}))
    return work(root)
cli.Workspace = limited
cli.app(sys.argv[1:])
"""


def run(*words, scarce=True):
    code = ["-c", SCARCE] if scarce else ["-m", "core"]
    command = [sys.executable, *code, *map(str, words)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """Return the folder of a pool of more than FREE bytes, and of a workspace that it is stored in."""
    place = tmp_path_factory.mktemp("large")
    rows = ({"instruction": f"Say {k}", "output": f"{k} " * 600} for k in range(4000))
    (place / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = run(*command("inspect", place), scarce=False)
    assert done.returncode == 0, done.stderr
    return place


def command(name, place):
    imported = ["--method", "random"]
    more = {"select": ["--out", place / "chosen.jsonl"], "measure": [], "inspect": [], "duplicates": []}[name]
    method = [] if name in ("inspect", "duplicates") else imported
    return [name, place / "pool.jsonl", *method, *more, "--workspace", place / "workspace"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["inspect", "duplicates", "measure", "select"])
def test_a_command_without_memory_ends_in_one_sentence(large, name):
    stored = sorted((large / "workspace" / "pools").rglob("*"))
    done = run(*command(name, large))
    assert (done.returncode, done.stderr.strip()) == (2, NO_MEMORY)
    assert sorted((large / "workspace" / "pools").rglob("*")) == stored
    assert run(*command("inspect", large), scarce=False).returncode == 0


@pytest.mark.slow
def test_an_import_without_memory_leaves_nothing_and_a_job_says_so(large, tmp_path):
    (job := tmp_path / "workspace" / "jobs" / "one").mkdir(parents=True)
    write_json(job / "job.json", {"title": "x", "about": {}, "command": ["inspect"], "created": ""})
    done = run("inspect", large / "pool.jsonl", "--workspace", tmp_path / "workspace", "--job", job)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1) and "memory" in done.stderr
    progress = read_json(job / "progress.json")
    assert (progress["state"], progress["message"]) == ("failed", done.stderr.strip())
    assert list((tmp_path / "workspace" / "pools").iterdir()) == []
