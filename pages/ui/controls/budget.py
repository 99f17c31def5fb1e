"""Controls of the Select page: method, budget, the method's live parameters, threshold, filters.

As in `forms`, the settings are the single source of truth: a widget gets its value before it is drawn, and its callback
writes a change back as one step of undo.
"""

from collections.abc import Callable
from dataclasses import Field, fields, replace
from functools import partial
from typing import Any

import streamlit as st

from core.errors import WinnowError
from core.measurement.lookup import pick_run
from core.measurement.runs import Run, list_runs
from core.methods import METHODS, build_method
from core.methods.combined import Combined
from core.methods.params import all_params, has_effect, list_choices, value_in_words
from core.methods.preference_influence import PreferenceInfluence, parse_targets
from core.schema import Method, Pool
from core.selection.budget import Budget
from core.selection.selection import Selection
from pages.ui.controls import drag_budget, filters
from pages.ui.data import cached, distribution, live_selection
from pages.ui.data.live_selection import LiveSelection
from pages.ui.shell import show, state
from pages.ui.words import escape_markdown, lower_first, meaning, param_words

UNITS = {"rows": "Rows", "percent": "%", "tokens": "Tokens"}
FALLBACK_BUDGET = "10%"  # a budget that is valid for any pool
THRESHOLD_STEPS = 200  # steps of the threshold slider
MAX_LETTERS = 60  # in all choices together that still fit side by side
MAX_SLIDER_STEPS = 1000  # of a slider, at most; beyond it the number is typed


# Method


def method(pool: Pool) -> None:
    """Draw the choice of the method; methods without a run are marked."""
    now = state.settings()
    ready = _measured_methods(pool)
    st.selectbox(
        "Method",
        list(METHODS),
        format_func=lambda name: METHODS[name].label + ("" if name in ready else " (not measured)"),
        help=METHODS[now.method].summary,
        index=list(METHODS).index(now.method),
        **state.bind("select.method", now.method, _set_method),
    )


def _set_method(name: str) -> None:
    if name not in METHODS:  # the label before a measurement was finished, sent by a browser that has it still
        return
    state.change(method=name, threshold=None)
    st.rerun()  # the whole app: the sidebar shows the method


def _measured_methods(pool: Pool) -> set[str]:
    """Return the methods that are measured under the current settings."""
    now = state.settings()
    runs = list_runs(cached.workspace(), pool.fingerprint)
    methods = {name: state.method(replace(now, method=name)) for name in METHODS}
    return {name for name, built in methods.items() if pick_run(runs, pool, built, now.reading, now.seed)}


def limits(run: Run, live: LiveSelection) -> None:
    """Draw the method's live parameters and the threshold."""
    live_parameters(run, live.method)
    if live_selection.ranking_values(run, live.method, live.selection.order) is not None:
        threshold(run, live)


def live_parameters(run: Run, current: Method) -> None:
    """Draw a widget for each parameter of the method that needs no new measurement; not those of a combination."""
    if isinstance(current, Combined):
        return  # `combination` draws them, without a run as well
    declared: Any = type(current)
    for f in fields(declared):
        if f.metadata["stage"] == "order" and _has_effect(run, current, f):
            _parameter(current, f)


def _choices(current: Any, f: Field[Any]) -> tuple[str, ...]:
    """Return the choices of a parameter: as declared, or the names of the target sets; empty if it has none."""
    if f.metadata["names"] == "target":
        return tuple(target.name for target in parse_targets(current.targets))
    return list_choices(f)


def _slides(f: Field[Any]) -> bool:
    return bool((f.metadata["high"] - f.metadata["low"]) / _step(f) <= MAX_SLIDER_STEPS)


def _step(f: Field[Any]) -> float:
    return 1 if isinstance(f.default, int) else 0.01


def _has_effect(run: Run, current: Method, f: Field[Any]) -> bool:
    """Return whether a parameter has an effect, given the others and what is measured."""
    name = f.name
    if isinstance(current, PreferenceInfluence) and name in ("target", "subtasks"):
        subtasks = cached.measurements(run).need("influences").subtasks
        several = len(subtasks) > 1 if name == "target" else len(subtasks.get(current.ranking_target, ())) > 1
        return several or (name, current.subtasks) == ("subtasks", "in turn")
    return has_effect(current, f)


def _parameter(current: Any, f: Field[Any]) -> None:
    about, choices = f.metadata, _choices(current, f)
    value = current.ranking_target if about["names"] == "target" else getattr(current, f.name)
    key = f"select.{current.name}.{f.name}"
    if choices:
        # a threshold depends on the end and the score that are ranked by, so the change clears it
        bound = state.bind(key, value, partial(state.set_param, f.name, threshold=None))
        common = {"options": choices, "format_func": partial(value_in_words, f), **param_words(f), **bound}
        if len("".join(value_in_words(f, name) for name in choices)) > MAX_LETTERS:
            st.selectbox(**common)
        else:
            st.segmented_control(required=True, **common)
        return
    if isinstance(f.default, str):
        st.text_input(**param_words(f), **state.bind(key, value, partial(_set_text, f.name), first="value"))
        return
    kind, draw = type(f.default), st.slider if _slides(f) else st.number_input
    bounds: dict[str, Any] = {"min_value": kind(about["low"]), "max_value": kind(about["high"]), "step": _step(f)}
    draw(**bounds, **param_words(f), **state.bind(key, value, partial(state.set_param, f.name), first="value"))


