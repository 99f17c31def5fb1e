"""Atomic files and folders, content keys, parts and locks."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from core.errors import WorkspaceError
from core.workspace.files import atomic_folder, disk_errors, read_json, write_atomic, write_json
from core.workspace.folder import Workspace, content_key
from core.workspace.parts import Parts

ROOT = Path(__file__).parents[3]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    write_json(path, {"old": 1})

    def fail_on_full_disk(self, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail_on_full_disk)
    with pytest.raises(WorkspaceError, match=r"a\.json: the disk is full; free some space"):
        write_json(path, {"new": 2})
    assert read_json(path) == {"old": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize(
    ("number", "words"), [(28, "disk is full"), (13, "permission is denied"), (30, "read-only"), (20, "it is a file")]
)
def test_each_disk_error_is_one_sentence_with_the_path(number, words):
    with pytest.raises(WorkspaceError, match=rf"^/some/where: .*{words}.*\.$"), disk_errors(Path("/some/where")):
        raise OSError(number, "system words")


def test_a_workspace_path_blocked_by_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(WorkspaceError, match="it is a file, and a folder is needed"):
        Workspace(tmp_path / "file" / "workspace")


def test_a_file_that_is_not_json_is_named(tmp_path):
    write_atomic(tmp_path / "run.json", b"{half")
    with pytest.raises(WorkspaceError, match=r"run\.json is damaged: its content has changed since it was written"):
        read_json(tmp_path / "run.json")


def test_a_folder_that_another_worker_finished_first_is_kept(tmp_path):
    (tmp_path / "pool").mkdir()
    (tmp_path / "pool" / "first").write_text("1")
    with atomic_folder(tmp_path / "pool") as temporary:
        (temporary / "second").write_text("2")
    assert [p.name for p in (tmp_path / "pool").iterdir()] == ["first"]
    assert [p.name for p in tmp_path.iterdir()] == ["pool"]


def test_an_interrupted_folder_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), atomic_folder(tmp_path / "pool") as temporary:
        (temporary / "half").write_text("1")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_a_key_depends_on_content_and_not_on_the_order_of_fields():
    assert content_key({"a": 1, "b": 0.0}) == content_key({"b": 0.0, "a": 1})
    assert content_key({"a": 1}) != content_key({"a": 1, "b": None})
    assert content_key({"a": 1}) != content_key({"a": 1.5})
    assert len(content_key({})) == 16


def open_parts(folder: Path, plan: list[list[int]], **how: bool) -> Parts:
    return Parts.open(folder, {"kind": "test"}, [np.array(p) for p in plan], **how)


@pytest.mark.parametrize("mapped", [False, True])
def test_parts_come_back_in_pool_order(tmp_path, mapped):
    parts = open_parts(tmp_path, [[3, 0], [2, 1]], mapped=mapped)
    assert parts.missing() == [0, 1]
    vectors = pa.FixedSizeListArray.from_arrays(pa.array([6.0, 7, 0, 1], pa.float16()), 2)
    parts.write(0, pa.table({"x": [3.0, 0.0], "n": [30, 0], "v": vectors}))
    assert parts.missing() == [1]
    vectors = pa.FixedSizeListArray.from_arrays(pa.array([4.0, 5, 2, 3], pa.float16()), 2)
    parts.write(1, pa.table({"x": [2.0, 1.0], "n": [20, 10], "v": vectors}))
    assert parts.missing() == []
    np.testing.assert_array_equal(parts.column("x", 5), [0, 1, 2, 3, np.nan])
    np.testing.assert_array_equal(parts.column("n", 4), [0, 10, 20, 30])
    np.testing.assert_array_equal(parts.column("v", 4), [[0, 1], [2, 3], [4, 5], [6, 7]])


def test_a_resumed_table_keeps_its_stored_plan(tmp_path):
    open_parts(tmp_path, [[3, 0], [2, 1]])
    again = open_parts(tmp_path, [[0, 1, 2, 3]])
    assert [p.tolist() for p in again.plan] == [[3, 0], [2, 1]]


def test_a_part_of_the_wrong_length_is_refused(tmp_path):
    with pytest.raises(WorkspaceError, match="1 rows were measured, 2 were planned"):
        open_parts(tmp_path, [[0, 1]]).write(0, pa.table({"x": [1.0]}))


def test_a_lock_dies_with_its_holder(workspace):
    code = f"""
        import time
        from core.workspace.folder import Workspace
        with Workspace({str(workspace.root)!r}).hold("job"):
            print("held", flush=True)
            time.sleep(60)
    """
    holder = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, cwd=ROOT)
    assert holder.stdout.readline() == b"held\n"
    calls = []

    def kill() -> None:
        calls.append("waiting")
        os.kill(holder.pid, signal.SIGKILL)

    with workspace.hold("job", kill):
        assert calls == ["waiting"]
    holder.wait()
    holder.stdout.close()
