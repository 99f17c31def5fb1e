"""A link opens a view of its own: nothing that is saved changes until the visitor keeps it."""

from dataclasses import replace
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from core.pool.pools import load_pool
from core.selection.selection import Pin
from core.workspace.folder import Workspace
from pages.ui.shell import state
from tests.pages.conftest import ROOT, choose_pool, opened

SENTENCE = "These settings came with a link. Changes last until you close this tab."


def follow(**link: str) -> AppTest:
    """Open the app by a link."""
    at = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    at.query_params.update(link)
    at.run()
    assert not at.exception
    return at


def select(at: AppTest) -> AppTest:
    at.switch_page("pages/select.py").run()
    assert not at.exception
    return at


def move(at: AppTest, percent: float) -> AppTest:
    at.number_input(key="select.exact.percent").set_value(percent).run()
    assert not at.exception
    return at


def press(at: AppTest, key: str) -> AppTest:
    at.button(key=key).click().run()
    assert not at.exception
    return at


def shown(at: AppTest) -> tuple[str, str]:
    settings = at.session_state[state.SETTINGS]
    return settings.method, settings.budget


def is_view(at: AppTest) -> bool:
    return SENTENCE in [block.value for block in at.markdown]


def stored(workspace: Workspace) -> dict[Path, tuple[bytes, int]]:
    """Return bytes and time of every file in the workspace."""
    files = [path for path in workspace.root.rglob("*") if path.is_file()]
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


@pytest.fixture
def own(run, app, workspace):
    """Store settings of one's own, a budget of 20 %; return what the workspace holds then."""
    move(app("select"), 20.0)
    return stored(workspace)


@pytest.mark.parametrize(
    "link", [{"method": "longest", "budget": "5"}, {"method": "random"}, {"budget": "88%"}, {"budget": "200ktok"}]
)
def test_a_link_changes_nothing_that_is_saved(own, workspace, link):
    at = follow(**link)
    assert shown(at) == (link.get("method", "entropy_shift"), link.get("budget", "20%"))
    assert is_view(at)
    assert stored(workspace) == own
    assert shown(follow()) == ("entropy_shift", "20%")


def test_a_link_to_another_pool_does_not_make_it_the_next_to_open(own, workspace, tmp_path, pool):
    (tmp_path / "later.jsonl").write_text('{"prompt": "a", "completion": "b"}\n' * 3)
    load_pool(str(tmp_path / "later.jsonl"), workspace=workspace.root)
    before = stored(workspace)
    assert opened(follow(pool=pool.fingerprint[:12], budget="5")) == r"small\.jsonl"
    assert stored(workspace) == before
    assert opened(follow()) == r"later\.jsonl"


def test_a_link_to_what_is_set_already_is_no_view(own):
    assert not is_view(follow(method="entropy_shift", budget="20%"))


def test_a_link_to_a_saved_selection_changes_nothing_either(own, app, workspace):
    at = app("select")
    at.session_state["saved.panel"] = True
    at.run()
    at.session_state["saved.panel"] = True
    at.text_input(key="saved.name").set_value("mine")
    press(at, "saved.save")
    move(at, 60.0)
    before = stored(workspace)
    link = follow(saved="mine")
    assert shown(link) == ("entropy_shift", "20%")
    assert is_view(link)
    assert stored(workspace) == before


def test_a_link_carries_parameters_filters_and_pins(own, app, workspace):
    at = app("select")
    at.text_input(key="select.contains").set_value("1").run()
    at.slider(key="select.entropy_shift.gamma").set_value(0.2).run()
    at.session_state[state.SETTINGS] = replace(at.session_state[state.SETTINGS], pins=(Pin("row-6", "in", "good"),))
    move(at, 30.0)
    link, wanted = dict(at.query_params), at.session_state[state.SETTINGS]
    at.session_state[state.SETTINGS] = state.Settings()
    move(at, 5.0)
    before = stored(workspace)
    opened = follow(**link)
    assert opened.session_state[state.SETTINGS] == wanted
    assert is_view(opened) and not opened.warning
    assert stored(workspace) == before
    assert dict(opened.query_params) == link


@pytest.mark.parametrize(
    ("link", "sentence"),
    [
        ({"pool": "feedfeedfeed", "method": "longest"}, "a pool that is not in this workspace"),
        ({"method": "__class__", "budget": "5"}, "an unknown method, '__class__'"),
        ({"budget": "many"}, "The budget 'many' "),
        ({"settings": "0123456789abcdef", "budget": "5"}, "settings that are not stored in this workspace"),
        ({"gamma": "0.3", "budget": "5"}, "an unknown part, 'gamma'"),
    ],
)
def test_what_a_link_names_and_is_unknown_is_said_and_nothing_else_is_opened(own, workspace, link, sentence):
    at = follow(**link)
    (warning,) = (one.value.replace("\\", "") for one in at.warning)
    assert sentence in warning and warning.endswith("Your own settings are shown.")
    assert shown(at) == ("entropy_shift", "20%") and not is_view(at)
    assert stored(workspace) == own


def test_the_address_of_a_changed_view_is_kept_or_said_to_be_unknown(own):
    at = select(follow(budget="50%"))
    at.text_input(key="select.contains").set_value("1").run()
    changed = dict(at.query_params)
    assert "not stored in this workspace" in follow(**changed).warning[0].value
    press(at, "view.keep")
    assert dict(at.query_params) == changed
    assert not follow(**changed).warning


