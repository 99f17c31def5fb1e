"""Several workers do what one does, to the same bits; one that dies is replaced, and none outlives its parent."""

import json
import os
import random
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from core.errors import ModelError, RecipeError, WinnowError
from core.measurement.lookup import find_run
from core.measurement.run_data import load_measured
from core.methods import build_method
from core.pool.pools import load_pool
from core.progress import SilentReporter
from core.selection.recipe import parse_recipe
from core.workers.launch import end_worker, measure_together, run_workers, start_worker
from core.workers.places import Place, check_workers, local_places
from core.workers.records import list_workers
from core.workers.task import Task, finding_duplicates, measuring
from core.workspace.folder import Workspace
from core.workspace.shards import Shard

WORDS = "the cat sat on a mat and saw 12 red birds fly over 7 green hills in May".split()  # noqa: SIM905
ROWS = 240
ONE_THREAD = Place("cpu", {"OMP_NUM_THREADS": "1", "WINNOW_PART_SECONDS": "1e-5"})
METHODS = {
    "entropy_shift": {"learning_rate": 1e-3, "epochs": 1, "alpha": 0.2, "batch_size": 8},
    "activation_coverage": {"clusters": 4},
    "task_confidence": {"prompts_per_task": 5, "new_tokens": 4, "derived_tasks": 3},
    "answer_divergence": {"answers": 2, "max_new_tokens": 4, "bins_measured": 6},
}


class Notes(SilentReporter):
    def __init__(self):
        self.tasks, self.replaced, self.stages, self.done = [], (), [], []

    def stage(self, name, *, rows, work, done_rows=0, done_work=0):
        self.stages.append(name)

    def advance(self, rows, work):
        self.done.append((self.stages[-1], rows))

    def workers(self, task, replaced=()):
        self.tasks.append(task)
        self.replaced = replaced


@pytest.fixture(scope="module")
def pool_file(tmp_path_factory) -> Path:
    rng = random.Random(0)

    def words(most: int) -> str:
        return " ".join(rng.choices(WORDS, k=rng.randint(1, most)))

    rows = [{"instruction": f"{words(30)} {i}", "output": words(40)} for i in range(ROWS)]
    file = tmp_path_factory.mktemp("pool") / "pool.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


@pytest.fixture
def new_task(pool_file, tiny_model_dir, tmp_path):
    """Return a function from the name of a new workspace to the task of measuring all methods in it."""

    def make(name: str) -> Task:
        workspace = Workspace(tmp_path / name)
        pool = load_pool(str(pool_file), workspace=workspace.root)
        return measuring(*_recipe_on(pool, tiny_model_dir), workspace, _others())

    return make


def _recipe_on(pool, model):
    name, params = next(iter(METHODS.items()))
    reading = {"model": str(model), "max_length": 128, "dtype": "float32", "device": "cpu"}
    data = {"pool": {"source": pool.fingerprint}, "method": {"name": name, "params": params}, "reading": reading}
    return parse_recipe(data, "test"), pool


def _others():
    return [build_method(name, params) for name, params in list(METHODS.items())[1:]]


def columns(task: Task) -> dict[str, np.ndarray]:
    """Return all measured columns of a task, by method and name."""
    workspace, recipe = Workspace(task.workspace), parse_recipe(task.recipe, "test")
    pool = load_pool(task_source(workspace), workspace=workspace.root)
    found = {}
    for method in [recipe.method.build(), *_others()]:
        run = find_run(workspace, pool, method, recipe.reading.reading(), 0)
        found |= {f"{method.name}.{name}": values for name, values in load_measured(run).columns.items()}
    return found


def task_source(workspace: Workspace) -> str:
    [file] = workspace.root.glob("pools/*/pool.json")
    return json.loads(file.read_text())["source"]


def assert_same(first: Task, second: Task) -> None:
    expected, found = columns(first), columns(second)
    assert expected.keys() == found.keys() and len(expected) > 10
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name)


def parts_of(task: Task) -> dict[Path, int]:
    return {file: file.stat().st_mtime_ns for file in Path(task.workspace).glob("measurements/*/part-*.parquet")}