def _set_text(name: str, typed: str) -> None:
    """Set a typed parameter if the method accepts it; otherwise leave a notice."""
    now = state.method()
    try:
        value = getattr(build_method(now.name, all_params(now) | {name: typed.strip()}), name)
    except WinnowError as error:
        state.leave_notice(str(error))
        st.rerun()  # the whole app: the error is shown above the page
    state.set_param(name, value)


# Budget


def budget(pool: Pool, run: Run, selection: Selection) -> None:
    """Draw the budget: its unit, a slider, and a field for the exact number."""
    total = int(cached.measurements(run).need("response_tokens").sum())
    units = [unit for unit in UNITS if total or unit != "tokens"]
    now = state.budget()
    maximum = {"rows": len(pool), "percent": 100.0, "tokens": total}[now.unit]
    shown, percent = replace(now, amount=min(now.amount, maximum)), now.unit == "percent"
    slider, exact, unit = st.columns([2.6, 1.1, 1], vertical_alignment="bottom")
    with slider:
        drag_budget.draw(pool, run, selection, shown)
    exact.number_input(
        "Exact budget",
        step={"percent": 0.1, "rows": 1, "tokens": 1000}[now.unit],
        format="%.2f" if percent else "%d",
        min_value=type(maximum)(0),
        max_value=maximum,
        help="The best-ranked rows are selected until the budget is used up. Tokens: response tokens.",
        **state.bind(
            f"select.exact.{now.unit}", type(maximum)(shown.amount), partial(_set_budget, now.unit), first="value"
        ),
    )
    unit.selectbox(
        "Unit",
        units,
        format_func=UNITS.__getitem__,
        filter_mode=None,
        index=units.index(now.unit),
        **state.bind("select.unit", now.unit, lambda unit: _set_unit(unit, selection, len(pool))),
    )


def _set_budget(unit: Any, amount: float | None) -> None:
    if amount is not None:
        state.change(budget=str(Budget(round(amount, 4), unit)))


def _set_unit(unit: Any, selection: Selection, n: int) -> None:
    """Convert the budget to another unit, as close to the same selection as the unit allows."""
    if unit is None:
        return
    spent = selection.spent
    rows, tokens = len(selection.rows) + spent.rows, selection.tokens + spent.tokens
    _set_budget(unit, {"rows": rows, "percent": round(100 * rows / n, 2), "tokens": tokens}[unit])


# Threshold


def threshold(run: Run, live: LiveSelection) -> None:
    """Draw the threshold on the score; at its loosest value there is no limit."""
    current = live.method
    bounds = distribution.threshold_range(run, live) if current.prefer != "middle" else None
    if bounds is None:
        return
    low, high = bounds
    loosest = high if current.prefer == "low" else low
    now = state.settings().threshold
    value = loosest if now is None else type(low)(min(max(now, low), high))
    word = "Maximum" if current.prefer == "low" else "Minimum"
    st.slider(
        f"{word} {lower_first(meaning(current.ranks_by).label)}{' (no limit)' if now is None else ''}",
        min_value=low,
        max_value=high,
        step=1 if isinstance(low, int) else round((high - low) / THRESHOLD_STEPS, 6),
        format="%d" if isinstance(low, int) else "%.3f",
        help="Rows beyond this score are not selected, even if the budget is not filled.",
        **state.bind(
            f"select.threshold.{current.ranks_by}.{current.prefer}",
            value,
            lambda limit: state.change(threshold=None if limit == loosest else float(limit)),
            first="value",
        ),
    )


# Recovery


def recovery_buttons(run: Run) -> None:
    """Draw the active filters and buttons that change settings that could not be applied."""
    filters.active_filters()
    has_responses = cached.measurements(run).need("response_tokens").any()
    with st.container(horizontal=True):
        if state.settings().filters:
            show.action("Remove all filters", "filter_alt_off", "select.unfilter", partial(state.change, filters=()))
        if getattr(state.method(), "group_weights", ""):
            by_size = partial(state.set_param, "group_weights", "")
            show.action("Weight groups by size", "balance", "select.unweighted", by_size)
        if state.budget().unit == "tokens" and not has_responses:
            take_share = partial(state.change, budget=FALLBACK_BUDGET)
            show.action(f"Select {FALLBACK_BUDGET} of the rows", "percent", "select.percent", take_share)


# Undo


def undo_buttons() -> None:
    """Draw the undo and redo buttons, labelled with what they change, each where there is something to change."""
    for name, words, step in (("undo", state.undo_words(), state.undo), ("redo", state.redo_words(), state.redo)):
        if words:
            label = f"{name.capitalize()}: {escape_markdown(words)}"
            show.action(label, name, f"select.{name}", _step_and_rerun, step, type="tertiary")


def _step_and_rerun(step: Callable[[], None]) -> None:
    step()
    st.rerun()  # the whole app: the step may have changed anything
