"""The dataset card and LLaMA-Factory's entry, as their readers parse them."""

import json

import numpy as np
import pytest
import yaml

from core import __version__
from core.output.dataset_card import build_card, dataset_info_snippet, size_category
from core.output.manifest import build_manifest
from core.output.writer import write_selection
from core.schema import FieldMap
from tests.core.pool.pools import make_pool

RECIPE = {
    "method": {"name": "entropy_shift", "params": {"gamma": 0.2}},
    "reading": {"model": "some/model", "template": "auto", "answers": "last", "max_length": 2048, "device": "cpu"},
    "seed": 7,
    "budget": "50%",
    "threshold": None,
    "filters": [{"column": "task", "values": ["qa"], "exclude": True, "low": None, "high": None, "contains": None}],
    "pins": [{"id": "b", "side": "in", "reason": "a `good`\n# example"}, {"id": "c", "side": "out", "reason": ""}],
}
ROWS = [{"id": k, "instruction": f"q{k}", "output": f"a{k}"} for k in "abcd"]


def make_manifest(pool, tmp_path, schema="original", source="hand.jsonl", scores=None, model=True, **recipe):
    rows = np.arange(2)
    out = tmp_path / "chosen.jsonl"
    result = build_manifest(
        pool,
        rows,
        write_selection(pool, rows, out, schema=schema, scores=scores),
        recipe=RECIPE | recipe,
        model={"name": "some/model", "revision": "c0ffee"} if model else None,
        encoder=None,
    )
    return result.model_copy(update={"pool": result.pool.model_copy(update={"source": source})})


def make_card(tmp_path, license=None, **about):
    pool = make_pool(ROWS, name="hand.jsonl", set_aside=3)
    return build_card(pool, make_manifest(pool, tmp_path, **about), license=license)


def front_matter(card: str) -> dict:
    start, front, _ = card.split("---\n", 2)
    assert start == ""
    return yaml.safe_load(front)


def test_the_front_matter_is_what_a_hub_reads(tmp_path):
    assert front_matter(make_card(tmp_path, license="apache-2.0", source="owner/pool")) == {
        "license": "apache-2.0",
        "size_categories": ["n<1K"],
        "source_datasets": ["owner/pool"],
        "task_categories": ["text-generation"],
        "tags": ["winnow", "data-selection", "instruction-tuning", "entropy_shift"],
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": "chosen.jsonl"}]}],
    }


def test_an_unknown_license_is_not_claimed(tmp_path):
    card = make_card(tmp_path)
    assert "license" not in front_matter(card)
    assert "that of the pool (unknown to Winnow)" in card


@pytest.mark.parametrize(
    "source", ["/data/private/pool.jsonl", "pool.jsonl", "a/b/c.jsonl", "data/pool.JSONL", "demo", "../up/pool"]
)
def test_a_path_is_not_a_hub_id_and_stays_out_of_the_card(tmp_path, source):
    card = make_card(tmp_path, source=source)
    assert front_matter(card)["source_datasets"] == ["extended|other"]
    assert "/data/private" not in card


def test_it_describes_how_the_rows_were_selected(tmp_path):
    card = make_card(tmp_path)
    for line in [
        "# 2 rows selected from `hand.jsonl`",
        f"Winnow {__version__} selected 2 of 4 rows (50.0%). "
        "They are in their original schema, in the order of the pool.",
        "- **Model**: `some/model`, revision `c0ffee` (template auto, answers last, max_length 2048)",
        "- **Budget**: 50%",
        "- **Seed**: 7",
        "- **Filters**: `except task is qa`",
        "    python -m core replay chosen.manifest.json",
    ]:
        assert line in card.splitlines()
    assert "- **Method**: Entropy shift. Selects rows" in card
    assert "- **Parameters**: gamma 0.2, pick lowest, alpha 0.1, rounds 1" in card  # defaults too
    assert "3 rows of its source were skipped, because they could not be read" in card


def test_user_input_is_shown_as_plain_text(tmp_path):
    lines = make_card(tmp_path).splitlines()
    place = lines.index("- **Always included**: 1 row")
    assert lines[place + 1] == "  - `b`: `a good # example`"
    assert lines[place + 3] == "  - `c`"


def test_scores_a_threshold_and_no_model_are_described(tmp_path):
    scores = {"nll": np.zeros(4, np.float32)}
    card = make_card(tmp_path, scores=scores, model=False, threshold=0.25, filters=[], pins=[])
    assert "A field `winnow` holds each row's scores." in card
    assert "- **Budget**: 50%, score cutoff 0.25" in card
    assert "- **Model**: none (the method needs no model)" in card
    assert "Always" not in card
    assert "Filters" not in card


