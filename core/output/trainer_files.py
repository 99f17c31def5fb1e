"""Training runs as other trainers configure them: TRL, LLaMA-Factory, axolotl, lm-evaluation-harness.

Those of a proof; `Settings` and what is made of them alone serve folders for one trainer (core.output.trainer_folder)
as well. In a proof,

    TRL             every step has the very rows of the plan (core/output/scripts/train_trl.py)
    LLaMA-Factory   reads the messages; steps of a fixed number of rows
    axolotl         reads the plan's tokens; steps of a fixed number of rows

A fixed number of rows is the plan's mean over the steps of the run: its response tokens a step are those of the plan on
average.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import yaml

from core.output.dataset_card import MESSAGES_TAGS
from core.proof.plan import HELD_OUT, UNTRAINED, Plan, RunSpec
from core.proof.runs import RunCounts
from core.schema import ModelRef

if TYPE_CHECKING:
    from core.models.encoder import Encoder

SNAPSHOTS = "snapshots"  # folder of the hub's cache that holds a folder for each commit of a model
ALPHA = 2  # of a LoRA adapter, as a multiple of its rank
UNTRAINED_RUN = RunSpec(UNTRAINED, 0, 0.0, "steps")


@dataclass(frozen=True)
class HandedRun:
    """One training run, with the files that it reads."""

    spec: RunSpec
    data: str  # name of its rows in LLaMA-Factory's dataset_info.json
    rows: str  # file of the rows to train on
    steps_file: str  # JSON: places in `rows` of the rows of every step, and the step's share of the learning rate
    counts: RunCounts
    rows_per_step: int  # mean

    @property
    def name(self) -> str:
        """The name of its files."""
        return run_name(self.spec)


@dataclass(frozen=True)
class ModelSource:
    """The model to train, and how it reads rows."""

    name: str  # a folder or a hub id
    revision: str | None  # commit of the hub
    template: str  # chat or alpaca
    max_length: int

    @classmethod
    def of(cls, ref: ModelRef, encoder: "Encoder") -> "ModelSource":
        """Return the source of a model that is read with this encoder."""
        from_hub = not Path(ref.path).is_dir() or Path(ref.path).parent.name == SNAPSHOTS
        name, revision = (ref.name, ref.revision) if from_hub else (ref.path, None)
        return cls(name, revision, encoder.template, encoder.max_length)


@dataclass(frozen=True)
class Settings:
    """What a training run has under another name in every trainer."""

    source: ModelSource
    lora_rank: int  # 0: all weights are trained
    learning_rate: float
    schedule: str
    warmup_steps: int
    weight_decay: float
    clip: float
    rows_per_step: int
    seed: int
    output: str  # folder of the trained model
    steps: int | None = None
    epochs: int | None = None  # where there are no steps


def run_name(spec: RunSpec) -> str:
    """Return the name of a run's files: "random/0-0.0003-steps"."""
    return f"{folder_name(spec.arm)}/{spec.seed}-{spec.rate:g}-{spec.work}"


def folder_name(name: str) -> str:
    """Return a name in letters, digits and - _ . alone, which no shell divides."""
    return re.sub(r"[^\w.-]+", "_", name, flags=re.ASCII)


def target_file(name: str) -> str:
    """Return the file of a target's evaluated rows."""
    return "held_out.jsonl" if name == HELD_OUT else f"targets/{folder_name(name)}.jsonl"


def mean_rows(steps: Sequence[Sequence[int]]) -> int:
    """Return the mean number of rows of a step, at least 1."""
    return max(1, round(sum(map(len, steps)) / len(steps)))


def to_yaml(config: Mapping[str, Any]) -> str:
    """Return a configuration as YAML, in its own order."""
    return str(yaml.dump(dict(config), Dumper=_PlainDumper, sort_keys=False, allow_unicode=True))


class _PlainDumper(yaml.SafeDumper):  # type: ignore[misc]
    """Writes a value that occurs twice twice, without anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        """Return that no value is an alias."""
        return True


def _settings(plan: Plan, run: HandedRun, source: ModelSource) -> Settings:
    training = plan.training
    return Settings(
        source,
        training.lora_rank,
        run.spec.rate,
        training.schedule,
        math.ceil(training.warmup * run.counts.steps),
        training.weight_decay,
        training.clip,
        run.rows_per_step,
        run.spec.seed,
        f"models/{run.name}",
        steps=run.counts.steps,
    )


# TRL


def describe_runs(plan: Plan, runs: Sequence[HandedRun], source: ModelSource) -> dict[str, Any]:
    """Return the content of runs.json, which train_trl.py and `core.proof.collect` read."""
    training, rank = plan.training, plan.training.lora_rank
    lora = {"r": rank, "lora_alpha": ALPHA * rank, "lora_dropout": 0.0, "target_modules": "all-linear"}
    shared = {
        "per_device_train_batch_size": 1,  # the rows of a step are one batch, whatever their number
        "gradient_accumulation_steps": 1,
        "weight_decay": training.weight_decay,
        "max_grad_norm": training.clip,
        "max_length": None,  # rows are cut as the plan reads them
        "packing": False,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
    }
    untrained = asdict(UNTRAINED_RUN) | {"rows": None, "counts": asdict(RunCounts())}
    return {
        "plan": plan.id,
        "model": source.name,
        "revision": source.revision,
        "targets": {target.name: target_file(target.name) for target in plan.targets},
        "lora": lora if rank else None,
        "sft": shared,
        "runs": {run_name(UNTRAINED_RUN): untrained} | {run.name: _describe_run(run) for run in runs},
    }


def _describe_run(run: HandedRun) -> dict[str, Any]:
    sft = {
        "learning_rate": run.spec.rate,
        "max_steps": run.counts.steps,
        "seed": run.spec.seed,
        "output_dir": f"models/{run.name}",
    }
    files = {"rows": run.rows, "steps": run.steps_file}
    return asdict(run.spec) | files | {"counts": asdict(run.counts), "sft": sft}


# LLaMA-Factory


def dataset_info(runs: Sequence[HandedRun], *, tools: bool) -> dict[str, Any]:
    """Return LLaMA-Factory's dataset_info.json, with an entry for each file of rows."""
    columns = {"messages": "messages"} | ({"tools": "tools"} if tools else {})
    entry = {"formatting": "sharegpt", "columns": columns, "tags": MESSAGES_TAGS}
    return {run.data: {"file_name": run.rows} | entry for run in runs}


