"""A folder for one trainer: the selected rows in its format, and a configuration that trains on them as it is.

    README.md            three lines: what this is, how to train, where the rows are from
    CONFIGURATION        sft.yaml, unsloth.yaml, llamafactory.yaml or axolotl.yaml; train_unsloth.py for Unsloth
    chat_template.jinja  where the model has none, or one that does not mark responses
    data/                train.jsonl, its manifest, recipe and card, on request train.heldout.jsonl; for `datasets`
                         README.md with the types of the fields, for LLaMA-Factory dataset_info.json

LoRA on the assistant's turns; the settings are usual ones, for the user to change. The model is that of the selection.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from core.errors import OutputError, RecipeError
from core.measurement.runs import Run
from core.models.reference import EMBEDDED, resolve_model
from core.output.curate import CurateResult, check_outputs, curate
from core.output.dataset_card import converted_entry
from core.output.trainer_files import (
    ALPHA,
    ModelSource,
    Settings,
    axolotl_settings,
    llamafactory_settings,
    to_yaml,
    training_arguments,
)
from core.output.training_template import training_template
from core.schema import Pool
from core.selection.recipe import Recipe
from core.workspace.files import disk_errors, write_atomic
from core.workspace.folder import Workspace

ROWS = Path("data") / "train.jsonl"
TEMPLATE = "chat_template.jinja"
SCRIPT = Path(__file__).parent / "scripts" / "train_unsloth.py"
RANK, RATE, ROWS_PER_STEP, EPOCHS, WARMUP = 16, 2e-4, 16, 3, 10  # usual for LoRA; warm-up in steps
CARD = """---
configs:
- config_name: default
  data_files:
  - split: train
    path: train.jsonl
{held_out}dataset_info:
  features:
  - name: messages
    list: json
{tools}---
The types of the fields, for `datasets`. The dataset card is train.README.md.
"""
HELD_OUT_CARD = "  - split: test\n    path: train.heldout.jsonl\n"
TOOLS_CARD = "  - name: tools\n    dtype: json\n"


@dataclass(frozen=True)
class Job:
    """What a configuration depends on."""

    settings: Settings
    template: str | None  # of chat_template.jinja
    bf16: bool  # computed in it; the demo's model trains on any processor
    held_out: bool


@dataclass(frozen=True)
class Trainer:
    """A trainer, and what it takes."""

    label: str
    schema: str  # of the rows
    file: str  # of the configuration
    install: str
    command: str  # that trains, in the folder
    configure: Callable[[Job], dict[str, Any]]


@dataclass(frozen=True)
class TrainerFolder:
    """What was written."""

    folder: Path
    files: tuple[str, ...]  # besides those of the export
    command: str
    exported: CurateResult


def write_trainer_folder(
    recipe: Recipe, pool: Pool, run: Run, name: str, folder: Path, *, overwrite: bool = False, **options: Any
) -> TrainerFolder:
    """Select by the recipe, and write the rows and the configuration of one of TRAINERS.

    Raise RecipeError for rows that cannot be trained on, OutputError for a file that an export would not
    write so; `overwrite` replaces it. The options are those of `curate`.
    """
    if name not in TRAINERS:
        raise RecipeError(f"There is no trainer '{name}'. There are {', '.join(TRAINERS)}.")
    trainer = TRAINERS[name]
    recipe = _in_schema_of(trainer, name, recipe, pool)
    workspace = Workspace(run.folder.parents[1])
    check_outputs(recipe, pool, workspace.root, folder / ROWS, overwrite=overwrite, **options)
    job = _plan_job(recipe, run, workspace)
    if not overwrite:
        _check_files(folder, _texts(trainer, job, tools=bool(pool.fields.tools)))
    exported = curate(recipe, pool, run, folder / ROWS, overwrite=overwrite, **options)
    job = replace(job, held_out=exported.held_out is not None)
    texts = _texts(trainer, job, tools=bool(pool.fields.tools))
    for file, text in texts.items():
        write_atomic(folder / file, text.encode("utf-8"))
    return TrainerFolder(folder, tuple(texts), trainer.command, exported)


def _in_schema_of(trainer: Trainer, name: str, recipe: Recipe, pool: Pool) -> Recipe:
    part, fields = recipe.export, pool.fields
    if fields.schema == "prompts_only" or not (fields.turns or fields.response):
        raise RecipeError(f"{pool.name} has no responses, and {trainer.label} trains on responses. Use another pool.")
    if part.format not in ("original", trainer.schema) or part.with_scores or part.tags:
        raise RecipeError(
            f"Rows for {trainer.label} have a schema of its own, without scores and tags. With --for {name}, "
            "leave out these options."
        )
    return recipe.model_copy(update={"export": part.model_copy(update={"format": trainer.schema})})


def _plan_job(recipe: Recipe, run: Run, workspace: Workspace) -> Job:
    """Return how the model of the selection is trained."""
    from core.models.encoder import Encoder  # imports transformers
    from core.models.loading import load_tokenizer

    ref = resolve_model(run.model["name"], run.model["revision"], models=workspace.models)
    tokenizer = load_tokenizer(ref)
    source = ModelSource.of(ref, Encoder(tokenizer, recipe.reading.reading()))
    settings = Settings(
        source, RANK, RATE, "cosine", WARMUP, 0.0, 1.0, ROWS_PER_STEP, recipe.seed, "model", epochs=EPOCHS
    )
    template = training_template(tokenizer, source.template)
    return Job(settings, template, ref.name != EMBEDDED, bool(recipe.export.held_out))


def _check_files(folder: Path, texts: dict[str, str]) -> None:
    for name, text in texts.items():
        path = folder / name
        with disk_errors(path):
            differs = path.exists() and not (path.is_file() and path.read_bytes() == text.encode("utf-8"))
        if differs:
            raise OutputError(
                f"{path} already exists, and is not what would be written. Move it, give another folder, or replace it "
                "with --overwrite (in Python, overwrite=True)."
            )


def _texts(trainer: Trainer, job: Job, *, tools: bool) -> dict[str, str]:
    """Return the files besides those of the export."""
    texts = {trainer.file: to_yaml(trainer.configure(job))}
    if trainer.schema == "messages":
        held_out, tools_card = HELD_OUT_CARD * job.held_out, TOOLS_CARD * tools
        texts["data/README.md"] = CARD.format(held_out=held_out, tools=tools_card)
        texts |= {TEMPLATE: job.template} if job.template else {}
    else:
        entry = converted_entry(trainer.schema, ("system", "tools"))
        names = [ROWS.stem, f"{ROWS.stem}.heldout"][: 1 + job.held_out]
        info = {name: {"file_name": f"{name}.jsonl"} | entry for name in names}
        texts["data/dataset_info.json"] = orjson.dumps(info, option=orjson.OPT_INDENT_2).decode()
    if trainer.file == "unsloth.yaml":
        texts[SCRIPT.name] = SCRIPT.read_text(encoding="utf-8")
    texts["README.md"] = (
        f"Rows for {trainer.label}, and a configuration that trains on the assistant's turns in them with LoRA.\n"
        f"To train, run `{trainer.command}` in this folder (after `pip install {trainer.install}`).\n"
        f"The rows are in {ROWS}, their origin in data/train.manifest.json and data/train.README.md.\n"
    )
    return texts


# Configurations


def _trl(job: Job) -> dict[str, Any]:
    source = job.settings.source
    return {
        "model_name_or_path": source.name,
        **({"model_revision": source.revision} if source.revision else {}),
        "use_peft": True,
        "lora_r": job.settings.lora_rank,
        "lora_alpha": ALPHA * job.settings.lora_rank,
        "lora_target_modules": "all-linear",
        "dataset_name": ROWS.parent.name,
        **({"eval_strategy": "epoch"} if job.held_out else {}),
        **_sft(job),
        "assistant_only_loss": True,
        "bf16": job.bf16,
        **({"chat_template_path": TEMPLATE} if job.template else {}),
    }


def _sft(job: Job) -> dict[str, Any]:
    """Return fields of TRL's SFTConfig that do not depend on the data."""
    length = {"max_length": job.settings.source.max_length}
    return length | training_arguments(job.settings) | {"save_strategy": "epoch"}


