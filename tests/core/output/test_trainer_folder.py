"""Folders for trainers: what conversations hold survives, TRL trains in its own, the others know every field."""

import json
import runpy
import sys
from types import ModuleType, SimpleNamespace

import datasets
import numpy as np
import pytest
import yaml

from core.errors import OutputError, RecipeError
from core.measurement.recipe_inputs import measure_methods, open_recipe_pool
from core.models.encoder import Encoder
from core.models.loading import load_tokenizer
from core.models.reference import resolve_model
from core.output.replay import replay_manifest
from core.output.trainer_folder import TRAINERS, write_trainer_folder
from core.output.training_template import training_template
from core.pool.pools import load_pool, read_rows
from core.pool.row_view import read_turn_parts
from core.progress import SilentReporter
from core.schema import Reading
from core.selection.recipe import parse_recipe
from core.workspace.folder import Workspace
from tests.core.output.test_hand_over import AXOLOTL, LLAMAFACTORY

# Further fields of the same classes, and parameters of Unsloth 2026.10.9 (FastLanguageModel.from_pretrained, and
# get_peft_model), read on 27 November 2026.
LLAMAFACTORY = [
    *LLAMAFACTORY,
    "num_train_epochs",
    "eval_dataset",
    "eval_strategy",
    "per_device_eval_batch_size",
    "bf16",
]
AXOLOTL = [*AXOLOTL, "chat_template", "chat_template_jinja", "test_datasets", "eval_strategy"]
AXOLOTL_SET = ["path", "split", "type", "roles_to_train", "train_on_eos", "chat_template", "chat_template_jinja"]
UNSLOTH = {
    "model": ["model_name", "revision", "max_seq_length", "load_in_4bit"],
    "lora": ["r", "lora_alpha", "lora_dropout", "random_state"],
}

TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {}}}}
PLAIN = [{"role": "user", "content": "Name a red thing."}, {"role": "assistant", "content": "A door."}]
CALL = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "2 + 2?"},
    {
        "role": "assistant",
        "content": [
            {"type": "reasoning", "value": "I add them."},
            {"type": "tool_call", "value": '{"name": "add", "arguments": {"a": 2, "b": [2]}}'},
        ],
    },
    {"role": "tool", "content": "4"},
    {"role": "assistant", "content": "It is 4."},
]
ROWS = [
    *({"messages": [{**turn, "content": f"{turn['content']} {k}"} for turn in PLAIN]} for k in range(8)),
    {"messages": CALL, "tools": json.dumps([TOOL])},
]


def write_lines(path, rows):
    path.write_text("".join(json.dumps({"id": f"row{k}"} | row) + "\n" for k, row in enumerate(rows)))
    return path


def prepare(source, workspace, **rest):
    method = {"name": "longest", "params": {}}
    recipe = parse_recipe({"pool": {"source": str(source)}, "method": method, "budget": "100%"} | rest, "test")
    pool = open_recipe_pool(recipe, workspace, SilentReporter())
    return recipe, pool, measure_methods(recipe, pool, workspace, SilentReporter(), [])[0]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return Workspace(tmp_path_factory.mktemp("folder") / "workspace")


@pytest.fixture(scope="module")
def prepared(place):
    return prepare(write_lines(place.root.parent / "pool.jsonl", ROWS), place)


@pytest.fixture(scope="module")
def held_out(prepared):
    recipe, *rest = prepared
    return recipe.model_copy(update={"export": recipe.export.model_copy(update={"held_out": 0.25})}), *rest


def parts_of(pool):
    """What the rows of a pool hold, however it is written: turns with their calls, and tools."""
    rows = read_rows(pool, range(len(pool)))
    kept = []
    for row in rows:
        turns = read_turn_parts(row, pool.fields)
        tools = json.loads(row.original).get("tools") or "[]"
        tools = json.loads(tools) if isinstance(tools, str) else tools
        said = [[turn["role"], turn.get("text", turn["content"]), calls_of(turn)] for turn in turns]
        if tools and said[0][0] == "system":
            said[0][1] = said[0][1].partition("\n\n[{")[0]  # a model reads tools there
        kept.append((said, [tool.get("function", tool) for tool in tools]))
    return kept


