"""The settings of a combination: its methods and their order, the rule, and what the rule needs."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import streamlit as st

from core.methods.combined import NAME, RULES, Combined, format_members, parse_weights
from core.schema import Method, Pool
from pages.ui.controls import contenders
from pages.ui.shell import show, state
from pages.ui.shell.state import Contender
from pages.ui.words import escape_markdown, join_words

MIN_METHODS = 2  # methods of a combination
PICKED_KEY = "combination.picked"  # (members of the settings, labels picked since, too few to be members)
STEP = 0.5  # of a weight


def draw(pool: Pool) -> None:
    """Draw the settings of the combination; without methods, only their choice, and what to choose."""
    combined = _current()
    members = [] if combined is None else list(combined.parts)
    options = _find_options(pool, members)
    labels = {_key(method): label for label, method in options.items()}
    names = [labels[_key(method)] for method in members]
    picked = [name for name in _picked(combined, names) if name in options]
    show.choose_many(
        "Combined methods",
        list(options),
        help="Measured methods, variants kept on Compare and imported scores, each with its current settings.",
        **state.bind("combination.methods", picked, partial(_set_picked, combined, options)),
    )
    if len(picked) < MIN_METHODS:
        _explain(options, names)
    if combined is not None:
        with st.grid(4, min_column_width=200, vertical_alignment="bottom"):
            _choose_rule(combined, options, names)
            _choose_weights(combined, names)
        st.caption(RULES[combined.rule])


def _current() -> Combined | None:
    """Return the combination of the settings; None before its methods are chosen."""
    method = state.method_of(NAME)
    return method if state.is_set_up(NAME) and isinstance(method, Combined) else None


def _find_options(pool: Pool, members: Sequence[Method]) -> Mapping[str, Method]:
    """Return the methods that can be combined, by label: all that are measured, and the members."""
    every = contenders.available(pool, contenders.list_pool_runs(pool))
    every = [each for each in every if not each.saved and each.method != NAME]
    candidates = [(contenders.build(pool, each), each) for each in every]
    candidates += [(method, contenders.make_variant(method)) for method in members]
    once: dict[str, tuple[Method, Contender]] = {}  # a variant may be the method as it is set now
    for method, each in candidates:
        once.setdefault(_key(method), (method, each))
    methods, given = zip(*once.values(), strict=True) if once else ((), ())
    return dict(zip(contenders.name_contenders(given), methods, strict=True))


# Methods


def _picked(combined: Combined | None, names: Sequence[str]) -> list[str]:
    """Return the labels that are picked: the members, or fewer than two that were picked since."""
    of, picked = state.session_value(PICKED_KEY) or (None, [])
    return list(picked if of == _members(combined) else names)


def _members(combined: Combined | None) -> str:
    return "" if combined is None else combined.members


def _set_picked(combined: Combined | None, options: Mapping[str, Method], picked: Sequence[str]) -> None:
    """Make the picked methods the members, with the weights they have; keep fewer than two in mind."""
    if len(picked) < MIN_METHODS:
        state.set_widget(PICKED_KEY, (_members(combined), list(picked)))
        return
    state.set_widget(PICKED_KEY, None)
    methods = [options[name] for name in picked]
    weights = [] if combined is None else _weights(combined)
    of = {} if combined is None else dict(zip(map(_key, combined.parts), weights, strict=True))
    changed = _format_weights([of.get(_key(method), 1.0) for method in methods])
    state.set_params({"members": format_members(methods), "weights": changed}, of=NAME, threshold=None)


def _key(method: Method) -> str:
    """Return a text that is equal for methods with equal parameters."""
    return format_members([method])


def _explain(options: Mapping[str, Method], names: Sequence[str]) -> None:
    if len(options) < MIN_METHODS:
        show.note("A combination needs at least two measured methods. Measure another one first.")
    elif names:
        show.note(f"Choose at least two methods. Until then, {join_words(names)} stay combined.")
    else:
        show.note("Choose at least two methods: their ranks become one order. The one picked first breaks ties.")


# Rule


def _choose_rule(combined: Combined, options: Mapping[str, Method], names: Sequence[str]) -> None:
    """Draw the choice of the rule, of the method that comes first, and of the share that it is filtered by."""
    bound = state.bind(f"select.{NAME}.rule", combined.rule, partial(_set, "rule"))
    st.selectbox("Rule", list(RULES), format_func=str.capitalize, **bound)
    follows = combined.rule == "filtered"

    def put_first(name: str) -> None:
        _set_picked(combined, options, [name, *(other for other in names if other != name)])

    help = "The rows keep the order of this method." if follows else "Breaks ties: rows of equal rank follow it."
    bound = state.bind("combination.first", names[0], put_first)
    st.selectbox("Follows" if follows else "First method", names, help=help, **bound)
    if follows:
        help = "Share of every other method's ranking that the first method selects from."
        bound = state.bind(f"select.{NAME}.keep", combined.keep, partial(_set, "keep"), first="value")
        st.slider("Top share of the others", 0.0, 1.0, step=0.01, help=help, **bound)


def _set(name: str, value: Any) -> None:
    state.set_params({name: value}, of=NAME, threshold=None)


# Weights


def _choose_weights(combined: Combined, names: Sequence[str]) -> None:
    """Draw the weight of each method, if the rule has weights."""
    if combined.rule != "rank average":
        return
    for place, (name, weight) in enumerate(zip(names, _weights(combined), strict=True)):
        label, look = f"Weight of {escape_markdown(name)}", {"min_value": 0.0, "step": STEP, "format": "%g"}
        bound = state.bind(f"combination.weight.{place}", weight, partial(_set_weight, combined, place), first="value")
        st.number_input(label, **look, **bound)


def _weights(combined: Combined) -> list[float]:
    return parse_weights(combined.weights, len(combined.parts)) or [1.0] * len(combined.parts)


def _format_weights(weights: Sequence[float]) -> str:
    return "" if len(set(weights)) == 1 and weights[0] else ", ".join(f"{weight:g}" for weight in weights)


def _set_weight(combined: Combined, place: int, weight: float | None) -> None:
    """Set one weight, if the method accepts it; otherwise leave a notice."""
    weights = _weights(combined)
    weights[place] = weights[place] if weight is None else weight
    with state.failures_as_notices():
        parse_weights(_format_weights(weights), len(weights))
        _set("weights", _format_weights(weights))
        return
    st.rerun()  # the whole app: the error is shown above the page
