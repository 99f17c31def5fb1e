"""Target sets: every format of preference data, what is set aside, and which pairs are sampled."""

import gzip
from itertools import pairwise
from pathlib import Path

import orjson
import pytest

from core.errors import MethodError, PoolError
from core.pool.pools import load_pool
from core.pool.preference import reader
from core.pool.preference.formats import (
    NO_CHOSEN,
    NO_MAJORITY,
    NO_PAIR,
    NO_REJECTED,
    PROMPT_NOT_OPEN,
    PROMPTS_DIFFER,
    SAME_RESPONSE,
    SHAPES,
)
from core.pool.preference.target_sets import (
    PAIR_SCHEMA,
    compare_lengths,
    find_prompt_overlap,
    load_target_set,
    source_identity,
)


def user(text):
    return {"role": "user", "content": text}


def reply(text):
    return {"role": "assistant", "content": text}


def human(text):
    return {"from": "human", "value": text}


def gpt(text):
    return {"from": "gpt", "value": text}


HI, BYE = "\n\nHuman: Hi\n\nAssistant: Hello", "\n\nHuman: Hi\n\nAssistant: Go away"
STANDARD = {"prompt": "Hi", "chosen": "Hello", "rejected": "Go away"}
RIVALS = {"instruction": "Say", "input": "Hi", "response1": "Go away", "response2": "Hello"}

# name: row, shape, prompt; the responses are "Hello" and "Go away" in all of them
WRITTEN = {
    "TRL standard": (STANDARD, "standard", [user("Hi")]),
    "under other names": (
        {"Question": "Hi", "Chosen": "Hello", "Rejected": "Go away", "system": "Be kind"},
        "standard",
        [{"role": "system", "content": "Be kind"}, user("Hi")],
    ),
    "after history": (STANDARD | {"history": [["A?", "B."]]}, "standard", [user("A?"), reply("B."), user("Hi")]),
    "typed parts": (STANDARD | {"chosen": [{"type": "text", "text": "Hello"}]}, "standard", [user("Hi")]),
    "one answer better by its name": (
        {"question": "Hi", "response_j": "Hello", "response_k": "Go away"},
        "standard",
        [user("Hi")],
    ),
    "after a transcript": (
        {
            "prompt": "\n\nHuman: A?\n\nAssistant: B.\n\nHuman: Hi\n\nAssistant:",
            "chosen": " Hello",
            "rejected": " Go away",
        },
        "standard",
        [user("A?"), reply("B."), user("Hi")],
    ),
    "TRL conversational, after a prompt": (
        {"prompt": [user("Hi")], "chosen": [reply("Hello")], "rejected": [reply("Go away")]},
        "conversational",
        [user("Hi")],
    ),
    "TRL conversational, with it": (
        {"chosen": [user("Hi"), reply("Hello")], "rejected": [user("Hi"), reply("Go away")]},
        "conversational",
        [user("Hi")],
    ),
    "both (UltraFeedback binarized)": (
        {"prompt": "Hi", "chosen": [user("Hi"), reply("Hello")], "rejected": [user("Hi"), reply("Go away")]},
        "conversational",
        [user("Hi")],
    ),
    "a tool asked before both answers": (
        {
            "prompt": [user("Hi")],
            "chosen": [reply("call"), {"role": "tool", "content": "42"}, reply("Hello")],
            "rejected": [reply("call"), {"role": "tool", "content": "42"}, reply("Go away")],
        },
        "conversational",
        [user("Hi"), reply("call"), {"role": "tool", "content": "42"}],
    ),
    "messages spelled out in a cell": (
        {
            "prompt": "Hi",
            "chosen": orjson.dumps([reply("Hello")]).decode(),
            "rejected": orjson.dumps([reply("Go away")]).decode(),
        },
        "conversational",
        [user("Hi")],
    ),
    "chosen_messages": (
        {"chosen_messages": [user("Hi"), reply("Hello")], "rejected_messages": [user("Hi"), reply("Go away")]},
        "conversational",
        [user("Hi")],
    ),
    "LLaMA-Factory sharegpt": (
        {"conversations": [human("A?"), gpt("B."), human("Hi")], "chosen": gpt("Hello"), "rejected": gpt("Go away")},
        "sharegpt",
        [user("A?"), reply("B."), user("Hi")],
    ),
    "hh-rlhf": ({"chosen": HI, "rejected": BYE}, "transcripts", [user("Hi")]),
    "hh-rlhf, longer": (
        {"chosen": "\n\nHuman: A?\n\nAssistant: B." + HI, "rejected": "\n\nHuman: A?\n\nAssistant: B." + BYE},
        "transcripts",
        [user("A?"), reply("B."), user("Hi")],
    ),
    "several answers": (
        {"prompt": "\n\nHuman: Hi\n\nAssistant:", "responses": [" Go away", " Hello"], "pairs": [[1, 0]]},
        "answers",
        [user("Hi")],
    ),
    "votes": (RIVALS | {"annotator1": 2, "annotator2": 0, "annotator3": 2}, "votes", [user("Say\nHi")]),
    "labels": (RIVALS | {"label": 2}, "labels", [user("Say\nHi")]),
}


