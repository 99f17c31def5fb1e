"""Keys that work on every page with a pool: the element that listens for them, what each does, and the help.

The element sends every press with its time and repeats the latest ones, so that none is lost while the app is busy;
presses are handled in their order. A pin or a tag is shown in the reader at once, and by the page when no key is
pressed for a while, so that triage need not wait for it. Keys do nothing while the cursor is in a field or a dialog is
open.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import streamlit as st

from core.schema import IntArray, Pool
from pages.ui.row import pins, tags
from pages.ui.row.anchor import KEEP_PLACE, TELL_BAR_HEIGHT
from pages.ui.shell import open_row, state

KEY = "keys"
HANDLED = "winnow.pressed"  # time of the last press that was handled
PRESSED = "winnow.press"  # whether the callbacks of a press run
PENDING = "winnow.pending"  # whether the page shows the pins before the last presses
WIDE = "winnow.wide"  # whether the reader takes two thirds of the page
FIELDS = {"/": "highlight.search", "t": "reader.tag"}  # key -> key of the field that it enters
BUTTONS = {"t": "reader.t"}  # key -> key of a button: while it can be pressed, the key does what it does instead
DELAYED = ["i", "x", "t"]  # keys whose effect the page shows later
HELP = {  # key -> name on the keyboard, and what it does
    "j": ("J", "Open the next row"),
    "k": ("K", "Open the previous row"),
    "i": ("I", "Always include the open row, or remove this pin"),
    "x": ("X", "Always exclude the open row, or remove this pin"),
    "t": ("T", "Tag the open row, or remove this tag; without a tag, choose one"),
    "u": ("U", "Undo the last change of a setting, a filter, a pin or a tag"),
    "b": ("B", "Return from a similar row to the row that it was opened from"),
    "w": ("W", "Make the reader wider or narrower"),
    "Escape": ("Esc", "Close the reader; J opens it again"),
    "/": ("/", "Search rows"),
    "?": ("?", "Show these keys"),
}
_LISTEN = """
const PAUSE = 1000;  // ms
const GONE_MS = 1000;  // without an element, as between two drawings of a page: then the page has no keys
const PLAIN = ["checkbox", "radio", "range", "button", "submit", "file", "color"];
let presses = [];  // [time, key], the last ones
let pause, delayed = false;  // whether the page shows what was before the last presses
let element, data, gone;  // the element as it is now; none while the page is drawn anew
let unsent = false;  // whether keys were pressed meanwhile

export default function (drawn) {
    element = drawn;
    data = drawn.data;
    clearTimeout(gone);
    document.addEventListener("keydown", press, true);
    document.body.dataset.keys = "heard";
    if (unsent) setTimeout(tell);
    const ends = [keepPlace(), tellBarHeight()];
    return () => {
        ends.forEach((end) => end());
        if (element !== drawn) return;
        element = undefined;
        gone = setTimeout(() => {
            unsent = delayed = false;
            clearTimeout(pause);
            document.removeEventListener("keydown", press, true);
            delete document.body.dataset.keys;
        }, GONE_MS);
    };
}

function press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || isField(event.composedPath()[0])) return;
    const key = event.key.length > 1 ? event.key : event.key.toLowerCase();
    const blocked = key === "Escape" ? "[role=dialog], [data-testid=stPopoverBody]" : "[role=dialog]";
    if (document.querySelector(blocked)) return;
    if (data.fields[key] && !find(data.buttons[key], "button:enabled")) {
        const field = find(data.fields[key], "input");
        if (field) { field.focus(); field.select(); event.preventDefault(); }
    }
    else if (key === "?") element?.setTriggerValue("help", true);
    else if (data.keys.includes(key)) {
        if (["j", "k"].includes(key)) document.querySelector(".st-key-dock")?.scrollTo(0, 0);
        presses = [...presses.slice(-40), [performance.timeOrigin + performance.now(), key]];
        delayed ||= data.delayed.includes(key);
        tell();
    }
}

function tell() {
    unsent = !element;
    element?.setStateValue("presses", presses);
    if (delayed) tellPause(PAUSE);
}

function tellPause(ms) {
    clearTimeout(pause);
    pause = setTimeout(() => {
        if (!element) return tellPause(100);
        delayed = false;
        element.setTriggerValue("paused", true);
    }, ms);
}

function isField(element) {
    const name = element.tagName;
    return element.isContentEditable || ["TEXTAREA", "SELECT"].includes(name)
        || (name === "INPUT" && !PLAIN.includes(element.type));
}

