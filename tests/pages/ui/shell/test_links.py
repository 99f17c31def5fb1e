"""What an address names and what a link opens: every setting, filter and pin, or a sentence that says why not."""

from dataclasses import asdict, fields, replace

import pytest
import streamlit
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from core.errors import PoolError, RecipeError, WinnowError
from core.methods import METHODS, build_method
from core.methods.params import list_choices
from core.schema import Reading
from core.selection.filters import Filter
from core.selection.selection import Pin
from core.workspace.files import read_json, write_json
from core.workspace.folder import content_key
from pages.ui.data import cached
from pages.ui.shell import visitors
from pages.ui.shell.links import BY_HASH, NAMES, address_of, read_link, store_settings_of_link
from pages.ui.shell.settings import Contender, Settings

POOL = "0123456789abcdef" * 2
OWN = Settings(method="random", seed=9, budget="3", filters=(Filter("nll", low=1),), pins=(Pin("mine", "in"),))
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)
NUMBER = st.floats(-1e6, 1e6)


@pytest.fixture(autouse=True)
def session(workspace, monkeypatch):
    """Give functions a session of the only visitor, outside of a page."""
    monkeypatch.setattr(streamlit, "session_state", {visitors.VISITOR: ""})


def values_of(field):
    if choices := list_choices(field):
        return st.sampled_from(choices)
    if isinstance(field.default, str):
        return st.sampled_from([field.default])
    if isinstance(field.default, bool):
        return st.booleans()
    low, high = field.metadata["low"], field.metadata["high"]
    return st.integers(int(low), int(high)) if isinstance(field.default, int) else st.floats(low, high)


@st.composite
def params_of_a_method(draw):
    """Return a method's name with some valid parameters of its own."""
    name = draw(st.sampled_from(sorted(METHODS)))
    chosen = draw(st.lists(st.sampled_from(fields(METHODS[name])), unique=True)) if fields(METHODS[name]) else []
    params = {field.name: draw(values_of(field)) for field in chosen}
    try:
        build_method(name, params)
    except WinnowError:  # these do not go together
        assume(False)
    return name, params


FILTERS = st.one_of(
    st.builds(lambda a, b, e: Filter("nll", low=min(a, b), high=max(a, b), exclude=e), NUMBER, NUMBER, st.booleans()),
    st.builds(
        lambda v, e: Filter("task", values=tuple(v), exclude=e), st.lists(TEXT | st.none(), min_size=1), st.booleans()
    ),
    st.builds(lambda text: Filter("prompt", contains=text), TEXT),
    st.just(Filter("response", matches="^a(b|c)+$")),
)
SETTINGS = st.builds(
    Settings,
    method=st.sampled_from(sorted(METHODS)),
    params=st.lists(params_of_a_method(), max_size=3).map(dict),
    reading=st.builds(Reading, model=st.sampled_from(["embedded", "org/x"]), max_length=st.integers(16, 4096)),
    seed=st.integers(0, 2**63 - 1),
    budget=st.sampled_from(["0", "500", "10%", "29.83%", "200ktok", "1.5Mtok"]),
    threshold=st.none() | NUMBER,
    filters=st.lists(FILTERS, max_size=3).map(tuple),
    pins=st.lists(st.builds(Pin, TEXT, st.sampled_from(["in", "out"]), st.just("") | TEXT), max_size=3).map(tuple),
    contenders=st.lists(
        st.builds(lambda made, label: Contender(made[0], made[1], label), params_of_a_method(), TEXT)
        | st.builds(Contender, method=st.sampled_from(sorted(METHODS)))
        | st.builds(Contender, saved=TEXT),
        max_size=3,
    ).map(tuple),
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(SETTINGS)
def test_a_link_brings_back_every_setting_filter_and_pin(wanted):
    store_settings_of_link(POOL, wanted)
    address = address_of(POOL, wanted)
    assert set(address) <= set(NAMES) and sum(map(len, address.values())) < 100
    assert read_link(POOL, address, OWN) == wanted


def test_the_settings_of_a_first_visit_need_no_file():
    assert read_link(POOL, address_of(POOL, Settings()), OWN) == Settings()


def test_the_hash_of_settings_without_contenders_is_that_of_older_links():
    wanted = replace(OWN, contenders=())
    assert address_of(POOL, wanted)["settings"] == content_key({n: asdict(wanted)[n] for n in BY_HASH[:6]})
    assert address_of(POOL, replace(wanted, contenders=(Contender("longest"),))) != address_of(POOL, wanted)


def test_a_link_that_names_less_keeps_ones_own():
    assert read_link(POOL, {"budget": "50%"}, OWN) == replace(OWN, budget="50%")


def test_reading_writes_nothing_and_storing_twice_writes_once(workspace):
    wanted = replace(OWN, seed=1)
    store_settings_of_link(POOL, wanted)
    (file,) = (workspace.root / "selections" / POOL / "links").iterdir()
    before = file.read_bytes(), file.stat().st_mtime_ns
    store_settings_of_link(POOL, replace(wanted, budget="99%", method="longest"))  # both stand in the address
    read_link(POOL, address_of(POOL, wanted), OWN)
    assert [*file.parent.iterdir()] == [file]
    assert (file.read_bytes(), file.stat().st_mtime_ns) == before


@pytest.mark.parametrize(
    ("link", "sentence"),
    [
        ({"method": "magic"}, "unknown method, 'magic'"),
        ({"budget": "many"}, "The budget 'many' "),
        ({"settings": "feedfeedfeedfeed"}, "settings that are not stored in this workspace"),
        ({"settings": "../../../etc/passwd"}, "settings that are not stored in this workspace"),
    ],
)
def test_what_is_unknown_is_one_sentence(link, sentence):
    with pytest.raises(RecipeError, match=sentence):
        read_link(POOL, link, OWN)


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        ({"params": {"magic": {"power": 3}}}, RecipeError, "settings of an unknown method, 'magic'"),
        ({"params": {"entropy_shift": {"power": 3}}}, RecipeError, "an unknown setting.*power"),
        ({"contenders": [{"method": "magic"}]}, RecipeError, "settings of an unknown method, 'magic'"),
        ({"contenders": [{"method": "random", "params": {"a": 3}}]}, RecipeError, "an unknown setting"),
        ({"format": 0}, RecipeError, "cannot be read"),
        ({"pins": [{"id": "a", "side": "up", "reason": ""}]}, RecipeError, "cannot be read"),
        (
            {"params": {"preference_influence": {"targets": f"t=/w/visitors/{'b' * 32}/uploads/{'0' * 16}/t.jsonl"}}},
            PoolError,
            "another visitor has uploaded",
        ),
    ],
)
def test_settings_of_another_version_or_visitor_are_one_sentence(workspace, monkeypatch, change, error, sentence):
    monkeypatch.setitem(streamlit.session_state, visitors.VISITOR, "a" * 32)
    store_settings_of_link(POOL, OWN)
    (file,) = (workspace.root / "selections" / POOL / "links").iterdir()
    write_json(file, read_json(file) | change)
    with pytest.raises(error, match=sentence):
        read_link(POOL, address_of(POOL, OWN), OWN)


def test_a_workspace_that_cannot_be_written_is_read_all_the_same(workspace, monkeypatch):
    folder = workspace.root / "selections" / POOL
    folder.mkdir(parents=True)
    (folder / "links").write_text("a file where the folder should be")
    store_settings_of_link(POOL, OWN)
    assert cached.workspace().root == workspace.root
    with pytest.raises(RecipeError, match="not stored"):
        read_link(POOL, address_of(POOL, OWN), OWN)
