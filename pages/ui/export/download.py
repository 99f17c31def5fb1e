"""Writing the selection: what is written and how, the finished files, and the equivalent commands."""

import shlex
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
import streamlit as st

from core.cli.arguments import DEFAULT_WORKSPACE, select_arguments
from core.columns import EXACT_DUPLICATES, NEAR_DUPLICATES_PREFIX
from core.measurement.runs import Run
from core.output.curate import curate, find_held_out_rows
from core.output.dataset_card import dataset_info_snippet, has_responses
from core.output.manifest import Manifest, read_manifest
from core.output.row_files import sibling_path
from core.output.writer import preview_line
from core.pool.near_duplicates import duplicate_column
from core.schema import IntArray, Pool
from core.selection.recipe import ExportPart, Recipe
from core.workspace.folder import content_key
from core.workspace.inventory import format_size
from pages.ui.data import cached
from pages.ui.data.live_selection import LiveSelection
from pages.ui.row import duplicates
from pages.ui.shell import show, state
from pages.ui.words import format_rows

SCHEMAS = {
    "original": "the pool's own schema with every field unchanged, for the same trainer as the pool",
    "alpaca": "instruction, input, output",
    "messages": "a list of role and content, for TRL",
    "sharegpt": "a list of from and value, for LLaMA-Factory",
    "annotation": "annotation queue: prompt, task and an empty response for annotators to fill in; existing responses "
    "are omitted",
}
ROWS_FILES = {"JSONL": "chosen.jsonl", "Parquet": "chosen.parquet"}  # by format
MAX_HELD_OUT = 50  # percent
OFF = (False, True)  # values of a toggle that is off at first
APART_CAPTIONS = {
    True: "Exact duplicates stay in the same file. To keep near-duplicates together as well, find them in the filters "
    "of the Select page.",
    False: "Near-duplicates (similarity {similarity} or more) stay in the same file.",
}


@dataclass(frozen=True)
class ExportFiles:
    """One finished export on disk."""

    folder: Path
    manifest: Manifest

    @property
    def selected(self) -> Path:
        """Return the file of the selected rows."""
        return self.folder / self.manifest.output.file


# What is written


def choose_file() -> str:
    """Draw the choice of the file's format; return the name of the file."""
    chosen = st.segmented_control(
        "File",
        list(ROWS_FILES),
        required=True,
        **state.view_choice("file", list(ROWS_FILES), "export.file"),
        help="Parquet has typed columns, for `datasets`. A field that only some rows have is null in the others.",
    )
    return ROWS_FILES[chosen]


def choose_export(pool: Pool) -> ExportPart:
    """Draw the choice of schema, scores, unselected rows and validation split; return it as part of a recipe."""
    help = " ".join(f"{name}: {words}." for name, words in SCHEMAS.items())
    bound = state.view_choice("schema", list(SCHEMAS), "export.schema")
    schema = st.selectbox("Schema", list(SCHEMAS), help=help, **bound)
    st.caption(SCHEMAS[schema][0].upper() + SCHEMAS[schema][1:] + ".")
    scores = st.toggle(
        "Include scores",
        **state.view_choice("scores", OFF, "export.scores"),
        help="Adds one field, `winnow`: an object with every score of the row and its rank; in Parquet, a column each.",
    )
    tags = bool(state.settings().tags) and st.toggle(
        "Include tags",
        **state.view_choice("tags", OFF, "export.tags"),
        help="Adds each row's tags to the field `winnow`, as a list; in Parquet, a column.",
    )
    rejected = st.toggle(
        "Also export unselected rows",
        **state.view_choice("rejected", OFF, "export.rejected"),
        help="Writes them to a second file, in the pool's own schema.",
    )
    share = st.slider(
        "Validation split",
        0,
        MAX_HELD_OUT,
        format="%d%%",
        **state.view_choice("held-out", range(MAX_HELD_OUT + 1), "export.held_out"),
        help="Writes this share of the selected rows to a second file. The seed determines the draw, which is "
        "proportional to tasks. Duplicates are never split between the two files.",
    )
    apart = duplicate_column(duplicates.near_duplicate_columns(pool))
    if share:
        st.caption(
            APART_CAPTIONS[apart == EXACT_DUPLICATES].format(similarity=apart.removeprefix(NEAR_DUPLICATES_PREFIX))
        )
    return ExportPart(
        schema=schema, with_scores=scores, tags=tags, rejected=rejected, held_out=share / 100, apart=apart
    )


def add_export(recipe: Recipe, part: ExportPart) -> Recipe:
    """Return a recipe that writes its rows as `part` defines: with all tags of the pool, if it includes tags."""
    tags = {name: list(ids) for name, ids in state.settings().tags.items()} if part.tags else recipe.tags
    return recipe.model_copy(update={"export": part, "tags": tags})


def preview(pool: Pool, run: Run, rows: IntArray, recipe: Recipe) -> None:
    """Draw the first row of the file as it will be written, without scores."""
    measured = cached.measurements(run)
    with show.errors():
        train_rows = np.setdiff1d(rows, find_held_out_rows(recipe, pool, measured, rows))
        line = preview_line(pool, train_rows, recipe.export.format, tasks=measured.task_names())
        show.text(orjson.dumps(orjson.loads(line), option=orjson.OPT_INDENT_2).decode(), height=260)


