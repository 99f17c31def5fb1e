"""Tags on screen: given to the open row and to highlighted rows; filtered, highlighted, coloured, renamed, exported."""

import json

import pytest

from core.selection.filters import tag_filter
from pages.ui.shell import state
from pages.ui.shell.terms import Match
from tests.pages.test_links import follow


def now(at):
    return at.session_state[state.SETTINGS]


def press(at, key):
    at.button(key=key).click().run()
    assert not at.exception
    return at


def choose(at, key, name):
    at.selectbox(key=key).set_value(name).run()
    assert not at.exception
    return at


def badges(at):
    return [one.value for one in at.main.markdown if "material/label:" in one.value]


def go(at, page):
    at.switch_page(f"pages/{page}.py").run()
    assert not at.exception
    return at


def open_popover(at, key):
    at.session_state[key] = True
    at.run()
    assert not at.exception
    return at


@pytest.fixture
def reading(run, app):
    """Open row 7 in the reader, on Select."""
    return go(follow(row="row-7"), "select")


@pytest.fixture
def tagged(reading):
    """Tag row 7 as unclear."""
    return press(choose(reading, "reader.tag", "unclear"), "reader.t")


# One row


def test_the_open_row_is_tagged_and_untagged_by_one_button(reading):
    assert reading.button(key="reader.t").disabled  # no tag is chosen
    at = press(choose(reading, "reader.tag", " unclear "), "reader.t")
    assert now(at).tags == {"unclear": ("row-7",)}
    assert [":violet-badge[:material/label: unclear]" in one for one in badges(at)] == [True]
    press(at, "reader.t")
    assert now(at).tags == {"unclear": ()} and badges(at) == []
    press(at, "reader.u")
    assert now(at).tags == {"unclear": ("row-7",)}


def test_the_chosen_tag_stays_for_the_next_row(tagged):
    at = press(choose(tagged, "reader.tag", "done"), "reader.t")
    press(at, "reader.j")
    assert at.selectbox(key="reader.tag").value == "done" and badges(at) == []
    press(at, "reader.t")
    assert [len(ids) for ids in now(at).tags.values()] == [1, 2]


def test_a_name_that_no_tag_can_have_is_refused_in_a_sentence(reading):
    at = choose(reading, "reader.tag", "x" * 65)
    assert at.button(key="reader.t").disabled
    assert [one.value.startswith("A tag needs a name of 1 to 64 characters") for one in at.error] == [True]


def test_a_name_is_shown_as_text(reading):
    at = press(choose(reading, "reader.tag", "![x](http://evil.example/y.png)"), "reader.t")
    assert r"\!\[x\]\(" in badges(at)[0]


def test_a_table_has_a_column_of_tags_once_there_are_any(reading):
    at = reading
    at.get_by_key("select.view").set_value("Top ranked").run()
    assert "Tags" not in at.dataframe[0].value
    for name, text in (("a few", "is 1"), ("all", "it is")):
        at.text_input(key="highlight.search").set_value(text).run()
        press(choose(open_popover(at, "highlight.actions"), "highlight.tag", name), "highlight.tag.add")
    at.get_by_key("select.view").set_value("Top ranked").run()
    table = at.dataframe[0].value
    few = {f"row-{i}" for i in range(240) if f"{i}".startswith("1")}
    assert len(few & set(table["Id"])) not in (0, len(table))
    expected = ["a few, all" if one in few else "all" for one in table["Id"]]
    assert table["Tags"].tolist() == expected


# The highlight


def test_highlighted_rows_are_tagged_together(reading):
    at = reading
    at.text_input(key="highlight.search").set_value("is 12 plus").run()
    open_popover(at, "highlight.actions")
    press(choose(at, "highlight.tag", "twelve"), "highlight.tag.add")
    assert now(at).tags == {"twelve": ("row-12",)}
    open_popover(at, "highlight.actions")
    press(at, "highlight.tag.remove")
    assert now(at).tags == {"twelve": ()}


def test_the_rows_of_a_tag_are_highlighted_renamed_and_deleted(tagged):
    at = press(open_popover(tagged, "tags.panel"), "tags.highlight.unclear")
    assert now(at).highlight == (Match(tag_filter("unclear")),)
    assert any("1 row highlighted" in one.value for one in at.main.markdown)
    open_popover(at, "tags.panel").text_input(key="tags.name.unclear").set_value("vague").run()
    assert now(at).tags == {"vague": ("row-7",)} and now(at).highlight == (Match(tag_filter("vague")),)
    press(open_popover(at, "tags.panel"), "tags.delete.vague")
    assert (now(at).tags, now(at).highlight) == ({}, ())
    press(at, "reader.u")
    assert now(at).tags == {"vague": ("row-7",)}


# Filters, colours, files


def test_rows_are_filtered_by_tags_on_the_page(tagged):
    at = tagged
    at.pills(key="select.tagged.False").set_value(["unclear"]).run()
    assert now(at).filters == (tag_filter("unclear"),)
    assert "tagged 'unclear'" in [button.label.replace("\\", "") for button in at.button]
    at.pills(key="select.tagged.False").set_value([]).run()
    at.pills(key="select.tagged.True").set_value(["unclear"]).run()
    assert now(at).filters == (tag_filter("unclear", exclude=True),)
    assert not at.exception


def test_an_export_includes_tags_on_request(tagged, workspace):
    at = go(press(choose(tagged, "reader.tag", "done"), "reader.t"), "export")
    at.toggle(key="export.tags").set_value(True).run()
    press(at, "export.write")
    (file,) = workspace.root.glob("exports/*/chosen.jsonl")
    rows = {row["id"]: row["winnow"] for row in map(json.loads, file.read_text().splitlines())}
    assert set(map(str, rows.values())) <= {"{'tags': []}", "{'tags': ['done', 'unclear']}"}
    manifest = json.loads(file.with_name("chosen.manifest.json").read_text())
    assert manifest["recipe"]["tags"] == {"unclear": ["row-7"], "done": ["row-7"]}


def test_an_export_without_a_request_names_no_tag(tagged, workspace):
    press(go(tagged, "export"), "export.write")
    (file,) = workspace.root.glob("exports/*/chosen.jsonl")
    assert "winnow" not in json.loads(file.read_text().splitlines()[0])
    assert "tags" not in json.loads(file.with_name("chosen.manifest.json").read_text())["recipe"]
