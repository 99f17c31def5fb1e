"""Which Winnow this is, for manifests."""

import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@cache
def commit() -> str | None:
    """The commit of the checkout this code runs from, "+" appended when it was changed; None outside git."""
    try:
        found = subprocess.run(
            ["git", "-C", str(ROOT), "describe", "--always", "--abbrev=40", "--dirty=+", "--exclude=*"],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except OSError:  # no git on this machine
        return None
    return found.stdout.strip() or None if (ROOT / ".git").exists() else None
