"""Helpers that show text, messages, buttons, choices, files and numbers.

Text of rows goes through `prose`, `text`, `row` or table cells only: in twenty other elements the reader's browser
would fetch a markdown image inside it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.errors import WinnowError
from core.progress import format_duration as format_duration
from core.schema import Row
from core.selection.budget import Budget
from pages.ui.shell import server
from pages.ui.shell.open_row import OPEN, draw_reader_too
from pages.ui.words import escape_markdown

HERE = Path(__file__).parent
LOGO, ICON = str(HERE / "logo.svg"), str(HERE / "icon.svg")
_MENU = (  # name, icon, tooltip: in the order of the workflow
    ("pool", "inventory_2", "What Winnow does, how far you are, and what is in the pool. Open your own data here."),
    ("measure", "speed", "Choose methods and a model, see the cost, and start measuring."),
    ("explore", "query_stats", "How scores are distributed, what they correlate with, and the rows behind every bar."),
    ("compare", "compare_arrows", "How far methods agree, how their selections differ, and the rows of each."),
    ("select", "tune", "How many rows are selected, and which: budget, filters and pins."),
    ("proof", "science", "Whether a selection trains a better model than random rows: train on both and compare."),
    ("export", "download", "The selection as a file for your trainer, with a manifest that reproduces it."),
)
PAGES = {
    name: {"page": f"pages/{name}.py", "title": name.capitalize(), "icon": f":material/{icon}:", "help": tooltip}
    for name, icon, tooltip in _MENU
}
ROLES = {
    "system": ":material/settings:",
    "user": ":material/person:",
    "assistant": ":material/smart_toy:",
    "tool": ":material/build:",
}
MANY, MANY_HEIGHT = 40, 190  # choices of one widget that get a box which scrolls, and its height in pixels
MAX_TURN_LENGTH = 20_000  # characters of one turn shown at once
CHART_TEXT = "#5A636E"  # on white; Streamlit's grey has a contrast of 3.7
ON_PRIMARY = "#0B1117"  # text on primary buttons of the dark theme
FENCES = ("```", "~~~")  # of code in text


# Data as text


def text(content: str, *, height: int | None = None) -> None:
    """Show text such as JSON or a log: in a monospaced font, wrapped, never interpreted."""
    st.code(content[:MAX_TURN_LENGTH], language=None, wrap_lines=True, height=height or "content")
    _say_shortened(content)


def prose(content: str) -> None:
    """Show text of a row: wrapped as prose, code between fences as code, never interpreted."""
    for is_code, part in split_code(content[:MAX_TURN_LENGTH]):
        if is_code:
            st.code(part, language=None, wrap_lines=True)
        else:
            st.text(part, width="stretch")
    _say_shortened(content)


def split_code(content: str) -> list[tuple[bool, str]]:
    """Split text at its code fences. Return its parts in order, each with whether it is code.

    Fences and blank lines next to them are left out; a fence that is never closed is part of the prose.
    """
    parts: list[tuple[bool, list[str]]] = [(False, [])]
    for line in content.split("\n"):
        is_code, lines = parts[-1]
        mark = line.strip()
        if is_code and mark.startswith(lines[0].strip()[:3]) and not mark.strip("`~"):
            parts.append((False, []))
        elif not is_code and mark.startswith(FENCES):
            parts.append((True, [line]))
        else:
            lines.append(line)
    if parts[-1][0]:  # never closed
        unclosed = parts.pop()[1]
        parts[-1][1].extend(unclosed)
    texts = [(is_code, "\n".join(lines[is_code:]).strip("\n")) for is_code, lines in parts]
    return [(is_code, text) for is_code, text in texts if text.strip()]


def _say_shortened(content: str) -> None:
    if len(content) > MAX_TURN_LENGTH:
        st.caption(f"First {MAX_TURN_LENGTH:,} of {len(content):,} characters. The export contains all of them.")


def row(opened: Row, *, task: str | None = None, marks: Sequence[str] = ()) -> None:
    """Show a row with all its turns. `marks` are shown as badges; `task` replaces the pool's own label."""
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        badge(opened.place, color="gray")
        badge(task or opened.task or "no task", color="gray")
        for mark in marks:
            badge(mark)
        st.text(opened.id)
    texts(opened)


