"""Workers on the nodes of a Ray cluster: one for each GPU, or for each CPU, as a Ray task that runs a worker process.

Ray only places the processes: they share the parts of the workspace as those of one machine do, so training and stages
of one worker run on the cluster too, no score passes Ray's object store, and `ray[data]` (617 MB) is not needed.
"""

import logging
import os
import secrets
import signal
import socket
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from threading import current_thread, main_thread
from typing import Any

from core.errors import ModelError, RecipeError
from core.models.generation.addresses import check_url, is_loopback, is_named
from core.progress import Reporter
from core.workers.launch import POLL_S, LocalWorker, Worker, supervise
from core.workers.places import CPU, MAX_WORKERS, RAY, VISIBLE, Place
from core.workers.records import FOLDER
from core.workers.task import Task
from core.workers.worker import FAILED
from core.workspace.files import disk_errors, make_folder
from core.workspace.shards import Shard, read_shard

CONNECT_S = 5.0
LOST = -1  # exit code of a worker whose node or Ray process is gone
REASONS = {  # by Ray's exception
    "NodeDiedError": "its node left the cluster",
    "LocalRayletDiedError": "its node left the cluster",
    "OutOfMemoryError": "its node ran out of memory",
    "WorkerCrashedError": "its Ray process was killed",
}
Resources = dict[str, float]


def run_on_cluster(task: Task, address: str, device: str, report: Reporter) -> None:
    """Run a worker of a task for each GPU or CPU of a Ray cluster until all work is stored.

    `address` as `core.workers.places.cluster_address` returns it; `device` as in core.schema.Reading. RecipeError if
    the cluster cannot be reached, has no such device, or is named by a recipe from elsewhere and not allowed.
    """
    if address and task.servers is not None:
        _check_allowed(address, task.servers)
    with _connected(address), _mark(task) as mark:
        import ray

        count, resources = count_workers(_nodes(), device)
        run = ray.remote(_node_function()).options(max_retries=0, **resources)

        def submit(shard: Shard) -> Any:
            return run.remote(task.as_data(), str(shard), resources, str(mark))

        place = "Ray, GPU" if resources["num_gpus"] else "Ray, CPU"
        report.waiting(f"Waiting for the Ray cluster to start {count:,} worker{'s' if count > 1 else ''}.")
        supervise([ClusterWorker(task, Shard(index, count), place, submit) for index in range(count)], report)


