"""How things are shown. Text of rows goes through `text`, `row` or table cells and nowhere else:
in twenty other elements a markdown image inside it would be fetched by the reader's browser.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import streamlit as st

from core.errors import WinnowError
from core.schema import Row
from core.selection.budget import Budget
from pages.ui.shell import server
from pages.ui.words import escape_markdown

HERE = Path(__file__).parent
LOGO, ICON = str(HERE / "logo.svg"), str(HERE / "icon.svg")
PAGES = {  # in the order of the work; `help` is the tooltip of the menu
    "pool": {
        "page": "pages/pool.py",
        "title": "Pool",
        "icon": ":material/inventory_2:",
        "help": "What is in the pool: rows, tasks, lengths, problems found. Open another one here.",
    },
    "score": {
        "page": "pages/score.py",
        "title": "Score",
        "icon": ":material/speed:",
        "help": "Choose a method and a model, see what measuring costs, start it and watch it.",
    },
    "explore": {
        "page": "pages/explore.py",
        "title": "Explore",
        "icon": ":material/query_stats:",
        "help": "How the scores are distributed, what they follow, and the rows behind every bar.",
    },
    "compare": {
        "page": "pages/compare.py",
        "title": "Compare",
        "icon": ":material/compare_arrows:",
        "help": "Methods side by side: what they share, where they part, and one made of several.",
    },
    "select": {
        "page": "pages/select.py",
        "title": "Select",
        "icon": ":material/tune:",
        "help": "How much, and exactly which rows: budget, band, filters, pins, all live.",
    },
    "export": {
        "page": "pages/export.py",
        "title": "Export",
        "icon": ":material/download:",
        "help": "The chosen rows as a file for a trainer, with a manifest that gives them again.",
    },
}
ROLES = {
    "system": ":material/settings:",
    "user": ":material/person:",
    "assistant": ":material/smart_toy:",
    "tool": ":material/build:",
}
MAX_TURN_LENGTH = 20_000  # characters of one turn shown at once


# Data as text


def text(content: str, *, height: int | None = None) -> None:
    """Text of a row, as text: wrapped, never interpreted."""
    shown = content if len(content) <= MAX_TURN_LENGTH else content[:MAX_TURN_LENGTH]
    st.code(shown, language=None, wrap_lines=True, height=height or "content")
    if len(content) > MAX_TURN_LENGTH:
        st.caption(f"The first {MAX_TURN_LENGTH:,} of {len(content):,} characters. The export keeps all of them.")


def row(opened: Row, *, task: str | None = None, marks: Sequence[str] = ()) -> None:
    """One row with all its turns. `marks` are short words about it, shown as badges. `task`: if not the pool's own."""
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        st.badge(f"line {opened.line:,}", color="gray")
        st.badge(escape_markdown(task or opened.task or "no task"), color="gray")
        for mark in marks:
            st.badge(escape_markdown(mark), color="blue")
        st.text(opened.id)
    turns(opened)
    if opened.response is None:
        st.caption("No response: this row can be annotated, and is never selected by a method that reads responses.")
    with st.expander("The row as it is in the file", icon=":material/data_object:"):
        text(opened.original)


def turns(opened: Row) -> None:
    """What is said in a row, each turn under who says it."""
    for turn in opened.turns:
        role = turn["role"]
        st.caption(
            f"{ROLES.get(role, ':material/chat:')} {escape_markdown(role)} · {len(turn['content']):,} characters"
        )
        text(turn["content"])


# States of a page


def error(failure: WinnowError) -> None:
    """What went wrong, in its own words."""
    st.error(escape_markdown(failure), icon=":material/error:")


def notice(sentence: str | None) -> None:
    """What could not be done, above the page; nothing when all went well."""
    if sentence:
        st.warning(escape_markdown(sentence), icon=":material/warning:")


def empty_page(title: str, sentence: str, *, page: str) -> NoReturn:
    """An empty page: what is missing, and the one button that mends it. Stops the page."""
    about = PAGES[page]
    with st.container(border=True, horizontal_alignment="center"):
        st.space("small")
        st.subheader(title, text_alignment="center", anchor=False)
        st.caption(sentence, text_alignment="center")
        if st.button(f"Go to {about['title']}", icon=about["icon"], type="primary", key=f"nothing.{page}"):
            st.switch_page(about["page"])
        st.space("small")
    st.stop()


# Commands and files


def command(line: str) -> None:
    """A command to copy."""
    st.code(line, language="bash", wrap_lines=True)


def download(label: str, path: Path, name: str | None = None, *, primary: bool = False) -> None:
    """A file to save: served by a route from disk, so its size costs no memory."""
    st.link_button(
        label,
        server.download_url(path, name),
        icon=":material/download:",
        type="primary" if primary else "secondary",
    )


# Numbers and names in words


def format_budget(budget: Budget) -> str:
    """10 %, 500 rows, 200 k response tokens."""
    amount = f"{budget.amount:g}" if budget.amount < 10_000 else format_count(budget.amount)
    return {"percent": f"{amount} %", "rows": f"{amount} rows", "tokens": f"{amount} response tokens"}[budget.unit]


def pool_name(name: str, source: str) -> str:
    """What a pool is called: its file or id; the demo pool by what it is."""
    return "Demo pool" if source == "demo" else name


def format_count(n: float) -> str:
    """12,345 up to six digits, then 1.23 M."""
    if abs(n) < 1_000_000:
        return f"{n:,.0f}"
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M")):
        if abs(n) >= size:
            return f"{n / size:.3g} {unit}"
    raise AssertionError


def format_size(n: float) -> str:
    """Bytes, in the unit that leaves one to three digits before the point."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(n) < 1000:
            return f"{n:.3g} {unit}"
        n /= 1000
    return f"{n:.3g} TB"


def format_duration(seconds: float) -> str:
    """Seconds as people say them: 8 s, 3 min 20 s, 2 h 5 min, 3 d 4 h."""
    whole = round(seconds)
    for large, small, big, little in ((86400, 3600, "d", "h"), (3600, 60, "h", "min"), (60, 1, "min", "s")):
        if whole >= large:
            rest = whole % large // small
            return f"{whole // large} {big}" + (f" {rest} {little}" if rest else "")
    return f"{seconds:.1f} s" if seconds < 10 and seconds != whole else f"{whole} s"