def texts(opened: Row) -> None:
    """Show all turns of a row, and its JSON behind a click."""
    turns(opened)
    if opened.response is None:
        st.caption("No response. The row can be annotated; methods that read responses never select it.")
    with st.expander("Raw JSON", icon=":material/data_object:"):
        text(opened.original)


def badge(content: str, **look: Any) -> None:
    """Show data as a badge, which escapes brackets by itself."""
    st.badge(escape_markdown(content).replace("\\[", "[").replace("\\]", "]"), **look)


def turns(opened: Row) -> None:
    """Show the turns of a row, each under its role."""
    for turn in opened.turns:
        heading(turn["role"], turn["content"])
        prose(turn["content"])


def heading(role: str, content: str, icon: str | None = None) -> None:
    """Show the role of a text, with the icon of that role unless another is given, and its length."""
    icon = icon or ROLES.get(role, ":material/chat:")
    st.caption(f"{icon} {escape_markdown(role)} · {len(content):,} characters")


# Rows, buttons and choices


def columns(spec: int | Sequence[float], **options: Any) -> list[DeltaGenerator]:
    """Return columns beside each other; below each other while the reader takes half of the page."""
    if st.session_state.get(OPEN) is None:
        return st.columns(spec, **options)
    return [st.container() for _ in range(spec if isinstance(spec, int) else len(spec))]


def pick_row(table: Any, **options: Any) -> int | None:
    """Show a table with a cursor: a click or an arrow key moves it. Return its line; None if it is nowhere."""
    widget: dict[str, Any] = {"on_select": "rerun", "selection_mode": "single-cell", **options}
    cells = st.dataframe(table, hide_index=True, **widget)["selection"]["cells"]
    return int(cells[0][0]) if cells and cells[0][0] < len(table) else None


def action(label: str, icon: str, key: str, call: Callable[..., object], *args: Any, **more: Any) -> None:
    """Draw a button that calls `call(*args)` before the page is drawn again. `icon`: the name of a Material symbol."""
    if more.get("type") == "primary" and not more.get("disabled"):
        label = on_primary(label)

    def pressed() -> None:
        call(*args)
        draw_reader_too()

    st.button(label, icon=f":material/{icon}:", key=key, on_click=pressed, **more)


def on_primary(label: str) -> str:
    """Return the label of a primary button, dark in the dark theme: white is too faint on its light blue."""
    return f':color[{label}]{{foreground="{ON_PRIMARY}"}}' if st.context.theme.type == "dark" else label


def choose(label: str, options: Mapping[str, str] | Sequence[str], key: str, **more: Any) -> str:
    """Draw a choice of one, at first the first. `options`: values, or value -> label. Return the chosen value."""
    labels = options if isinstance(options, Mapping) else {value: value for value in options}
    look = {"default": next(iter(labels)), "format_func": labels.__getitem__, "wrap": True}
    options_of_widget: dict[str, Any] = look | more
    return str(st.segmented_control(label, list(labels), required=True, key=key, **options_of_widget))


def choose_many(label: str, options: Sequence[str], key: str, **more: Any) -> list[str]:
    """Draw a choice of several, in a box that scrolls if they are many. Return them in the order picked.

    Not `st.multiselect`: it writes white on the theme's colour, which cannot be read in the dark.
    """
    with st.container(height=MANY_HEIGHT if len(options) > MANY else "content", border=len(options) > MANY):
        return list(st.pills(label, options, selection_mode="multi", key=key, wrap=True, **more) or ())


def choose_page(pages: int, **options: Any) -> int:
    """Draw the choice of a page, if there are several. Return its number, from 0."""
    if pages == 1:
        return 0
    with st.container(horizontal_alignment="right"):
        return int(st.pagination(pages, **options)) - 1


