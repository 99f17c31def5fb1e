"""Widgets drawn from what methods declare, so that a new method or parameter needs no page code.

The settings in `state` are the single source: a widget gets its value from there before it is drawn, and its callback
writes a change back.
"""

from collections.abc import Callable, Mapping
from dataclasses import Field, fields, replace
from functools import partial
from typing import Any, get_args, get_type_hints

import streamlit as st

from core.methods import METHODS, standalone_methods
from core.methods.combined import Combined
from core.methods.params import Stage, list_choices, measure_params
from core.methods.preference_influence import format_targets, parse_targets
from core.methods.suggestions import SUGGESTED_PARAMS
from core.models.reference import is_installed
from core.schema import Pool, Reading
from pages.ui.shell import roots, state
from pages.ui.targets import facts, pairs, picker
from pages.ui.words import escape_markdown, param_words

COLUMNS = 4  # small widgets side by side
TARGET_PARAMETERS = ("targets", "subtask", "pairs")  # parameters drawn with the target sets
GROUP_DEFAULTS = {"min_group": 0, "group_weights": ""}  # for other groups than before
LABELS = {
    "template": "Prompt template",
    "answers": "Response",
    "max_length": "Longest row, in tokens",
    "prompt_share": "Prompt share",
    "dtype": "Arithmetic",
}
WORDS = {
    "auto": "automatic",
    "chat": "the model's chat template",
    "alpaca": "Alpaca",
    "last": "the last answer",
    "all": "every answer",
    "float32": "32-bit floats",
    "bfloat16": "16-bit floats (bfloat16)",
}


def choose_method() -> None:
    """Draw all methods, each with what it keeps and what it needs."""
    st.radio(
        "Method",
        list(METHODS),
        format_func=lambda name: METHODS[name].label,
        captions=[METHODS[name].summary for name in METHODS],
        **state.bind("form.method", state.settings().method, lambda name: state.change(method=name)),
    )


def choose_others() -> None:
    """Draw further methods to measure, so that one pass serves them all."""
    now = state.settings()
    options = [name for name in standalone_methods() if measure_params(METHODS[name]()) and name != now.method]
    picked = [name for name in now.also if name in options]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.pills(
            "Measure for others too, in the same pass",
            options,
            selection_mode="multi",
            format_func=lambda name: METHODS[name].label,
            **state.bind("form.also", picked, lambda names: state.change(also=tuple(names))),
        )
        if len(picked) < len(options):
            everything = {"also": tuple(options)}
            st.button("All at once", key="form.all", type="tertiary", on_click=state.change, kwargs=everything)


def choose_model(used: list[str]) -> None:
    """Draw the choice of the model: one used before, or any other by id or folder."""
    now = state.settings().reading
    st.selectbox(
        "Model",
        list(dict.fromkeys(["embedded", *filter(is_installed, ["smollm2"]), *used, now.model])),
        accept_new_options=True,
        help="Any causal language model: an id such as Qwen/Qwen2.5-0.5B, a folder with config.json and "
        "safetensors, or a GGUF file. Type it and press Enter.",
        **state.bind("form.model", now.model, _set_model),
    )


def _set_model(typed: str | None) -> None:
    if not typed:
        return
    with state.failures_as_notices():
        name = typed if typed == "embedded" else roots.check_model(typed)
        state.change(reading=replace(state.settings().reading, model=name, revision=None))


def params(stage: Stage) -> None:
    """Draw one widget per parameter that the current method declares for this stage, except those of target sets."""
    with st.grid(COLUMNS):
        for name, f in _declared_params().items():
            hidden = name in TARGET_PARAMETERS or (name == "min_group" and not getattr(state.method(), "per", ""))
            if f.metadata["stage"] == stage and not hidden:
                _param_widget(f)


def _declared_params() -> dict[str, Field[Any]]:
    """Return the parameters of the current method by name."""
    declared: Any = type(state.method())
    return {f.name: f for f in fields(declared)}


def target_sets(pool: Pool) -> None:
    """Draw the target sets of a method that has some, the parameters that limit their pairs, and the pairs."""
    parameters = _declared_params()
    if "targets" not in parameters:
        return
    st.subheader("Target sets", anchor=False)
    in_use, more = st.columns([3, 2], gap="large")
    with in_use:
        picker.show_sets(pool)
    with more:
        for name, column in zip(TARGET_PARAMETERS[1:], st.columns(2), strict=True):
            with column:
                _param_widget(parameters[name])
        picker.add_panel(pool)
    pairs.reader(picker.current_sets(), facts.load_pairs)


