"""Rows used already on screen: added from a file or a saved selection, counted, undone, linked and removed."""

import json

import pytest

from pages.ui.shell import state, used_rows
from tests.pages.test_explore import choose
from tests.pages.test_links import follow


def now(at):
    return at.session_state[state.SETTINGS]


def add(at, choice):
    """Choose what is used already, with the popover open: AppTest does not send back that it is."""
    at.session_state["used.panel"] = True
    at.run()
    at.session_state["used.panel"] = True
    at.selectbox(key=f"used.{now(at).given}.choice").set_value(choice).run()
    at.session_state["used.panel"] = True
    at.button(key="used.add").click().run()
    assert not at.exception
    return at


def ids(at, pool):
    return list(state.load_used(pool.fingerprint, now(at).given))


def texts(at):
    return "\n".join(str(one.value) for one in [*at.subheader, *at.error, *at.warning, *at.info]).replace("\\", "")


@pytest.fixture
def used(tmp_path):
    """Return a file that lists 12 rows of the pool, of which the method ranks some, and one that is in no pool."""
    file = tmp_path / "used.jsonl"
    file.write_text("".join(json.dumps({"id": f"row-{k}"}) + "\n" for k in range(12)) + '{"id": "nowhere"}\n')
    return file


@pytest.fixture
def page(run, app):
    return app("select")


def test_a_file_of_ids_is_topped_up_and_what_is_not_in_the_pool_is_named(page, pool, used):
    before = page.subheader[0].value
    at = add(page, str(used))
    assert ids(at, pool) == [f"row-{k}" for k in range(12)]
    selected = int(before.split()[0].replace(",", "")) - 12
    assert at.subheader[0].value.startswith(f"{selected:,} of") and "besides 12 used already" in at.subheader[0].value
    assert "1 row is not in small.jsonl, such as 'nowhere'; these do not count." in texts(at)
    assert at.button(key="select.unused").label == "12 rows used already"
    at.button(key="select.undo").click().run()
    assert (now(at).given, at.subheader[0].value) == ("", before)
    at.button(key="select.redo").click().run()
    at.button(key="select.unused").click().run()
    assert (now(at).given, at.subheader[0].value) == ("", before)


def test_a_saved_selection_with_what_it_topped_up_itself_is_topped_up(page, pool, used):
    at = add(page, str(used))
    at.session_state["saved.panel"] = True
    at.run()
    at.text_input(key="saved.name").set_value("first")
    at.session_state["saved.panel"] = True
    at.button(key="saved.save").click().run()
    selected = int(at.subheader[0].value.split()[0])
    at.button(key="select.unused").click().run()
    at = add(at, "saved:first")
    assert len(ids(at, pool)) == 12 + selected
    assert f"The {12 + selected:,} rows used already fill the budget of 10%. Raise it to select more rows." in texts(at)


def test_a_file_of_another_pool_changes_nothing(page, pool, tmp_path):
    (tmp_path / "foreign.jsonl").write_text('{"id": "x"}\n')
    at = add(page, str(tmp_path / "foreign.jsonl"))
    assert "lists no row of small.jsonl, such as 'x'" in texts(at)
    assert now(at).given == ""


def forget(pool, workspace):
    """Delete the stored lists of rows used already."""
    for file in workspace.folder("selections", pool.fingerprint).glob("given/*.json"):
        file.unlink()
    used_rows._load.clear()


def test_a_link_opens_them_and_says_so_if_their_list_is_gone(page, pool, used, workspace):
    link = {"pool": pool.fingerprint[:12], "settings": add(page, str(used)).query_params["settings"]}
    page.button(key="select.unused").click().run()
    assert ids(follow(**link), pool) == [f"row-{k}" for k in range(12)]
    forget(pool, workspace)
    at = follow(**link)
    assert now(at).given == ""
    assert "The list of rows used already is not stored in this workspace." in texts(at)


@pytest.mark.parametrize("name", ["pool", "measure", "select", "proof"])
def test_every_page_opens_without_their_list_and_select_says_so(page, pool, used, workspace, app, name):
    add(page, str(used))
    forget(pool, workspace)
    at = app(name)
    assert not at.exception
    if name == "select":
        assert "The list of rows used already is not stored in this workspace. Add them again." in texts(at)
        at.button(key="select.unused").click().run()
        assert "are selected" in at.subheader[0].value


def test_coverage_on_explore_includes_them(page, pool, used, coverage_run, app):
    add(page, str(used))
    at = choose(app("explore"), "activation_coverage")
    sentences = "\n".join(one.value for one in at.markdown)
    assert "This includes the 12 rows used already." in sentences
    assert at.main.subheader[0].value.startswith("10% of the rows cover")