def _unsloth(job: Job) -> dict[str, Any]:
    """Return the sections that train_unsloth.py reads."""
    source, rank = job.settings.source, job.settings.lora_rank
    return {
        "model": {
            "model_name": source.name,
            **({"revision": source.revision} if source.revision else {}),
            "max_seq_length": source.max_length,
            "load_in_4bit": False,
        },
        "lora": {"r": rank, "lora_alpha": ALPHA * rank, "lora_dropout": 0.0, "random_state": job.settings.seed},
        "sft": _sft(job) | {"bf16": job.bf16} | ({"eval_strategy": "epoch"} if job.held_out else {}),
        **({"chat_template": TEMPLATE} if job.template else {}),
    }


def _llamafactory(job: Job) -> dict[str, Any]:
    data = {"dataset_dir": ROWS.parent.name, "dataset": "train", "mask_history": False}
    evaluated = {"eval_dataset": "train.heldout", "eval_strategy": "epoch", "per_device_eval_batch_size": 1}
    own = {"bf16": job.bf16, "save_strategy": "epoch"}
    return data | llamafactory_settings(job.settings) | own | (evaluated if job.held_out else {})


def _axolotl(job: Job) -> dict[str, Any]:
    own = {"chat_template": "jinja", "chat_template_jinja": TEMPLATE}
    template = own if job.template else {"chat_template": "tokenizer_default"}
    rows = {"path": ROWS.parent.name, "type": "chat_template", "roles_to_train": ["assistant"], "train_on_eos": "turn"}
    evaluated = {"test_datasets": [rows | {"split": "test"} | template], "eval_strategy": "epoch"}
    return {
        "datasets": [rows | {"split": "train"} | template],
        **(evaluated if job.held_out else {"val_set_size": 0}),
        "dataset_prepared_path": "prepared",
        **template,
        **axolotl_settings(job.settings),
        "save_strategy": "epoch",
    }


TRAINERS = {
    "llamafactory": Trainer(
        "LLaMA-Factory",
        "llamafactory",
        "llamafactory.yaml",
        "llamafactory",
        "llamafactory-cli train llamafactory.yaml",
        _llamafactory,
    ),
    "trl": Trainer("TRL", "messages", "sft.yaml", "trl peft", "trl sft --config sft.yaml", _trl),
    "axolotl": Trainer("axolotl", "messages", "axolotl.yaml", "axolotl", "axolotl train axolotl.yaml", _axolotl),
    "unsloth": Trainer("Unsloth", "messages", "unsloth.yaml", "unsloth", "python train_unsloth.py", _unsloth),
}
