"""What people read of a command's facts: labels in place of keys, units, and tables."""

from core.cli.app import app
from core.cli.display import COMMANDS, in_words


def test_every_command_with_words_of_its_own_exists():
    assert set(COMMANDS) <= {command.callback.__name__ for command in app.registered_commands}


def test_facts_of_other_commands_keep_their_values():
    assert in_words("project", {"map": "prompt", "without": 3}) == {"map": "prompt", "rows without a position": 3}


def test_skipped_rows_are_listed_by_reason():
    facts = {"rows": 2, "set_aside": {"empty prompt": 1200}, "fields": {"prompt": ("a", "b")}, "fields_not_read": []}
    assert in_words("inspect", facts | {"files": [{"name": "pool.jsonl", "rows": 2}]}) == {
        "rows": 2,
        "skipped rows": ["1,200 × empty prompt"],
        "fields": {"prompt": "a + b"},
        "unread fields": "none",
    }


def test_the_first_of_many_files_are_listed():
    files = [{"name": f"part-{k}.jsonl", "rows": 1000 * k or 1} for k in range(12)]
    facts = {"files": files, "set_aside": {}, "fields": {}, "fields_not_read": []}
    shown = in_words("inspect", facts)["files"]
    assert shown[0] == "part-0.jsonl: 1 row"
    assert (shown[2], shown[-1]) == ("part-2.jsonl: 2,000 rows", "and 4 more (all with --json)")


def test_an_estimate_is_a_table_by_stage():
    facts = {
        "rows": 40, "tokens": 4815, "takes": "NLL", "seconds": 130.0, "memory_bytes": 862_000_000, "disk_bytes": 2_000,
        "stages": [{"stage": "Loading", "what": "", "seconds": 0.01}, {"stage": "Row", "what": "", "seconds": 60}],
        "disk_free_bytes": 64_500_000_000, "generated": 1640, "answering_seconds": 0.0, "trial_rows": 32,
        "trial_seconds": 7.9, "device": "cpu", "dtype": "float32", "cards": 0,
    }  # fmt: skip
    shown = in_words("estimate", facts)
    assert shown["stages"] == [
        {"stage": "Loading", "what": "", "time": "< 0.1 s"},
        {"stage": "Row", "what": "", "time": "1 min"},
    ]
    assert (shown["total time"], shown["tokens"]) == ("2 min 10 s", "about 4,815")
    assert (shown["peak memory"], shown["disk"]) == ("862 MB", "2 kB of 64.5 GB free")
    assert shown["server"] == "generates up to 1,640 tokens; its time is not included"
    assert "server" not in in_words("estimate", facts | {"answering_seconds": 1.0})
    assert "workers" not in shown
    assert in_words("estimate", facts | {"cards": 2})["workers"].startswith("2, one for each GPU;")


def test_a_measurement_has_its_time_by_stage_and_its_columns_in_words():
    facts = {
        "run": "r", "rows": 40, "tokens": 100, "model": {"name": "embedded", "revision": "8b"},
        "columns": {"nll": {"mean": 1.5, "missing": 0}, "own": {"mean": 2.0, "missing": 1}},
        "seconds": {"warm-up": 62.0, "probe": 8.0}, "warnings": ["Check it."],
        "cut": {"rows": 3, "prompts": 2, "prompt_tokens": 60, "responses": 1, "response_tokens": 5},
        "answers": {"asked": 205, "missing": 1, "empty": 0, "refused": 0, "truncated": 4}
        | {"tokens": 5200, "tokens_unknown": 3},
        "others": [{"also": "Random", "run": "s"}],
    }  # fmt: skip
    shown = in_words("measure", facts)
    assert shown["columns"][0] == {"column": "nll", "meaning": "NLL", "mean": 1.5, "missing": 0}
    assert shown["columns"][1]["meaning"] == ""
    assert [line["time"] for line in shown["time"]] == ["1 min 2 s", "8 s"] and shown["total time"] == "1 min 10 s"
    assert shown["answers"] == "205 requested, 1 missing, 4 hit the token limit, 5,200 tokens, 3 without a token count"
    assert shown["truncated rows"].startswith("3: 2 prompts")
    assert shown["other methods"] == [{"method": "Random", "run": "s"}] and shown["warnings"] == ["Check it."]


def test_a_selection_says_which_rows_are_excluded_and_what_the_method_knows_of_it():
    facts = {
        "chosen": "c.jsonl", "rows": 4, "tokens": 116, "sha256": "e",
        "excluded": {"filtered out": 1037, "no response": 1}, "facts": {"coverage_share": 0.5}, "held_out_rows": 0,
    }  # fmt: skip
    assert in_words("select", facts) == {
        "file": "c.jsonl",
        "rows": 4,
        "response tokens": 116,
        "SHA-256": "e",
        "excluded": "1,037 filtered out, 1 no response",
        "share of f(pool)": "50%",
    }


def test_groups_of_near_duplicates_are_counted_or_none():
    facts = {"pool": "p", "rows": 40, "exact_duplicates": 0, "near_duplicates": 0, "column": "near_duplicate_of@0.8"}
    assert in_words("duplicates", facts | {"groups": 0, "largest_group": 1})["groups"] == "none"
    assert in_words("duplicates", facts | {"groups": 2, "largest_group": 3})["groups"] == "2, the largest of 3 rows"


def test_the_budget_that_is_not_filled_has_a_label_for_people():
    facts = {"chosen": "c.jsonl", "excluded": {}, "held_out_rows": 0, "shortfall": "1 of 2 rows: why."}
    assert in_words("select", facts)["unfilled budget"] == "1 of 2 rows: why."
