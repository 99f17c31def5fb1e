"""A folder that is handed over has the plan's rows as tokens; its scripts give the figures of a proof run here."""

import dataclasses
import json

import numpy as np
import pytest
import yaml
from trl import SFTConfig

from core.errors import OutputError
from core.output.hand_over import write_folder
from core.output.trainer_files import folder_name, harness_task, run_name
from core.proof.plan import RunSpec, Training, Work
from core.proof.runs import TrainingRun, run_settings
from core.proof.stored import begin_proof

RUN = "random/0-0.001-steps"
# Fields of each trainer's own configuration, as its classes define them: LLaMA-Factory 0.9.5 (ModelArguments,
# DataArguments, FinetuningArguments and transformers' TrainingArguments), axolotl 0.19.0 (AxolotlInputConfig),
# lm-evaluation-harness 0.4.13 (TaskConfig), TRL 1.16.0 (SFTConfig), read on 26 November 2026.
LLAMAFACTORY = [
    "stage",
    "do_train",
    "model_name_or_path",
    "model_revision",
    "finetuning_type",
    "lora_rank",
    "lora_alpha",
    "lora_target",
    "dataset_dir",
    "dataset",
    "template",
    "cutoff_len",
    "mask_history",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "max_steps",
    "learning_rate",
    "lr_scheduler_type",
    "warmup_steps",
    "weight_decay",
    "max_grad_norm",
    "seed",
    "output_dir",
    "logging_steps",
    "save_strategy",
    "report_to",
]
AXOLOTL = [
    "base_model",
    "revision_of_model",
    "adapter",
    "lora_r",
    "lora_alpha",
    "lora_dropout",
    "lora_target_linear",
    "datasets",
    "dataset_prepared_path",
    "val_set_size",
    "sequence_len",
    "sample_packing",
    "pad_to_sequence_len",
    "bf16",
    "micro_batch_size",
    "gradient_accumulation_steps",
    "max_steps",
    "num_epochs",
    "optimizer",
    "learning_rate",
    "lr_scheduler",
    "warmup_steps",
    "weight_decay",
    "max_grad_norm",
    "seed",
    "output_dir",
    "logging_steps",
    "save_strategy",
]
HARNESS = [
    "task",
    "dataset_path",
    "dataset_kwargs",
    "test_split",
    "output_type",
    "doc_to_text",
    "doc_to_target",
    "target_delimiter",
    "process_results",
    "metric_list",
    "metadata",
]
SFT = [
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "weight_decay",
    "max_grad_norm",
    "max_length",
    "packing",
    "logging_steps",
    "save_strategy",
    "report_to",
    "learning_rate",
    "max_steps",
    "seed",
    "output_dir",
]


def read_lines(path):
    return [json.loads(line) for line in path.read_text().split("\n") if line]


def test_arms_are_written_with_their_text_and_the_tokens_that_are_trained_on(design, folder):
    for seed in (0, 1):
        rows, lines = design.arm_rows("random", seed), read_lines(folder / f"arms/random/{seed}.jsonl")
        assert [line["id"] for line in lines] == design.stages.pool.rows["id"].take(rows).to_pylist()
        assert all(line["messages"][-1]["role"] == "assistant" for line in lines)
        trained = [
            [t for t, label in zip(line["input_ids"], line["labels"], strict=True) if label == t] for line in lines
        ]
        assert list(map(len, trained)) == design.stages.counts["response_tokens"][rows].tolist()
        assert all(set(line["attention_mask"]) == {1} for line in lines)
        hidden = [set(line["labels"]) - set(line["input_ids"]) for line in lines]
        assert hidden == [{-100}] * len(lines)
    assert (folder / "arms/longest/rows.jsonl").exists()  # one file where all seeds have the same rows


def test_a_step_has_the_rows_of_the_same_step_here(design, folder):
    settings = run_settings(design.plan, RunSpec("random", 1, 1e-3, "epochs"))
    rows = design.arm_rows("random", 1)
    written = json.loads((folder / "arms/random/1.epochs.json").read_text())
    assert written["rows"] == [
        s.tolist() for s in TrainingRun(design.stages, settings, rows, design.evaluated).step_rows
    ]
    assert sorted(np.concatenate(written["rows"]).tolist()) == sorted([*range(12), *range(12)])  # two epochs
    assert len(written["rate"]) == len(written["rows"]) and max(written["rate"]) == 1


