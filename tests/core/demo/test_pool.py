import json
import re
from collections import Counter
from datetime import datetime, timedelta
from difflib import SequenceMatcher

import pytest

from core.demo.closed_tasks import CLOSED_TASKS
from core.demo.faults import FAULT_SHARES
from core.demo.open_tasks import OPEN_TASKS
from core.demo.pool import FAMILIES, clean_rows, demo_rows, write_demo

TEXT = ("instruction", "input", "output", "task")


@pytest.fixture(scope="module")
def pool():
    rows, key = demo_rows(0)
    return {row["id"]: row for row in rows}, {row["id"]: row for row in key}


def faulty(pool, fault):
    rows, key = pool
    return [(rows[id_], rows.get(entry.get("of"))) for id_, entry in key.items() if entry["fault"] == fault]


def text(row):
    return tuple(row[field] for field in TEXT)


def question(row):
    return row["instruction"], row["input"]


def clean_of(family):
    return [row for row in clean_rows(0) if row["task"] == family]


def numbers(words):
    return [int(number) for number in re.findall(r"\d+", words)]


def test_the_pool_has_2400_rows_of_15_families_closed_and_open(pool):
    rows, _ = pool
    tasks = Counter(row["task"] for row in rows.values())
    assert len(rows) == 2400
    assert set(tasks) == set(CLOSED_TASKS) | set(OPEN_TASKS)
    assert (len(CLOSED_TASKS), len(OPEN_TASKS)) == (8, 7)
    assert min(tasks.values()) >= 150


def test_no_two_clean_rows_have_the_same_question():
    rows = clean_rows(0)
    assert len({question(row) for row in rows}) == len(rows) == 2280


def test_every_slot_is_filled_and_every_response_has_words():
    for row in clean_rows(0):
        assert not re.search(r"[{}\x00]", "".join(text(row))), row
        assert row["instruction"].strip() and row["output"].strip()


def test_the_same_seed_gives_the_same_bytes_and_another_seed_other_rows(tmp_path):
    first, again, other = (write_demo(tmp_path / name, seed) for name, seed in (("a", 0), ("b", 0), ("c", 1)))
    for name in ("demo.jsonl", "demo.key.jsonl"):
        assert (first.parent / name).read_bytes() == (again.parent / name).read_bytes()
        assert (first.parent / name).read_bytes() != (other.parent / name).read_bytes()


def test_writing_again_leaves_the_same_two_files(tmp_path):
    path = write_demo(tmp_path)
    before = path.read_bytes()
    assert write_demo(tmp_path) == path == tmp_path / "demo.jsonl"
    assert path.read_bytes() == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["demo.jsonl", "demo.key.jsonl"]


def test_the_pool_file_holds_alpaca_rows_without_a_trace_of_faults(tmp_path):
    lines = write_demo(tmp_path).read_text("utf-8").splitlines()
    assert {tuple(json.loads(line)) for line in lines} == {("id", "instruction", "input", "output", "task")}


