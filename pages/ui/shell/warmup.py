"""Warm-up of the caches before the first visit."""

from core.errors import WinnowError
from core.pool import pools
from pages.ui.data import cached


def load() -> None:
    """Open the pool that a visitor sees first; on a new machine, import the demo pool."""
    try:
        recent = cached.recent_pools()
        root = cached.workspace().root
        pool = cached.pool(recent[0]["fingerprint"] if recent else pools.load_pool("demo", workspace=root).fingerprint)
        cached.tasks(pool)
        for column in ("prompt_chars", "response_chars"):
            cached.integer_column(pool, column)
    except WinnowError:
        return  # the first page shows the error to someone who can fix it