function find(name, what) {
    return name && document.querySelector(`.st-key-${name.replaceAll(".", "-")} ${what}`);
}
"""
_listener = st.components.v2.component("winnow.keys", js=_LISTEN + KEEP_PLACE + TELL_BAR_HEIGHT)


@st.fragment
def draw(pool: Pool) -> None:
    """Draw the element that listens, and the help when it was asked for."""
    help_wanted = _listener(
        key=KEY,
        data={"keys": list(_COMMANDS), "fields": FIELDS, "buttons": BUTTONS, "delayed": DELAYED},
        on_presses_change=partial(_handle, pool),
        on_paused_change=partial(_draw_page, pool),
        on_help_change=lambda: None,
        width=1,
        height=1,
    ).help
    if help_wanted:
        _show_help()


@st.dialog("Keys")
def _show_help() -> None:
    for name, words in HELP.values():
        with st.container(horizontal=True, vertical_alignment="center"):
            st.badge(name, color="gray", width=60)
            st.text(words, width="stretch")


def _handle(pool: Pool) -> None:
    """Handle the presses that are new. While the app is busy, the pause after them may arrive with them."""
    new, paused = _new_presses(), bool(st.session_state[KEY].get("paused"))
    if new:
        st.session_state[HANDLED] = new[-1][0]
        press(pool, *(key for _, key in new), page_later=not paused)


def _new_presses() -> list[tuple[float, str]]:
    last, element = float(st.session_state.get(HANDLED, 0.0)), st.session_state.get(KEY) or {}
    return [(when, key) for when, key in element.get("presses") or () if when > last]


def are_pressed() -> bool:
    """Return whether the callbacks that run now are those of a press."""
    return bool(st.session_state.get(PRESSED) or _new_presses())


def forget_pressed() -> None:
    """Note that the callbacks of a press have ended."""
    st.session_state[PRESSED] = False


def _draw_page(pool: Pool) -> None:
    """Draw the page with the pins of the last presses."""
    _handle(pool)
    if st.session_state.get(PENDING):
        st.session_state[PENDING] = False
        open_row.draw_again(page=True)


def press(pool: Pool, *keys: str, page_later: bool = False) -> None:
    """Do what these keys do, one after the other, and draw again what it changes; for callbacks.

    `page_later`: leave the page to `_draw_page` if only pins or tags change.
    """
    before, looks = state.settings(), _look()
    st.session_state[PRESSED] = True
    for key in keys:
        if key in _OPENING or state.find_open() is not None:
            _COMMANDS[key](pool)
    now = state.settings()
    later = page_later and replace(now, pins=before.pins, tags=before.tags) == before
    if later and now != before:
        st.session_state[PENDING] = True
    in_sidebar = (now.method, now.reading) != (before.method, before.reading)
    open_row.draw_again(page=now != before and not later, whole=in_sidebar or _look() != looks)


def _look() -> tuple[bool, bool]:
    """Return whether the reader is open, and whether it is wide: what the columns of a page depend on."""
    return state.find_open() is not None, is_wide()


# Commands


def _step(by: int, pool: Pool) -> None:
    """Open the next or the previous row; without an open row the one that was closed last, or the first."""
    opened = state.find_open()
    if opened is None:
        if not open_row.reopen_row() and len(rows := _first_list(pool)):
            open_row.show_row(pool, rows, 0)
        return
    if opened.rows is not None and 0 <= opened.position + by < len(opened.rows):
        open_row.show_row(pool, opened.rows, opened.position + by, back=opened.back)


def _first_list(pool: Pool) -> IntArray:
    """Return the rows that the page is about, else all rows."""
    listed = open_row.listed_rows()
    return np.arange(len(pool)) if listed is None or not len(listed) else listed


def _pin(side: str, _: Pool) -> None:
    opened = state.find_open()
    assert opened is not None
    pins.toggle(opened.id, side)


def _tag(_: Pool) -> None:
    opened = state.find_open()
    assert opened is not None
    tags.toggle(opened.id)


def is_wide() -> bool:
    """Return whether the reader takes two thirds of the page instead of half of it."""
    return bool(st.session_state.get(WIDE))


def _widen(_: Pool) -> None:
    st.session_state[WIDE] = not is_wide()


_COMMANDS: dict[str, Callable[[Pool], None]] = {
    "j": partial(_step, 1),
    "k": partial(_step, -1),
    "i": partial(_pin, "in"),
    "x": partial(_pin, "out"),
    "t": _tag,
    "u": lambda _: state.undo(),
    "b": lambda _: open_row.go_back(),
    "w": _widen,
    "Escape": lambda _: open_row.close_row(),
}
_OPENING = {"j", "k", "u"}  # these do something also while no row is open