@pytest.mark.parametrize(
    ("rows", "word"),
    [
        (1, "n<1K"),
        (999, "n<1K"),
        (1_000, "1K<n<10K"),
        (52_002, "10K<n<100K"),
        (999_999, "100K<n<1M"),
        (1_000_000, "n>1M"),
    ],
)
def test_sizes_are_the_hubs_categories(rows, word):
    assert size_category(rows) == word


def llama_factory_entry(manifest):
    text = dataset_info_snippet(manifest)
    return None if text is None else json.loads(text)


def test_the_llama_factory_entry_lists_the_fields_of_a_converted_file(tmp_path):
    pool = make_pool(ROWS)
    assert llama_factory_entry(make_manifest(pool, tmp_path, schema="alpaca")) == {
        "chosen": {
            "file_name": "chosen.jsonl",
            "columns": {"prompt": "instruction", "query": "input", "response": "output"},
        }
    }
    assert llama_factory_entry(make_manifest(pool, tmp_path, schema="sharegpt")) == {
        "chosen": {"file_name": "chosen.jsonl", "formatting": "sharegpt", "columns": {"messages": "conversations"}}
    }
    messages = llama_factory_entry(make_manifest(pool, tmp_path, schema="messages"))["chosen"]
    assert messages["columns"] == {"messages": "messages"}
    assert messages["tags"]["role_tag"] == "role"


def test_a_system_column_is_listed_only_if_some_row_has_one(tmp_path):
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    with_system = [{"role": "system", "content": "s"}, *turns]
    fields = FieldMap("messages", turns="messages")
    pool = make_pool([{"messages": turns}, {"messages": with_system}], fields=fields)
    assert llama_factory_entry(make_manifest(pool, tmp_path, schema="sharegpt"))["chosen"]["columns"] == {
        "messages": "conversations",
        "system": "system",
    }


def test_the_llama_factory_entry_lists_the_fields_of_an_original_file(tmp_path):
    dolly = FieldMap("dolly", prompt=("instruction", "context"), response="response", task="category")
    rows = [{"instruction": "q", "context": "c", "response": "a", "category": "x"}] * 2
    assert llama_factory_entry(make_manifest(make_pool(rows, fields=dolly), tmp_path))["chosen"]["columns"] == {
        "prompt": "instruction",
        "query": "context",
        "response": "response",
    }


def test_there_is_no_llama_factory_entry_for_rows_it_cannot_read(tmp_path):
    prompts = FieldMap("prompts_only", prompt=("prompt",))
    assert llama_factory_entry(make_manifest(make_pool([{"prompt": "q"}] * 2, fields=prompts), tmp_path)) is None
    assert (
        llama_factory_entry(
            make_manifest(make_pool([{"prompt": "q"}] * 2, fields=prompts), tmp_path, schema="messages")
        )
        is None
    )
    nested = FieldMap("custom", prompt=("data.prompt",), response="data.response")
    rows = [{"data": {"prompt": "q", "response": "a"}}] * 2
    assert llama_factory_entry(make_manifest(make_pool(rows, fields=nested), tmp_path)) is None
    choices = FieldMap("multiple_choice", prompt=("question", "A", "B"), response="answer")
    rows = [{"question": "q", "A": "1", "B": "2", "answer": "A"}] * 2
    assert llama_factory_entry(make_manifest(make_pool(rows, fields=choices), tmp_path)) is None


def test_the_card_of_a_queue_says_that_responses_are_left_out(tmp_path):
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    pool = make_pool([{"messages": turns}] * 4, fields=FieldMap("messages", turns="messages"))
    card = build_card(pool, make_manifest(pool, tmp_path, schema="annotation"))
    assert "until an annotator fills it in. The pool's own responses are not in the file." in card


def test_the_card_of_a_queue_asks_people_to_fill_it_in(tmp_path):
    prompts = FieldMap("prompts_only", prompt=("prompt",))
    pool = make_pool([{"prompt": f"q{k}"} for k in range(4)], fields=prompts)
    manifest = make_manifest(pool, tmp_path, schema="annotation")
    card = build_card(pool, manifest)
    assert (
        "They are in the annotation schema, in the order of the pool. "
        "This is an annotation queue: every `response` is blank until an annotator fills it in."
    ) in card
    assert "left out" not in card
    assert "2 of 4 rows (50.0%)" in card
    assert "nan" not in card.lower()
    assert manifest.output.fields == ["id", "prompt", "task", "response"]
    assert llama_factory_entry(manifest) is None  # a trainer would learn empty responses
