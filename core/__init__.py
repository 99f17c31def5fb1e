"""Winnow: see, tune and export the part of an instruction pool that is worth fine-tuning on.

    import core as winnow

    pool = winnow.load_pool("demo")
    run = winnow.measure(pool, "entropy_shift")
    selection = winnow.select(run, budget="10%")
    winnow.export(selection, "chosen.jsonl")

These names are the public API. Each is imported when it is first used, so `import core` brings no other library.

api       the functions of the public API
schema    the nouns: Pool, Measured, Order, Method
columns   the columns that all measurements share
progress  progress reporting
errors    errors that the user can fix
"""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.2.0"

if TYPE_CHECKING:
    from core.api import compare, export, find_run, load_pool, measure, prove, replay, report, select
    from core.methods import METHODS
    from core.selection.recipe import Recipe
    from core.workspace.folder import Workspace

__all__ = [
    "METHODS",
    "Recipe",
    "Workspace",
    "compare",
    "export",
    "find_run",
    "load_pool",
    "measure",
    "prove",
    "replay",
    "report",
    "select",
]

_MODULES = {"METHODS": "core.methods", "Recipe": "core.selection.recipe", "Workspace": "core.workspace.folder"}

if not TYPE_CHECKING:  # a type checker would take it for an attribute of any name

    def __getattr__(name):
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_MODULES.get(name, "core.api")), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
