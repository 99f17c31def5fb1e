"""Target sets on the Measure page: the built-in pairs, a user's own by path or upload, and facts about them."""

import json

import pytest

from core.workspace.files import read_json, write_json
from tests.pages.conftest import choose_only

EVIL = "![x](http://evil/x.png) <img src=x onerror=alert(1)> $$x$$"


def texts(at) -> str:
    parts = [*at.caption, *at.text, *at.warning, *at.error, *at.get("badge"), *at.subheader]
    return "\n".join(str(part.value) for part in parts).replace("\\", "")


def named(at):
    return {button.label: button for button in at.button}


def sets(at) -> list[str]:
    return [key.removeprefix("targets.remove.") for key in keys(at) if key.startswith("targets.remove.")]


def keys(at) -> list[str]:
    return [button.key or "" for button in at.button]


def command(at) -> str:
    return next(block.value for block in at.code if "core measure" in block.value)


def pair(number: int = 0, **more: object) -> dict[str, object]:
    return {"prompt": f"Ask {number}", "chosen": "Yes, and why", "rejected": "No"} | more


@pytest.fixture
def written(tmp_path):
    def write(*rows, name="pairs.jsonl"):
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
        return str(tmp_path / name)

    return write


@pytest.fixture
def score(pool, app):
    """Open the Measure page with preference influence as the method."""
    at = app("measure")
    choose_only(at, "preference_influence")
    assert not at.exception
    return at


def add(at, path, name="", count=1):
    """Type a path, where `count` sets are in use, and press Add."""
    at.text_input(key=f"targets.{count}.typed").set_value(path)
    at.text_input(key=f"targets.{count}.name").set_value(name)
    named(at)["Add"].click().run()
    assert not at.exception


def see(at, set_name=None):
    """Open the pairs, as a click on the expander does."""
    at.session_state["targets.pairs"] = True
    at.run()
    if set_name is not None:
        next(one for one in at.get("button_group") if one.label == "Pairs of").set_value(set_name).run()
    assert not at.exception


def test_other_methods_have_no_target_sets(pool, app):
    assert "Target sets" not in texts(app("measure"))


def test_the_embedded_pairs_are_the_default_and_the_last_set_cannot_be_removed(score):
    assert sets(score) == ["sound"]
    assert "24 pairs: prompt, chosen and rejected as text." in texts(score)
    assert "No prompt overlaps with the pool." in texts(score)
    assert score.button(key="targets.remove.sound").disabled
    assert "Use the built-in pairs" not in named(score)
    assert not [box for box in score.text_input if box.key == "form.preference_influence.targets"]


def test_a_set_is_added_by_path_named_after_its_file_and_in_the_command(score, written):
    path = written(pair(), pair(1), name="kind words.jsonl")
    add(score, path)
    assert sets(score) == ["sound", "kind-words"]
    assert f"targets=sound=demo; kind-words={path}" in command(score)
    assert "2 pairs: prompt, chosen and rejected as text." in texts(score)
    assert score.text_input(key="targets.2.typed").value == ""


def test_a_set_is_added_under_a_given_name(score, written):
    add(score, written(pair()), "kind")
    assert sets(score) == ["sound", "kind"]


@pytest.mark.parametrize(
    ("rows", "name", "sentence"),
    [
        ([{"instruction": "Add", "output": "3"}], "", "not a target set: found instruction, output"),
        ([pair()], "sound", "Two target sets are called 'sound'"),
        ([pair()], "a b", "'a b' is not a valid name for a target set"),
        ([pair(chosen="No")], "", "none of its rows gives a pair"),
    ],
)
def test_an_unusable_set_shows_one_sentence_and_changes_nothing(score, written, rows, name, sentence):
    before = command(score)
    add(score, written(*rows), name)
    assert sentence in score.error[0].value.replace("\\", "")
    assert len(score.error) == 1
    assert (sets(score), command(score)) == (["sound"], before)


@pytest.mark.parametrize(("path", "sentence"), [("/etc/passwd", "outside the folders"), ("", "Type a path")])
def test_only_the_allowed_folders_are_opened(score, path, sentence):
    add(score, path)
    assert sentence in score.error[0].value
    assert sets(score) == ["sound"]


def test_a_file_whose_name_would_be_read_as_two_sets_is_refused(score, written):
    add(score, written(pair(), name="a;b.jsonl"))
    assert "contains ';'" in score.error[0].value.replace("\\", "")
    assert sets(score) == ["sound"]


def test_an_upload_is_stored_in_the_workspace_and_used(score, workspace):
    score.segmented_control(key="targets.way").set_value("upload").run()
    data = json.dumps(pair()).encode()
    score.file_uploader(key="targets.1.upload").upload("../../mine.jsonl", data).run()
    named(score)["Add the upload"].click().run()
    assert not score.exception
    assert sets(score) == ["sound", "mine"]
    [stored] = workspace.root.glob("uploads/*/*.jsonl")
    assert (stored.name, stored.read_bytes()) == ("mine.jsonl", data)
    assert f"mine={stored}" in command(score)


def test_a_set_is_removed_and_the_embedded_pairs_come_back(score, written):
    add(score, written(pair()))
    score.button(key="targets.remove.sound").click().run()
    assert sets(score) == ["pairs"]
    named(score)["Use the built-in pairs"].click().run()
    assert not score.exception
    assert sets(score) == ["pairs", "sound"]
    score.button(key="targets.remove.pairs").click().run()
    assert sets(score) == ["sound"]


