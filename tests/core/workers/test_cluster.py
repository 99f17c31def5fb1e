"""Workers on a Ray cluster: whatever dies is replaced, and every column has the same bits as measured alone."""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, nullcontext, suppress
from io import StringIO
from pathlib import Path
from unittest.mock import Mock

import psutil
import pytest

import core as winnow
from core.demo.pool import clean_rows
from core.errors import Cancelled, RecipeError, WinnowError
from core.progress import SilentReporter
from core.workers.cluster import count_workers, run_on_cluster
from core.workers.launch import share_work
from core.workers.records import list_workers
from core.workers.task import Task, finding_duplicates
from core.workspace.folder import Workspace

ROOT = Path(__file__).parents[3]
METHOD = "activation_coverage"
ROWS, PARTS = 330, 40
KILLED = "its Ray process was killed"


@pytest.fixture(scope="module")
def ray():
    """Cut stages into some 40 parts, here and in the processes that this one starts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WINNOW_PART_SECONDS", "1e-5")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        yield pytest.importorskip("ray", reason="Ray is not installed: `make ray`")


@pytest.fixture(scope="module")
def cluster(ray):
    """Return a cluster of one node of one CPU."""
    from ray.cluster_utils import Cluster

    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    yield nodes
    nodes.shutdown()


@contextmanager
def second_node(cluster):
    node = cluster.add_node(num_cpus=1)
    yield node
    if node in cluster.worker_nodes:
        cluster.remove_node(node)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    file = tmp_path_factory.mktemp("pool") / "rows.jsonl"
    rows = ({"id": f"row-{k}"} | row for k, row in enumerate(clean_rows(0)[::6][:ROWS]))
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


@pytest.fixture(scope="module")
def alone(ray, source, tmp_path_factory):
    """Return the digest of what one process measures."""
    return measure(source, tmp_path_factory.mktemp("alone"))


def measure(source, workspace, workers="local", report=None):
    """Measure the pool; return the SHA-256 of every column."""
    pool = winnow.load_pool(source, workspace=workspace, report=None)
    scores = winnow.measure(pool, METHOD, workers=workers, report=report).scores
    assert len(parts_of(workspace)) >= PARTS
    digest = hashlib.sha256()
    for name in sorted(scores):
        digest.update(f"{name} {scores[name].dtype} ".encode())
        digest.update(scores[name].to_numpy().tobytes())
    return digest.hexdigest()


def parts_of(workspace):
    """Return the stored parts of the pass, and when each was written."""
    return {file: file.stat().st_mtime_ns for file in workspace.glob("measurements/*/part-*.parquet")}


def processes(words):
    """Return the live processes of the cluster that have these words in their command lines."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):  # it has ended
            if words in " ".join(process.cmdline()):
                found.append(process)
    return found


def kill(words):
    """SIGKILL one of the cluster's processes."""
    processes(words)[0].kill()


class Disturber(SilentReporter):
    """A reporter that takes an action at a tenth of the rows, and one when the first worker is replaced."""

    def __init__(self, at_a_tenth, at_a_death=None):
        self.at_a_tenth, self.at_a_death, self.replaced = at_a_tenth, at_a_death, ()

    def stage(self, name, *, rows, work, done_rows=0, done_work=0):
        self.tenth = rows // 10

    def advance(self, rows, work):
        if self.at_a_tenth and rows >= self.tenth:
            action, self.at_a_tenth = self.at_a_tenth, None
            action()

    def workers(self, task, replaced=()):
        self.replaced = replaced
        if self.at_a_death and replaced:
            action, self.at_a_death = self.at_a_death, None
            action()


@pytest.mark.cluster
def test_killed_workers_are_replaced(cluster, source, alone, tmp_path):
    report = Disturber(lambda: kill("core.workers.worker"), lambda: kill("ray::run"))
    with second_node(cluster):
        assert measure(source, tmp_path, f"ray:{cluster.address}", report) == alone
    ended = sorted(sentence.partition("(Ray, CPU) ")[2] for sentence in report.replaced)
    assert ended == [f"ended unexpectedly ({why}) and was replaced." for why in ("exit code -9", KILLED)]
    assert list_workers(Workspace(tmp_path)) == [] and not list(tmp_path.glob("workers/*/.*"))


@pytest.mark.cluster
def test_the_work_of_a_node_that_is_removed_is_done_by_others(cluster, source, alone, tmp_path):
    with second_node(cluster) as node:
        report = Disturber(lambda: cluster.remove_node(node, allow_graceful=False))
        assert measure(source, tmp_path, f"ray:{cluster.address}", report) == alone
    assert not report.at_a_tenth


