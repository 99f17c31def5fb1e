"""Workers: processes that do training runs beside each other, each on one thread of the processor.

A small network is trained by matrix products too small to share between threads, so a processor is filled by as many
runs as it has cores. A worker is `python -m core.proof.workers`: it reads tasks from stdin and writes messages to
stdout, both pickled by this module's own processes. It ends with the process that started it.
"""

import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any

from core.errors import ModelError, WinnowError
from core.proof.runs import TrainingRun
from core.schema import Progress

ROOT = Path(__file__).resolve().parents[2]
STEP, STORED, FAILED = "step", "stored", "failed"
LOST = (
    "A training process ended without a message, perhaps for want of memory. Close other programs and run the same "
    "command again; finished training runs are kept."
)
OnStep = Callable[[int, int], None]  # (index of the run, its steps so far)


def do_runs(runs: Sequence[TrainingRun], workers: int, on_step: OnStep) -> Iterator[int]:
    """Do all runs, `workers` at a time; yield the index of each that is stored.

    They begin in order, but a run that a worker of another proof is at comes last. A single worker is this process.
    Raises the error of a run that fails, and ModelError if a worker ends without one; all workers end with the
    iteration.
    """
    queue = _Queue(runs)
    if workers > 1:
        yield from _do_beside(queue, workers, on_step)
        return
    while (index := queue.take()) is not None:
        runs[index].figures(_count_steps(on_step, index))
        yield index


def _count_steps(on_step: OnStep, index: int) -> Progress:
    return lambda done, _total: on_step(index, done)


class _Queue:
    """Runs that wait for a worker."""

    def __init__(self, runs: Sequence[TrainingRun]) -> None:
        self.runs = runs
        self._left = list(range(len(runs)))
        self._lock = Lock()

    def take(self) -> int | None:
        """Return the index of the next run; None if there is none."""
        with self._lock:
            if not self._left:
                return None
            index = next((k for k in self._left if not self.runs[k].is_busy), self._left[0])
            self._left.remove(index)
            return index


def _do_beside(queue: _Queue, workers: int, on_step: OnStep) -> Iterator[int]:
    messages: SimpleQueue[tuple[str, int, Any]] = SimpleQueue()
    with ExitStack() as stack:
        for _ in range(min(workers, len(queue.runs))):
            process = stack.enter_context(_start_worker())
            Thread(target=_feed, args=(process, queue, messages.put), daemon=True).start()
        left = len(queue.runs)
        while left:
            kind, index, value = messages.get()
            if kind == FAILED:
                raise value
            if kind == STEP:
                on_step(index, value)
            else:
                left -= 1
                yield index


@contextmanager
def _start_worker() -> Iterator[subprocess.Popen[bytes]]:
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "core.proof.workers"]
    process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        with suppress(OSError):  # of a task that was not sent whole
            process.communicate()


def _feed(process: subprocess.Popen[bytes], queue: _Queue, put: Callable[[tuple[str, int, Any]], None]) -> None:
    """Send runs to one worker until none waits, and pass on what it says of them."""
    assert process.stdin and process.stdout
    while (index := queue.take()) is not None:
        try:
            pickle.dump(queue.runs[index].task(), process.stdin)
            process.stdin.flush()
            kind = STEP
            while kind == STEP:
                kind, value = pickle.load(process.stdout)
                put((kind, index, value))
        except WinnowError as error:
            put((FAILED, index, error))
        except (OSError, EOFError, ValueError, pickle.UnpicklingError):
            put((FAILED, index, ModelError(LOST)))
            return


def _work() -> None:
    """Do the tasks that come in, until there are no more."""
    out = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints is no message
    with suppress(EOFError, BrokenPipeError, KeyboardInterrupt):  # the process that asks has ended
        while True:
            task = pickle.load(sys.stdin.buffer)
            try:
                task.run(lambda done, _total: _say(out, STEP, done))
                _say(out, STORED)
            except WinnowError as error:
                _say(out, FAILED, error)


def _say(out: Any, kind: str, value: Any = None) -> None:
    pickle.dump((kind, value), out)
    out.flush()


if __name__ == "__main__":
    _work()