def count_workers(nodes: list[Resources], device: str) -> tuple[int, Resources]:
    """Return how many workers these nodes have room for, and what each one takes of a node.

    A GPU comes with its share of the CPUs of the node that has the fewest for each. RecipeError if there is no room.
    """
    if device not in ("auto", CPU, "cuda"):
        raise RecipeError(f"--workers ray: Ray assigns the GPU. Write --device cuda instead of --device {device}.")
    cards = [(int(node.get("GPU", 0)), int(node.get("CPU", 0))) for node in nodes if node.get("GPU", 0) >= 1]
    if cards and device != CPU:
        share = min(cpus // gpus for gpus, cpus in cards)
        return min(sum(gpus for gpus, _ in cards), MAX_WORKERS), {"num_gpus": 1, "num_cpus": share}
    count = 0 if device == "cuda" else sum(int(node.get("CPU", 0)) for node in nodes)
    if not count:
        raise RecipeError(f"The Ray cluster has no {'GPU' if device == 'cuda' else 'CPU'} on any node now.")
    return min(count, MAX_WORKERS), {"num_gpus": 0, "num_cpus": 1}


class ClusterWorker(Worker):
    """A Ray task that runs a worker process on a node. Ray does not retry it, so that each death is reported."""

    def __init__(self, task: Task, shard: Shard, place: str, submit: Callable[[Shard], Any]) -> None:
        super().__init__(task, shard, place)
        self._submit = submit
        self._result: Any = None

    def start(self) -> None:
        """Submit the task."""
        self._result = self._submit(self.shard)

    def poll(self) -> tuple[int, str] | None:
        """Return what `run_worker` returned on the node, or LOST; None while the task is queued or runs."""
        import ray
        from ray.exceptions import RayError, RayTaskError

        if not ray.wait([self._result], timeout=0)[0]:
            return None
        try:
            code, words = ray.get(self._result)
        except RayTaskError:
            raise
        except RayError as error:
            reason = REASONS.get(type(error).__name__)
            if reason is None:
                raise ModelError(f"The Ray cluster cannot run a worker: {_first_line(error)}") from error
            return LOST, reason
        return (code, words) if code in (0, FAILED) else (LOST, words)

    def cancel(self) -> None:
        """Let Ray kill the task, and its process with it. (A milder way is lost where a node ignores SIGINT.)"""
        import ray

        if self._result is not None:
            ray.cancel(self._result, force=True)

    def close(self) -> None:
        """Forget the task."""
        self._result = None


def _node_function() -> Callable[[dict[str, Any], str, Resources, str], tuple[int, str]]:
    """Return what a node runs. It is a closure, which Ray sends whole: the node may lack this module."""

    def run(data: dict[str, Any], shard: str, resources: Resources, mark: str) -> tuple[int, str]:
        from pathlib import Path
        from platform import node

        if not Path(mark).exists():
            return FAILED, (
                f"The Ray node {node()} does not see the workspace {data['workspace']}. Choose a folder that all nodes "
                "share, at the same path."
            )
        try:
            from core.workers.cluster import run_worker
            from core.workers.task import read_task

            task = read_task(data)
        except (ImportError, TypeError) as error:
            return FAILED, (
                f"The Ray node {node()} has no Winnow, or another version: {error}. Install it there as here, or put "
                "its folder on the disk that the nodes share, at the same path."
            )
        return run_worker(task, shard, resources)

    return run


def run_worker(task: Task, shard: str, resources: Resources) -> tuple[int, str]:
    """Run a worker process on this node, as a Ray task; return its exit code and error."""
    threads = str(max(1, int(resources["num_cpus"])))
    name, hidden = (f"cuda:{os.environ.get(VISIBLE, '0')}", {}) if resources["num_gpus"] else (CPU, {VISIBLE: ""})
    worker = LocalWorker(task, read_shard(shard), Place(name, {"OMP_NUM_THREADS": threads} | hidden))
    try:
        worker.start()
        while (ended := worker.poll()) is None:
            time.sleep(POLL_S)
    finally:
        worker.close()
    return ended


@contextmanager
def _connected(address: str) -> Iterator[None]:
    """Hold a connection to a Ray cluster: the one that this process has, else a new one."""
    try:
        import ray
    except ImportError:
        raise RecipeError("--workers ray: Ray is not installed. `make ray` installs it.") from None
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):  # Ray prints the logs of dead nodes there
        if ray.is_initialized():
            other = ray.get_runtime_context().gcs_address
            if address not in ("", other):
                raise RecipeError(f"--workers {RAY}:{address}: this process is connected to {other}.")
            yield
            return
        _check_address(address or os.environ.get("RAY_ADDRESS", ""))
        handler = signal.getsignal(signal.SIGTERM)
        try:
            ray.init(address or "auto", log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, RuntimeError, ValueError) as error:
            if not address:
                raise RecipeError(
                    "--workers ray: no Ray cluster runs here. Start one with `ray start --head`, or add :HOST:PORT."
                ) from error
            raise RecipeError(f"--workers {RAY}:{address}: Ray cannot connect: {_first_line(error)}") from error
        finally:
            if current_thread() is main_thread():
                signal.signal(signal.SIGTERM, handler)  # Ray's own would end the process without a word
        try:
            yield
        finally:
            ray.shutdown()


def _check_allowed(address: str, servers: Collection[str]) -> None:
    """Raise RecipeError unless an address is on this computer or among `servers`: a cluster can run code here."""
    with suppress(ModelError):
        url = check_url(f"http://{address}")
        if is_loopback(url) or is_named(url, servers):
            return
    raise RecipeError(
        f"This recipe would measure on the Ray cluster {address}, which could run code here. It was not contacted. If "
        f"you trust it, add --allow-server {address} (in Python, allow_servers)."
    )


def _check_address(address: str) -> None:
    """Raise RecipeError if nothing listens at HOST:PORT: Ray would try for minutes, deaf to signals."""
    host, _, port = address.rpartition(":")
    if not port.isdigit():
        if address in ("", "auto"):
            return
        raise RecipeError(f"--workers {RAY}:{address}: write HOST:PORT of a running cluster, such as 10.0.0.1:6379.")
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_S).close()
    except (OSError, OverflowError, UnicodeError) as error:
        raise RecipeError(f"--workers {RAY}:{address}: nothing answers there ({error}).") from error


@contextmanager
def _mark(task: Task) -> Iterator[Path]:
    """Yield a new file in the workspace, by which a node sees that it has the same one."""
    folder = Path(task.workspace) / FOLDER / task.key
    mark = folder / f".cluster.{secrets.token_hex(4)}"  # swept like other temporary files if this process is killed
    with disk_errors(folder):
        make_folder(folder)
        mark.touch()
    try:
        yield mark
    finally:
        for file in (mark, *folder.glob("*.json")):  # records of workers that were killed; those of live ones come back
            file.unlink(missing_ok=True)


def _nodes() -> list[Resources]:
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
