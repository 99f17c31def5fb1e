"""Saved selections: save the current settings under a name; load, rename and delete them."""

from collections.abc import Callable
from dataclasses import fields

import streamlit as st

from core.errors import RecipeError
from pages.ui.shell.address import write_address
from pages.ui.shell.changes import change
from pages.ui.shell.saved_files import NOT_SAVED, load_all, saved_file, write_saved
from pages.ui.shell.settings import POOL, Settings, settings
from pages.ui.shell.widgets import leave_notice


def save_as(name: str) -> None:
    """Save the current settings under a name, replacing one of that name. Raises RecipeError for a bad name."""
    write_saved(name.strip(), settings())
    write_address()


def load_saved(name: str, apply: Callable[..., None] = change) -> bool:
    """Load a saved selection as one step of undo. Returns False and leaves a notice if it no longer exists.

    `apply` is called with its settings, by field.
    """
    wanted = load_all(st.session_state[POOL]).get(name)
    if wanted is None:
        leave_notice(f"This pool has no saved selection named '{name}'.")
        return False
    saved = {f.name: getattr(wanted, f.name) for f in fields(Settings) if f.name not in NOT_SAVED}
    apply(**saved | {"tags": {**settings().tags, **wanted.tags}})
    return True


def rename_saved(name: str, new_name: str) -> None:
    """Rename a saved selection. Raises RecipeError if the new name is bad or in use, or the old one is gone."""
    existing, new_name = load_all(st.session_state[POOL]), new_name.strip()
    if name not in existing:
        raise RecipeError(f"This pool has no saved selection named '{name}'.")
    if new_name in existing and new_name != name:
        raise RecipeError(f"A saved selection named '{new_name}' exists already. Choose another name.")
    write_saved(new_name, existing[name])
    write_address()
    if new_name != name:
        delete_saved(name)


def delete_saved(name: str) -> None:
    """Delete a saved selection; the current settings stay."""
    saved_file(name).unlink(missing_ok=True)
    write_address()