def calls_of(turn):
    return [(call["name"], call["arguments"]) for call in turn.get("calls", ())]


@pytest.mark.parametrize("trainer", TRAINERS)
def test_all_that_rows_hold_survives(trainer, prepared, place, tmp_path):
    _, pool, _ = prepared
    write_trainer_folder(*prepared, trainer, tmp_path / "out")
    again = load_pool(str(tmp_path / "out/data/train.jsonl"), workspace=place.root)
    assert parts_of(again) == parts_of(pool)
    assert calls_of({"calls": [{"name": "add", "arguments": {"a": 2, "b": [2]}}]}) in [
        calls for _, _, calls in parts_of(again)[-1][0]
    ]


@pytest.mark.parametrize(
    ("trainer", "file"),
    [("trl", "reason_tool_use_demo_50.jsonl"), ("trl", "glaive_toolcall_en_demo.json"),
     ("llamafactory", "reason_tool_use_demo_50.jsonl")],
)  # fmt: skip
def test_real_tool_calls_survive(trainer, file, shared_data, place, tmp_path):
    source = shared_data / "formats" / file
    prepared = prepare(source, place, budget="50")
    result = write_trainer_folder(*prepared, trainer, tmp_path / "out").exported
    again = load_pool(str(result.chosen), workspace=place.root)
    manifest = json.loads(result.manifest.read_text())
    ids = prepared[1].rows["id"].to_pylist()
    before = parts_of(prepared[1])
    assert parts_of(again) == [before[ids.index(row["id"])] for row in manifest["rows"]]


def test_configurations_have_fields_that_the_trainers_know(held_out, tmp_path):
    configs = {}
    for name, trainer in TRAINERS.items():
        written = write_trainer_folder(*held_out, name, tmp_path / name)
        configs[name] = yaml.safe_load((tmp_path / name / trainer.file).read_text())
        assert len((tmp_path / name / "README.md").read_text().splitlines()) == 3
        assert written.command in (tmp_path / name / "README.md").read_text()
        assert written.exported.held_out_rows == 2
    assert not configs["llamafactory"].keys() - set(LLAMAFACTORY)
    assert not configs["axolotl"].keys() - set(AXOLOTL)
    assert not {key for one in configs["axolotl"]["datasets"] for key in one} - set(AXOLOTL_SET)
    for part, known in UNSLOTH.items():
        assert not configs["unsloth"][part].keys() - set(known)
    info = json.loads((tmp_path / "llamafactory/data/dataset_info.json").read_text())
    assert {info[configs["llamafactory"][key]]["file_name"] for key in ("dataset", "eval_dataset")} == {
        "train.jsonl",
        "train.heldout.jsonl",
    }


@pytest.fixture
def in_folder(held_out, tmp_path, monkeypatch):
    """Write a folder for a trainer, and work in it."""

    def write(name):
        write_trainer_folder(*held_out, name, tmp_path / name)
        monkeypatch.chdir(tmp_path / name)
        monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
        return tmp_path / name

    return write


@pytest.mark.filterwarnings("ignore")
def test_trl_trains_two_steps_as_the_folder_says(in_folder):
    """TRL reads the configuration with its own parser, and the rows with `datasets`."""
    from trl.scripts import sft

    folder = in_folder("trl")
    words = ["--config", "sft.yaml", "--max_steps", "2", "--gradient_accumulation_steps", "1", "--use_cpu"]
    sft.main(*sft.make_parser().parse_args_and_config(words, fail_with_unknown_args=True))
    state = json.loads((folder / "model/checkpoint-2/trainer_state.json").read_text())
    assert state["global_step"] == 2
    assert all(np.isfinite(entry["loss"]) for entry in state["log_history"] if "loss" in entry)
    assert any("eval_loss" in entry for entry in state["log_history"])
    assert (folder / "model/adapter_model.safetensors").exists()
    rows = datasets.load_dataset("data", split="train")
    assert [row["messages"][2]["tool_calls"][0]["function"]["arguments"] for row in rows if row["tools"]] == [
        {"a": 2, "b": [2]}
    ]