def test_changes_in_a_view_stay_in_it_with_their_own_undo(own, workspace):
    at = move(select(follow(budget="50%")), 30.0)
    at.text_input(key="select.contains").set_value("1").run()
    assert at.session_state[state.SETTINGS].filters
    press(press(at, "select.undo"), "select.undo")
    assert shown(at) == ("entropy_shift", "50%")
    assert "select.undo" not in [button.key for button in at.button]
    assert is_view(at)
    assert stored(workspace) == own


def test_a_view_is_kept_as_one_step_of_undo(own):
    at = press(move(select(follow(budget="50%")), 30.0), "view.keep")
    assert not is_view(at)
    assert shown(follow()) == ("entropy_shift", "30%")
    press(at, "select.undo")
    assert shown(at) == shown(follow()) == ("entropy_shift", "20%")


def test_a_view_is_left_for_ones_own_settings_as_they_are_now(own, app):
    at = select(follow(budget="50%"))
    move(app("select"), 25.0)  # in another tab, meanwhile
    assert shown(at.run()) == ("entropy_shift", "50%")
    press(at, "view.leave")
    assert not is_view(at)
    assert shown(at) == ("entropy_shift", "25%")
    assert at.query_params["budget"] == "25%"


def test_another_pool_ends_the_view(own, workspace, tmp_path, pool):
    at = follow(budget="50%")
    (tmp_path / "later.jsonl").write_text('{"prompt": "a", "completion": "b"}\n' * 3)
    later = load_pool(str(tmp_path / "later.jsonl"), workspace=workspace.root)
    choose_pool(at.run(), later.fingerprint)
    assert not is_view(at)
    assert shown(at) == ("entropy_shift", "10%")


# What the page shows


def explore(at: AppTest) -> AppTest:
    at.switch_page("pages/explore.py").run()
    assert not at.exception
    return at


def choose(at: AppTest, **choices: object) -> AppTest:
    for key, value in choices.items():
        at.get_by_key(f"explore.{key}").set_value(value).run()
        assert not at.exception
    return at


def test_a_link_shows_the_section_and_figure_that_the_page_showed(own, run, workspace):
    view = f"explore.view.{run.id}"
    at = choose(explore(follow()), section="Entropy shift")
    at.get_by_key(view).set_value("Quantiles of ΔH").run()
    link = dict(at.query_params)
    assert (link["section"], link["by-task"]) == ("Entropy shift", "Quantiles of ΔH")
    before = stored(workspace)
    opened = explore(follow(**link))
    assert opened.get_by_key("explore.section").value == "Entropy shift"
    assert opened.get_by_key(view).value == "Quantiles of ΔH"
    assert not is_view(opened) and not opened.warning
    assert stored(workspace) == before
    assert dict(opened.query_params) == link


def test_a_link_shows_the_score_that_the_page_showed_and_none_when_it_is_the_methods_own(own):
    box = "explore.column.entropy_shift"
    at = explore(follow())
    assert "column" not in at.query_params and "section" not in at.query_params
    at.selectbox(key=box).set_value("nll").run()
    assert explore(follow(**at.query_params)).selectbox(key=box).value == "nll"
    at.selectbox(key=box).set_value("delta_entropy").run()
    assert "column" not in at.query_params


def test_a_link_to_an_export_has_the_choices_of_its_form(own):
    at = follow()
    at.switch_page("pages/export.py").run()
    at.selectbox(key="export.schema").set_value("messages").run()
    at.toggle(key="export.scores").set_value(True).run()
    at.slider(key="export.held_out").set_value(5).run()
    link = dict(at.query_params)
    assert (link["schema"], link["scores"], link["held-out"]) == ("messages", "on", "5")
    opened = follow(**link)
    opened.switch_page("pages/export.py").run()
    assert not opened.exception and not opened.warning
    assert opened.selectbox(key="export.schema").value == "messages"
    assert opened.toggle(key="export.scores").value and not opened.toggle(key="export.rejected").value
    assert opened.slider(key="export.held_out").value == 5


def test_a_choice_survives_a_change_of_page_and_is_shown_in_the_address_there_again(own):
    at = explore(select(choose(explore(follow()), section="Entropy shift")))
    assert at.get_by_key("explore.section").value == at.query_params["section"] == "Entropy shift"


@pytest.mark.parametrize(
    ("link", "words"), [({"section": "<b>no"}, "section, '<b>no'"), ({"column": "loss"}, "score, 'loss'")]
)
def test_an_unknown_choice_is_said_and_the_default_is_shown(own, link, words):
    at = explore(follow(**link))
    (warning,) = (one.value.replace("\\", "") for one in at.warning)
    assert warning == f"The link names an unknown {words}. The default is shown."
    assert at.get_by_key("explore.section").value == "Score"
    assert at.selectbox(key="explore.column.entropy_shift").value == "delta_entropy"
    assert not link.keys() & dict(at.query_params).keys()


def test_a_reload_keeps_the_view_that_the_address_names(own):
    at = follow(method="longest", budget="5")
    again = follow(**at.query_params)
    assert shown(again) == ("longest", "5")
    assert is_view(again)
