"""Files that the visitor adds to a proof: rows to train on, or rows and pairs to evaluate on. They last as long as the
tab."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from core.errors import PoolError
from core.pool.preference.target_sets import DEMO
from core.schema import Pool
from pages.ui.pool import opening
from pages.ui.shell import data_files, roots, show, state
from pages.ui.words import escape_markdown


@dataclass(frozen=True)
class AddedFile:
    """A file or hub id, and the name that the visitor gave it."""

    source: str
    name: str = ""

    @property
    def word(self) -> str:
        """The file as a word of the command line."""
        return f"{self.name}={self.source}" if self.name else self.source

    @property
    def title(self) -> str:
        """The name on screen."""
        if self.name:
            return self.name
        return "Built-in pairs" if self.source == DEMO else Path(self.source).name


@dataclass(frozen=True)
class Role:
    """What files are added for."""

    key: str
    button: str
    label: str
    help: str
    choices: Mapping[str, str]  # offered besides files: source -> label
    hub: bool = False


ARMS = Role(
    "arms",
    "Add an arm from a file",
    "Recipe, manifest or file of rows",
    "A recipe (.yaml), a manifest (.manifest.json), or a file with rows of this pool or their ids (.jsonl).",
    {},
)
TARGETS = Role(
    "targets",
    "Add a target",
    "File or hub id",
    "Rows with a prompt and a response, or pairs of a chosen and a rejected answer.",
    {DEMO: "Built-in pairs"},
    hub=True,
)


def list_added(role: Role, pool: Pool) -> tuple[AddedFile, ...]:
    """Return the files that were added in this tab."""
    return state.session_value(_key(role, pool)) or ()


def draw(role: Role, pool: Pool) -> None:
    """Draw the added files, each with a button that removes it, and the way to add one."""
    added = list_added(role, pool)
    for one in added:
        with st.container(horizontal=True, vertical_alignment="center", key=f"proof-{role.key}-{one.title}"):
            st.text(one.title, width="content", help=escape_markdown(one.source))
            rest = tuple(other for other in added if other != one)
            show.action("Remove", "close", f"proof.remove.{one.word}", _store, role, pool, rest, type="tertiary")
    with st.popover(role.button, icon=":material/add:"):
        _form(role, pool, added)


def _form(role: Role, pool: Pool, added: tuple[AddedFile, ...]) -> None:
    key = f"proof.{role.key}.{len(added)}"  # changes when a file is added, which empties the form
    options = role.choices | {str(file): f"{file.name} · {file.parent}" for file in data_files.find_files()}
    choice = st.selectbox(
        role.label,
        list(options),
        index=None,
        format_func=lambda one: options.get(one, one),
        accept_new_options=True,
        placeholder="Choose a file, or type a path",
        help=role.help,
        key=f"{key}.choice",
    )
    upload = st.file_uploader("Or upload a file", type=list(opening.UPLOADS), key=f"{key}.upload")
    name = st.text_input("Name (optional)", key=f"{key}.name", placeholder="the file name") or ""
    if st.button("Add", key=f"{key}.add", disabled=not choice and upload is None):
        with show.errors():
            uploaded = upload is not None and str(opening.store_upload(upload.name, upload.getvalue()))
            source = uploaded or _check(role, str(choice))
            if any(source == one.source for one in added):
                raise PoolError(f"{Path(source).name} is in the list already.")
            _store(role, pool, (*added, AddedFile(source, name.strip())))
            st.rerun()


def _check(role: Role, typed: str) -> str:
    return roots.check_source(typed) if role.hub else str(roots.check_path(typed))


def _store(role: Role, pool: Pool, files: tuple[AddedFile, ...]) -> None:
    state.set_widget(_key(role, pool), files)


def _key(role: Role, pool: Pool) -> str:
    return f"proof.files.{role.key}.{pool.fingerprint}"