def test_ids_are_numbered_in_row_order_and_faults_are_spread_over_it(pool):
    rows, key = pool
    assert list(rows) == [f"demo-{number:05d}" for number in range(1, 2401)]
    tenths = Counter(int(id_[5:]) // 240 for id_ in key)
    assert all(tenths[tenth] > 15 for tenth in range(10))


def test_each_fault_has_its_share_and_no_row_has_two(pool):
    _, key = pool
    counts = Counter(entry["fault"] for entry in key.values())
    assert counts == {fault: round(2400 * share) for fault, share in FAULT_SHARES.items()}
    assert sum(counts.values()) == len(demo_rows(0)[1])  # an id twice would vanish from the dict


@pytest.mark.parametrize("fault", FAULT_SHARES)
def test_a_fault_is_spread_over_the_families(pool, fault):
    tasks = Counter(row["task"] for row, _ in faulty(pool, fault))
    assert len(tasks) >= 9
    assert max(tasks.values()) <= 0.25 * sum(tasks.values())


def test_a_row_outside_the_key_is_a_clean_row_and_all_the_others_are_not(pool):
    rows, key = pool
    clean = {text(row) for row in clean_rows(0)}
    for id_, row in rows.items():
        exact = key.get(id_, {}).get("fault") == "exact_duplicate"
        assert (text(row) in clean) == (id_ not in key or exact)


def test_swapped_rows_hold_each_others_responses(pool):
    clean = {question(row): row["output"] for row in clean_rows(0)}
    pairs = faulty(pool, "swapped")
    assert pairs
    for row, other in pairs:
        assert row["output"] == clean[question(other)] != clean[question(row)]
        assert row["task"] != other["task"]


def test_truncated_responses_are_beginnings_cut_inside_a_word(pool):
    clean = {question(row): row["output"] for row in clean_rows(0)}
    rows = faulty(pool, "truncated")
    assert rows
    for row, _ in rows:
        whole, part = clean[question(row)], row["output"]
        assert whole.startswith(part) and len(part) < 0.7 * len(whole)
        assert (part[-1] + whole[len(part)]).isalnum()


def test_gibberish_shares_no_long_word_with_the_true_response(pool):
    clean = {question(row): row["output"] for row in clean_rows(0)}
    rows = faulty(pool, "gibberish")
    assert rows
    for row, _ in rows:
        true = {word for word in clean[question(row)].lower().split() if len(word) > 4}
        assert not true & set(row["output"].split())


def test_exact_duplicates_equal_their_original_in_everything_but_the_id(pool):
    pairs = faulty(pool, "exact_duplicate")
    assert pairs
    for row, original in pairs:
        assert text(row) == text(original) and row["id"] != original["id"]


def test_near_duplicates_differ_a_little_from_their_original(pool):
    pairs = faulty(pool, "near_duplicate")
    assert pairs
    for row, original in pairs:
        assert text(row) != text(original)
        one, two = (" ".join(text(r)).split() for r in (row, original))
        assert SequenceMatcher(None, one, two, autojunk=False).ratio() > 0.7


def test_no_faulty_row_is_the_original_of_a_duplicate(pool):
    _, key = pool
    origins = {entry["of"] for entry in key.values() if entry["fault"].endswith("duplicate")}
    assert not origins & set(key)


def test_sums_in_arithmetic_are_right():
    for row in clean_of("arithmetic"):
        steps = re.findall(r"(\d+) ([-+*]) (\d+) = (\d+)", row["output"])
        assert len(steps) == 2
        for a, sign, b, result in steps:
            assert {"+": int(a) + int(b), "-": int(a) - int(b), "*": int(a) * int(b)}[sign] == int(result)
        assert row["output"].endswith(f"The answer is {steps[1][3]}.")
        assert set(numbers(row["instruction"])) <= set(numbers(row["output"]))


def test_dates_are_right():
    for row in clean_of("dates"):
        gap, side, start, end, weekday = re.fullmatch(
            r"(\d+) days (before|after) (\w+ \d+, \d+) is (\w+ \d+, \d+), a (\w+)\.", row["output"]
        ).groups()
        first, last = (datetime.strptime(day, "%B %d, %Y") for day in (start, end))
        assert last - first == timedelta(days=int(gap) * (1 if side == "after" else -1))
        assert f"{last:%A}" == weekday


def test_lists_in_sorting_hold_the_same_items_in_the_requested_order():
    for row in clean_of("sorting"):
        given, result = row["input"].split(", "), row["output"].split(", ")
        falling = "largest to smallest" in row["instruction"] or "reverse" in row["instruction"]
        value = int if given[0].isdigit() else str
        assert result == sorted(given, key=value, reverse=falling)


def test_extracted_values_occur_in_the_text():
    for row in clean_of("extraction"):
        for line in row["output"].split("\n"):
            assert line.split(": ")[1] in row["input"]


def test_the_order_in_logic_agrees_with_its_facts():
    for row in clean_of("logic"):
        order = re.search(r"The order is (\w+), (\w+), (\w+)", row["output"]).groups()
        facts = re.findall(r"(\w+) is (?:\w+) than (\w+)\.", row["instruction"])
        assert sorted(facts) == sorted([(order[0], order[1]), (order[1], order[2])])
        one, two = re.search(r"Is (\w+) \w+ than (\w+)\?", row["instruction"]).groups()
        assert row["output"].startswith("Yes" if order.index(one) < order.index(two) else "No")


def test_families_are_named_once():
    assert len(FAMILIES) == len(CLOSED_TASKS) + len(OPEN_TASKS)
