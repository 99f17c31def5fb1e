"""HTML of the row inspector: a heat strip of tokens, and tables of scores and ranks.

Tokens are text of the pool and, as every other word here, go through `escape`, so that they stay text. Opacity of one
colour shows an amount; the text on it keeps the theme's own colour and is readable in both themes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from core.measurement.token_files import BASE, CALIBRATED, TokenView
from pages.ui import glossary
from pages.ui.charts.html_bars import FONT, NUMBERS, QUIET
from pages.ui.charts.scales import format_number
from pages.ui.theme import EXTRA, GRID, REST, SELECTED, faint

HEAT = EXTRA[0]
MAX_OPACITY = 0.62  # of the fullest cell: text of either theme has a contrast of 5 or more on it
MAX_NATS = 8.0  # nats of the fullest cell; higher values look the same
STEPS = (0, 2, 4, 6, 8)  # nats in the legend
PARTIAL_CHARACTER = "◌"  # shown for a token that is only part of a character
LINE_END = "↵"
WORDS = {"nll": "NLL", "entropy": "H"}


# Tokens


def token_strip(views: Mapping[str, TokenView], what: str, shown: int) -> str:
    """Draw the first `shown` tokens as running text, each filled by `what` ("nll" or "entropy") under the base model.

    With a calibrated state, a bar below each token shows its value in that state.
    """
    after = views.get(CALIBRATED)
    base = views[BASE]
    cells = "".join(
        ("<br>" if k in base.starts[1:] else "") + _token(text, what, views, k)
        for k, text in enumerate(base.texts[:shown])
    )
    label = f"{WORDS[what]} of each token: stronger colour is higher" + ("; bar: after warm-up" if after else "")
    return (
        f'<div role="group" aria-label="{escape(label)}" style="line-height:{2.0 if after else 1.7};'
        f'overflow-wrap:anywhere;white-space:pre-wrap">{cells}</div>'
    )


def _token(text: str, what: str, views: Mapping[str, TokenView], k: int) -> str:
    base, after = views[BASE], views.get(CALIBRATED)
    line = f"border-bottom:5px solid {_heat(getattr(after, what)[k])};" if after else ""
    words = text.replace("\n", f"{LINE_END}\n") or PARTIAL_CHARACTER
    title, fill = escape(_token_title(text, base, after, k)), _heat(getattr(base, what)[k])
    return (
        f'<span title="{title}" style="background:{fill};'
        f'background-clip:padding-box;{line}border-left:1px solid {GRID};unicode-bidi:isolate">{escape(words)}</span>'
    )


def _token_title(text: str, base: TokenView, after: TokenView | None, k: int) -> str:
    pairs = ((name, float(getattr(base, key)[k]), key) for key, name in WORDS.items())
    values = [
        f"{name} {value:.2f}" + (f" → {float(getattr(after, key)[k]):.2f}" if after else "")
        for name, value, key in pairs
    ]
    return f"{text!r}: {', '.join(values)} nats" if text else f"part of a character: {', '.join(values)} nats"


def _heat(value: float) -> str:
    return faint(HEAT, round(MAX_OPACITY * min(max(float(value), 0.0) / MAX_NATS, 1.0), 3))


def token_legend(what: str, *, calibrated: bool) -> str:
    """Draw the legend: what opacity means, and what the bar below a token is."""
    title = f"{WORDS[what]} in nats"
    steps = "".join(
        f'<span style="background:{_heat(v)};padding:1px 9px;{NUMBERS}">{v}{"+" if v == STEPS[-1] else ""}</span>'
        for v in STEPS
    )
    bar = f'<span style="border-bottom:5px solid {_heat(MAX_NATS)}">after warm-up</span>' if calibrated else ""
    fill = f'<span style="background:{_heat(MAX_NATS)};padding:1px 6px">base model</span>' if calibrated else ""
    return (
        f'<div style="{FONT}display:flex;flex-wrap:wrap;gap:4px 14px;align-items:center">'
        f'<span style="{QUIET}">{escape(title)}</span><span>{steps}</span>{fill}{bar}</div>'
    )


# Tables


@dataclass(frozen=True)
class ScoreLine:
    """One score of a row among those of the pool."""

    name: str  # of the column
    label: str
    help: str  # formula or source
    value: float
    share: float | None  # of the pool's rows with a lower value, ties half; None: all have the same
    meaning: str


@dataclass(frozen=True)
class RankLine:
    """Rank of a row under one method."""

    label: str
    rank: int | None  # 0-based; None: not in the order
    total: int
    selected: bool
    reason: str  # why it has no rank, or that it is pinned; "" otherwise


def score_table(lines: Sequence[ScoreLine]) -> str:
    """Draw each score with its value, percentile and meaning."""
    body = [
        (
            _term(one),
            format_number(one.value),
            "" if one.share is None else position_bar(one.share),
            "–" if one.share is None else f"{int(100 * one.share + 1e-9)}%",  # rounded down, like the meaning
            escape(one.meaning),
        )
        for one in lines
    ]
    return _table("Scores of this row", ("Score", "Value", "", "Percentile", "Meaning"), body, (14, 9, 14, 9, 56))


def _term(line: ScoreLine) -> str:
    """Draw the label of a score, which opens its entry in the glossary if there is one."""
    label, key = f'<span title="{escape(line.help)}">{escape(line.label)}</span>', glossary.key_of_column(line.name)
    return f'<a href="{glossary.ANCHOR}{key}" style="color:inherit">{label}</a>' if key else label


def rank_table(lines: Sequence[RankLine], budget: str) -> str:
    """Draw for each method the rank, of how many, the share of the order up to it, and whether the row is selected."""
    body = []
    for one in lines:
        cells = ["", "", "–"]
        if one.rank is not None:
            share = (one.rank + 1) / max(one.total, 1)
            cells = [f"{one.rank + 1:,} of {one.total:,}", position_bar(share), _format_share(share)]
        selected = _dot(SELECTED, "selected") if one.selected else _dot(REST, "unselected")
        note = f'<span style="{QUIET}"> · {escape(one.reason)}</span>' if one.reason else ""
        body.append([escape(one.label), *cells, selected + note])
    head = ("Method", "Rank", "", "Top", f"At {budget}")
    return _table("Rank of this row under every method", head, body, (12, 15, 8, 7, 17))


def _format_share(share: float) -> str:
    return f"{100 * share:.1f}%" if share < 0.1 else f"{100 * share:.0f}%"


def _dot(colour: str, label: str) -> str:
    return (
        f'<span style="display:inline-block;width:9px;height:9px;border-radius:5px;background:{colour};'
        f'margin-right:6px"></span>{escape(label)}'
    )


def position_bar(share: float) -> str:
    """Draw a mark at `share` of a bar from 0 to all."""
    return (
        f'<div style="position:relative;height:8px;border-radius:4px;background:{faint(REST, 0.25)}">'
        f'<div style="position:absolute;left:{100 * share:.1f}%;top:-3px;height:14px;width:4px;margin-left:-2px;'
        f'border-radius:2px;background:{SELECTED}"></div></div>'
    )


def _table(label: str, head: Sequence[str], lines: Sequence[Sequence[str]], widths: Sequence[int]) -> str:
    """Draw a table. Cells are finished HTML of this file; the second column holds numbers."""
    header = _table_line([escape(word) for word in head], widths, QUIET, "columnheader")
    body = "".join(_table_line(line, widths, "", "cell") for line in lines)
    return f'<div role="table" aria-label="{escape(label)}" style="{FONT}max-width:70rem">{header}{body}</div>'


def _table_line(cells: Sequence[str], widths: Sequence[int], style: str, role: str) -> str:
    """Draw one line; where it is too narrow for all cells, the last go below the first."""
    styles = {1: f"text-align:right;{NUMBERS}", 3: NUMBERS}
    content = "".join(
        f'<div role="{role}" style="flex:{width} 1 {width / 2.4:.1f}em;min-width:0;{styles.get(k, "")}">{cell}</div>'
        for k, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    style += (
        f"display:flex;flex-wrap:wrap;align-items:center;gap:2px 14px;padding:5px 0;border-bottom:1px solid {GRID};"
    )
    return f'<div role="row" style="{style}">{content}</div>'