def test_every_run_is_listed_once_seed_by_seed(design, folder):
    names = (folder / "runs.txt").read_text().split()
    assert len(names) == len(set(names)) == 1 + 3 * 2 * 2 * 2
    assert names[0] == "untrained/0-0-steps"
    assert names[1:4] == [f"{arm}/0-0.0003-steps" for arm in ("random", "longest", "all")]
    assert names == list(json.loads((folder / "runs.json").read_text())["runs"])


def test_configurations_have_fields_that_the_trainers_know(design, folder):
    fields = {"llamafactory": LLAMAFACTORY, "axolotl": AXOLOTL}
    for trainer, known in fields.items():
        config = yaml.safe_load((folder / trainer / f"{RUN}.yaml").read_text())
        assert not config.keys() - set(known)
        assert (config["learning_rate"], config["max_steps"], config["seed"]) == (1e-3, 2, 0)
    about = json.loads((folder / "runs.json").read_text())
    assert not (about["sft"] | about["runs"][RUN]["sft"]).keys() - set(SFT)
    assert set(json.loads((folder / "dataset_info.json").read_text())) == {
        "random_0", "random_1", "longest_rows", "all_rows"
    }  # fmt: skip


def test_an_adapter_is_configured_for_every_trainer(demo, tmp_path):
    design = demo.design(budget="4", seeds=2, held_out="12", work=Work(1, 64, 0), training=Training(lora_rank=4))
    write_folder(design, begin_proof(demo.workspace, design.plan, design.rows, design.evaluated), tmp_path)
    assert yaml.safe_load((tmp_path / f"llamafactory/{RUN}.yaml").read_text())["lora_rank"] == 4
    assert yaml.safe_load((tmp_path / f"axolotl/{RUN}.yaml").read_text())["lora_alpha"] == 8
    assert json.loads((tmp_path / "runs.json").read_text())["lora"]["r"] == 4


def test_the_task_of_the_harness_names_the_target_and_its_file():
    fields = [line.partition(":")[0] for line in harness_task("my set").split("\n") if line and line[0] not in " -"]
    assert fields == HARNESS
    assert '"targets/my_set.jsonl"' in harness_task("my set")


@pytest.mark.filterwarnings("ignore::FutureWarning")  # TRL sets a field that transformers renames
def test_the_training_arguments_are_those_of_trl(folder):
    about = json.loads((folder / "runs.json").read_text())
    config = SFTConfig(**(about["sft"] | about["runs"][RUN]["sft"]), bf16=False)
    assert (config.max_steps, config.learning_rate, config.max_length) == (2, 1e-3, None)


def test_the_task_is_one_of_the_harness():
    task = pytest.importorskip("lm_eval.config.task", reason="lm_eval is no requirement: checked where it is installed")
    assert not set(HARNESS) - set(task.TaskConfig.__dataclass_fields__)


def test_the_protocol_says_what_is_compared_and_how_to_read_it_back(design, folder):
    text = (folder / "PROTOCOL.md").read_text()
    assert design.plan.id in text
    assert "`random` | 12 |" in text and "`arms/random/SEED.jsonl`" in text
    assert "`my pairs`: 4 pairs in `targets/my_pairs.jsonl`" in text
    assert "python -m core prove collect ." in text and "--tasks winnow_held_out" in text


def test_a_folder_with_other_files_is_refused_and_results_are_kept(design, folder, tmp_path):
    proof = begin_proof(design.stages.workspace, design.plan, design.rows, design.evaluated)
    (tmp_path / "mine").write_text("x")
    with pytest.raises(OutputError, match="is not empty, and is not the hand-over of this plan"):
        write_folder(design, proof, tmp_path)
    other = dataclasses.replace(design, plan=dataclasses.replace(design.plan, smallest_effect=0.02))
    with pytest.raises(OutputError, match="is not the hand-over of this plan"):
        write_folder(other, proof, folder)


def test_two_arms_with_one_file_are_refused(design, tmp_path):
    arms = (*design.plan.arms, dataclasses.replace(design.plan.arms[0], name="my arm"))
    arms = (*arms, dataclasses.replace(arms[0], name="my_arm"))
    other = dataclasses.replace(design, plan=dataclasses.replace(design.plan, arms=arms))
    with pytest.raises(OutputError, match="'my arm' and another name have the same file, my_arm"):
        write_folder(other, None, tmp_path / "proof")


def test_names_of_files_are_divided_by_no_shell():
    assert run_name(RunSpec("a b/../$(x)", 3, 1e-5, "steps")) == "a_b_.._x_/3-1e-05-steps"
    assert folder_name("résumé") == "r_sum_"
