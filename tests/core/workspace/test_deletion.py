"""Deletion from a workspace: what is picked and nothing else, never what a worker uses, whole or not at all."""

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from filelock import FileLock
from typer.testing import CliRunner

from core.__main__ import app
from core.cli import app as cli
from core.errors import WorkspaceError
from core.workspace import deletion
from core.workspace.deletion import delete_items, find_used
from core.workspace.inventory import take_inventory
from core.workspace.jobs import birth_mark
from tests.core.workspace.test_inventory import BASE, OLD, POOL, RUN, STATE, TOKENS, filled, write

__all__ = ["filled"]
OLD_TIME = 1_000_000_000
ROOT = Path(__file__).parents[3]


def delete(workspace, kind, *keys):
    inventory = take_inventory(workspace)
    return delete_items(workspace, inventory, inventory.find(kind, keys))


def keys(workspace):
    return {item.key for item in take_inventory(workspace).items}


@pytest.mark.parametrize(
    ("kind", "key"),
    [
        ("pools", "1111"),
        ("runs", RUN),
        ("stages", BASE),
        ("models", STATE),
        ("selections", POOL),
        ("uploads", "visitors/v1/uploads/2222"),
        ("exports", "3333"),
        ("jobs", "4444"),
    ],
)
def test_only_what_is_picked_goes(filled, kind, key):
    before, size = keys(filled), take_inventory(filled).bytes
    inside = {f"measurements/{BASE}/.part-00001.parquet.abcd1234"} if key == BASE else set()
    freed = delete(filled, kind, key)
    assert keys(filled) == before - {key} - inside
    assert take_inventory(filled).bytes == size - freed - 60 * bool(inside)
    assert not [path for path in filled.root.rglob(".*") if key.rpartition("/")[2] in path.name]


def test_old_leftovers_go_and_fresh_ones_stay(filled):
    old, fresh = f"measurements/{BASE}/.part-00001.parquet.abcd1234", "pools/.5555.efgh5678"
    os.utime(filled.root / old, (OLD_TIME, OLD_TIME))
    assert delete(filled, "leftovers", old) == 60
    with pytest.raises(WorkspaceError, match="written to in the last ten minutes"):
        delete(filled, "leftovers", fresh)
    assert (filled.root / fresh).exists()
    for path in (filled.root / fresh, filled.root / fresh / "rows.arrow"):
        os.utime(path, (OLD_TIME, OLD_TIME))
    delete(filled, "leftovers", "all")
    assert not (filled.root / fresh).exists()


@pytest.fixture
def worker(filled):
    """Make job 4444, on POOL, a live one."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    write(
        filled.root / "jobs" / "4444" / "process.json",
        {"pid": process.pid, "born": birth_mark(process.pid), "started": ""},
    )
    yield process
    process.kill()
    process.wait()


def test_what_a_live_job_works_on_stays(filled, worker):
    write(filled.root / "pools" / "7777" / "pool.json", {"fingerprint": "c" * 32, "name": "other", "rows": 1})
    before = keys(filled)
    for kind, key in (("pools", "1111"), ("runs", RUN), ("stages", TOKENS), ("models", STATE), ("uploads", "all")):
        with pytest.raises(WorkspaceError, match="a job is using it; wait for the job or cancel it"):
            delete(filled, kind, key)
    with pytest.raises(WorkspaceError, match="4444 cannot be deleted now: it is running; cancel it first"):
        delete(filled, "jobs", "4444")
    assert keys(filled) == before and worker.poll() is None
    delete(filled, "pools", "7777")  # of another pool
    delete(filled, "exports", "3333")
    worker.kill()
    worker.wait()
    delete(filled, "pools", "1111")


def test_one_item_in_use_saves_all_that_were_picked(filled, worker):
    write(filled.root / "pools" / "7777" / "pool.json", {"fingerprint": "c" * 32, "name": "other", "rows": 1})
    with pytest.raises(WorkspaceError, match="Nothing was deleted"):
        delete(filled, "pools", "7777", "1111")
    assert {"1111", "7777"} <= keys(filled)


def test_a_job_of_an_unknown_pool_keeps_all_data(filled, worker):
    job = {"title": "Import", "about": {}, "command": [], "created": ""}
    write(filled.root / "jobs" / "4444" / "job.json", job)
    inventory = take_inventory(filled)
    assert set(find_used(filled, inventory, inventory.items)) >= {"1111", RUN, OLD, TOKENS, BASE, STATE}


HOLD = """
import sys, time
from core.workspace.folder import Workspace
with Workspace(sys.argv[1]).hold(sys.argv[2], shared=sys.argv[3] == "shared"):
    print(flush=True)
    time.sleep(60)
