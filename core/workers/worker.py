"""One worker of several: `python -m core.workers.worker INDEX/COUNT PLACE < TASK`.

It reads its task from stdin, as one line of JSON, and ends when stdin closes: when the process that started it has
ended. Exit codes: 0 all work is stored, 2 an error of one sentence on stderr, 130 cancelled.
"""

import os
import signal
import sys
from threading import Thread

import orjson

from core.errors import Cancelled, WinnowError, memory_errors
from core.progress import SilentReporter
from core.workers.records import recording
from core.workers.task import read_task
from core.workspace.folder import Workspace
from core.workspace.shards import read_shard

FAILED, CANCELLED = 2, 130


def main(index: str, place: str) -> int:
    """Do the task on stdin; return the exit code."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _cancel)
    task, shard = read_task(orjson.loads(sys.stdin.buffer.readline())), read_shard(index)
    Thread(target=_end_with_parent, daemon=True).start()
    try:
        with memory_errors(), recording(Workspace(task.workspace), task.key, shard, SilentReporter(), place) as report:
            task.run(report, shard)
    except WinnowError as error:
        sys.stderr.write(f"{error}\n")
        return CANCELLED if isinstance(error, Cancelled) else FAILED
    return 0


def _end_with_parent() -> None:
    while os.read(sys.stdin.fileno(), 1):  # a buffered read would hold a lock when this process ends
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _cancel(_number: int, _frame: object) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    raise Cancelled("Cancelled. The same command continues from the last finished part.")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
