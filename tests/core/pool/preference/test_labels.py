"""Labels of two responses: which is better by number or name, ties counted, and what is ambiguous refused."""

import orjson
import pytest

from core.errors import PoolError
from core.pool.pools import load_pool
from core.pool.preference.labels import NAMES_NEITHER, NO_LABEL, TIED, LabelReader
from core.pool.preference.target_sets import load_target_set
from core.pool.turns import UnusableRow

OUTPUTS = {"instruction": "Say", "input": "Hi", "output_1": "Hello", "output_2": "Go away"}


def better(label, fields=("output_1", "output_2")):
    """Return the better field, or the reason why there is none."""
    try:
        return LabelReader("label", fields).better_first({"label": label})[0]
    except UnusableRow as reason:
        return str(reason)


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        (1, "output_1"), (2, "output_2"), (1.0, "output_1"), ("2", "output_2"), (" 2.0 ", "output_2"),
        (1.2, "output_1"), (1.87, "output_2"), ("output_2", "output_2"), ("Output 1", "output_1"),
        ("model_1", "output_1"), ("response2", "output_2"),
        (0, TIED), (1.5, TIED), ("tie", TIED), ("Tie (both bad)", TIED), ("both_bad", TIED), ("draw", TIED),
        (3, NAMES_NEITHER), (-1, NAMES_NEITHER), (0.5, NAMES_NEITHER), (True, NAMES_NEITHER), ("nan", NAMES_NEITHER),
        ("better", NAMES_NEITHER), ([1], NAMES_NEITHER), ("output_3", NAMES_NEITHER), ("beta", NAMES_NEITHER),
        (None, NO_LABEL), ("", NO_LABEL), (" ", NO_LABEL),
    ],
)  # fmt: skip
def test_a_label_names_one_of_two_numbered_answers(label, expected):
    assert better(label) == expected


@pytest.mark.parametrize(("label", "expected"), [(0, "response_0"), (1, "response_1"), (0.5, TIED), (2, NAMES_NEITHER)])
def test_answers_counted_from_0_have_labels_from_0(label, expected):
    assert better(label, ("response_0", "response_1")) == expected


@pytest.mark.parametrize(
    ("label", "expected"), [("a", "response_a"), ("B", "response_b"), ("model_b", "response_b"), (2, "response_b")]
)
def test_answers_with_letters_have_labels_with_letters(label, expected):
    assert better(label, ("response_a", "response_b")) == expected


def check(*labels, fields=("output_1", "output_2")):
    reader = LabelReader("label", fields)
    for label in labels:
        try:
            reader.better_first({"label": label})
        except UnusableRow:
            continue
    reader.check()


@pytest.mark.parametrize("labels", [(1, 2), (2,), (0, 2), (1, 1.8), (0, 1, 2), ("output_1",), ("a", None), ()])
def test_labels_that_can_be_read_in_one_way_pass(labels):
    check(*labels)


@pytest.mark.parametrize(("labels", "seen"), [((0, 1), "0 and 1"), ((1, 1), "1"), (("0",), "0")])
def test_a_label_without_a_2_is_refused(labels, seen):
    with pytest.raises(PoolError, match=f"its label 'label' holds {seen} but no 2, so it may count the answers from 0"):
        check(*labels)


def test_a_2_for_answers_counted_from_0_is_refused():
    check(0, 1, fields=("response_0", "response_1"))
    with pytest.raises(PoolError, match="holds a 2, but the answers are counted from 0"):
        check(1, 2, fields=("response_0", "response_1"))


@pytest.fixture
def written(tmp_path):
    def write(*rows):
        (tmp_path / "pairs.jsonl").write_bytes(b"\n".join(map(orjson.dumps, rows)))
        return str(tmp_path / "pairs.jsonl")

    return write


@pytest.mark.parametrize("name", ["label", "preference", "winner"])
def test_labelled_outputs_are_pairs_and_ties_are_counted(written, name):
    rows = [OUTPUTS | {name: label} for label in (1, 2, 0, 1.5, 2, None)]
    targets = load_target_set(written(*rows))
    assert targets.shape == "labels"
    assert targets.pairs["chosen"].to_pylist() == ["Hello", "Go away", "Go away"]
    assert targets.pairs["rejected"].to_pylist() == ["Go away", "Hello", "Hello"]
    assert orjson.loads(targets.pairs["prompt"][0].as_py()) == [{"role": "user", "content": "Say\nHi"}]
    assert targets.problems == {TIED: 2, NO_LABEL: 1}
    assert targets.set_aside["line"].to_pylist() == [3, 4, 6]


def test_a_preference_of_a_named_annotator_is_a_label_not_a_vote(written):
    """AlpacaEval: `annotator` names the judge, `preference` is 1 to 2."""
    rows = [OUTPUTS | {"annotator": "chatgpt_fn", "preference": label} for label in (1.01, 1.99)]
    assert load_target_set(written(*rows)).pairs["chosen"].to_pylist() == ["Hello", "Go away"]


def test_numbered_votes_count_before_a_label(written):
    rows = [OUTPUTS | {"annotator1": 2, "annotator2": 2, "label": "news"}] * 2
    targets = load_target_set(written(*rows))
    assert (targets.shape, targets.pairs["chosen"][0].as_py()) == ("votes", "Go away")


def test_an_ambiguous_file_is_refused_in_one_sentence(written):
    with pytest.raises(PoolError) as refused:
        load_target_set(written(OUTPUTS | {"label": 1}, OUTPUTS | {"label": 0}))
    assert str(refused.value) == (
        "pairs.jsonl: its label 'label' holds 0 and 1 but no 2, so it may count the answers from 0 or from 1. "
        "Write the name of the better answer in it, output_1 or output_2."
    )


def test_a_pool_of_two_outputs_reads_the_first_and_says_so(written, tmp_path):
    pool = load_pool(written(*[OUTPUTS | {"label": 2}] * 2), workspace=tmp_path)
    assert (pool.fields.schema, pool.rows["response"][0].as_py()) == ("preference", "Hello")
    assert "Each row compares two answers. 'output_1' is the response." in pool.notices
