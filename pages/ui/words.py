"""Words on screen: labels and meanings of columns, and texts as they are displayed."""

import re
from collections.abc import Sequence
from dataclasses import Field, replace
from typing import Any, Literal

from core.columns import TAG_PREFIX, Column
from core.measurement import find_column
from core.methods import display_column as display_column
from core.methods.params import name_param
from core.schema import Method

Prefer = Literal["high", "low", "middle"]

CELL_LENGTH = 160  # characters of a text in a table cell
PER_TARGET = ("influence", "less")  # one column for each target: <word>.<target>
MODEL_NAMES = {"embedded": "built-in model", "smollm2": "SmolLM2-135M-Instruct (4 bits)"}
GROUP_NOUNS = {"entropy_shift": "group", "preference_influence": "sub-task"}  # noun of their groups; default: bin
ENDS: dict[str, Prefer] = {"top": "high", "highest": "high", "middle": "middle", "bottom": "low", "lowest": "low"}


def meaning(name: str) -> Column:
    """Return a column in words; an unknown one is shown by its name."""
    word, _, target = name.partition(".")
    if target and word in PER_TARGET:
        column = meaning(word)
        return replace(column, label=f"{column.label}: {target}")
    if name.startswith(TAG_PREFIX):
        return Column(f"Tag: {name.removeprefix(TAG_PREFIX)}")
    return find_column(name) or Column(name.replace("_", " "))


def is_identifier(name: str) -> bool:
    """Return whether the numbers of a column name groups: identifiers, not quantities."""
    return meaning(name).identifier


def param_words(parameter: Field[Any]) -> dict[str, str]:
    """Return the label and the help of a method's parameter, as arguments of its widget."""
    return {"label": name_param(parameter), "help": parameter.metadata["help"]}


def direction(column: str, prefer: Prefer) -> str:
    """Return a sentence about which end the method selects first, and what that end means."""
    about = meaning(column)
    return f"{_selected_first(about, prefer)}."


def _selected_first(about: Column, prefer: Prefer, where: str = "") -> str:
    label = lower_first(about.label)
    if prefer == "middle":
        return f"The middle of {label} is selected first{where}: a control that prefers neither end"
    first, clause = ("Highest", about.high) if prefer == "high" else ("Lowest", about.low)
    return f"{first} {label} is selected first{where}" + (f": rows where {clause}" if clause else "")


def best_of_each_group(method: Method) -> str:
    """Return a phrase for what is selected by a method that ranks inside groups."""
    return f"the best of each {GROUP_NOUNS.get(method.name, 'bin')}"


def preferred_end(method: Method) -> Prefer:
    """Return the end of the displayed column that a method selects first, inside each group if it ranks in groups."""
    return ENDS.get(getattr(method, "pick", ""), method.prefer)


def direction_within_groups(column: str, method: Method) -> str:
    """Return a sentence about which end is selected first inside each group."""
    where = f" in each {GROUP_NOUNS.get(method.name, 'bin')}"
    return f"{_selected_first(meaning(column), preferred_end(method), where)}."


def describe_ends(column: str) -> str:
    """Return a sentence about both ends of a column that the method does not rank by."""
    about = meaning(column)
    return f"Low: {about.low}. High: {about.high}." if about.low else "Neither end is better."


def lower_first(label: str) -> str:
    """Return a label within a sentence: "task confidence"; abbreviations keep their capital: "NLL", "D, dispersion"."""
    return label[:1].lower() + label[1:] if label[1:2].islower() else label


def task_label(name: str | None) -> str:
    """Return the label of a task; "no task" for None."""
    return "no task" if name is None else name


def format_rows(n: int) -> str:
    """Format a number of rows: 1 row, 2 rows."""
    return f"{n:,} row" if n == 1 else f"{n:,} rows"


def join_words(words: Sequence[str]) -> str:
    """Join words: a, b and c."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def join_range(low: str, high: str) -> str:
    """Join the ends of a range: 3 to 5; only one if both are the same text."""
    return low if low == high else f"{low} to {high}"


def shorten(text: str, length: int = CELL_LENGTH) -> str:
    """Return the first `length` characters on one line, with an ellipsis if there are more."""
    return " ".join(text[:length].split()) + ("…" if len(text) > length else "")


_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+\-.!|<>~$:^@&])")
_LINK = re.compile(r"(://|\bwww\.|@|\b(?:mailto|xmpp):)", re.IGNORECASE)  # what markdown makes a link of by itself
_JOINER = "\u2060"  # word joiner: shown as nothing, and ends what would become a link


def escape_markdown(value: object) -> str:
    """Escape data for a label: every character that markdown interprets is shown as itself, and nothing is a link.

    Links are recognised before escapes are read, so a backslash does not prevent them.
    """
    text = _LINK.sub(rf"\1{_JOINER}", " ".join(str(value).split()))
    return _MARKDOWN.sub(r"\\\1", text)


def model_name(name: str) -> str:
    """Return the display name of a model: the last part of its id, folder or file, or its name in MODEL_NAMES."""
    return MODEL_NAMES.get(name) or name.rstrip("/").rsplit("/", 1)[-1]


def the_model(name: str) -> str:
    """Return the display name of a model as part of a sentence."""
    return f"the {model_name(name)}" if name == "embedded" else model_name(name)