@pytest.fixture
def written(tmp_path):
    """Return a function that writes rows as JSON Lines and returns the path; text is written verbatim."""

    def write(*rows, name="pairs.jsonl"):
        lines = [row.encode() if isinstance(row, str) else orjson.dumps(row) for row in rows]
        (tmp_path / name).write_bytes(b"\n".join(lines))
        return str(tmp_path / name)

    return write


@pytest.mark.parametrize(("row", "shape", "prompt"), WRITTEN.values(), ids=WRITTEN)
def test_the_same_pair_is_read_however_it_is_written(row, shape, prompt, written):
    targets = load_target_set(written(row))
    assert targets.shape == shape
    assert targets.pairs.schema == PAIR_SCHEMA
    [pair] = targets.pairs.to_pylist()
    assert orjson.loads(pair.pop("prompt")) == prompt
    assert pair == {"chosen": "Hello", "rejected": "Go away", "subtask": None, "line": 1}
    assert (targets.problems, targets.set_aside.num_rows, targets.available) == ({}, 0, 1)


def test_every_shape_is_tried():
    assert {shape for _, shape, _ in WRITTEN.values()} == set(SHAPES)


class TestEmbedded:
    def test_the_demo_set_needs_no_file(self):
        targets = load_target_set("demo", subtask="fault")
        assert (targets.name, targets.source, targets.shape) == ("demo", "demo", "standard")
        assert targets.subtasks() == {"swapped": 8, "truncated": 8, "gibberish": 8}
        assert (targets.problems, targets.notices) == ({}, ())
        assert load_target_set("demo", subtask="fault").fingerprint == targets.fingerprint

    def test_without_a_field_it_is_one_sub_task(self):
        assert load_target_set("demo").subtasks() == {None: 24}
        assert len(load_target_set("demo", subtask="fault", limit=2)) == 6

    def test_it_shares_no_prompt_with_the_demo_pool(self, workspace):
        shared = find_prompt_overlap(load_target_set("demo"), load_pool("demo", workspace=workspace.root))
        assert (len(shared.rows), len(shared.pairs)) == (0, 0)


def test_the_identity_of_a_source_changes_with_its_file(written):
    path = written(STANDARD)
    before = source_identity(path)
    assert source_identity(path) == before != source_identity("demo")
    written(STANDARD, STANDARD)
    assert source_identity(path) != before
    with pytest.raises(PoolError, match="There is no file"):
        source_identity(f"{path}.gone")


# file: shape, pairs, set aside, notices, share of pairs whose chosen response is longer
PREFERENCES = {
    "pref_hh_fewshot_100.jsonl.gz": ("answers", 100, {}, 0, 0.50),
    "pref_pandalm_human.jsonl.gz": ("votes", 842, {NO_MAJORITY: 105, NO_REJECTED: 51, NO_CHOSEN: 1}, 1, 0.65),
    "pref_stackexchange_485.jsonl.gz": ("answers", 3037, {}, 0, 0.59),
    "pref_ultrafeedback_1000.jsonl.gz": ("standard", 994, {SAME_RESPONSE: 4, NO_REJECTED: 1, NO_CHOSEN: 1}, 0, 0.56),
    "formats/dpo_en_demo.json": ("sharegpt", 300, {}, 1, 0.44),
    "formats/v1_dpo_demo.jsonl": ("conversational", 10, {}, 0, 0.40),
}


