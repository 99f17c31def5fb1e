"""What the user has open. The only module that touches `st.session_state` and the address bar.

Three lifetimes:
  on disk    pools, runs, jobs; and per pool the selection settings (workspace/selections/<pool>/current.json),
             so that pins, budget and filters survive a reload, a restart and a change of page; and those saved
             under a name (saved/<id>.json beside it), which every tab sees
  address    pool, method, budget, and the name of a saved selection while it is unchanged: a link or a reload opens
             the same view
  session    which pool this tab has open, and what undo and redo go back to
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import orjson
import streamlit as st

from core.errors import RecipeError, WinnowError, WorkspaceError
from core.measurement.runs import Run, find_run
from core.methods import METHODS, build_method, describe_method
from core.methods.suggestions import with_suggestions
from core.pool import pools
from core.schema import Method, Pool, Reading
from core.selection.budget import Budget
from core.selection.filters import Filter
from core.selection.recipe import Recipe, parse_recipe
from core.selection.selection import Pin
from core.workspace.files import read_json, write_json
from core.workspace.folder import content_key
from pages.ui.data import cached
from pages.ui.shell import show

POOL = "winnow.pool"  # fingerprint of the open pool, or None
SETTINGS = "winnow.settings"
FILE_STAMP = "winnow.seen"  # mtime of current.json when it was last read or written
PAST, FUTURE = "winnow.past", "winnow.future"
PAGE = "winnow.page"  # the page that is drawn
WIDGET_PAGES = "winnow.shown"  # widget's key -> the page it was last told its value on
NOTICE = "winnow.told"  # a sentence to show once, on the next page drawn

FORMAT = 1  # of current.json
MAX_UNDO = 100  # steps remembered
ADDRESS_DIGITS = 12  # digits of the fingerprint in the address bar
MAX_NAME_LENGTH = 80  # characters of a saved selection's name


@dataclass(frozen=True)
class Contender:
    """Something to compare: a method as it is set, one with parameters of its own, or a saved selection."""

    method: str = ""
    params: Mapping[str, Any] | None = None  # None: as the method is set
    label: str = ""  # "": the method's
    saved: str = ""  # name of a saved selection, which then says all


@dataclass(frozen=True)
class Settings:
    """Everything that decides a selection from one pool, as the user left it."""

    method: str = "entropy_shift"
    params: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # by method; only what the user has set
    reading: Reading = field(default_factory=Reading)
    seed: int = 0
    budget: str = "10%"
    threshold: float | None = None
    filters: tuple[Filter, ...] = ()
    pins: tuple[Pin, ...] = ()
    also: tuple[str, ...] = ()  # methods to measure for beside the chosen one, in the same pass
    contenders: tuple[Contender, ...] = ()  # what the Compare page compares; none: what is measured


def init() -> None:
    """Give every key a value; app.py calls this before any page. May raise WinnowError."""
    if POOL in st.session_state:
        return
    for key, value in (
        (SETTINGS, Settings()),
        (FILE_STAMP, 0),
        (PAST, ()),
        (FUTURE, ()),
        (NOTICE, None),
        (WIDGET_PAGES, {}),
    ):
        st.session_state.setdefault(key, value)
    asked = dict(st.query_params)
    open_pool(_asked_pool(asked.get("pool")))
    if asked.get("saved") and _open_saved(asked["saved"]):
        return
    known = {"method": asked.get("method"), "budget": asked.get("budget")}
    if known["method"] not in METHODS:
        known["method"] = None
    if known["budget"] is not None and not _is_budget(known["budget"]):
        known["budget"] = None
    wanted = {name: value for name, value in known.items() if value is not None}
    if any(getattr(settings(), name) != value for name, value in wanted.items()):
        change(**wanted)


def _asked_pool(prefix: str | None) -> str:
    """The pool a link names; without one the last opened; on a new machine the demo pool."""
    recent = cached.recent_pools()
    for one in recent:
        if prefix and one["fingerprint"].startswith(prefix):
            return str(one["fingerprint"])
    if prefix:
        leave_notice("The link names a pool that is not in this workspace. Open it by its path or id.")
    if recent:
        return str(recent[0]["fingerprint"])
    return pools.load_pool("demo", workspace=cached.workspace().root).fingerprint


def _open_saved(name: str) -> bool:
    """Take the saved selection that a link names, if it is there."""
    return load_saved(name)


def _is_budget(text: str) -> bool:
    try:
        Budget.parse(text)
    except WinnowError:
        return False
    return True


def open_pool(fingerprint: str) -> None:
    """Make an imported pool the open one, with the settings it was left with. Raises WinnowError."""
    cached.pool(fingerprint)
    st.session_state[POOL] = fingerprint
    st.session_state[PAST] = st.session_state[FUTURE] = ()
    st.session_state[FILE_STAMP] = 0
    st.session_state[SETTINGS] = Settings()
    _refresh()
    _write_address()


def set_page(path: str) -> None:
    """This page is drawn now; app.py says so before it runs it."""
    st.session_state[PAGE] = path


def restore_address() -> None:
    """Put what is open into the address bar again: a page change clears it."""
    if st.session_state.get(POOL):
        _write_address()


def _write_address() -> None:
    now = settings()
    wanted = {"pool": st.session_state[POOL][:ADDRESS_DIGITS], "method": now.method, "budget": now.budget}
    called = saved_name()
    if called is not None:
        wanted["saved"] = called
    elif "saved" in st.query_params:
        del st.query_params["saved"]
    for name, value in wanted.items():
        if st.query_params.get(name) != value:
            st.query_params[name] = value


# What pages ask for


def find_open_pool() -> Pool | None:
    """The open pool, for what is drawn beside every page."""
    fingerprint = st.session_state.get(POOL)
    try:
        return cached.pool(fingerprint) if fingerprint else None
    except WinnowError:
        return None  # the page itself says why


def is_open(fingerprint: str) -> bool:
    """Is this the pool that is open?"""
    return bool(st.session_state.get(POOL) == fingerprint)


def need_pool() -> Pool:
    """The open pool. Stops the page, with the way out, when there is none."""
    if POOL not in st.session_state:  # app.py has not run: a link straight to this page
        st.switch_page("app.py")
    fingerprint = st.session_state[POOL]
    if fingerprint is None:
        show.empty_page("No pool is open", "Open a file, a hub id or the demo pool first.", page="pool")
    try:
        pool = cached.pool(fingerprint)
    except WinnowError as error:
        show.error(error)
        show.empty_page("This pool cannot be opened", "Open another one.", page="pool")
    _refresh()
    return pool


def need_run() -> Run:
    """The measurement that the chosen method reads. Stops the page, with the way out, when there is none."""
    pool = need_pool()
    found = run(pool)
    if found is None:
        label = METHODS[settings().method].label
        show.empty_page(
            f"{label} is not measured on this pool yet",
            "A model has to read every row once; after that, every slider is free.",
            page="score",
        )
    return found


def run(pool: Pool, now: Settings | None = None) -> Run | None:
    """The measurement that the chosen method reads, if it is there."""
    now = now or settings()
    return find_run(cached.workspace(), pool, method(now), now.reading, now.seed)


def settings() -> Settings:
    """All settings of the open pool."""
    found: Settings = st.session_state[SETTINGS]
    return found


def extra_methods() -> list[Method]:
    """The methods to measure for in the same pass, with their parameters."""
    now = settings()
    return [method(replace(now, method=name)) for name in now.also if name != now.method]


def method(now: Settings | None = None) -> Method:
    """The chosen method: the user's parameters, else what suits the embedded model, else the method's defaults."""
    now = now or settings()
    return build_method(now.method, with_suggestions(now.method, now.params.get(now.method, {}), now.reading.model))


def budget() -> Budget:
    """How much is to be chosen."""
    return Budget.parse(settings().budget)


def previous_settings() -> Settings | None:
    """All settings as they were before the last change; None when there was none in this tab."""
    past: tuple[Settings, ...] = st.session_state[PAST]
    return past[-1] if past else None


def recipe(pool: Pool, now: Settings | None = None) -> Recipe:
    """Settings (None: the present ones) as the recipe that the command line runs; what `make_selection` takes."""
    now = now or settings()
    return parse_recipe(
        {
            "pool": {
                "source": pool.source,
                "fingerprint": pool.fingerprint,
                "fields": {k: v for k, v in asdict(pool.fields).items() if v},
            },
            "method": describe_method(method(now)),
            "reading": asdict(now.reading),
            "seed": now.seed,
            "budget": now.budget,
            "threshold": now.threshold,
            "filters": [asdict(one) for one in now.filters],
            "pins": [asdict(one) for one in now.pins],
        },
        "the settings of this page",
    )


# What pages change


def change(**changed: Any) -> None:
    """Change some settings: remembered for undo, saved in the workspace, shown in the address bar."""
    _refresh()  # another tab may have changed others of them
    before = settings()
    after = replace(before, **changed)
    if after == before:
        return
    st.session_state[PAST] = (*st.session_state[PAST], before)[-MAX_UNDO:]
    st.session_state[FUTURE] = ()
    _keep(after)


def set_params(**params: Any) -> None:
    """Change parameters of the chosen method."""
    now = settings()
    change(params={**now.params, now.method: {**now.params.get(now.method, {}), **params}})


def add_pin(row_id: str, side: str, reason: str = "") -> None:
    """Put one row in or out by hand; a later pin of the same row replaces the earlier one."""
    others = tuple(one for one in settings().pins if one.id != row_id)
    change(pins=(*others, Pin(row_id, side, reason)))  # type: ignore[arg-type]


def add_pins(pins: Sequence[Pin]) -> None:
    """Put many rows in or out by hand, as one step of undo; earlier pins of the same rows are replaced."""
    again = {one.id for one in pins}
    change(pins=(*(one for one in settings().pins if one.id not in again), *pins))


def remove_pin(row_id: str) -> None:
    """Leave one row to the method again."""
    change(pins=tuple(one for one in settings().pins if one.id != row_id))


def undo() -> None:
    """Back to the settings before the last change."""
    past = st.session_state[PAST]
    if past:
        st.session_state[FUTURE] = (settings(), *st.session_state[FUTURE])
        st.session_state[PAST] = past[:-1]
        _keep(past[-1])


def redo() -> None:
    """Forward again after an undo."""
    future = st.session_state[FUTURE]
    if future:
        st.session_state[PAST] = (*st.session_state[PAST], settings())
        st.session_state[FUTURE] = future[1:]
        _keep(future[0])


def can_undo() -> bool:
    """Is there anything to go back to?"""
    return bool(st.session_state[PAST])


def can_redo() -> bool:
    """Is there anything to go forward to?"""
    return bool(st.session_state[FUTURE])


def set_widget(key: str, value: Any, *, force: bool = False) -> str:
    """Make the widget with this key show `value`; call it before the widget is drawn. So undo moves sliders.

    One that shows it already is left alone: telling it again would take back what has been typed or moved since.
    On another page it is another widget, which knows nothing yet, though the key still holds what the first one said.
    `force`: tell it all the same. In a closed popover a widget is not there to be told, and is told before it opens.
    """
    page, shown = st.session_state.get(PAGE), st.session_state[WIDGET_PAGES]
    if force or st.session_state.get(key) != value or key not in st.session_state or shown.get(key) != page:
        st.session_state[key] = value
        shown[key] = page
    return key


def widget_value(key: str) -> Any:
    """What the widget with this key says; for callbacks."""
    return st.session_state[key]


def session_value(key: str) -> Any:
    """What `set_widget` has kept under a key of no widget, in this tab; None: nothing yet."""
    return st.session_state.get(key)


def leave_notice(sentence: str) -> None:
    """Say what could not be done: shown once, above the next page drawn."""
    st.session_state[NOTICE] = sentence


def take_notice() -> str | None:
    """What to say, once."""
    sentence: str | None = st.session_state.get(NOTICE)
    st.session_state[NOTICE] = None
    return sentence


# Saved under a name


def saved_selections(pool: Pool) -> Mapping[str, Settings]:
    """The selections of a pool that were saved, by name in alphabetical order: read from disk every time."""
    return _saved(pool.fingerprint)


def saved_name() -> str | None:
    """The saved selection that the present settings are; None where they are none of them, or not any more."""
    now = _as_data(settings())
    return next((name for name, one in _saved(st.session_state[POOL]).items() if _as_data(one) == now), None)


def save_as(name: str) -> None:
    """Keep the present settings under a name; one that is there already is replaced. RecipeError for a bad name."""
    _keep_saved(name.strip(), settings())


def load_saved(name: str) -> bool:
    """Make a saved selection the present one: one step of undo. False, and a sentence to tell, where it is gone."""
    wanted = _saved(st.session_state[POOL]).get(name)
    if wanted is None:
        leave_notice(f"There is no saved selection '{name}' of this pool (any more).")
        return False
    change(**{one.name: getattr(wanted, one.name) for one in fields(Settings) if one.name != "contenders"})
    return True


def rename_saved(name: str, other: str) -> None:
    """Give a saved selection another name. RecipeError for a bad one, for one that is taken, and where it is gone."""
    known, other = _saved(st.session_state[POOL]), other.strip()
    if name not in known:
        raise RecipeError(f"There is no saved selection '{name}' of this pool any more.")
    if other in known and other != name:
        raise RecipeError(f"There is a saved selection '{other}' already. Choose another name.")
    _keep_saved(other, known[name])
    if other != name:
        delete_saved(name)


def delete_saved(name: str) -> None:
    """Forget a saved selection; the present settings stay."""
    _saved_file(name).unlink(missing_ok=True)
    _write_address()


def _saved(fingerprint: str) -> dict[str, Settings]:
    found: dict[str, Settings] = {}
    for file in (cached.workspace().folder("selections", fingerprint) / "saved").glob("*.json"):
        try:
            about = read_json(file)
            name = str(about.pop("name"))
            found[name] = _from_json(about)
        except (WinnowError, TypeError, KeyError, AttributeError) as error:
            aside = file.with_suffix(".unreadable")
            file.replace(aside)
            leave_notice(f"A saved selection could not be read ({error}). It is kept as {aside.name}.")
    return dict(sorted(found.items(), key=lambda one: (one[0].casefold(), one[0])))


def _keep_saved(name: str, what: Settings) -> None:
    if not name or len(name) > MAX_NAME_LENGTH or not name.isprintable():
        raise RecipeError(f"A saved selection needs a name of 1 to {MAX_NAME_LENGTH} characters.")
    write_json(_saved_file(name), {"format": FORMAT, "name": name, **asdict(replace(what, contenders=()))})
    _write_address()


def _saved_file(name: str) -> Path:
    return _file().parent / "saved" / f"{content_key({'name': name})}.json"  # no name of a user's becomes a path


def _as_data(one: Settings) -> bytes:
    """All but what is compared on the Compare page, which is no part of a selection; a list is equal to a tuple."""
    return orjson.dumps(asdict(replace(one, contenders=())), option=orjson.OPT_SORT_KEYS)


# On disk


def _file() -> Path:
    return cached.workspace().folder("selections", st.session_state[POOL]) / "current.json"


def _keep(now: Settings) -> None:
    st.session_state[SETTINGS] = now
    write_json(_file(), {"format": FORMAT, **asdict(now)})
    st.session_state[FILE_STAMP] = _file().stat().st_mtime_ns
    _write_address()


def _refresh() -> None:
    """Read the settings again if another tab or the command line has changed them."""
    file = _file()
    stamp = file.stat().st_mtime_ns if file.exists() else 0
    if stamp == st.session_state[FILE_STAMP]:
        return
    try:
        st.session_state[SETTINGS] = _from_json(read_json(file))
    except (WinnowError, TypeError, KeyError) as error:
        aside = file.with_name("unreadable.json")
        file.replace(aside)
        stamp = 0
        leave_notice(f"The saved selection of this pool could not be read ({error}). It is kept as {aside.name}.")
    st.session_state[FILE_STAMP] = stamp


def _from_json(saved: dict[str, Any]) -> Settings:
    if saved.pop("format", None) != FORMAT:
        raise WorkspaceError("written by another version")
    return Settings(
        **{
            **saved,
            "reading": Reading(**saved["reading"]),
            "filters": tuple(Filter(**_tuples(one)) for one in saved["filters"]),
            "pins": tuple(Pin(**one) for one in saved["pins"]),
            "also": tuple(name for name in saved.get("also", ()) if name in METHODS),
            "contenders": tuple(Contender(**one) for one in saved.get("contenders", ())),
        }
    )


def _tuples(one: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in one.items()}
