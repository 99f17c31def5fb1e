"""The schema detected from a few rows, and the schema of every public pool."""

import pytest

from core.errors import PoolError
from core.pool.pools import load_pool
from core.pool.schema_detection import RULES, SCHEMAS, check_fields, detect_schema, mapped_fields
from core.schema import FieldMap

USER = {"role": "user", "content": "Hi"}
ANSWER = {"role": "assistant", "content": "Hello"}
SHARED = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]
TRANSCRIPT = "\n\nHuman: Hi\n\nAssistant: Hello"

DETECTED = {
    "alpaca": (
        {"instruction": "Add", "input": "1 2", "output": "3"},
        FieldMap("alpaca", ("instruction", "input"), "output"),
    ),
    "alpaca with a response, system and history": (
        {"instruction": "Add", "response": "3", "system": "Be brief", "history": [["Hi", "Hello"]]},
        FieldMap("alpaca", ("instruction",), "response", system="system", history="history"),
    ),
    "alpaca with output and response alike": (
        {"instruction": "Add", "input": "1 2", "response": "3", "output": "3"},
        FieldMap("alpaca", ("instruction", "input"), "output"),
    ),
    "dolly, even without any context": (
        {"instruction": "Add", "context": "", "response": "3", "category": "open_qa"},
        FieldMap("dolly", ("instruction", "context"), "response", task="category"),
    ),
    "messages": ({"messages": [USER, ANSWER]}, FieldMap("messages", turns="messages")),
    "messages under another name": ({"conversations": [USER, ANSWER]}, FieldMap("messages", turns="conversations")),
    "messages spelled out in one cell": (
        {"messages": '[{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]'},
        FieldMap("messages", turns="messages"),
    ),
    "sharegpt": (
        {"conversations": SHARED, "system": "Be brief", "tools": "[]"},
        FieldMap("sharegpt", turns="conversations", system="system", tools="tools"),
    ),
    "prompt and completion": (
        {"prompt": "1 + 2 =", "completion": " 3"},
        FieldMap("prompt_completion", ("prompt",), "completion"),
    ),
    "prompt and completion as turns": (
        {"prompt": [USER], "completion": [ANSWER]},
        FieldMap("prompt_completion", ("prompt",), "completion"),
    ),
    "question and answer": (
        {"question": "1 + 2?", "answer": "3", "rationale": "Count."},
        FieldMap("question_answer", ("question",), "answer"),
    ),
    "columns with capitals": (
        {"Question": "1 + 2?", "Answer": "3"},
        FieldMap("question_answer", ("Question",), "Answer"),
    ),
    "text and code": (
        {"text": "Add", "code": "1 + 2", "task_id": 7},
        FieldMap("text_code", ("text",), "code", id="task_id"),
    ),
    "input and output": ({"input": "hot", "output": "cold"}, FieldMap("input_output", ("input",), "output")),
    "text that holds the instruction and a blank input": (
        {"text": "Add 1 and 2", "input": "", "output": "3"},
        FieldMap("input_output", ("text", "input"), "output"),
    ),
    "input beside the whole text": (
        {"text": "hot -> cold", "input": "hot", "output": "cold"},
        FieldMap("input_output", ("input",), "output"),
    ),
    "dialogs": ({"dialogs": [USER, ANSWER]}, FieldMap("messages", turns="dialogs")),
    "lettered choices": (
        {"question": "1 + 2?", "A": "2", "B": "3", "answer": "B", "subject": "sums"},
        FieldMap("multiple_choice", ("question", "A", "B"), "answer", task="subject"),
    ),
    "listed choices": (
        {"question": "1 + 2?", "choices": ["2", "3"], "answer": 1},
        FieldMap("multiple_choice", ("question", "choices"), "answer"),
    ),
    "self-instruct": (
        {"instruction": "Add", "instances": [{"input": "1 2", "output": "3"}]},
        FieldMap("self_instruct", ("instruction", "instances"), "instances"),
    ),
    "preference as strings": (
        {"prompt": "Hi", "chosen": "Hello", "rejected": "Go away"},
        FieldMap("preference", ("prompt",), "chosen"),
    ),
    "preference after a conversation": (
        {"conversations": SHARED[:1], "chosen": SHARED[1], "rejected": SHARED[1]},
        FieldMap("preference", ("conversations",), "chosen"),
    ),
    "preference as whole conversations": (
        {"chosen_messages": [USER, ANSWER], "rejected_messages": [USER, ANSWER]},
        FieldMap("preference", turns="chosen_messages"),
    ),
    "preference as transcripts": (
        {"chosen": TRANSCRIPT, "rejected": TRANSCRIPT},
        FieldMap("preference", turns="chosen"),
    ),
    "preference among several answers": (
        {"prompt": TRANSCRIPT, "responses": ["a", "b"], "pairs": [[0, 1]], "sft_target": "a"},
        FieldMap("preference", ("prompt",), "sft_target"),
    ),
    "two rival answers": (
        {"instruction": "Add", "input": "1 2", "response1": "3", "response2": "4", "annotator1": 1},
        FieldMap("preference", ("instruction", "input"), "response1"),
    ),
    "questions asked one after another": (
        {"question_id": 81, "category": "writing", "turns": ["Write.", "Rewrite."]},
        FieldMap("prompts_only", turns="turns", task="category", id="question_id"),
    ),
    "a conversation nobody answers": ({"messages": [USER]}, FieldMap("prompts_only", turns="messages")),
    "an instruction alone": ({"instruction": "Add", "output": ""}, FieldMap("prompts_only", ("instruction",))),
}