# States of a page


def error(failure: WinnowError | str) -> None:
    """Show the message of an error."""
    st.error(escape_markdown(failure), icon=":material/error:")


@contextmanager
def errors() -> Iterator[None]:
    """Show the message of a WinnowError that ends the body of this context."""
    try:
        yield
    except WinnowError as failure:
        error(failure)


def warning(*sentences: str | None) -> None:
    """Show each sentence as a warning; nothing for None."""
    for sentence in sentences:
        if sentence:
            st.warning(escape_markdown(sentence), icon=":material/warning:")


def note(*sentences: str | None) -> None:
    """Show each sentence as a remark; nothing for None."""
    for sentence in sentences:
        if sentence:
            st.info(escape_markdown(sentence), icon=":material/info:")


def empty_page(title: str, sentence: str, *, page: str) -> NoReturn:
    """Show what is missing and a button to the page that provides it; stops the page."""
    about = PAGES[page]
    with st.container(border=True, horizontal_alignment="center"):
        st.space("small")
        st.subheader(title, text_alignment="center", anchor=False)
        st.caption(sentence, text_alignment="center")
        if st.button(on_primary(f"Go to {about['title']}"), icon=about["icon"], type="primary", key=f"nothing.{page}"):
            st.switch_page(about["page"])
        st.space("small")
    st.stop()


# Figures, commands and files


def chart(figure: Mapping[str, Any], **options: Any) -> Any:
    """Show a Plotly figure, in the light theme with darker text than Streamlit's. Return its event, if it has any."""
    return st.plotly_chart(figure if st.context.theme.type == "dark" else _darken_text(figure), **options)


def _darken_text(figure: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of a figure whose text is CHART_TEXT where it has no colour of its own."""

    def dark(part: Mapping[str, Any], name: str) -> dict[str, Any]:
        return {**part, name: {"color": CHART_TEXT, **part.get(name, {})}}

    layout = dark(figure["layout"], "font")
    layout["legend"] = dark(layout.get("legend", {}), "font")
    for name in [name for name in layout if name.startswith(("xaxis", "yaxis"))]:
        layout[name] = dark(layout[name], "tickfont") | {"title": dark(layout[name].get("title", {}), "font")}
    return {**figure, "layout": layout}


def metric(label: str, value: str, comparison: str | None = None, help: str | None = None) -> None:
    """Show a figure in a frame, with what it compares with below it."""
    st.metric(label, value, comparison, delta_color="off", delta_arrow="off", border=True, help=help)


def command(line: str) -> None:
    """Show a command to copy."""
    st.code(line, language="bash", wrap_lines=True)


def download(label: str, path: Path, name: str | None = None, *, primary: bool = False) -> None:
    """Show a download button; the file is served from disk, so its size costs no memory."""
    kind, label = ("primary", on_primary(label)) if primary else ("secondary", label)
    st.link_button(label, server.download_url(path, name), icon=":material/download:", type=kind)


# Formatting


def format_budget(budget: Budget) -> str:
    """Format a budget: 10%, 500 rows, 200,000 response tokens."""
    amount = f"{budget.amount:g}" if budget.amount < 10_000 else format_count(budget.amount)
    return {"percent": f"{amount}%", "rows": f"{amount} rows", "tokens": f"{amount} response tokens"}[budget.unit]


def pool_name(name: str, source: str) -> str:
    """Return the display name of a pool: its file or id; "Demo pool" for the demo."""
    return "Demo pool" if source == "demo" else name


def format_rate(rate: float) -> str:
    """Format a number of rows a second."""
    return format_count(rate) if rate >= 100 else f"{rate:.1f}"


def format_count(n: float) -> str:
    """Format a count: 12,345 up to six digits, then 1.23 M."""
    if abs(n) < 1_000_000:
        return f"{n:,.0f}"
    size, unit = next(((size, unit) for size, unit in ((1e12, "T"), (1e9, "G")) if abs(n) >= size), (1e6, "M"))
    return f"{n / size:.3g} {unit}"
