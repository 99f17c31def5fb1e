"""Pools that the visitor may open, and when: all of the workspace but the uploads of others.

On a shared server each visitor's times are in recent.json of their own folder; otherwise the workspace has them.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from core.errors import PoolError, WinnowError
from core.pool import pools
from core.schema import Pool
from core.workspace.files import read_json, write_json
from pages.ui.data import cached
from pages.ui.shell import visitors

MAX_REMEMBERED = 50  # pools whose times are kept for each visitor


def recent_pools() -> list[dict[str, Any]]:
    """List the pools that the visitor may open, each content once, with its latest mapping.

    Those that the visitor has opened come first, last opened first. `opened` of the others, which only others have
    opened, is None.
    """
    own = _read_times()
    by_fingerprint: dict[str, dict[str, Any]] = {}
    for entry in cached.stored_pools():
        if visitors.may_open(entry["source"]):
            by_fingerprint.setdefault(entry["fingerprint"], entry)
    if own is None:
        return list(by_fingerprint.values())
    entries = [entry | {"opened": own.get(fingerprint)} for fingerprint, entry in by_fingerprint.items()]
    return sorted(entries, key=lambda entry: entry["opened"] or "", reverse=True)


def load(fingerprint: str) -> Pool:
    """Return a pool that the visitor may open, with its latest mapping. Raise PoolError for any other."""
    entry = next((one for one in recent_pools() if one["fingerprint"] == fingerprint), None)
    if entry is None:
        raise PoolError(f"No pool with fingerprint {fingerprint} is in this workspace for you. Open its file again.")
    return cached.pool(entry["key"])


def last_pool() -> str:
    """Return the fingerprint of the pool that the visitor opened last; that of the demo pool if there is none."""
    entries = recent_pools()
    if entries and entries[0]["opened"] is not None:
        return str(entries[0]["fingerprint"])
    stored = next((entry["fingerprint"] for entry in entries if entry["source"] == pools.DEMO), None)
    return stored or cached.open_demo().fingerprint


def remember(fingerprint: str) -> None:
    """Record that the visitor has opened a pool now; on a server for this computer alone, the workspace does it."""
    times = _read_times()
    if times is not None and next(iter(times), None) != fingerprint:
        times = {fingerprint: datetime.now(UTC).isoformat()} | {key: times[key] for key in times if key != fingerprint}
        write_json(_file(), dict(list(times.items())[:MAX_REMEMBERED]))


def _read_times() -> dict[str, str] | None:
    """Return the times by fingerprint, newest first; None where there is one visitor only."""
    if not visitors.current():
        return None
    try:
        return {str(key): str(time) for key, time in read_json(_file()).items()}
    except (WinnowError, AttributeError):  # none yet, or damaged: they are only a convenience
        return {}


def _file() -> Path:
    return visitors.home() / "recent.json"
