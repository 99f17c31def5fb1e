"""A power cut loses nothing that was finished, at whatever moment and in whatever order the disk writes."""

import json
import os
import random
import shutil

import numpy as np
import pyarrow as pa
import pytest

from core.measurement.runs import Run, open_run, save_run
from core.pool.pools import load_pool
from core.progress import SilentReporter
from core.workspace.checksums import forget_verified
from core.workspace.files import atomic_folder, damaged_files, is_whole, read_json, write_array, write_json
from core.workspace.folder import Workspace
from core.workspace.parts import plan_blocks
from core.workspace.stages import Stages
from tests.core.workspace.power_cut import record, write_state

SPEC = {"kind": "squares"}
ROWS = 10


class Marker(SilentReporter):
    def __init__(self, mark):
        self.mark = mark

    def note(self, text):
        self.mark(text)


def work(root, source, mark):
    """Import, measure in parts, store a run, settings and checkpoints; report each when it is finished."""
    workspace = Workspace(root)
    load_pool(str(source), workspace=workspace.root)
    mark("pool")
    stages = Stages(workspace, Marker(mark))

    def squares(rows):
        return pa.table({"square": pa.array(rows**2)})

    parts = stages.fill(SPEC, plan_blocks(ROWS, 4), "Squaring", lambda: squares)

    def name(folder, progress):
        write_json(folder / "names.json", {"names": ["a"]})
        return np.arange(ROWS)

    stages.once({"kind": "names"}, ROWS, "name", "Naming", name, files=["names.json"])
    mark("names")
    run = Run("run", "pool", {}, {}, {}, "", 0, ("square",), workspace.folder("runs", "run"))
    save_run(workspace, run, {"square": parts.column("square", ROWS)})
    mark("run")
    for number in range(2):
        write_json(workspace.folder("selections", "current.json"), {"number": number})
        mark(f"settings {number}")
        with atomic_folder(workspace.folder("models", f"step-{number}")) as temporary:
            (temporary / "weights").write_bytes(bytes([number]) * 100)
            write_array(temporary / "moments.npy", np.arange(5))
        mark(f"checkpoint {number}")
        for old in workspace.root.glob("models/step-*"):
            if old.name != f"step-{number}":
                shutil.rmtree(old)


def check(root, marks):
    """Fail unless all that was reported is there, whole."""
    workspace = Workspace(root)
    if "pool" in marks:
        (folder,) = (path for path in (root / "pools").iterdir() if not path.name.startswith("."))
        assert damaged_files(folder) == [] and len(list(folder.iterdir())) == 7
    stored = [mark for mark in marks if "is stored" in mark]
    squares = Stages(workspace, SilentReporter()).folder(SPEC)
    assert all(is_whole(squares / f"part-{part:05d}.parquet") for part in range(len(stored)))
    if "names" in marks:
        names = Stages(workspace, SilentReporter()).folder({"kind": "names"})
        assert is_whole(names / "part-00000.parquet") and is_whole(names / "names.json")
    if "run" in marks:
        assert open_run(workspace, "run").load_columns(["square"])["square"].tolist() == [k * k for k in range(ROWS)]
    numbers = [int(mark.split()[1]) for mark in marks if mark.startswith("settings")]
    if numbers:
        assert read_json(root / "selections" / "current.json")["number"] >= numbers[-1]
    steps = [int(mark.split()[1]) for mark in marks if mark.startswith("checkpoint")]
    if steps:
        folders = [root / "models" / f"step-{step}" for step in range(steps[-1], 2)]
        assert any((folder / "weights").exists() and damaged_files(folder) == [] for folder in folders)


def contents(root):
    """Return the bytes of every whole file, without what has the time of day or a random name in it."""
    files = (path for path in sorted(root.rglob("*")) if path.is_file() and "locks" not in path.parts)
    named = (path for path in files if not any(part.startswith(".") for part in path.relative_to(root).parts))
    return {str(path.relative_to(root)): path.read_bytes() for path in named if "step-0" not in path.parts}


def survive(folder, checked, repeated, seed=0):
    """Try `checked` of the states after a power cut, and all of the work again from `repeated` of these."""
    source, root = folder / "pool.jsonl", folder / "recorded"
    source.write_text("".join(json.dumps({"instruction": f"Add {k}", "output": str(k)}) + "\n" for k in range(ROWS)))
    root.mkdir()
    with record(root) as recording:
        work(root, source, recording.mark)
    whole = contents(root)
    every = ((event, state) for event in range(1, recording.events + 1) for state in recording.states(event))
    unique = list({(event, *sorted(state.items())): (event, state) for event, state in every}.values())
    for number, (event, state) in enumerate(random.Random(seed).sample(unique, min(checked, len(unique)))):
        place = folder / "states" / str(number)
        write_state(state, place)
        forget_verified()
        check(place, [what for when, what in recording.marks if when <= event])
        if number < repeated:
            work(place, source, lambda what: None)
            assert contents(place) == whole, f"after event {event}"
        shutil.rmtree(place)
    return len(unique)


@pytest.mark.slow
def test_every_state_after_a_power_cut_keeps_what_was_finished_and_makes_the_rest_again(tmp_path):
    assert survive(tmp_path, checked=400, repeated=15) > 1000


def test_a_file_that_was_not_synced_is_torn_and_a_name_may_be_missing(tmp_path):
    with record(tmp_path) as recording:
        (tmp_path / "a").write_bytes(b"1234")
        (tmp_path / "a").replace(tmp_path / "b")
        recording.mark("end")
    states = list(recording.states(recording.events))
    assert {"b": b"1234"} in states and {"b": b"12"} in states and {"a": b""} in states and {} in states


def test_what_was_synced_is_certain(tmp_path):
    with record(tmp_path) as recording:
        (tmp_path / "a").write_bytes(b"1234")
        for path in (tmp_path / "a", tmp_path):
            handle = os.open(path, os.O_RDONLY)
            os.fsync(handle)
            os.close(handle)
    assert [state for state in recording.states(recording.events) if state != {"a": b"1234"}] == []