@pytest.mark.parametrize("file", PREFERENCES)
def test_public_preference_sets_load_whole(file, shared_data):
    shape, pairs, problems, notices, longer = PREFERENCES[file]
    targets = load_target_set(str(shared_data / file))
    assert (targets.shape, len(targets), targets.problems) == (shape, pairs, problems)
    assert len(targets.notices) == notices
    assert targets.set_aside.num_rows == sum(problems.values())
    assert compare_lengths(targets).chosen_longer == pytest.approx(longer, abs=0.006)
    for pair in targets.pairs.to_pylist():
        turns = orjson.loads(pair["prompt"])
        assert turns[-1]["role"] == "user"
        assert all(a["role"] != b["role"] for a, b in pairwise(turns))
        assert pair["chosen"].strip() and pair["rejected"].strip()


def test_every_other_public_pool_is_refused(shared_data):
    files = [p for p in shared_data.rglob("*") if p.name.endswith((".json", ".jsonl", ".jsonl.gz"))]
    others = [p for p in files if p.relative_to(shared_data).as_posix() not in PREFERENCES]
    assert len(others) > 20
    for path in others:
        with pytest.raises(PoolError, match=rf"^{path.name}: not a target set: found .* Each row needs a chosen"):
            load_target_set(str(path))


class TestProblems:
    def test_each_is_set_aside_with_its_line_and_counted(self, written):
        rows = [
            STANDARD,
            STANDARD | {"chosen": " Go away\n"},
            STANDARD | {"chosen": " "},
            STANDARD | {"rejected": None},
            '{"prompt": "Hi", "chosen"',
            "7",
            STANDARD | {"prompt": ""},
            STANDARD | {"rejected": {"an": "object"}},
            {"prompt": "Hi", "chosen": "Hello"},
        ]
        targets = load_target_set(written(*rows))
        assert len(targets) == targets.available == 1
        aside = {row["line"]: row["reason"] for row in targets.set_aside.to_pylist()}
        assert aside.pop(5).startswith("not JSON: ")
        assert aside == {
            2: SAME_RESPONSE,
            3: NO_CHOSEN,
            4: NO_REJECTED,
            6: "not an object",
            7: "empty prompt",
            8: "'rejected' is an object, not text",
            9: NO_REJECTED,
        }
        assert targets.problems[NO_REJECTED] == 2
        assert targets.set_aside["text"][4].as_py() == "7"

    @pytest.mark.parametrize(
        ("good", "bad", "reason"),
        [
            ({"chosen": HI, "rejected": BYE}, {"chosen": HI, "rejected": BYE.replace("Hi", "Ho")}, PROMPTS_DIFFER),
            ({"chosen": HI, "rejected": BYE}, {"chosen": "\n\nHuman: Hi\n\nAssistant:", "rejected": BYE}, NO_CHOSEN),
            ({"chosen": HI, "rejected": BYE}, {"chosen": HI, "rejected": BYE + "\n\nHuman: Why?"}, NO_REJECTED),
            ({"chosen": HI, "rejected": BYE}, {"chosen": HI, "rejected": HI}, SAME_RESPONSE),
            (
                {"chosen": [user("Hi"), reply("Hello")], "rejected": [user("Hi"), reply("No")]},
                {"chosen": [user("Hi"), reply("Hello")], "rejected": [user("Ho"), reply("No")]},
                PROMPTS_DIFFER,
            ),
            (
                {"conversations": [human("Hi")], "chosen": gpt("Hello"), "rejected": gpt("No")},
                {"conversations": [human("Hi"), gpt("So?")], "chosen": gpt("Hello"), "rejected": gpt("No")},
                PROMPT_NOT_OPEN,
            ),
            (
                {"conversations": [human("Hi")], "chosen": gpt("Hello"), "rejected": gpt("No")},
                {"conversations": [human("Hi")], "chosen": gpt("Hello"), "rejected": {"from": "owl", "value": "No"}},
                "'rejected' has a turn of an unknown speaker",
            ),
            (
                {"prompt": "Hi", "responses": ["a", "b"], "pairs": [[0, 1]]},
                {"prompt": "Hi", "responses": ["a", "b"], "pairs": []},
                NO_PAIR,
            ),
            (RIVALS | {"annotator1": 1}, RIVALS | {"annotator1": 0}, NO_MAJORITY),
            (RIVALS | {"annotator1": 1, "annotator2": 1}, RIVALS | {"annotator1": 1, "annotator2": 2}, NO_MAJORITY),
            (RIVALS | {"annotator1": 1}, RIVALS | {"annotator1": None}, NO_MAJORITY),
        ],
    )
    def test_of_the_other_shapes(self, good, bad, reason, written):
        targets = load_target_set(written(good, bad))
        assert len(targets) == 1
        assert targets.problems == {reason: 1}
        assert targets.set_aside["line"].to_pylist() == [2]

    @pytest.mark.parametrize("pair", [[0, 2], [-1, 0], [0], [0, True], ["0", "1"], 5, None])
    def test_a_pair_of_answers_that_are_not_there(self, pair, written):
        row = {"prompt": "Hi", "responses": ["a", "b"], "pairs": [[0, 1]]}
        targets = load_target_set(written(row, row | {"pairs": [[1, 0], pair]}))
        assert (len(targets), list(targets.problems.values())) == (1, [1])

    def test_one_bad_pair_does_not_cost_the_others_of_its_row(self, written):
        row = {"prompt": "Hi", "responses": ["a", "b", " a", ""], "pairs": [[0, 1], [0, 2], [0, 3], [2, 1], [0, 1]]}
        targets = load_target_set(written(row))
        assert targets.pairs.select(["chosen", "rejected"]).to_pylist() == [
            {"chosen": "a", "rejected": "b"},
            {"chosen": " a", "rejected": "b"},
        ]
        assert targets.problems == {SAME_RESPONSE: 1, NO_REJECTED: 1}

    def test_deep_nesting_is_a_problem_of_its_row_alone(self, written):
        deep = "[" * 300 + "]" * 300
        turn = f'{{"role": "assistant", "content": "x", "tool_calls": {deep}}}'
        row = {"prompt": "Hi", "chosen": [reply("Hello")], "rejected": [reply("No")]}
        targets = load_target_set(written(row, f'{{"prompt": "Hi", "chosen": [{turn}], "rejected": [{turn}]}}'))
        assert targets.problems == {"nested too deeply": 1}

    def test_reasons_that_quote_rows_are_cut_and_their_number_is_limited(self, written):
        odd = [STANDARD | {"chosen": [{"type": f"{n}" * 900}]} for n in range(80)]
        targets = load_target_set(written(STANDARD, *odd))
        assert len(targets.problems) == reader.MAX_REASONS + 1
        assert max(map(len, targets.problems)) <= 400
        assert sum(targets.problems.values()) == targets.set_aside.num_rows == 80

    def test_repeated_pairs_are_reported_and_kept(self, written):
        targets = load_target_set(written(STANDARD, STANDARD | {"note": "again"}))
        assert len(targets) == 2
        assert targets.notices == ("Pairs that repeat an earlier one: 1. Each of them counts.",)