@pytest.mark.parametrize(("row", "fields"), DETECTED.values(), ids=DETECTED)
def test_the_schema_of_a_row_follows_from_its_fields(row, fields):
    assert detect_schema([row]) == fields


def test_every_rule_belongs_to_a_schema():
    assert {rule.schema for rule in RULES} <= set(SCHEMAS)


def test_what_is_detected_can_always_be_applied():
    for row, fields in DETECTED.values():
        check_fields(fields, [row])
        assert mapped_fields(fields) <= set(row)


def test_rows_that_are_no_instructions_are_refused_with_the_names_of_their_fields():
    with pytest.raises(PoolError, match=r"found level, message, time"):
        detect_schema([{"time": "12:00", "level": "info", "message": "started"}])


def test_the_schema_of_most_rows_is_the_schema_of_the_pool():
    alpaca = {"instruction": "Add", "output": "3"}
    assert detect_schema([{"question": "1 + 2?", "answer": "3"}, alpaca, alpaca, alpaca]).schema == "alpaca"


def test_a_few_answers_among_many_prompts_do_not_make_a_pool_of_answers():
    rows = [{"instruction": "Add", "output": ""} for _ in range(99)] + [{"instruction": "Add", "output": "3"}]
    assert detect_schema(rows).schema == "prompts_only"


def test_text_is_the_prompt_where_input_is_mostly_blank():
    rows = [{"text": f"Add {k}", "input": "to 1" if k < 7 else "", "output": "3"} for k in range(29)]
    fields = detect_schema(rows)
    assert (fields.prompt, fields.response) == (("text", "input"), "output")


def test_one_empty_response_in_ten_keeps_the_response():
    rows = [{"instruction": "Add", "output": "3" if k else ""} for k in range(10)]
    assert detect_schema(rows).response == "output"