def test_an_order_by_the_set_that_is_removed_becomes_one_by_the_first(score, written, workspace, pool):
    add(score, written(pair()))
    file = workspace.folder("selections", pool.fingerprint) / "current.json"
    saved = read_json(file)
    saved["params"]["preference_influence"]["target"] = "pairs"
    write_json(file, saved)  # as from another tab
    score.run()
    score.button(key="targets.remove.pairs").click().run()
    assert not score.exception
    assert json.loads(file.read_text())["params"]["preference_influence"] == {"targets": "sound=demo", "target": ""}


def test_problems_lengths_and_prompts_shared_with_the_pool_are_shown(score, written):
    rows = [pair(0, prompt="question 3:  what is 3 plus 3?"), pair(1), pair(2, chosen="No"), pair(3, rejected="")]
    add(score, written(*rows))
    shown = texts(score)
    assert "2 pairs" in shown
    assert "Skipped: 1 × chosen equals rejected, 1 × rejected holds no answer." in shown
    assert "Chosen answers are 6.00× as long as rejected ones (median), and longer in 100%." in shown
    assert "The chosen answer is the longer one in 100% of the pairs. Influence may track response length" in shown
    assert "1 of its 2 prompts are also in the pool, in 1 row." in shown


def test_a_sub_task_field_and_a_limit_apply_to_every_set(score):
    score.text_input(key="form.preference_influence.subtask").set_value("fault").run()
    assert "Sub-tasks: 8 × gibberish, 8 × swapped, 8 × truncated." in texts(score)
    score.number_input(key="form.preference_influence.pairs").set_value(2).run()
    assert "6 pairs of 24, sampled by seed" in texts(score)
    assert "Sub-tasks: 2 × gibberish, 2 × swapped, 2 × truncated." in texts(score)


def test_a_sub_task_field_that_a_set_lacks_is_shown_with_the_set(score):
    score.text_input(key="form.preference_influence.subtask").set_value("tone").run()
    assert not score.exception
    assert "no row with pairs has a sub-task in 'tone'. Its fields are chosen, fault, prompt, rejected." in texts(score)
    score.text_input(key="form.preference_influence.subtask").set_value("").run()
    assert not score.error


def test_a_deleted_or_changed_file_is_noticed(score, written, tmp_path):
    add(score, written(pair()))
    assert "1 pair:" in texts(score)
    written(pair(), pair(1), pair(2))
    score.run()
    assert "3 pairs:" in texts(score)
    (tmp_path / "pairs.jsonl").unlink()
    score.run()
    assert not score.exception
    assert "There is no file or folder" in score.error[0].value
    score.button(key="targets.remove.pairs").click().run()
    assert not score.error


def test_pairs_are_shown_side_by_side_and_skipped_rows_with_their_reason(score, written):
    rows = [pair(0), pair(1, chosen=""), pair(2)]
    add(score, written(*rows))
    score.button(key="targets.remove.sound").click().run()
    see(score)
    pairs, aside = (table.value for table in score.dataframe)
    assert pairs["prompt"].tolist() == ["Ask 0", "Ask 2"]
    assert pairs["line"].tolist() == [1, 3]
    assert aside[["line", "reason"]].to_numpy().tolist() == [[2, "chosen holds no answer"]]
    assert {"Ask 0", "Yes, and why", "No"} <= {block.value for block in score.text}


def test_the_pairs_of_any_set_in_use_can_be_seen(score, written):
    add(score, written(*(pair(n) for n in range(130))))
    see(score)
    assert len(score.dataframe[0].value) == 24
    see(score, set_name=1)
    assert len(score.dataframe[0].value) == 100
    assert "Pairs 1–100 of 130" in texts(score)


def test_hostile_text_is_shown_as_text(score, written):
    turns = [{"role": "user", "content": EVIL}]
    row = {"prompt": turns, "chosen": [{"role": "assistant", "content": EVIL + "!"}], "tone": EVIL}
    row["rejected"] = [{"role": "assistant", "content": EVIL}]
    add(score, written(row, row | {"chosen": [{"role": EVIL, "content": "x"}]}))
    score.button(key="targets.remove.sound").click().run()
    score.text_input(key="form.preference_influence.subtask").set_value("tone").run()
    see(score)
    shown = [one.value for one in score.text if EVIL in one.value]
    assert shown == [EVIL, EVIL, EVIL + "!", EVIL]  # sub-task, prompt, chosen, rejected
    for element in [*score.markdown, *score.caption, *score.title, *score.warning, *score.get("badge")]:
        assert "![x](" not in element.value


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        ("pref_hh_fewshot_100.jsonl.gz", "100 pairs: a prompt, several responses, and pairs of [better, worse]."),
        ("pref_ultrafeedback_1000.jsonl.gz", "994 pairs: prompt, chosen and rejected as text."),
        ("formats/dpo_en_demo.json", "300 pairs: conversations, then chosen and rejected as {from, value}."),
    ],
)
def test_public_sets(score, file, sentence, shared_data, monkeypatch):
    monkeypatch.setenv("WINNOW_DATA_ROOTS", str(shared_data))
    add(score, str((shared_data / file).resolve()))
    assert sentence in texts(score)
    see(score, set_name=1)
    assert score.dataframe[0].value["prompt"].str.len().gt(0).all()