class TestRefused:
    def test_a_file_of_something_else_is_refused_with_what_was_found_and_what_is_needed(self, written):
        with pytest.raises(PoolError) as error:
            load_target_set(written({"instruction": "Add", "output": "3"}, name="sums.jsonl"))
        assert str(error.value) == (
            "sums.jsonl: not a target set: found instruction, output, as in the pool format 'alpaca'. Each row needs "
            "a chosen and a rejected answer to one prompt: prompt, chosen and rejected (text, turns or whole "
            "conversations), responses and pairs, response1, response2 and annotator1, or output_1, output_2 and label."
        )

    @pytest.mark.parametrize(
        ("row", "sentence"),
        [
            ({"level": "info"}, "not a target set: found level. Each row needs"),
            ({"chosen": "Hello", "rejected": "No"}, "not a target set: found chosen, rejected. Each row needs"),
            ({"prompt": "Hi", "chosen": "Hello"}, "not a target set: found chosen, prompt"),
            ({"prompt": "Hi", "responses": ["a", "b"]}, "several answers but no 'pairs'"),
            (RIVALS, "two answers but no votes"),
            (
                STANDARD | {"chosen": "Go away"},
                f"none of its rows gives a pair from chosen and rejected, read as standard ({SAME_RESPONSE}: 1;",
            ),
            ("[1, 2, 3]", "its first rows are not JSON objects"),
            ("", "is empty"),
        ],
    )
    def test_with_one_sentence(self, row, sentence, written):
        with pytest.raises(PoolError) as error:
            load_target_set(written(row))
        assert sentence in str(error.value)
        assert str(error.value).startswith("pairs.jsonl")

    def test_a_limit_below_one(self, written):
        with pytest.raises(MethodError, match="limit of 0 pairs per sub-task"):
            load_target_set(written(STANDARD), limit=0)

    def test_a_sub_task_that_no_row_has(self, written):
        with pytest.raises(
            PoolError, match=r"no row with pairs has a sub-task in 'tone'. Its fields are chosen, prompt, rejected"
        ):
            load_target_set(written(STANDARD), subtask="tone")

    def test_more_text_than_a_target_set_can_hold(self, written, monkeypatch):
        monkeypatch.setattr("core.pool.preference.target_sets.MAX_PAIR_CHARS", 1000)
        rows = [
            STANDARD | {"prompt": f"{n:02} {'x' * 10}"} for n in range(20)
        ]  # 58 characters each, the prompt as JSON
        with pytest.raises(PoolError, match="over 1,000 characters of pairs"):
            load_target_set(written(*rows))
        assert len(load_target_set(written(*rows), limit=5)) == 5  # at most 9 are in memory between two rows


