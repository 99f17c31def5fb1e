"""What every first visit needs, loaded before the first one comes."""

from core.errors import WinnowError
from core.pool import pools
from pages.ui.data import cached


def load() -> None:
    """Import the demo pool (on a new machine) and open the pool that a visitor will see first."""
    try:
        recent = cached.recent_pools()
        root = cached.workspace().root
        pool = cached.pool(recent[0]["fingerprint"] if recent else pools.load_pool("demo", workspace=root).fingerprint)
        cached.tasks(pool)
        for column in ("prompt_chars", "response_chars"):
            cached.integer_column(pool, column)
    except WinnowError:
        return  # the first page says what is wrong, to someone who can mend it
