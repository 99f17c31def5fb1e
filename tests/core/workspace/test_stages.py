"""The stage runner: work that is stored is not done again, whatever stopped it, and progress counts what was there."""

import itertools
import threading
from pathlib import Path
from time import monotonic, sleep

import numpy as np
import pyarrow as pa
import pytest

from core.errors import DamagedFile
from core.progress import SilentReporter
from core.workspace.checksums import forget_verified
from core.workspace.files import write_json
from core.workspace.folder import Workspace
from core.workspace.parts import MAX_PART_ROWS, plan_blocks, plan_by_work
from core.workspace.shards import Shard
from core.workspace.stages import Stages, as_column

SPEC = {"kind": "squares", "of": "rows"}


class Recorder(SilentReporter):
    def __init__(self):
        self.stages, self.done, self.waits = [], [], []

    def stage(self, name, *, rows, work, done_rows=0, done_work=0):
        self.stages.append((name, rows, work, done_rows, done_work))

    def advance(self, rows, work):
        self.done.append((rows, work))

    def waiting(self, why):
        self.waits.append(why)


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path)


def square(stages, n=10, size=4, stop_after=None):
    """Store the square of each row in parts; stop as a kill would after some of them."""
    numbers = itertools.count()

    def write(part, rows):
        if next(numbers) == stop_after:
            raise KeyboardInterrupt
        parts.write(part, pa.table({"square": pa.array(rows**2)}))

    with stages.open(SPEC, plan_blocks(n, size), together=True) as parts:
        stages.compute_missing([parts], "Squaring", np.arange(n), write)
    return parts.column("square", n)


def test_a_stopped_stage_goes_on_after_the_parts_that_are_stored(workspace):
    with pytest.raises(KeyboardInterrupt):
        square(Stages(workspace, SilentReporter()), stop_after=2)
    recorder = Recorder()
    assert square(Stages(workspace, recorder)).tolist() == [i**2 for i in range(10)]
    assert recorder.stages == [("Squaring", 10, 45, 8, 28)]  # rows 0 to 7 are stored: 28 of 45 units of work
    assert recorder.done == [(10, 45)]


def test_a_stage_that_has_begun_keeps_its_plan(workspace):
    with pytest.raises(KeyboardInterrupt):
        square(Stages(workspace, SilentReporter()), size=4, stop_after=1)
    square(Stages(workspace, SilentReporter()), size=9)
    folder = Stages(workspace, SilentReporter()).folder(SPEC)
    assert len(list(folder.glob("part-*.parquet"))) == 3


def test_several_stores_of_one_plan_are_filled_together(workspace):
    stages, plan = Stages(workspace, SilentReporter()), plan_blocks(6, 2)
    with stages.open(SPEC | {"of": "a"}, plan) as a, stages.open(SPEC | {"of": "b"}, plan) as b:
        a.write(0, pa.table({"x": [0, 1]}))
        b.write(0, pa.table({"x": [0, 1]}))
        b.write(2, pa.table({"x": [4, 5]}))
        computed = []

        def write(part, rows):
            computed.append(part)
            for store in (a, b):
                store.write(part, pa.table({"x": rows}))

        stages.compute_missing([a, b], "Both", np.ones(6, int), write)
        assert computed == [1, 2]


def test_once_computes_once_and_may_write_files_besides(workspace):
    calls = []

    def make(folder, progress):
        calls.append(folder)
        (folder / "names.txt").write_text("of squares")
        progress(1, 2)
        return np.arange(3) ** 2

    for _ in range(2):
        recorder = Recorder()
        folder, squares = Stages(workspace, recorder).once(SPEC, 3, "square", "Squaring", make)
    assert squares.tolist() == [0, 1, 4]
    assert (len(calls), recorder.stages) == (1, [])
    assert (folder / "names.txt").read_text() == "of squares"


def test_a_stage_loads_what_computes_it_once_and_only_if_a_part_is_missing(workspace):
    loads = []

    def load():
        loads.append("model")
        return lambda rows: pa.table({"square": pa.array(rows**2)})

    for _ in range(2):
        parts = Stages(workspace, SilentReporter()).fill(SPEC, plan_blocks(10, 4), "Squaring", load)
    assert parts.column("square", 10).tolist() == [i**2 for i in range(10)]
    assert loads == ["model"]


def test_a_failed_once_leaves_nothing_behind(workspace):
    def fail(_folder, _progress):
        raise ValueError

    stages = Stages(workspace, SilentReporter())
    with pytest.raises(ValueError):
        stages.once(SPEC, 3, "square", "Squaring", fail)
    assert stages.once(SPEC, 3, "square", "Squaring", lambda _f, _p: np.arange(3))[1].tolist() == [0, 1, 2]


def test_once_may_compute_several_numbers_a_row(workspace):
    _, pairs = Stages(workspace, SilentReporter()).once(
        SPEC, 3, "pair", "Pairing", lambda _f, _p: np.ones((3, 2), np.float32)
    )
    assert pairs.shape == (3, 2)


def test_a_second_worker_waits_then_finds_the_work_done(workspace):
    recorder, entered, results = Recorder(), threading.Event(), []

    def second():
        entered.set()
        results.append(square(Stages(workspace, recorder)))

    with Stages(workspace, SilentReporter()).open(SPEC, plan_blocks(10, 4)) as parts:
        thread = threading.Thread(target=second)
        thread.start()
        entered.wait()
        while not recorder.waits:
            thread.join(0.01)
        for part, rows in enumerate(parts.plan):
            parts.write(part, pa.table({"square": pa.array(rows**2)}))
    thread.join()
    assert recorder.waits == ["Waiting for another job that measures the same."]
    assert (results[0].tolist(), recorder.done) == ([i**2 for i in range(10)], [])


