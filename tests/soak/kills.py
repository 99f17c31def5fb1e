"""Commands killed at random, then run again: the same bits as undisturbed, and nothing left over."""

import os
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.soak import process
from tests.soak.scenes import MEASURE, OTHERS, SELECT, Stage, differences, leftovers, state

PER_TRIAL = 4  # kills, one after the other, before the command may end
OLD_S = 3 * 86_400  # age that leftovers are given, so that the next command sweeps them
START = {name: "fresh" for name in (*MEASURE, "inspect", "inspect csv", "run")}  # others begin with all measured
COMMANDS = {**MEASURE, **{f"select {name}": argv for name, argv in SELECT.items()}, **OTHERS}


@dataclass(frozen=True)
class Undisturbed:
    """What a command leaves when nothing disturbs it, twice: what differs between the two is not compared."""

    state: dict[str, Any]
    varies: frozenset[str]
    events: int
    seconds: float
    out: str


class Context:
    """The stage, and the undisturbed end of each command, made when it is first needed."""

    def __init__(self, folder: Path) -> None:
        self.stage = Stage(folder)
        self._known: dict[str, Undisturbed] = {}

    def undisturbed(self, name: str) -> Undisturbed:
        """Return the undisturbed end of a command."""
        if name not in self._known:
            states = []
            for _ in range(2):
                folder = self.stage.reset(START.get(name, "measured"))
                began = time.monotonic()
                ended = self.stage.must(COMMANDS[name])
                states.append(state(folder))
            seconds = time.monotonic() - began
            varies = frozenset(differences(*states))
            self._known[name] = Undisturbed(states[0], varies, ended.events, seconds, ended.out)
        return self._known[name]


def prepare(folder: Path) -> Context:
    """Return what the trials of one lane share."""
    return Context(folder)


def trial(context: Context, seed: str) -> tuple[dict[str, int], str | None]:
    """Kill one command PER_TRIAL times and let it end; return the outcomes and a finding, if there is one."""
    rng = random.Random(seed)
    name = rng.choice(list(COMMANDS))
    expected = context.undisturbed(name)
    folder = context.stage.reset(START.get(name, "measured"))
    outcomes = {"killed": 0, "done before the kill": 0}
    points, left = [], max(expected.events, 1)
    for _ in range(PER_TRIAL):
        at, after = (rng.randint(1, left), 0.0) if rng.random() < 0.75 else (0, rng.uniform(0.001, expected.seconds))
        points.append(f"event {at}" if at else f"{after:.2f} s")
        ended = process.run(folder, COMMANDS[name], kill_at=at, kill_after=after)
        killed = ended.code == -9
        outcomes["killed" if killed else "done before the kill"] += 1
        left = max(left - at, 8) if killed else max(ended.events, 1)
        if not killed and ended.fault:
            return outcomes, f"{name}, killed at {points}: {ended.fault}"
    age(folder)
    ended = process.run(folder, COMMANDS[name])
    fault = ended.fault or (ended.code and f"exit code {ended.code}: {ended.err.strip()}") or compare(expected, folder)
    return outcomes, f"{name}, killed at {', '.join(points)}: {fault}" if fault else None


def age(folder: Path) -> None:
    """Make what the kills left over look old, and the last sweep too."""
    old = time.time() - OLD_S
    left = leftovers(folder)
    inner = [path for top in left for path in top.rglob("*")]
    for path in (*inner, *left, *(folder / "workspace/locks").glob("swept")):
        os.utime(path, (old, old))


def compare(expected: Undisturbed, folder: Path) -> str | None:
    """Return what differs from the undisturbed end; None if nothing does."""
    actual = state(folder)
    different = [name for name in differences(expected.state, actual) if name not in expected.varies]
    left = [path for path in leftovers(folder) if path.stat().st_mtime < time.time() - OLD_S / 2]
    if left:
        return f"{len(left)} leftovers are not swept, {left[0].relative_to(folder)} first"
    return f"{len(different)} values differ, {different[0]} first" if different else None
