"""What killed workers leave is removed a day later, and nothing else."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from core.output.destinations import stage_files
from core.workspace.folder import Workspace
from core.workspace.leftovers import DAY_S, sweep

ROOT = Path(__file__).parents[3]


def age(path, days):
    moment = time.time() - days * DAY_S
    for each in (path, *path.rglob("*")) if path.is_dir() else [path]:
        os.utime(each, (moment, moment), follow_symlinks=False)


def reopen(root):
    """Open a workspace as on the next day."""
    (root / "locks" / "swept").unlink(missing_ok=True)
    return Workspace(root)


def killed_import(root, source):
    """Import in a process that is killed in the middle; return the folder that it leaves."""
    code = f"""
        import time
        from pathlib import Path
        from core.pool import importer, pools
        def stop(*_): print("half", flush=True); time.sleep(60)
        importer.assign_ids = stop
        pools.load_pool({str(source)!r}, workspace=Path({str(root)!r}))
    """
    lines = "\n".join(line.strip() for line in code.splitlines())
    worker = subprocess.Popen([sys.executable, "-c", lines], cwd=ROOT, stdout=subprocess.PIPE)
    assert worker.stdout.readline() == b"half\n"
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    worker.stdout.close()
    (left,) = (root / "pools").iterdir()
    return left


def test_what_a_killed_import_leaves_is_removed_a_day_later(tmp_path):
    root, source = tmp_path / "workspace", tmp_path / "pool.jsonl"
    source.write_text('{"instruction": "Add", "output": "2"}\n' * 50)
    left = killed_import(root, source)
    assert (left / "rows.arrow").stat().st_size > 0
    age(left, 0.9)
    reopen(root)
    assert left.exists()
    age(left, 1.1)
    reopen(root)
    assert not left.exists()


def test_a_folder_that_is_still_written_to_is_kept_however_old_it_is(tmp_path):
    (folder := tmp_path / ".pool.abcd1234").mkdir()
    (folder / "rows.arrow").write_text("1")
    age(folder, 3)
    os.utime(folder / "rows.arrow")
    sweep([folder])
    assert folder.exists()


@pytest.mark.parametrize("name", ["part-00000.parquet", ".hidden", ".a.json", "a.b.abcd1234"])
def test_only_temporary_names_are_removed(tmp_path, name):
    workspace = Workspace(tmp_path)
    (file := workspace.folder("measurements", name)).write_text("mine")
    (old := workspace.folder("measurements", ".plan.parquet.abcd_123")).write_text("half")
    for path in (file, old):
        age(path, 9)
    reopen(tmp_path)
    assert (file.exists(), old.exists()) == (True, False)


def test_a_workspace_is_swept_once_a_day(tmp_path):
    workspace = Workspace(tmp_path)
    (left := workspace.folder("pools", ".pool.abcd1234")).mkdir()
    age(left, 2)
    Workspace(tmp_path)
    assert left.exists()
    age(tmp_path / "locks" / "swept", 1.1)
    Workspace(tmp_path)
    assert not left.exists()


def test_records_and_part_locks_of_killed_workers_are_removed_a_day_later(tmp_path):
    workspace = Workspace(tmp_path)
    lock = workspace.root / "locks" / "part-0123456789abcdef-12.lock"
    other = workspace.root / "locks" / "run-0123456789abcdef.lock"
    ended, live = (tmp_path / "workers" / task / "host-1.json" for task in ("ended", "live"))
    for file in (lock, other, ended, live):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("{}")
    for path in (lock, other, ended.parent, live.parent):
        age(path, 0.9)
    reopen(tmp_path)
    assert lock.exists() and ended.exists()
    for path in (lock, other, ended.parent, live.parent):
        age(path, 1.1)
    os.utime(live)  # a worker rewrites its record
    reopen(tmp_path)
    assert [path.exists() for path in (lock, other, ended.parent, live)] == [False, True, False, True]


def test_what_a_killed_export_left_goes_with_the_next_export_to_this_folder(tmp_path):
    (left := tmp_path / ".winnow-abcd1234").mkdir()
    (left / "a.jsonl").write_text("half")
    (mine := tmp_path / ".winnow-notes").mkdir()
    for path in (left, mine):
        age(path, 2)
    with stage_files({"selected": tmp_path / "a.jsonl"}) as staged:
        staged["selected"].write_text("whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".winnow-notes", "a.jsonl"]
