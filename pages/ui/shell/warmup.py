"""Warm-up of the caches before the first visit."""

from importlib import import_module

from core.errors import WinnowError
from core.pool import pools
from pages.ui.data import cached
from pages.ui.shell.visitors import are_apart

HEAVY = ("core.analysis.score_checks", "core.analysis.maps")  # bring scipy.stats and scikit-learn: half a second


def load() -> None:
    """Import what Explore needs, and open the pool that a visitor sees first; on a new machine, the demo pool."""
    for module in HEAVY:
        import_module(module)
    try:
        stored = [entry for entry in cached.stored_pools() if entry["source"] == pools.DEMO or not are_apart()]
        if not stored:
            cached.open_demo()
            stored = cached.stored_pools()
        pool = cached.pool(stored[0]["key"])
        cached.tasks(pool)
        for column in ("prompt_chars", "response_chars"):
            cached.integer_column(pool, column)
    except WinnowError:
        return  # the first page shows the error to someone who can fix it