# Writing


def export_path(recipe: Recipe, run: Run, file: str) -> Path:
    """Return the file of this export: the same recipe on the same measurement has the same folder, for each format."""
    format = {} if file == ROWS_FILES["JSONL"] else {"file": file}
    key = content_key({"recipe": recipe.as_data(), "run": run.id} | format)
    return cached.workspace().folder("exports", key) / file


def find_export(path: Path) -> ExportFiles | None:
    """Return the export of a file, None if it is not complete; its manifest is written last."""
    folder, manifest = path.parent, sibling_path(path, ".manifest.json")
    return ExportFiles(folder, read_manifest(manifest)) if manifest.exists() else None


def write_export(recipe: Recipe, pool: Pool, run: Run, path: Path) -> ExportFiles | None:
    """Select and write, exactly as `python -m core run` does."""
    curate(recipe, pool, run, path, overwrite=True)  # the folder is the export's own
    return find_export(path)


# What was written


def files_panel(files: ExportFiles, live: LiveSelection) -> None:
    """Draw the files to download, with the checksums that prove them complete."""
    output = files.manifest.output
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.badge("Written", icon=":material/check:", color="green")
            size = format_size(files.selected.stat().st_size)
            tokens = show.format_count(live.selection.tokens)
            held_out = f" + {output.held_out.rows:,} in the validation split" if output.held_out else ""
            st.text(f"{format_rows(output.rows)}{held_out} · {tokens} response tokens · {size}", width="stretch")
        with st.container(horizontal=True):
            show.download(f"Download {files.selected.name}", files.selected, primary=True)
            if output.held_out:
                show.download(output.held_out.file, files.folder / output.held_out.file)
            for suffix in (".manifest.json", ".recipe.yaml"):
                show.download(sibling_path(files.selected, suffix).name, sibling_path(files.selected, suffix))
            show.download("README.md (dataset card)", sibling_path(files.selected, ".README.md"), "README.md")
            if output.rejected:
                show.download(output.rejected, files.folder / output.rejected)
        st.caption("SHA-256 and file location")
        sums = [f"{part.sha256}  {part.file}" for part in (output, output.held_out) if part]
        show.text("\n".join([*sums, _relative_path(files.folder)]))


def _relative_path(path: Path) -> str:
    """Return a path without the working folder, if it is inside."""
    working = Path.cwd()
    return str(path.relative_to(working) if path.is_relative_to(working) else path)


def command_panel(path: Path, recipe: Recipe) -> None:
    """Draw the equivalent commands, and the one that verifies the export. `recipe`: the page's, not resolved."""
    st.subheader("Command-line equivalent", anchor=False)
    st.caption("This command reproduces the file byte for byte and measures first if needed.")
    file = _relative_path(sibling_path(path, ".recipe.yaml"))
    show.command(_command("run", file, "--out", path.name))
    arguments = select_arguments(recipe, cached.workspace())
    if arguments is not None:
        st.caption(
            "This command makes the same selection from options, which you can edit. It needs finished measurements."
        )
        show.command(shlex.join(["python", "-m", "core", *arguments, "--out", path.name]))
        st.caption("This command shows what it would send to the hub as a private dataset, and sends it with --yes.")
        send = ["export", *arguments[1:], "--push", "OWNER/NAME", "--out", path.name]
        show.command(shlex.join(["python", "-m", "core", *send]))
    st.caption("This command checks pool, model and result against the manifest and reports any difference.")
    manifest = _relative_path(sibling_path(path, ".manifest.json"))
    show.command(_command("replay", manifest, "--out", f"again{path.suffix}"))


def _command(*arguments: str) -> str:
    root = cached.workspace().root
    workspace = () if root == DEFAULT_WORKSPACE.absolute() else ("--workspace", _relative_path(root))
    return shlex.join(["python", "-m", "core", *arguments, *workspace])


def trainer_panel(files: ExportFiles, recipe: Recipe) -> None:
    """Draw the command that writes a trainer's folder, and the entry that LLaMA-Factory needs to read the file."""
    split = ExportPart(held_out=recipe.export.held_out, apart=recipe.export.apart)
    arguments = select_arguments(recipe.model_copy(update={"export": split}), cached.workspace())
    if arguments is not None and has_responses(files.manifest.pool.fields):
        with st.expander("For a trainer: rows in its format, with a configuration", icon=":material/model_training:"):
            st.caption(
                "This command writes a folder that TRL trains on as it is. For another trainer, write llamafactory, "
                "axolotl or unsloth in place of trl."
            )
            words = ["export", *arguments[1:], "--for", "trl", "--out", "trainer"]
            show.command(shlex.join(["python", "-m", "core", *words]))
    snippet = dataset_info_snippet(files.manifest)
    if snippet is not None:
        with st.expander("For LLaMA-Factory: data/dataset_info.json", icon=":material/data_object:"):
            show.text(snippet)
