"""One bit of a stored file flipped: commands give what they gave before, or one sentence, and make it again."""

import random
from pathlib import Path

from tests.core import damage

PER_TRIAL = 1


def prepare(folder: Path) -> tuple[Path, dict[str, str]]:
    """Return a measured workspace and what each command gives on it."""
    root = Path(folder / "flips").absolute() / "workspace"
    return root, damage.build(root)


def trial(context: tuple[Path, dict[str, str]], seed: str) -> tuple[dict[str, int], str | None]:
    """Flip one bit of a file of any kind; return the outcomes and a finding, if there is one."""
    number = random.Random(seed).randrange(1 << 30)
    outcome = damage.survive(*context, damage.plan_damages(context[0], number, 1, ("flip",)))
    return {"flips": 1, **outcome.counts}, "; ".join(outcome.faults) or None