def llamafactory_config(plan: Plan, run: HandedRun, source: ModelSource) -> dict[str, Any]:
    """Return the YAML of one run."""
    data = {"dataset_dir": ".", "dataset": run.data, "mask_history": plan.reading["answers"] == "last"}
    return data | llamafactory_settings(_settings(plan, run, source)) | {"save_strategy": "no"}


def llamafactory_settings(settings: Settings) -> dict[str, Any]:
    """Return what does not depend on the data. Without a template, the tokenizer's chat template is taken."""
    source, rank = settings.source, settings.lora_rank
    lora = {"finetuning_type": "lora", "lora_rank": rank, "lora_alpha": ALPHA * rank, "lora_target": "all"}
    return {
        "stage": "sft",
        "do_train": True,
        "model_name_or_path": source.name,
        **({"model_revision": source.revision} if source.revision else {}),
        **(lora if rank else {"finetuning_type": "full"}),
        **({"template": "alpaca"} if source.template == "alpaca" else {}),
        "cutoff_len": source.max_length,
        **training_arguments(settings),
    }


def training_arguments(settings: Settings) -> dict[str, Any]:
    """Return fields of transformers' TrainingArguments, which LLaMA-Factory and TRL both read."""
    return {
        "per_device_train_batch_size": 1,
        "gradient_accumulation_steps": settings.rows_per_step,
        **({"max_steps": settings.steps} if settings.steps else {"num_train_epochs": settings.epochs}),
        "learning_rate": settings.learning_rate,
        "lr_scheduler_type": settings.schedule,
        "warmup_steps": settings.warmup_steps,
        "weight_decay": settings.weight_decay,
        "max_grad_norm": settings.clip,
        "seed": settings.seed,
        "output_dir": settings.output,
        "logging_steps": 1,
        "report_to": "none",
    }


# axolotl


def axolotl_config(plan: Plan, run: HandedRun, source: ModelSource) -> dict[str, Any]:
    """Return the YAML of one run. A data set without a type is read as tokens: input_ids, attention_mask, labels."""
    data = {
        "datasets": [{"path": run.rows, "ds_type": "json"}],
        "dataset_prepared_path": f"models/prepared/{run.data}",
        "val_set_size": 0,
    }
    return data | axolotl_settings(_settings(plan, run, source)) | {"save_strategy": "no"}


def axolotl_settings(settings: Settings) -> dict[str, Any]:
    """Return what does not depend on the data."""
    source, rank = settings.source, settings.lora_rank
    lora = {"adapter": "lora", "lora_r": rank, "lora_alpha": ALPHA * rank, "lora_dropout": 0.0}
    return {
        "base_model": source.name,
        **({"revision_of_model": source.revision} if source.revision else {}),
        **(lora | {"lora_target_linear": True} if rank else {}),
        "sequence_len": source.max_length,
        "sample_packing": False,
        "pad_to_sequence_len": False,
        "bf16": "auto",
        "micro_batch_size": 1,
        "gradient_accumulation_steps": settings.rows_per_step,
        **({"max_steps": settings.steps} if settings.steps else {}),  # goes before the epochs
        "num_epochs": settings.epochs or 1,
        "optimizer": "adamw_torch",
        "learning_rate": settings.learning_rate,
        "lr_scheduler": settings.schedule,
        "warmup_steps": settings.warmup_steps,
        "weight_decay": settings.weight_decay,
        "max_grad_norm": settings.clip,
        "seed": settings.seed,
        "output_dir": settings.output,
        "logging_steps": 1,
    }


Configure = Callable[[Plan, HandedRun, ModelSource], dict[str, Any]]
CONFIGURE: dict[str, Configure] = {"llamafactory": llamafactory_config, "axolotl": axolotl_config}


# lm-evaluation-harness


def harness_name(target: str) -> str:
    """Return the name of a target's task."""
    return f"winnow_{folder_name(target)}"


def harness_task(target: str) -> str:
    """Return the YAML of a target's task: NLL per response token of its rows, as the harness tokenises their text."""
    return (
        f"task: {harness_name(target)}\n"
        "dataset_path: json\n"
        "dataset_kwargs:\n"
        "  data_files:\n"
        f"    test: {orjson.dumps(target_file(target)).decode()}\n"
        "test_split: test\n"
        "output_type: loglikelihood\n"
        "doc_to_text: prompt\n"
        "doc_to_target: response\n"
        'target_delimiter: ""\n'
        "process_results: !function nll_per_token.process_results\n"
        "metric_list:\n"
        "  - metric: nll_per_token\n"
        "    aggregation: !function nll_per_token.pool_rows\n"
        "    higher_is_better: false\n"
        "metadata:\n"
        "  version: 1.0\n"
    )