def test_a_shard_counts_what_others_have_stored(workspace, monkeypatch):
    monkeypatch.setattr("core.workspace.stages.LOOK_S", 0.0)
    recorder = Recorder()

    def write(part, _rows):
        for each in (part, part + 1):  # the second as if another shard did it meanwhile
            parts.write(each, pa.table({"square": pa.array(parts.plan[each] ** 2)}))

    stages = Stages(workspace, recorder, Shard(0, 2))
    with stages.open(SPEC, plan_blocks(12, 2), together=True) as parts:
        stages.compute_missing([parts], "Squaring", np.ones(12, int), write)
    assert recorder.done == [(4, 4), (8, 8), (12, 12)]


def test_only_missing_files_are_asked_for(workspace, tmp_path):
    files = [tmp_path / name for name in "abc"]
    files[1].touch()
    recorder = Recorder()
    assert list(Stages(workspace, recorder).missing_files(files, "Writing")) == [0, 2]
    assert (recorder.stages, recorder.done) == ([("Writing", 2, 2, 0, 0)], [(1, 1), (2, 2)])


def test_seconds_of_the_same_kind_add_up(workspace):
    stages = Stages(workspace, SilentReporter())
    for _ in range(2):
        with stages.timed("squares"):
            pass
    assert set(stages.seconds) == {"squares"} and stages.seconds["squares"] > 0


def test_kinds_of_work_inside_each_other_and_waiting_are_counted_once(workspace):
    stages, held = Stages(workspace, SilentReporter()), threading.Event()

    def hold():
        with workspace.hold("device-cpu"):
            held.set()
            sleep(0.3)

    threading.Thread(target=hold).start()
    held.wait()
    began = monotonic()
    with stages.timed("passes"), stages.on_device("cpu"), stages.timed("loading"):
        sleep(0.1)
    assert stages.seconds["queue"] >= 0.25
    assert stages.seconds["loading"] >= 0.1
    assert sum(stages.seconds.values()) <= monotonic() - began


def test_a_plan_by_work_takes_the_most_first_and_every_row_once():
    work = np.array([1, 5, 3, 5, 2])
    plan = plan_by_work(work, 6)
    assert [rows.tolist() for rows in plan] == [[1], [3], [2, 4, 0]]
    assert max(map(len, plan_by_work(np.ones(3 * MAX_PART_ROWS, int), 10**9))) == MAX_PART_ROWS


def test_a_large_pool_is_planned_in_blocks_of_rows(monkeypatch):
    work = np.array([1, 5, 3, 5, 2, 9, 1])
    monkeypatch.setattr("core.workspace.parts.PLANNED_ROWS", 3)
    plan = [rows.tolist() for rows in plan_by_work(work, 6)]
    assert plan == [[1], [2, 0], [5], [3], [4], [6]]
    monkeypatch.setattr("core.workspace.parts.PLANNED_ROWS", 7)  # a block holds them all
    assert [rows.tolist() for rows in plan_by_work(work, 6)] == [[5], [1], [3], [2, 4, 0], [6]]


def test_a_column_of_vectors_becomes_lists_of_fixed_size():
    assert as_column(np.arange(6).reshape(3, 2)).to_pylist() == [[0, 1], [2, 3], [4, 5]]
    assert as_column(np.arange(3)).to_pylist() == [0, 1, 2]


# Damage


def damage(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    forget_verified()


def squares(workspace, size=4):
    """Return the parts of the squares of 10 rows, and the rows that had to be computed."""
    computed = []

    def compute(rows):
        computed.append(rows.tolist())
        return pa.table({"square": pa.array(rows**2)})

    return Stages(workspace, SilentReporter()).fill(SPEC, plan_blocks(10, size), "Squaring", lambda: compute), computed


def test_a_damaged_part_is_made_again_and_the_others_are_not(workspace, caplog):
    first, calls = squares(workspace)
    assert len(calls) == 3
    damage(first.path(1))
    with pytest.raises(DamagedFile, match=r"part-00001.parquet is damaged: .* Run the command that made it again"):
        first.read(1)
    again, calls = squares(workspace)
    assert (len(calls), caplog.messages) == (1, [f"{first.folder}: 1 damaged file is computed again."])
    assert again.column("square", 10).tolist() == [k * k for k in range(10)]


def test_a_damaged_plan_is_restored_and_the_parts_are_kept_if_it_is_the_same(workspace, caplog):
    first, _ = squares(workspace)
    for change in (damage, Path.unlink):
        change(first.folder / "plan.parquet")
        _, calls = squares(workspace)
        assert (calls, caplog.messages) == ([], [])


def test_parts_cut_by_a_plan_that_is_lost_are_made_again(workspace, caplog):
    first, _ = squares(workspace, size=4)
    damage(first.folder / "plan.parquet")
    again, calls = squares(workspace, size=5)
    assert len(calls) == 2
    assert again.column("square", 10).tolist() == [k * k for k in range(10)]
    assert caplog.messages == [f"{first.folder}: its plan is damaged, so all its 3 parts are computed again."]


@pytest.mark.parametrize("change", [damage, Path.unlink])
def test_once_computes_again_when_a_file_that_it_writes_is_damaged(workspace, change):
    calls = []

    def make(folder, progress):
        calls.append(folder)
        write_json(folder / "names.json", {"names": ["a"]})
        return np.arange(3)

    for _ in range(2):
        folder, _ = Stages(workspace, SilentReporter()).once(SPEC, 3, "x", "X", make, files=["names.json"])
        change(folder / "names.json")
    assert len(calls) == 2