class TestText:
    def test_answers_are_not_searched_for_speakers(self, written):
        row = STANDARD | {"chosen": HI, "rejected": "[]"}
        targets = load_target_set(written(*[STANDARD] * 3, row))
        last = targets.pairs.to_pylist()[-1]
        assert (last["chosen"], last["rejected"]) == (HI, "[]")

    def test_control_tokens_markup_and_line_separators_stay_as_they_are(self, written):
        odd = "<s><script>alert(1)</script>\u2028\u0085{{ x }} $(rm)"
        [pair] = load_target_set(written({"prompt": odd, "chosen": odd + "!", "rejected": odd})).pairs.to_pylist()
        assert orjson.loads(pair["prompt"]) == [user(odd)]
        assert (pair["chosen"], pair["rejected"]) == (odd + "!", odd)

    def test_files_of_every_kind_give_the_same_pairs(self, written, tmp_path):
        lines = load_target_set(written(STANDARD, STANDARD | {"prompt": "Ho"}))
        rows = [STANDARD, STANDARD | {"prompt": "Ho"}]
        (tmp_path / "a.json").write_bytes(orjson.dumps(rows))
        (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(b"\n".join(map(orjson.dumps, rows))))
        (tmp_path / "c.csv").write_text("prompt,chosen,rejected\nHi,Hello,Go away\nHo,Hello,Go away\n")
        for name in ("a.json", "b.jsonl.gz", "c.csv"):
            targets = load_target_set(str(tmp_path / name))
            assert (targets.name, targets.fingerprint) == (name, lines.fingerprint)

    def test_the_fingerprint_is_of_the_pairs_their_order_and_their_sub_tasks(self, written):
        rows = [STANDARD | {"tone": "a"}, STANDARD | {"prompt": "Ho", "tone": "b"}]
        prints = [
            load_target_set(written(*rows)).fingerprint,
            load_target_set(written(*rows[::-1])).fingerprint,
            load_target_set(written(*rows), subtask="tone").fingerprint,
            load_target_set(written(rows[0])).fingerprint,
        ]
        assert len(set(prints)) == 4
        shared = {"chosen": [user("Hi"), reply("Hello")], "rejected": [user("Hi"), reply("Go away")]}
        assert load_target_set(written(shared)).fingerprint == prints[3]


