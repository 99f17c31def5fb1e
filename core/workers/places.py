"""Places where workers run. `--workers` names them.

local          one for each card that this process may use; without a card, this process alone
N              N processes on this machine: on each card in turn; without a card, on the processor
ray            one for each GPU of the Ray cluster that runs here, or for each of its CPUs; ray:ADDRESS: of another
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import psutil

from core.errors import RecipeError

LOCAL, CPU, RAY = "local", "cpu", "ray"
VISIBLE = "CUDA_VISIBLE_DEVICES"
MAX_WORKERS = 4096
_CARD = re.compile(r"cuda:\d+")


@dataclass(frozen=True)
class Place:
    """Where one worker runs on this machine."""

    name: str  # such as "cpu" or "cuda:1"
    environment: Mapping[str, str] = field(default_factory=dict)


def check_workers(workers: str) -> str:
    """Return `workers` as it is; RecipeError if it names no workers."""
    number = int(workers) if workers.isascii() and workers.isdigit() else 0
    if workers == LOCAL or 0 < number <= MAX_WORKERS or cluster_address(workers) is not None:
        return workers
    raise RecipeError(f"--workers {workers}: write local, a number of processes, ray, or ray:HOST:PORT.")


def cluster_address(workers: str) -> str | None:
    """Return the address of the Ray cluster that `workers` names, "" for the one that runs here; None if it is none."""
    name, colon, address = workers.partition(":")
    return address if name == RAY and bool(colon) == bool(address) else None


def local_places(workers: str, device: str) -> list[Place]:
    """Return the places on this machine for `workers` ("local" or a number); one place: this process serves.

    `device` as in core.schema.Reading: a single card or the processor is used by all workers.
    """
    cards = _cards(device)
    count = max(1, len(cards)) if workers == LOCAL else int(workers)
    if cards:
        return [cards[k % len(cards)] for k in range(count)]
    name = device if _CARD.fullmatch(device) else CPU
    threads = max(1, count_cores() // count)
    return [Place(name, {"OMP_NUM_THREADS": str(threads)} if name == CPU else {}) for _ in range(count)]


def count_cores() -> int:
    """Return how many cores this process may use."""
    process = psutil.Process()
    return len(process.cpu_affinity()) if hasattr(process, "cpu_affinity") else os.cpu_count() or 1


def _cards(device: str) -> list[Place]:
    """Return the cards that may be used, if the device leaves open which."""
    if device not in ("auto", "cuda"):
        return []
    from core.models.loading import count_cards  # imports torch

    shown = [name.strip() for name in os.environ.get(VISIBLE, "").split(",") if name.strip()]
    names = shown or [str(k) for k in range(count_cards())]
    return [Place(f"cuda:{name}", {VISIBLE: name}) for name in names[: count_cards()]]