class TestTask:
    def rows(self, n=40, **columns):
        return [{"instruction": f"Add {k}", "output": "3"} | {c: f(k) for c, f in columns.items()} for k in range(n)]

    def test_a_field_named_as_a_label_is_one_even_if_the_first_rows_share_it(self):
        assert detect_schema(self.rows(task=lambda k: "sums")).task == "task"

    def test_a_field_with_the_name_of_a_label_comes_before_one_with_values_of_a_label(self):
        assert detect_schema(self.rows(tone=lambda k: "ab"[k % 2], category=lambda k: f"c{k % 5}")).task == "category"

    def test_any_field_of_few_short_values_is_a_label(self):
        assert detect_schema(self.rows(tone=lambda k: "ab"[k % 2])).task == "tone"

    def test_yes_or_no_is_a_label(self):
        assert detect_schema(self.rows(is_classification=lambda k: k % 3 == 0)).task == "is_classification"

    @pytest.mark.parametrize(
        "column",
        [
            {"source": lambda k: f"https://example.org/{k}"},  # all different
            {"category": lambda k: "a long text that says a lot about this row, over and over again" * 2},
            {"label": lambda k: k % 2 == 0},  # good or bad, not a kind of task
            {"annotator1": lambda k: "ab"[k % 2]},
            {"tone": lambda k: "a"},  # one value distinguishes nothing
            {"tone": lambda k: "ab"[k % 2] if k < 10 else None},  # mostly missing
            {"score": lambda k: k % 2},
        ],
        ids=lambda column: next(iter(column)),
    )
    def test_other_fields_are_not(self, column):
        assert detect_schema(self.rows(**column)).task is None


class TestId:
    def test_an_id_is_mapped_even_when_it_repeats_so_that_this_is_reported(self):
        assert detect_schema([{"instruction": "Add", "output": "3", "id": 1}] * 2).id == "id"

    def test_a_number_of_another_kind_is_an_id_only_where_it_is_unique(self):
        rows = [{"question": "Add", "answer": "3", "idx": k // 2} for k in range(4)]
        assert detect_schema(rows).id is None
        assert detect_schema(rows[::2]).id == "idx"

    def test_true_and_false_are_no_ids(self):
        assert detect_schema([{"instruction": "Add", "output": "3", "id": True}]).id is None


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        (FieldMap("nonsense", ("a",)), "There is no schema 'nonsense'. Choose one of alpaca,"),
        (FieldMap("custom"), "No field is mapped to the prompt"),
        (FieldMap("custom", ("a",), turns="a"), "Map either the turns, or prompt and response"),
        (FieldMap("custom", response="b", turns="a"), "Map either the turns, or prompt and response"),
        (FieldMap("custom", ("c",), "b"), "No row has a field 'c'. The fields are a, b."),
        (FieldMap("custom", ("a",), "c"), "No row has a field 'c'. The fields are a, b."),
        (FieldMap("custom", turns="c"), "No row has a field 'c'. The fields are a, b."),
    ],
)
def test_a_mapping_that_cannot_work_is_refused(fields, sentence):
    with pytest.raises(PoolError) as error:
        check_fields(fields, [{"a": 1, "b": 2}])
    assert sentence in str(error.value)