class TestSampling:
    @pytest.fixture
    def many(self, written):
        """Write 60 rows of three tones, 20 each; every row of tone 0 gives 6 pairs, the others 1."""
        rows = []
        for n in range(60):
            tone = n % 3
            pairs = [[a, b] for a in range(4) for b in range(a + 1, 4)] if tone == 0 else [[0, 1]]
            rows.append({"prompt": f"Q{n}", "responses": list("abcd"), "pairs": pairs, "tone": tone})
        return written(*rows)

    def sample(self, path, **options):
        pairs = load_target_set(path, **options).pairs
        return [(p["line"], p["chosen"], p["rejected"], p["subtask"]) for p in pairs.to_pylist()]

    def test_the_limit_holds_for_each_sub_task_in_the_order_of_the_file(self, many):
        targets = load_target_set(many, subtask="tone", limit=7)
        assert targets.subtasks() == {"0": 7, "1": 7, "2": 7}
        assert targets.available == 20 * 6 + 40
        assert targets.pairs["line"].to_pylist() == sorted(targets.pairs["line"].to_pylist())

    def test_without_a_sub_task_the_limit_holds_for_all_pairs(self, many):
        assert load_target_set(many, limit=7).subtasks() == {None: 7}

    def test_a_larger_limit_only_adds(self, many):
        before = set()
        for limit in (1, 2, 5, 19, 20, 21, 50, 120, 500):
            now = set(self.sample(many, subtask="tone", limit=limit))
            assert before <= now
            before = now
        assert before == set(self.sample(many, subtask="tone"))

    def test_every_row_gives_one_pair_before_one_gives_two(self, many):
        lines = [line for line, _, _, tone in self.sample(many, subtask="tone", limit=20) if tone == "0"]
        assert len(set(lines)) == 20
        lines = [line for line, _, _, tone in self.sample(many, subtask="tone", limit=40) if tone == "0"]
        assert sorted(lines) == sorted([*set(lines)] * 2)

    def test_the_sample_depends_on_the_seed_alone(self, many):
        assert self.sample(many, limit=9) == self.sample(many, limit=9)
        assert self.sample(many, limit=9) != self.sample(many, limit=9, seed=1)

    def test_the_order_of_the_rows_does_not_change_the_sample(self, written, many):
        lines = Path(many).read_text(encoding="utf-8").split("\n")
        first = load_target_set(many, limit=9).pairs.select(["prompt", "chosen", "rejected"]).to_pylist()
        turned = written(*lines[::-1])
        assert (
            load_target_set(turned, limit=9).pairs.select(["prompt", "chosen", "rejected"]).to_pylist() == first[::-1]
        )

    def test_problems_are_counted_in_the_whole_file(self, written):
        rows = [STANDARD | {"prompt": f"Q{n}", "chosen": "Go away" if n % 2 else "Hello"} for n in range(20)]
        assert load_target_set(written(*rows), limit=1).problems == {SAME_RESPONSE: 10}

    def test_rows_without_a_sub_task_form_one_which_is_reported(self, written):
        tones = ["a", None, True, 3, " ", ["list"]]
        targets = load_target_set(
            written(*(STANDARD | {"prompt": f"Q{n}", "tone": tone} for n, tone in enumerate(tones))), subtask="tone"
        )
        assert targets.subtasks() == {"a": 1, None: 3, "true": 1, "3": 1}
        assert targets.notices == ("Rows without 'tone': 3. They form a sub-task of their own.",)


def test_the_length_ratio_is_characters_of_chosen_over_rejected(written):
    sides = [("aaaa", "bb"), ("äb", "bb"), ("a", "bbbb"), ("aaa", "b")]  # 2, 1, 0.25, 3
    comparison = compare_lengths(load_target_set(written(*(STANDARD | {"chosen": c, "rejected": r} for c, r in sides))))
    assert comparison == (1.5, 2.5 / 4)


class TestOverlap:
    def pool(self, written, workspace, *rows):
        return load_pool(written(*rows, name="pool.jsonl"), workspace=workspace.root)

    def test_prompts_are_equal_despite_case_space_and_forms_of_characters(self, written, workspace):
        prompts = ["Say  hi\n", "Add 1", "ﬁne CAFÉ", "Nothing alike"]
        targets = load_target_set(written(*(STANDARD | {"prompt": prompt} for prompt in prompts)))
        asked = ["add 1", "other", "say Hi", "fine cafe\u0301", "Say hi", "sayhi"]
        pool = self.pool(written, workspace, *({"instruction": a, "output": "x"} for a in asked))
        shared = find_prompt_overlap(targets, pool)
        assert shared.rows.tolist() == [0, 2, 3, 4]
        assert shared.pairs.tolist() == [0, 1, 2]

    def test_conversations_are_compared_with_all_their_turns(self, written, workspace):
        turns = [user("A?"), reply("B."), user("Hi")]
        targets = load_target_set(written({"prompt": turns, "chosen": [reply("Hello")], "rejected": [reply("No")]}))
        rows = [
            [*turns, reply("x")],
            [user("Hi"), reply("x")],
            [{"role": "system", "content": "s"}, *turns, reply("y")],
        ]
        pool = self.pool(written, workspace, *({"messages": row} for row in rows))
        assert find_prompt_overlap(targets, pool).rows.tolist() == [0, 2]

    def test_nothing_in_common(self, written, workspace):
        pool = self.pool(written, workspace, {"instruction": "Add", "output": "3"})
        shared = find_prompt_overlap(load_target_set(written(STANDARD)), pool)
        assert (len(shared.rows), len(shared.pairs)) == (0, 0)

    @pytest.mark.parametrize("file", PREFERENCES)
    def test_a_set_opened_as_a_pool_shares_every_prompt(self, file, shared_data, workspace):
        path = str(shared_data / file)
        targets = load_target_set(path, limit=40)
        shared = find_prompt_overlap(targets, load_pool(path, workspace=workspace.root))
        assert len(shared.pairs) == len(targets)
