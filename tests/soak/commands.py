"""Hostile command lines: each is done or ends in one sentence, and no input is changed."""

import random
from pathlib import Path

from tests.core.cli import hostile_commands

PER_TRIAL = 1


def prepare(folder: Path) -> Path:
    """Make the inputs of one lane and return their folder."""
    place = folder / "commands"
    place.mkdir(exist_ok=True)
    hostile_commands.prepare(place)
    return place


def trial(place: Path, seed: str) -> tuple[dict[str, int], str | None]:
    """Run one hostile command line; return the outcome and a finding, if there is one."""
    failure = hostile_commands.run_one(random.Random(seed).randrange(1 << 30), 0, place)
    return {"commands": 1}, str(failure) if failure else None