@pytest.mark.soak
def test_two_workers_one_of_them_killed_and_two_shards_give_the_bits_of_one(new_task):
    alone, killed, shards = map(new_task, ("alone", "killed", "shards"))
    run_workers(alone, [ONE_THREAD], SilentReporter())

    notes, before = Notes(), {}

    def kill_one() -> None:
        workspace = Workspace(killed.workspace)
        while not (working := [one for one in list_workers(workspace, killed.key) if one.part >= 0]):
            time.sleep(0.01)
        os.kill(working[0].pid, signal.SIGKILL)
        before.update(parts_of(killed))

    killer = threading.Thread(target=kill_one)
    killer.start()
    run_workers(killed, [ONE_THREAD] * 2, notes)
    killer.join()
    assert [sentence[len("Worker 1") :] for sentence in notes.replaced] == [
        " of 2 (cpu) ended unexpectedly (exit code -9) and was replaced."
    ]
    after = parts_of(killed)
    assert {file: after.get(file, stamp) for file, stamp in before.items()} == before  # none was made again
    assert_same(alone, killed)
    assert list_workers(Workspace(killed.workspace)) == []  # ended workers leave no record
    assert notes.done[-1][1] <= ROWS

    both = [start_worker(shards, Shard(index, 2), ONE_THREAD, None) for index in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    for process in both:
        process.stdin.close()
    assert_same(alone, shards)


def test_several_workers_hash_for_near_duplicates(pool_file, workspace, monkeypatch):
    monkeypatch.setattr("core.pool.near_duplicates.PART_ROWS", 50)
    pool = load_pool(str(pool_file), workspace=workspace.root)
    run_workers(finding_duplicates(pool, workspace, 0.8), [ONE_THREAD] * 2, SilentReporter())
    assert list(workspace.root.glob("measurements/*/0.8.npy"))


def test_an_error_of_a_worker_is_that_of_all(pool_file, tiny_model_dir, workspace):
    pool = load_pool(str(pool_file), workspace=workspace.root)
    recipe, _ = _recipe_on(pool, tiny_model_dir)
    divergence = build_method("answer_divergence", {"source": "file", "answers_file": "/nowhere/answers.jsonl"})
    with pytest.raises(WinnowError, match=r"^/nowhere/answers\.jsonl: it does not exist"):
        run_workers(measuring(recipe, pool, workspace, [divergence]), [ONE_THREAD] * 2, SilentReporter())


def test_a_worker_that_dies_again_and_again_is_an_error(new_task):
    broken = Place("cpu", {"PYTHONHOME": "/nowhere"})
    with pytest.raises(ModelError, match=r"^Worker 1 of 2 \(cpu\) ended 3 times without storing a part"):
        run_workers(new_task("broken"), [broken] * 2, SilentReporter())


def test_a_worker_ends_with_the_process_that_started_it(new_task):
    task = new_task("orphan")
    process = start_worker(task, Shard(0, 2), ONE_THREAD, None)
    while not list_workers(Workspace(task.workspace), task.key):
        assert process.poll() is None
        time.sleep(0.01)
    process.stdin.close()
    assert process.wait(30) == 130
    end_worker(process)  # which has ended: nothing happens


def test_what_is_stored_starts_no_worker(pool_file, workspace):
    pool = load_pool(str(pool_file), workspace=workspace.root)
    data = {"pool": {"source": pool.fingerprint}, "method": {"name": "longest"}, "workers": 2}
    first, second = Notes(), Notes()
    runs = [measure_together(parse_recipe(data, "test"), pool, workspace, report)[0].id for report in (first, second)]
    assert runs[0] == runs[1] and first.tasks and not second.tasks


@pytest.mark.parametrize("workers", ["", "0", "-1", "two", "1.5", "9999999", "ray-cluster"])
def test_what_is_no_number_of_workers_is_refused(workers):
    with pytest.raises(RecipeError, match=rf"^--workers {workers}: write local"):
        check_workers(workers)


def test_processes_on_one_processor_share_its_threads(monkeypatch):
    monkeypatch.setattr("psutil.Process.cpu_affinity", lambda _: list(range(8)), raising=False)
    assert [place.environment["OMP_NUM_THREADS"] for place in local_places("3", "cpu")] == ["2"] * 3
    assert len(local_places("local", "cpu")) == 1


def test_each_card_has_a_worker(monkeypatch):
    monkeypatch.setattr("core.models.loading.count_cards", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert [place.environment for place in local_places("local", "auto")] == [
        {"CUDA_VISIBLE_DEVICES": "0"},
        {"CUDA_VISIBLE_DEVICES": "1"},
    ]
    assert [place.name for place in local_places("3", "auto")] == ["cuda:0", "cuda:1", "cuda:0"]
    assert [place.name for place in local_places("local", "cuda:1")] == ["cuda:1"]  # a card that was named
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    assert [place.environment for place in local_places("local", "cuda")] == [
        {"CUDA_VISIBLE_DEVICES": "5"},
        {"CUDA_VISIBLE_DEVICES": "7"},
    ]
