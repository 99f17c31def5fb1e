"""Widgets drawn from what methods declare, so that a new method or parameter needs no page code.

The settings in `state` are the single source: a widget gets its value from there before it is drawn, and its callback
writes a change back.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, fields, replace
from functools import partial
from typing import Any, get_args, get_type_hints

import streamlit as st

from core.methods.combined import Combined
from core.methods.params import has_effect, list_choices, measure_params, name_param, value_in_words
from core.methods.preference_influence import PreferenceInfluence, format_targets, parse_targets
from core.methods.suggestions import SUGGESTED_PARAMS
from core.models.reference import is_installed
from core.schema import Method, Pool, Reading
from pages.ui.measure.status import Status
from pages.ui.shell import roots, show, state
from pages.ui.targets import facts, pairs, picker
from pages.ui.words import MODEL_NAMES, escape_markdown, param_words

COLUMNS = 4  # small widgets side by side
TARGET_PARAMETERS = ("targets", "subtask", "pairs")  # parameters drawn with the target sets
GROUP_DEFAULTS = {"min_group": 0, "group_weights": ""}  # for other groups than before
LABELS = {
    "template": "Prompt template",
    "answers": "Measured responses",
    "max_length": "Maximum sequence length",
    "prompt_share": "Minimum prompt share",
    "dtype": "Numeric precision",
}
WORDS = {
    "auto": "automatic",
    "chat": "the model's chat template",
    "alpaca": "Alpaca",
    "last": "the last answer",
    "all": "all answers",
    "float32": "32-bit floats",
    "bfloat16": "16-bit floats (bfloat16)",
}


def choose_model(used: list[str]) -> None:
    """Draw the choice of the model: one used before, or any other by id or folder."""
    now = state.settings().reading
    st.selectbox(
        "Model",
        list(dict.fromkeys(["embedded", *filter(is_installed, ["smollm2"]), *used, now.model])),
        format_func=lambda name: MODEL_NAMES.get(name, name),
        accept_new_options=True,
        help="Type the id of a causal language model, such as Qwen/Qwen2.5-0.5B, a folder with config.json and "
        "safetensors, or a GGUF file, and press Enter.",
        **state.bind("form.model", now.model, _set_model),
    )


def _set_model(typed: str | None) -> None:
    if not typed:
        return
    with state.failures_as_notices():
        name = typed if typed == "embedded" else roots.check_model(typed)
        state.change(reading=replace(state.settings().reading, model=name, revision=None))


def method_settings(pool: Pool, statuses: Sequence[Status]) -> None:
    """Draw the measuring parameters of every ticked method, those that matter first."""
    ticked = [status for status in statuses if status.ticked and measure_params(status.method)]
    if ticked:
        st.subheader("Settings", anchor=False)
    for status in ticked:
        with st.container(border=True, key=f"settings-{status.method.name}"):
            st.markdown(f"**{status.method.label} settings**")
            show.warning(status.problem if status.run is None else None)
            if isinstance(status.method, PreferenceInfluence):
                _target_sets(pool)
            _parameters(status.method)
            _suggestions(status.method)


def _parameters(method: Method) -> None:
    """Draw a widget for each parameter that has an effect; minor ones can be unfolded."""
    declared: Any = method
    drawn = [f for f in fields(declared) if f.metadata["stage"] == "measure" and has_effect(method, f)]
    drawn = [f for f in drawn if f.name not in TARGET_PARAMETERS]
    minor = [f for f in drawn if f.metadata["minor"]]
    _grid(method, [f for f in drawn if f not in minor])
    if minor:
        changed = sum(getattr(method, f.name) != f.default for f in minor)
        label = "More settings" + (f" ({changed} changed)" if changed else "")
        with st.expander(label, key=f"more-{method.name}"):
            _grid(method, minor)


def _grid(method: Method, parameters: Sequence[Field[Any]]) -> None:
    with st.grid(COLUMNS, min_column_width=180):
        for f in parameters:
            _param_widget(method, f)


def _target_sets(pool: Pool) -> None:
    """Draw the target sets, the parameters that limit their pairs, and the pairs."""
    declared: Any = PreferenceInfluence
    parameters = {f.name: f for f in fields(declared)}
    in_use, more = st.columns([3, 2], gap="large")
    with in_use:
        st.caption("Target sets")
        picker.show_sets(pool)
    with more:
        for name, column in zip(TARGET_PARAMETERS[1:], st.columns(2), strict=True):
            with column:
                _param_widget(state.method_of(PreferenceInfluence.name), parameters[name])
        picker.add_panel(pool)
    pairs.reader(picker.current_sets(), facts.load_pairs)


def _param_widget(method: Method, f: Field[Any]) -> None:
    """Draw the widget of a parameter. A 0 or an empty text that stands for something is shown as its word."""
    about, key, value = f.metadata, f"form.{method.name}.{f.name}", getattr(method, f.name)
    words = about["words"]
    if isinstance(f.default, str) and not list_choices(f):
        set_text = partial(_set_text, method.name, f.name, about["names"])
        st.text_input(**param_words(f), placeholder=words.get(""), **state.bind(key, value, set_text, first="value"))
        return
    set_value = partial(_set_value, method.name, f)
    if choices := list_choices(f):
        bound = state.bind(key, value, set_value)
        st.selectbox(options=choices, format_func=partial(value_in_words, f), **param_words(f), **bound)
        return
    low, high = (type(f.default)(about[end]) for end in ("low", "high"))
    empty = {"value": None, "placeholder": words[0]} if 0 in words else {}  # with None, a box can be emptied
    shown = None if value == 0 and empty else value
    bound = state.bind(key, shown, set_value, first="" if empty else "value")
    st.number_input(
        min_value=low, max_value=high, **param_words(f), **empty, **bound, **_number_steps(about, f.default)
    )


def _set_value(method: str, f: Field[Any], value: Any) -> None:
    """Set a parameter. An emptied widget sets 0 where that stands for something, and else changes nothing."""
    if value is None and 0 in f.metadata["words"]:
        value = type(f.default)(0)
    if value is not None:
        state.set_params({f.name: value}, of=method)


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


def _set_text(method: str, name: str, names: str, typed: str) -> None:
    """Set a parameter to the name of something, if a browser may name it."""
    typed = typed.strip()
    with state.failures_as_notices():
        value = CHECKS[names](typed) if typed else ""
        state.set_params({name: value} | (GROUP_DEFAULTS if name == "per" else {}), of=method)


def _number_steps(about: Mapping[str, Any], default: Any) -> dict[str, Any]:
    if isinstance(default, int):
        return {"step": 1}
    if about["low"] and about["high"] / about["low"] > 1e4:  # spans orders of magnitude
        return {"step": default, "format": "%.1e"}
    return {"step": 0.01, "format": "%.3g"}


def reading() -> None:
    """Draw the prompt and tokenization settings, and the seed of every random choice."""
    now, hints = state.settings().reading, get_type_hints(Reading)
    with st.grid(COLUMNS + 2, min_column_width=130, vertical_alignment="bottom"):
        for name in ("template", "answers", "dtype"):
            _reading_choice(name, get_args(hints[name]), getattr(now, name))
        st.number_input(
            LABELS["max_length"],
            min_value=16,
            max_value=1_000_000,
            step=256,
            help="In tokens. Longer rows are shortened: prompts lose their oldest words, responses their end.",
            **state.bind("form.max_length", now.max_length, partial(_set_reading, "max_length"), first="value"),
        )
        st.number_input(
            LABELS["prompt_share"],
            min_value=0.0,
            max_value=0.9,
            step=0.1,
            help="Share of the maximum length that the prompt keeps if prompt and response do not fit together.",
            **state.bind("form.prompt_share", now.prompt_share, partial(_set_reading, "prompt_share"), first="value"),
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
        help="Decides every random choice: warm-up rows, continued prompts, sampled answers.",
        **state.bind("form.seed", state.settings().seed, lambda seed: state.change(seed=int(seed or 0)), first="value"),
    )


def _suggestions(method: Method) -> None:
    """Draw which values in use differ from the method's own because the built-in model is so small."""
    suggested = SUGGESTED_PARAMS.get(method.name, {}) if state.settings().reading.model == "embedded" else {}
    declared: Any = method
    in_use = [f for f in fields(declared) if f.name in suggested and getattr(method, f.name) == suggested[f.name]]
    if words := [f"{name_param(f).lower()} {_short(suggested[f.name])}" for f in in_use]:
        st.caption(f"Adjusted for the small built-in model: {escape_markdown(', '.join(words))}.")


def _short(value: float) -> str:
    """Format 0.0005 as 5e-4."""
    return f"{value:g}" if value >= 0.01 else f"{value:.0e}".replace("e-0", "e-")
