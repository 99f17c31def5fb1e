"""Shards share the parts of a stage: each part is computed once, by whoever is there, also after a death."""

import errno
import subprocess
import sys
import threading
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from core.errors import RecipeError, WorkspaceError
from core.progress import SilentReporter
from core.workspace.parts import plan_blocks
from core.workspace.shards import ALONE, Shard, read_shard
from core.workspace.stages import Stages

SPEC, N = {"kind": "squares", "of": "shards"}, 60
HOLD = """import filelock, sys
with filelock.FileLock(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def fill(stages: Stages, computed: list[int]):
    def load():
        def square(rows):
            computed.append(int(rows[0]))
            return pa.table({"square": rows**2})

        return square

    return stages.fill(SPEC, plan_blocks(N, 4), "Squaring", load).column("square", N)


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_every_shard_computes_all_parts_its_own_first(count):
    parts = [3, 4, 5, 8, 9, 13]
    for index in range(count):
        order = Shard(index, count).order(parts)
        assert sorted(order) == parts
        own = [part for part in parts if part % count == index]
        assert order[: len(own)] == own


def test_each_part_is_computed_by_one_of_the_shards(workspace):
    computed, results = [], []

    def work(index):
        results.append(fill(Stages(workspace, SilentReporter(), Shard(index, 3)), computed))

    threads = [threading.Thread(target=work, args=(index,)) for index in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(computed) == dict.fromkeys(range(0, N, 4), 1)
    for result in results:
        np.testing.assert_array_equal(result, np.arange(N) ** 2)
    assert not list(workspace.root.glob("locks/part-*"))


def test_a_part_whose_worker_dies_is_computed_by_another(workspace):
    computed, results = [], []
    stages = Stages(workspace, SilentReporter(), Shard(0, 2))
    lock = workspace.root / "locks" / f"part-{stages.folder(SPEC).name}-3.lock"
    command = [sys.executable, "-c", HOLD, str(lock)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        holder.stdout.readline()
        worker = threading.Thread(target=lambda: results.append(fill(stages, computed)))
        worker.start()
        while len(computed) < N // 4 - 1:
            worker.join(0.01)
        worker.join(0.5)
        assert worker.is_alive() and 12 not in computed  # the part of a worker that lives is waited for
        holder.kill()
        worker.join()
    assert computed[-1] == 12
    np.testing.assert_array_equal(results[0], np.arange(N) ** 2)


def test_one_process_alone_keeps_shards_out_and_they_do_not_keep_out_each_other(workspace):
    first, second = (Stages(workspace, SilentReporter(), Shard(index, 2)) for index in range(2))
    waits = []

    class Waits(SilentReporter):
        def waiting(self, why):
            waits.append(why)

    with first.on_device("cpu"), second.on_device("cpu"):
        alone = threading.Thread(target=lambda: fill_on_device(Stages(workspace, Waits())))
        alone.start()
        while not waits:
            alone.join(0.01)
        assert alone.is_alive()
    alone.join()
    assert waits == ["Queued: another job uses this device."]


def fill_on_device(stages):
    with stages.on_device("cpu"):
        pass


@pytest.mark.parametrize("shard", [ALONE, Shard(0, 2)])
@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOTSUP])
def test_a_disk_without_file_locks_is_refused(workspace, monkeypatch, shard, code):
    def refuse(_file, _operation):
        raise OSError(code, "of the system")

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(WorkspaceError, match="locks: this disk has no file locks; choose a folder on one that has"):
        fill(Stages(workspace, SilentReporter(), shard), [])


def test_a_shard_is_read_from_text():
    assert read_shard("0/1") == ALONE and read_shard(" 2/8 ") == Shard(2, 8) and str(Shard(2, 8)) == "2/8"


@pytest.mark.parametrize("text", ["", "1", "2/2", "0/0", "-1/2", "a/b", "1/2/3", "1.0/2"])
def test_what_is_no_shard_is_refused(text):
    with pytest.raises(RecipeError, match="write INDEX/COUNT"):
        read_shard(text)
