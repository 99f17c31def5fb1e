"""The parts of the Export page: what is written and how, the finished files, the same without the app."""

import shlex
from dataclasses import dataclass
from pathlib import Path

import orjson
import streamlit as st

from core.card import dataset_info_snippet
from core.curate import Curated, beside, curate, settled
from core.errors import WinnowError
from core.export import first_line
from core.headless import WORKSPACE
from core.manifest import Manifest, read_manifest
from core.recipe import ExportPart, Recipe
from core.runs import Run
from core.schema import IntArray, Pool
from core.store import content_key
from pages.ui import cached, show
from pages.ui.whatif import Answer

SCHEMAS = {
    "original": "as it came: every field untouched, so that it drops into the same trainer",
    "alpaca": "instruction, input, output",
    "messages": "a list of role and content, for TRL",
    "sharegpt": "a list of from and value, for LLaMA-Factory",
    "annotation": "annotation queue: prompt, task and a blank response, for people to fill in",
}
CHOSEN = "chosen.jsonl"


@dataclass(frozen=True)
class Files:
    """One finished export on disk."""

    folder: Path
    manifest: Manifest

    @property
    def chosen(self) -> Path:
        """The rows."""
        return self.folder / self.manifest.output.file

    @property
    def rejected(self) -> Path | None:
        """The other rows, where they were asked for."""
        name = self.manifest.output.rejected
        return self.folder / name if name else None


# What is written


def choose_part() -> ExportPart:
    """Schema, scores, rejected rows."""
    schema = st.segmented_control(
        "Write rows as",
        list(SCHEMAS),
        default="original",
        required=True,
        key="export.schema",
        persist_state="session",
        help=" ".join(f"{name}: {words}." for name, words in SCHEMAS.items()),
    )
    st.caption(SCHEMAS[schema][0].upper() + SCHEMAS[schema][1:] + ".")
    scores = st.toggle(
        "With scores",
        key="export.scores",
        persist_state="session",
        help="Adds one field, `winnow`, an object with every score of the row and its place in the order.",
    )
    rejected = st.toggle(
        "Rows that were not chosen, too",
        key="export.rejected",
        persist_state="session",
        help="In a second file, in the pool's own schema.",
    )
    return ExportPart(schema=schema, with_scores=scores, rejected=rejected)


def preview(pool: Pool, run: Run, rows: IntArray, part: ExportPart) -> None:
    """The first row of the file, as it will be written (scores left out)."""
    try:
        line = first_line(pool, rows, part.format, tasks=cached.measured(run).task_names())
    except WinnowError as error:
        show.error(error)
        return
    text = orjson.dumps(orjson.loads(line), option=orjson.OPT_INDENT_2).decode()
    show.text(text, height=260)


# Writing


def recipe_of(pool: Pool, run: Run, recipe: Recipe, part: ExportPart) -> Recipe:
    """The recipe that the file will carry."""
    return settled(recipe.model_copy(update={"export": part}), pool, run)


def folder_of(recipe: Recipe, run: Run) -> Path:
    """Where this export lies, or will: the same recipe on the same measurement has the same folder."""
    key = content_key({"recipe": recipe.as_data(), "run": run.id})
    return cached.workspace().folder("exports", key)


def finished(folder: Path) -> Files | None:
    """The export in a folder, if it is there; its manifest is written last."""
    manifest = beside(folder / CHOSEN, ".manifest.json")
    return Files(folder, read_manifest(manifest)) if manifest.exists() else None


def write(recipe: Recipe, pool: Pool, run: Run, folder: Path) -> Curated:
    """Choose and write, exactly as `python -m core run` does."""
    return curate(recipe, pool, run, folder / CHOSEN)


# What was written


def files(done: Files, answer: Answer) -> None:
    """The files to save, with what proves that they are whole."""
    output = done.manifest.output
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.badge("Written", icon=":material/check:", color="green")
            size = show.size(done.chosen.stat().st_size)
            st.text(
                f"{output.rows:,} rows · {show.count(answer.selection.tokens)} response tokens · {size}",
                width="stretch",
            )
        with st.container(horizontal=True):
            show.download(f"Save {done.chosen.name}", done.chosen, primary=True)
            for suffix in (".manifest.json", ".recipe.yaml"):
                show.download(beside(done.chosen, suffix).name, beside(done.chosen, suffix))
            show.download("README.md (dataset card)", beside(done.chosen, ".README.md"), "README.md")
            if done.rejected is not None:
                show.download(done.rejected.name, done.rejected)
        st.caption("Checksum (SHA-256) of chosen.jsonl, and where the files lie")
        show.text(f"{output.sha256}\n{_short(done.folder)}")


def _short(path: Path) -> str:
    """A path below the working folder, where it is one, without that folder."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def headless(folder: Path) -> None:
    """The commands that do the same, and that prove it."""
    st.subheader("The same without the app", anchor=False)
    st.caption("Measures what is missing, chooses, writes: the same bytes as above.")
    recipe = _short(beside(folder / CHOSEN, ".recipe.yaml"))
    show.command(_command("run", recipe, "--out", CHOSEN))
    st.caption("Checks pool, model and outcome against the manifest, or says what differs.")
    manifest = _short(beside(folder / CHOSEN, ".manifest.json"))
    show.command(_command("replay", manifest, "--out", "again.jsonl"))


def _command(*arguments: str) -> str:
    place = cached.workspace().root
    elsewhere = () if place == WORKSPACE.absolute() else ("--workspace", _short(place))
    return shlex.join(["python", "-m", "core", *arguments, *elsewhere])


def trainer(done: Files) -> None:
    """The entry that LLaMA-Factory wants, where it can read the file."""
    snippet = dataset_info_snippet(done.manifest)
    if snippet is not None:
        with st.expander("For LLaMA-Factory: data/dataset_info.json", icon=":material/data_object:"):
            show.text(snippet)