# file: schema, rows, set aside, prompt or turns, response, task, id, rows that repeat an earlier one
PUBLIC = {
    "alpaca_en_52k.jsonl.gz": ("alpaca", 51_953, 49, "instruction input", "output", None, None, 0),
    "belle_eval_zh.jsonl.gz": ("question_answer", 631, 369, "question", "std_answer", "class", None, 0),
    "codealpaca_new_4k.jsonl.gz": ("alpaca", 4_535, 0, "instruction input", "output", None, None, 0),
    "dolly_15k.jsonl.gz": ("dolly", 15_011, 0, "instruction context", "response", "category", None, 15),
    "flan_cot.jsonl.gz": ("question_answer", 27_570, 0, "question", "answer", "task", None, 0),
    "gpteacher_roleplay.jsonl.gz": ("alpaca", 3_146, 0, "instruction input", "output", None, None, 0),
    "gpteacher_toolformer.jsonl.gz": ("alpaca", 7_673, 0, "instruction input", "output", None, None, 0),
    "gsm8k_train.jsonl.gz": ("question_answer", 7_473, 0, "question", "answer", None, None, 0),
    "instruction_induction.jsonl.gz": ("input_output", 3_015, 26, "input", "output", "task", "id", 0),
    "mbpp.jsonl.gz": ("text_code", 974, 0, "text", "code", None, "task_id", 0),
    "mmlu_dev_val.jsonl.gz": ("multiple_choice", 1_816, 0, "question A B C D", "answer", "subject", None, 4),
    "pref_hh_fewshot_100.jsonl.gz": ("preference", 100, 0, "prompt", "sft_target", None, None, 0),
    "pref_pandalm_human.jsonl.gz": (
        *("preference", 970, 29, "instruction input", "response1", "motivation_app", "idx", 485),
    ),
    "pref_stackexchange_485.jsonl.gz": ("preference", 485, 0, "prompt", "sft_target", None, None, 0),
    "pref_ultrafeedback_1000.jsonl.gz": ("preference", 999, 1, "prompt", "chosen", None, None, 0),
    "selfinstruct_seed_tasks.jsonl": (
        *("self_instruct", 175, 0, "instruction instances", "instances", "is_classification", "id", 0),
    ),
    "selfinstruct_user_oriented_252.jsonl": (
        *("self_instruct", 252, 0, "instruction instances", "instances", "motivation_app", "id", 0),
    ),
    "t0_labelled.jsonl.gz": ("prompt_completion", 31_187, 0, "prompt", "completion", "task", None, 723),
    "formats/alpaca_en_demo.json": ("alpaca", 999, 0, "instruction input", "output", None, None, 14),
    "formats/dpo_en_demo.json": ("preference", 300, 0, "conversations", "chosen", None, None, 5),
    "formats/fastchat_dummy_conversation.json": ("sharegpt", 500, 0, "conversations", None, None, "id", 0),
    "formats/glaive_toolcall_en_demo.json": ("sharegpt", 300, 0, "conversations", None, None, None, 35),
    "formats/identity.json": ("alpaca", 91, 0, "instruction input", "output", None, None, 0),
    "formats/kto_en_demo.json": ("messages", 300, 0, "messages", None, None, None, 0),
    "formats/mt_bench_question.jsonl": ("prompts_only", 80, 0, "turns", None, "category", "question_id", 0),
    "formats/reason_tool_use_demo_50.jsonl": ("messages", 50, 0, "messages", None, None, None, 0),
    "formats/v1_dpo_demo.jsonl": ("preference", 10, 0, "chosen_messages", None, None, None, 0),
    "formats/v1_sft_demo.jsonl": ("messages", 500, 0, "messages", None, None, None, 1),
}


@pytest.mark.parametrize("file", PUBLIC)
def test_public_pools_open_whole(file, shared_data, workspace):
    schema, rows, aside, prompt, response, task, own, repeats = PUBLIC[file]
    pool = load_pool(str(shared_data / file), workspace=workspace.root)
    fields = pool.fields
    assert (fields.schema, len(pool), pool.set_aside.num_rows) == (schema, rows, aside)
    assert " ".join(fields.prompt or (fields.turns,)) == prompt
    assert (fields.response, fields.task, fields.id) == (response, task, own)
    assert len(pool) - pool.rows["duplicate_of"].null_count == repeats
    assert set(pool.set_aside["reason"].to_pylist()) <= {"empty response", "empty prompt"}


def test_every_public_pool_is_in_the_table(shared_data):
    files = [p for p in shared_data.rglob("*") if p.name.endswith((".json", ".jsonl", ".jsonl.gz"))]
    assert {p.relative_to(shared_data).as_posix() for p in files} == set(PUBLIC)


def test_a_field_without_a_name_is_taken_for_no_other():
    row = {"": "7", "instruction": "Add 1 and 1.", "output": "2"}
    assert detect_schema([row]) == detect_schema([{k: v for k, v in row.items() if k}])