@pytest.mark.filterwarnings("ignore")
def test_the_script_for_unsloth_trains_two_steps(in_folder, monkeypatch):
    """Unsloth needs a GPU: its two calls are those of transformers and peft here."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    class FastLanguageModel:
        @staticmethod
        def from_pretrained(model_name, max_seq_length, load_in_4bit):
            assert (max_seq_length, load_in_4bit) == (1024, False)
            return AutoModelForCausalLM.from_pretrained(model_name), AutoTokenizer.from_pretrained(model_name)

        @staticmethod
        def get_peft_model(model, r, lora_alpha, lora_dropout, random_state):
            lora = LoraConfig(r=r, lora_alpha=lora_alpha, lora_dropout=lora_dropout, target_modules="all-linear")
            return get_peft_model(model, lora)

    folder = in_folder("unsloth")
    stub = ModuleType("unsloth")
    stub.FastLanguageModel = FastLanguageModel
    monkeypatch.setitem(sys.modules, "unsloth", stub)
    settings = yaml.safe_load((folder / "unsloth.yaml").read_text())
    settings["sft"] |= {"max_steps": 2, "gradient_accumulation_steps": 1, "use_cpu": True}
    (folder / "unsloth.yaml").write_text(yaml.safe_dump(settings))
    script = runpy.run_path(str(folder / "train_unsloth.py"))
    script["main"]()
    assert (folder / "model/adapter_model.safetensors").exists()
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    row = json.loads((folder / "data/train.jsonl").read_text().splitlines()[-1])
    read = script["encode"](tokenizer, row, 1000)
    trained = tokenizer.decode([token for token in read["labels"] if token != -100])
    assert trained.startswith("<think>\nI add them.\n</think>\n\n[{") and trained.endswith("It is 4.<|eos|>")
    assert "Be brief" not in trained and len(read["input_ids"]) == len(read["labels"]) == len(read["attention_mask"])


def test_the_template_lays_rows_out_as_they_are_measured():
    tokenizer = load_tokenizer(resolve_model("embedded"))
    turns = [
        {"role": "system", "content": "Be brief."},
        *PLAIN,
        {"role": "user", "content": "And a blue one?"},
        {"role": "assistant", "content": "The sea."},
    ]
    columns = {"prompt": ["x"], "response": ["x"], "turns": [json.dumps(turns)]}
    for conversation, as_json in ((turns, columns["turns"]), (PLAIN, [json.dumps(PLAIN)])):
        encoded = Encoder(tokenizer, Reading(answers="all"))(columns | {"turns": as_json})
        rendered = tokenizer.apply_chat_template(
            conversation,
            chat_template=training_template(tokenizer, "alpaca"),
            return_dict=True,
            return_assistant_tokens_mask=True,
        )
        ids, marks = rendered["input_ids"], rendered["assistant_masks"]
        assert tokenizer.decode(ids) == tokenizer.decode(encoded["tokens"][0])
        spans = encoded["spans"][0].reshape(-1, 2).tolist()
        answers = [tokenizer.decode(encoded["tokens"][0][start:end]) for start, end in spans]
        assert tokenizer.decode([token for token, mark in zip(ids, marks, strict=True) if mark]) == "".join(answers)


CHATML = (
    "{% for message in messages %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


@pytest.mark.parametrize("end", ["\n", "\\n"])
def test_plain_chatml_is_marked_and_other_templates_are_left_to_the_trainer(end):
    tokenizer = load_tokenizer(resolve_model("embedded"))
    tokenizer.chat_template = CHATML.replace("\n", end)
    marked = training_template(tokenizer, "chat")
    options = {"chat_template": marked, "return_dict": True, "return_assistant_tokens_mask": True}
    rendered = tokenizer.apply_chat_template(PLAIN, **options)
    assert tokenizer.decode(rendered["input_ids"]) == tokenizer.apply_chat_template(PLAIN, tokenize=False)
    trained = zip(rendered["input_ids"], rendered["assistant_masks"], strict=True)
    assert tokenizer.decode([token for token, mark in trained if mark]) == "A door.<|im_end|>"
    call = [PLAIN[0], {"role": "assistant", "content": "", "tool_calls": [TOOL]}]
    assert '"name": "add"' in tokenizer.apply_chat_template(call, chat_template=marked, tokenize=False)
    assert training_template(SimpleNamespace(chat_template="{{ messages }}"), "chat") is None


def test_the_rows_of_a_folder_are_replayed(prepared, place, tmp_path):
    written = write_trainer_folder(*prepared, "llamafactory", tmp_path / "out").exported
    again = replay_manifest(written.manifest, place, SilentReporter(), out=tmp_path / "same.jsonl")
    assert again.path.read_bytes() == written.chosen.read_bytes()
    rows = [json.loads(line) for line in again.path.read_text().splitlines()]
    assert {tuple(row) for row in rows} == {("system", "tools", "conversations")}  # `datasets` needs all in every row
    assert rows[-1]["system"] == "Be brief." and rows[0]["system"] == rows[0]["tools"] == ""


def test_what_was_changed_is_kept_and_what_was_not_is_replaced(prepared, tmp_path):
    for _ in range(2):
        write_trainer_folder(*prepared, "trl", tmp_path)
    write_trainer_folder(*prepared, "llamafactory", tmp_path / "other")
    (tmp_path / "other/data/dataset_info.json").write_text("{}")
    with pytest.raises(OutputError, match=r"dataset_info\.json already exists"):
        write_trainer_folder(*prepared, "llamafactory", tmp_path / "other")
    (tmp_path / "sft.yaml").write_text("learning_rate: 1.0\n")
    with pytest.raises(OutputError, match=r"sft\.yaml already exists, and is not what would be written"):
        write_trainer_folder(*prepared, "trl", tmp_path)
    write_trainer_folder(*prepared, "trl", tmp_path, overwrite=True)
    assert "learning_rate: 0.0002" in (tmp_path / "sft.yaml").read_text()


def test_what_cannot_be_trained_on_is_refused(prepared, place, tmp_path):
    recipe, pool, run = prepared
    with pytest.raises(RecipeError, match=r"no trainer 'deepspeed'\. There are llamafactory, trl, axolotl, unsloth"):
        write_trainer_folder(*prepared, "deepspeed", tmp_path)
    scored = recipe.model_copy(update={"export": recipe.export.model_copy(update={"with_scores": True})})
    with pytest.raises(RecipeError, match="With --for trl, leave out these options"):
        write_trainer_folder(scored, pool, run, "trl", tmp_path)
    prompts = [{"prompt": f"Question {k}?"} for k in range(3)]
    asked = prepare(write_lines(tmp_path / "prompts.jsonl", prompts), place)
    with pytest.raises(RecipeError, match="has no responses, and TRL trains on responses"):
        write_trainer_folder(*asked, "trl", tmp_path / "out")
    turns = [
        {"role": "user", "content": "2?"},
        {"role": "assistant", "tool_calls": [{"name": "add", "arguments": "2"}]},
    ]
    broken = prepare(write_lines(tmp_path / "calls.jsonl", [{"messages": turns}]), place)
    with pytest.raises(RecipeError, match=r"Row 'row0' \(line 1\) .* it calls 'add' with arguments that are no JSON"):
        write_trainer_folder(*broken, "trl", tmp_path / "out")
    assert [file for file in (tmp_path / "out").rglob("*") if file.is_file()] == []