"""


@contextmanager
def held(workspace, lock, *how):
    """Let other processes hold a lock, each in one of these ways: "alone" or "shared"."""
    processes = []
    for each in how:
        command = [sys.executable, "-c", HOLD, str(workspace.root), lock, each]
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT))
    try:
        for process in processes:
            process.stdout.readline()
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.communicate()


@pytest.mark.parametrize("how", [["alone"], ["shared", "shared"]], ids=["a worker", "two shards"])
@pytest.mark.parametrize("lock", [f"measurement-{BASE}", "run-ffffffffffffffff"])
def test_a_worker_without_a_job_is_known_by_its_lock(filled, lock, how):
    """The first is of POOL; the second of a run that is not stored yet, so it may be of any pool."""
    with held(filled, lock, *how) as processes:
        for process in processes:  # until the last has ended
            for kind, key in (("pools", "1111"), ("stages", TOKENS), ("runs", RUN)):
                with pytest.raises(WorkspaceError, match="a job is using it"):
                    delete(filled, kind, key)
            process.kill()
            process.wait()
    delete(filled, "stages", TOKENS)


def test_a_shard_that_begins_meanwhile_keeps_the_item(filled, monkeypatch):
    monkeypatch.setattr(deletion, "find_used", lambda *_: {})
    with held(filled, f"measurement-{BASE}", "shared"), pytest.raises(WorkspaceError, match="just begun"):
        delete(filled, "stages", BASE)
    assert BASE in keys(filled)


def test_a_lock_that_is_taken_meanwhile_keeps_the_item(filled, monkeypatch):
    monkeypatch.setattr(deletion, "find_used", lambda *_: {})
    with (
        FileLock(filled.root / "locks" / f"measurement-{BASE}.lock"),
        pytest.raises(WorkspaceError, match="just begun"),
    ):
        delete(filled, "stages", BASE)
    assert BASE in keys(filled)


def test_a_deletion_that_is_killed_leaves_no_half_of_an_item(filled, monkeypatch):
    def die(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(deletion.shutil, "rmtree", die)
    with pytest.raises(KeyboardInterrupt):
        delete(filled, "pools", "1111")
    monkeypatch.undo()
    assert not (filled.root / "pools" / "1111").exists()
    (half,) = (item for item in take_inventory(filled).items if item.kind == "leftovers" and "1111" in item.key)
    assert half.bytes > 5000


# On the command line


def run(workspace, *words, input=None):
    return CliRunner().invoke(app, ["workspace", *words, "--workspace", str(workspace.root)], input=input)


def test_the_command_lists_what_is_there(filled):
    result = run(filled)
    assert result.exit_code == 0, result.output
    assert "rows.jsonl, 1,200 rows" in result.stdout and "total" in result.stdout
    facts = json.loads(run(filled, "--json").stdout)
    assert facts["kinds"]["runs"]["items"] == 2
    assert facts["bytes"] > 14_000
    (one,) = (item for item in facts["items"] if item["key"] == RUN)
    assert one["made_from"] == sorted([TOKENS, BASE, STATE]) and one["pool"] == POOL


def test_many_items_are_cut_on_the_terminal_only(workspace):
    for n in range(25):
        write(workspace.root / "exports" / f"{n:04d}" / "chosen.jsonl", size=n + 1)
    assert "5 smaller ones, 15 B in total; --json lists them" in run(workspace).stdout
    assert len(json.loads(run(workspace, "--json").stdout)["items"]) == 25


def test_deleting_without_a_terminal_needs_yes(filled):
    refused = run(filled, "delete", "pools", "1111")
    assert refused.exit_code == 2
    assert "2 stored runs depend on this" in refused.stderr and "add --yes" in refused.stderr
    assert "1111" in keys(filled)
    done = run(filled, "delete", "pools", "1111", "--yes", "--json")
    assert json.loads(done.stdout)["deleted"] == ["1111"]
    assert "1111" not in keys(filled)


@pytest.mark.parametrize(("answer", "gone"), [("y\n", True), ("n\n", False)])
def test_at_a_terminal_it_asks(filled, monkeypatch, answer, gone):
    monkeypatch.setattr(cli, "sys", SimpleNamespace(stdin=SimpleNamespace(isatty=lambda: True)))
    monkeypatch.setattr(cli, "confirm", lambda text, **_: "frees" in text and answer == "y\n")
    assert run(filled, "delete", "exports", "3333").exit_code == 0
    assert ("3333" not in keys(filled)) is gone


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["delete"], "Write `workspace` to list its contents, or `workspace delete KIND KEY...` to delete some."),
        (["delete", "pools"], "Write `workspace` to list"),
        (["remove", "pools", "1111"], "Write `workspace` to list"),
        (["delete", "things", "1"], "There is no kind 'things'"),
        (["delete", "runs", "zzzz"], "There is no 'zzzz' among the runs"),
        (["delete", "runs", "../pools"], "There is no '../pools' among the runs"),
    ],
)
def test_other_words_are_one_sentence(filled, words, sentence):
    before = keys(filled)
    result = run(filled, *words, "--yes")
    assert result.exit_code == 2 and sentence in result.stderr
    assert keys(filled) == before


def test_all_of_a_kind_that_is_empty_deletes_nothing(workspace):
    result = run(workspace, "delete", "runs", "all", "--yes", "--json")
    assert json.loads(result.stdout) == {"deleted": [], "freed": 0}