def has_params(stage: Stage) -> bool:
    """Return whether the current method has a parameter at this stage."""
    return any(f.metadata["stage"] == stage for f in _declared_params().values())


def _param_widget(f: Field[Any]) -> None:
    """Draw the widget of a parameter of the current method."""
    method, about = state.method(), f.metadata
    key, value = f"form.{method.name}.{f.name}", getattr(method, f.name)
    if isinstance(f.default, str) and not list_choices(f):
        set_text = partial(_set_text, f.name, about["names"])
        st.text_input(**param_words(f), **state.bind(key, value, set_text))
        return
    common = param_words(f) | state.bind(key, value, partial(state.set_param, f.name))
    if choices := list_choices(f):
        st.selectbox(options=choices, **common)
        return
    low, high = (type(f.default)(about[end]) for end in ("low", "high"))
    st.number_input(min_value=low, max_value=high, **common, **_number_steps(about, f.default))


def _check_targets(typed: str) -> str:
    return format_targets(t._replace(source=roots.check_source(t.source)) for t in parse_targets(typed))


def _check_members(typed: str) -> str:
    """Return the members of a combination; raise if one of their parameters names what a browser may not."""
    combined = Combined(typed)
    for part in combined.parts:
        declared: Any = part
        for f in fields(declared):
            if (value := getattr(part, f.name)) and f.metadata["names"] in CHECKS:
                CHECKS[f.metadata["names"]](value)
    return combined.members


CHECKS: Mapping[str, Callable[[str], str]] = {
    "model": roots.check_model,
    "file": lambda typed: str(roots.check_path(typed)),
    "server": roots.check_server,
    "targets": _check_targets,
    "word": str,
    "methods": _check_members,
}


def _set_text(name: str, names: str, typed: str) -> None:
    """Set a parameter to the name of something, if a browser may name it."""
    typed = typed.strip()
    with state.failures_as_notices():
        value = CHECKS[names](typed) if typed else ""
        state.set_params({name: value} | (GROUP_DEFAULTS if name == "per" else {}))


def _number_steps(about: Mapping[str, Any], default: Any) -> dict[str, Any]:
    if isinstance(default, int):
        return {"step": 1}
    if about["low"] and about["high"] / about["low"] > 1e4:  # spans orders of magnitude
        return {"step": default, "format": "%.1e"}
    return {"step": 0.01, "format": "%.3g"}


def reading() -> None:
    """Draw how the model reads a row, and the seed of every random choice."""
    now, hints = state.settings().reading, get_type_hints(Reading)
    with st.grid(COLUMNS + 2, min_column_width=130, vertical_alignment="bottom"):
        for name in ("template", "answers", "dtype"):
            _reading_choice(name, get_args(hints[name]), getattr(now, name))
        st.number_input(
            LABELS["max_length"],
            min_value=16,
            max_value=1_000_000,
            step=256,
            help="A longer row is cut, and counted: its prompt loses its oldest words, its response its end.",
            **state.bind("form.max_length", now.max_length, partial(_set_reading, "max_length")),
        )
        st.number_input(
            LABELS["prompt_share"],
            min_value=0.0,
            max_value=0.9,
            step=0.1,
            help="Share of the longest row that a prompt keeps where prompt and response do not fit together.",
            **state.bind("form.prompt_share", now.prompt_share, partial(_set_reading, "prompt_share")),
        )
        _seed_input()


def _reading_choice(name: str, options: tuple[str, ...], value: str) -> None:
    bound = state.bind(f"form.{name}", value, partial(_set_reading, name))
    st.selectbox(LABELS[name], options, format_func=lambda word: WORDS.get(word, word), **bound)


def _set_reading(name: str, value: Any) -> None:
    if value is not None:
        state.change(reading=replace(state.settings().reading, **{name: value}))


def _seed_input() -> None:
    st.number_input(
        "Seed",
        min_value=0,
        step=1,
        help="Decides every random choice: what a warm-up trains on, which prompts are asked, which rows are drawn.",
        **state.bind("form.seed", state.settings().seed, lambda seed: state.change(seed=int(seed or 0))),
    )


def suggestions() -> None:
    """Draw which values in use differ from the method's own because the embedded model is so small."""
    now = state.settings()
    suggested = SUGGESTED_PARAMS.get(now.method, {}) if now.reading.model == "embedded" else {}
    method = state.method()
    in_use = {name: value for name, value in suggested.items() if getattr(method, name) == value}
    if words := [f"{name.replace('_', ' ')} {value:g}" for name, value in in_use.items()]:
        st.caption(f"In use because the embedded model is so small: {escape_markdown(', '.join(words))}.")