@pytest.mark.cluster
def test_the_command_continues_where_it_was_killed(cluster, source, alone, tmp_path):
    """With one worker."""
    command = [sys.executable, "-m", "core", "measure", source, "--method", METHOD, "--workspace", tmp_path, "--json"]
    command += ["--workers", f"ray:{cluster.address}"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as driver:
        while len(parts_of(tmp_path)) < PARTS // 4:
            assert driver.poll() is None
            time.sleep(0.02)
        driver.kill()
    while processes("core.workers.worker"):  # Ray ends the tasks of a driver that is gone
        time.sleep(0.05)
    stored = parts_of(tmp_path)
    output = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout
    assert json.loads(output)["rows"] == ROWS  # and nothing of Ray
    after = parts_of(tmp_path)
    assert {file: after.get(file, written) for file, written in stored.items()} == stored  # gathered ones are gone
    assert measure(source, tmp_path) == alone


@pytest.mark.cluster
def test_cancel_ends_all_workers(cluster, source, tmp_path):
    class Canceller(SilentReporter):
        def workers(self, task, replaced=()):
            self.began = True

        def stage(self, name, **counts):
            if hasattr(self, "began"):
                os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises((KeyboardInterrupt, Cancelled)):  # the latter where a command ran in this process before
        measure(source, tmp_path, f"ray:{cluster.address}", Canceller())
    while processes("core.workers.worker"):
        time.sleep(0.05)


@pytest.mark.cluster
def test_a_node_that_does_not_see_the_workspace_is_an_error(cluster, source, tmp_path, monkeypatch):
    monkeypatch.setattr("core.workers.cluster._mark", lambda _task: nullcontext(tmp_path / "seen-by-one-node"))
    with pytest.raises(WinnowError, match=r"^The Ray node .* does not see the workspace"):
        measure(source, tmp_path, f"ray:{cluster.address}")


# Without a cluster


def share(workers, tmp_path, source):
    pool = winnow.load_pool(source, workspace=tmp_path, report=None)
    share_work(finding_duplicates(pool, Workspace(tmp_path), 0.8), workers, "cpu", SilentReporter(), lambda: False)


@pytest.mark.parametrize(
    ("workers", "error"),
    [
        ("ray", r"--workers ray:127\.0\.0\.1:1: nothing answers there"),
        ("ray:local", r"--workers ray:local: write HOST:PORT of a running cluster"),
        ("ray:127.0.0.1:2", r"--workers ray:127\.0\.0\.1:2: nothing answers there"),
        ("ray:", r"--workers ray:: write local, a number of processes, ray"),
    ],
)
def test_a_cluster_that_does_not_answer_is_an_error(ray, source, tmp_path, monkeypatch, workers, error):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(RecipeError, match=error):
        share(workers, tmp_path, source)


@pytest.mark.parametrize(
    ("workers", "error"),
    [("ray", "no Ray cluster runs here. Start one"), ("ray:[::1]:2", "Ray cannot connect: Other version")],
)
def test_what_ray_says_of_a_cluster_that_it_cannot_use_is_one_sentence(
    ray, source, tmp_path, monkeypatch, workers, error
):
    def refuse(*_args, **_options):
        raise ConnectionError("Other version.\nMore of it.")

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ray, "init", refuse)
    monkeypatch.setattr("socket.create_connection", lambda place, _timeout: {("::1", 2): StringIO()}[place])
    with pytest.raises(RecipeError, match=re.escape(error)):
        share(workers, tmp_path, source)


@pytest.mark.parametrize(
    ("address", "servers", "error"),
    [
        ("10.0.0.1:6379", (), "This recipe would measure on the Ray cluster 10.0.0.1:6379"),
        ("10.0.0.1:6379", ("10.0.0.1:80",), "add --allow-server 10.0.0.1:6379"),
        ("no host:1", (), "This recipe would measure on the Ray cluster"),
        ("10.0.0.1:6379", ("10.0.0.1",), "nothing answers there"),
        ("127.0.0.1:1", (), "nothing answers there"),
        ("10.0.0.1:6379", None, "nothing answers there"),
    ],
)
def test_a_cluster_that_a_recipe_names_is_contacted_only_if_allowed(ray, monkeypatch, address, servers, error):
    monkeypatch.setattr("socket.create_connection", Mock(side_effect=OSError("refused")))
    task = Task("/nowhere", {}, servers=servers)
    with pytest.raises(RecipeError, match=re.escape(error)):
        run_on_cluster(task, address, "cpu", SilentReporter())


def test_without_ray_the_error_says_how_to_install_it(source, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(RecipeError, match=r"Ray is not installed\. `make ray` installs it\."):
        share("ray", tmp_path, source)


def test_each_gpu_has_a_worker_and_its_share_of_the_processors():
    head, small, large = {"CPU": 4.0}, {"CPU": 9.0, "GPU": 2.0}, {"CPU": 64.0, "GPU": 8.0}
    assert count_workers([head, small, large], "auto") == (10, {"num_gpus": 1, "num_cpus": 4})
    assert count_workers([small, large], "cuda") == (10, {"num_gpus": 1, "num_cpus": 4})


def test_without_gpus_or_where_they_are_not_wanted_each_cpu_has_a_worker():
    assert count_workers([{"CPU": 4.0}, {"CPU": 2.0}, {}], "auto") == (6, {"num_gpus": 0, "num_cpus": 1})
    assert count_workers([{"CPU": 4.0, "GPU": 1.0}], "cpu") == (4, {"num_gpus": 0, "num_cpus": 1})


@pytest.mark.parametrize(
    ("device", "error"), [("cuda", "no GPU on any node now"), ("cuda:1", "Write --device cuda instead of")]
)
def test_a_device_that_the_cluster_cannot_give_is_an_error(device, error):
    with pytest.raises(RecipeError, match=error):
        count_workers([{"CPU": 4.0}], device)


@pytest.mark.parametrize(
    ("mark", "error"),
    [("/nowhere/mark", "does not see the workspace /data/ws."), ("/", "has no Winnow, or another version: ")],
)
def test_a_node_without_workspace_or_code_says_so(ray, tmp_path, mark, error):
    """The node has Ray and nothing else."""
    from core.workers.cluster import _node_function

    (tmp_path / "function").write_bytes(ray.cloudpickle.dumps(_node_function()))
    code = f"""
import pickle, sys
sys.modules["core"] = None
run = pickle.load(open("function", "rb"))
print(*run({{"workspace": "/data/ws"}}, "0/1", {{}}, {mark!r}))
"""
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert result.stdout.startswith("2 The Ray node ") and error in result.stdout
