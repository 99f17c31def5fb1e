"""Saved selections: save the present settings under a name, load, rename and delete them."""

from dataclasses import fields

import streamlit as st

from core.errors import RecipeError
from pages.ui.shell.address import write_address
from pages.ui.shell.changes import change
from pages.ui.shell.saved_files import load_all, saved_file, write_saved
from pages.ui.shell.settings import POOL, Settings, settings
from pages.ui.shell.widgets import leave_notice


def save_as(name: str) -> None:
    """Keep the present settings under a name; one that is there already is replaced. RecipeError for a bad name."""
    write_saved(name.strip(), settings())
    write_address()


def load_saved(name: str) -> bool:
    """Make a saved selection the present one: one step of undo. False, and a sentence to tell, where it is gone."""
    wanted = load_all(st.session_state[POOL]).get(name)
    if wanted is None:
        leave_notice(f"There is no saved selection '{name}' of this pool (any more).")
        return False
    change(**{one.name: getattr(wanted, one.name) for one in fields(Settings) if one.name != "contenders"})
    return True


def rename_saved(name: str, other: str) -> None:
    """Give a saved selection another name. RecipeError for a bad one, for one that is taken, and where it is gone."""
    known, other = load_all(st.session_state[POOL]), other.strip()
    if name not in known:
        raise RecipeError(f"There is no saved selection '{name}' of this pool any more.")
    if other in known and other != name:
        raise RecipeError(f"There is a saved selection '{other}' already. Choose another name.")
    write_saved(other, known[name])
    write_address()
    if other != name:
        delete_saved(name)


def delete_saved(name: str) -> None:
    """Forget a saved selection; the present settings stay."""
    saved_file(name).unlink(missing_ok=True)
    write_address()
