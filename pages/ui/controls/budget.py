"""The controls of the Select page: method, budget, the method's live parameters, threshold, filters.

As in `forms`, the settings are the only truth: a widget is given its value before it is drawn, its callback
puts a change back as one step of undo.
"""

from collections.abc import Callable
from dataclasses import Field, fields, replace
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.errors import WinnowError
from core.measurement.runs import Run, list_runs, pick_run
from core.methods import METHODS, build_method
from core.methods.params import all_params
from core.methods.preference_influence import PreferenceInfluence, parse_targets
from core.schema import Method, Pool
from core.selection.budget import Budget
from core.selection.selection import Selection
from pages.ui.controls import filters
from pages.ui.data import cached, distribution, live_selection
from pages.ui.data.live_selection import LiveSelection
from pages.ui.shell import state
from pages.ui.words import meaning, option_label

UNITS = {"rows": "rows", "percent": "%", "tokens": "tokens"}
FALLBACK_BUDGET = "10%"  # a budget that any pool can follow
THRESHOLD_STEPS = 200  # places of the threshold slider
MAX_LETTERS = 60  # of all choices together that still stand side by side
MAX_WIDTH = 5.0  # of a line, for choices
MAX_SLIDER_STEPS = 1000  # of a slider, at most: where there are more a number is typed
ONLY_WITH = {  # parameter -> another one, and the choice that it is for
    "released_rows": ("quota", "release"),
    "weights": ("rule", "rank average"),
    "keep": ("rule", "filtered"),
}


# Method


def method(pool: Pool) -> None:
    """Which method orders the rows; those without a measurement say so."""
    now = state.settings()
    ready = _measured(pool)
    key = state.set_widget("select.method", now.method)
    st.selectbox(
        "Method",
        list(METHODS),
        format_func=lambda name: METHODS[name].label + ("" if name in ready else " (not measured)"),
        help=METHODS[now.method].summary,
        key=key,
        on_change=lambda: _take_method(state.widget_value(key)),
    )


def _take_method(name: str) -> None:
    state.change(method=name, threshold=None)
    st.rerun()  # all of the app: the bar beside the page shows the method


def _measured(pool: Pool) -> set[str]:
    """Methods that have what they need, as the settings stand."""
    now = state.settings()
    runs = list_runs(cached.workspace(), pool.fingerprint)
    made = {name: state.method(replace(now, method=name)) for name in METHODS}
    return {name for name, one in made.items() if pick_run(runs, pool, one, now.reading, now.seed)}


def limits(pool: Pool, run: Run, answer: LiveSelection) -> None:
    """Beside the budget: the method's live parameters, a threshold, filters; in one line."""
    limited = live_selection.ranking_values(run, answer.method, answer.selection.order) is not None
    *places, last = _live(run, answer.method, [2.2] * limited + [1.3])
    if limited:
        with places[0]:
            threshold(run, answer)
    with last:
        filters.panel(pool, run)
    filters.active_filters()


def live_parameters(run: Run, chosen: Method) -> None:
    """The method's live parameters, in one line."""
    _live(run, chosen, [0.01])


def _live(run: Run, chosen: Method, more: list[float]) -> list[Any]:
    """One widget per live parameter, and places beside them."""
    declared: Any = type(chosen)
    own = [f for f in fields(declared) if f.metadata["stage"] == "order" and _in_use(run, chosen, f.name)]
    places = st.columns([*(_width(chosen, f) for f in own), *more], vertical_alignment="bottom")
    for f, place in zip(own, places, strict=False):
        with place:
            _parameter(chosen, f)
    return list(places[len(own) :])


def _choices(chosen: Any, f: Field[Any]) -> tuple[str, ...]:
    """What there is to choose from: as declared, or the names of the method's target sets; nothing for the rest."""
    if f.metadata["names"] == "target":
        return tuple(target.name for target in parse_targets(chosen.targets))
    return f.metadata["choices"] or ()


def _width(chosen: Method, f: Field[Any]) -> float:
    """What a widget takes of a line: choices by their letters, numbers to type less than sliders."""
    choices = _choices(chosen, f)
    if choices:
        return min(sum(0.125 * len(option_label(name)) + 0.3 for name in choices), MAX_WIDTH)
    return 2.2 if not isinstance(f.default, str) and _slides(f) else 1.7


def _slides(f: Field[Any]) -> bool:
    return bool((f.metadata["high"] - f.metadata["low"]) / _step(f) <= MAX_SLIDER_STEPS)


def _step(f: Field[Any]) -> float:
    return 1 if isinstance(f.default, int) else 0.01


def _in_use(run: Run, chosen: Method, name: str) -> bool:
    """Does this parameter change anything, as the others stand?"""
    if isinstance(chosen, PreferenceInfluence) and name in ("target", "subtasks"):
        known = cached.measurements(run).need_influences().subtasks
        several = len(known) > 1 if name == "target" else len(known.get(chosen.ranking_target, ())) > 1
        return several or (name, chosen.subtasks) == ("subtasks", "in turn")
    other, choice = ONLY_WITH.get(name, ("name", chosen.name))
    return bool(getattr(chosen, other) == choice)


def _parameter(chosen: Any, f: Field[Any]) -> None:
    about, choices = f.metadata, _choices(chosen, f)
    value = chosen.ranking_target if about["names"] == "target" else getattr(chosen, f.name)
    key = state.set_widget(f"select.{chosen.name}.{f.name}", value)
    common: dict[str, Any] = {
        "label": about["label"] or f.name.replace("_", " ").capitalize(),
        "help": about["help"],
        "key": key,
    }
    if choices:
        # which end is taken, and of which score, decides what a threshold means: it does not survive the change
        common |= {"options": choices, "format_func": option_label}
        common["on_change"] = lambda: _take_parameter(f.name, state.widget_value(key), threshold=None)
        if len("".join(choices)) > MAX_LETTERS:
            st.selectbox(**common)
        else:
            st.segmented_control(required=True, **common)
        return
    if isinstance(f.default, str):
        st.text_input(on_change=lambda: _take_text(f.name, state.widget_value(key)), **common)
        return
    kind = type(f.default)
    draw: Any = st.slider if _slides(f) else st.number_input
    draw(
        min_value=kind(about["low"]),
        max_value=kind(about["high"]),
        step=_step(f),
        on_change=lambda: _take_parameter(f.name, state.widget_value(key)),
        **common,
    )


def _take_text(name: str, typed: str) -> None:
    """A parameter that is typed, if the method can be told so."""
    now = state.method()
    try:
        value = getattr(build_method(now.name, all_params(now) | {name: typed.strip()}), name)
    except WinnowError as error:
        state.leave_notice(str(error))
        st.rerun()  # all of the app: what went wrong is said above the page
    _take_parameter(name, value)


def _take_parameter(name: str, value: Any, **more: Any) -> None:
    if value is None:
        return
    now = state.settings()
    own = {**now.params.get(now.method, {}), name: value}
    state.change(params={**now.params, now.method: own}, **more)


# Budget


def budget(pool: Pool, run: Run, selection: Selection) -> None:
    """How much: a unit, a slider, and the same number to type."""
    total = int(cached.measurements(run).need("response_tokens").sum())
    units = [unit for unit in UNITS if total or unit != "tokens"]
    now = state.budget()
    whole = {"rows": len(pool), "percent": 100.0, "tokens": total}[now.unit]
    unit, slider, exact = st.columns([1.5, 2.6, 1.1], vertical_alignment="bottom")
    key = state.set_widget("select.unit", now.unit)
    unit.segmented_control(
        "Budget in",
        units,
        format_func=UNITS.__getitem__,
        required=True,
        key=key,
        on_change=lambda: _take_unit(state.widget_value(key), selection, len(pool)),
    )
    value = min(type(whole)(now.amount), whole)
    bounds: dict[str, Any] = {"min_value": type(whole)(0), "max_value": whole}
    step: Any = 0.1 if now.unit == "percent" else 1
    moved = state.set_widget(f"select.slider.{now.unit}", value)
    slider.slider(
        "Budget",
        key=moved,
        step=step,
        format="%.1f %%" if now.unit == "percent" else "%d",
        help="Rows are taken from the top of the order until the budget is used up. Tokens are those of responses.",
        on_change=lambda: _take_budget(state.widget_value(moved), now.unit),
        **bounds,
    )
    typed = state.set_widget(f"select.exact.{now.unit}", value)
    exact.number_input(
        "Exactly",
        key=typed,
        step=step if now.unit != "tokens" else 1000,
        format="%.2f" if now.unit == "percent" else "%d",
        on_change=lambda: _take_budget(state.widget_value(typed), now.unit),
        **bounds,
    )


def _take_budget(amount: float | None, unit: Any) -> None:
    if amount is not None:
        state.change(budget=str(Budget(round(amount, 4), unit)))


def _take_unit(unit: Any, selection: Selection, n: int) -> None:
    """The same selection in another unit, as nearly as the unit can say it."""
    if unit is None:
        return
    rows = len(selection.rows)
    amount = {"rows": rows, "percent": round(100 * rows / n, 2), "tokens": selection.tokens}[unit]
    state.change(budget=str(Budget(amount, unit)))


# Threshold


def threshold(run: Run, answer: LiveSelection) -> None:
    """The worst score that is still taken; at its loosest it is off."""
    chosen = answer.method
    bounds = distribution.threshold_range(run, answer) if chosen.prefer != "middle" else None
    if bounds is None:
        return
    low, high = bounds
    loosest = high if chosen.prefer == "low" else low
    now = state.settings().threshold
    value = loosest if now is None else type(low)(min(max(now, low), high))
    key = state.set_widget(f"select.threshold.{chosen.ranks_by}.{chosen.prefer}", value)
    word = "at most" if chosen.prefer == "low" else "at least"
    st.slider(
        f"{meaning(chosen.ranks_by).label} {word}",
        min_value=low,
        max_value=high,
        step=1 if isinstance(low, int) else round((high - low) / THRESHOLD_STEPS, 6),
        format="%d" if isinstance(low, int) else "%.3f",
        key=key,
        help=f"Rows beyond this score are not taken, whatever the budget. Now: {_off(now)}",
        on_change=lambda: _take_threshold(state.widget_value(key), loosest),
    )


def _off(now: float | None) -> str:
    return "off." if now is None else f"{now:g}."


def _take_threshold(value: float, loosest: float) -> None:
    state.change(threshold=None if value == loosest else float(value))


# Ways out


def recovery_buttons(run: Run) -> None:
    """After settings that could not be followed: what is in force, and buttons that take it back."""
    filters.active_filters()
    answered = cached.measurements(run).need("response_tokens").any()
    with st.container(horizontal=True):
        if state.settings().filters:
            _instead("Remove all filters", ":material/filter_alt_off:", "select.unfilter", filters=())
        if state.budget().unit == "tokens" and not answered:
            _instead(
                f"Take {FALLBACK_BUDGET} of the rows", ":material/percent:", "select.percent", budget=FALLBACK_BUDGET
            )


def _instead(label: str, icon: str, key: str, **changed: Any) -> None:
    st.button(label, icon=icon, key=key, on_click=lambda: state.change(**changed))


# Undo


def undo_buttons(place: DeltaGenerator) -> DeltaGenerator:
    """One step back, one step forward; a place beside them."""
    with place.container(horizontal=True, horizontal_alignment="right"):
        st.button(
            "Undo",
            icon=":material/undo:",
            key="select.undo",
            disabled=not state.can_undo(),
            on_click=_again,
            args=(state.undo,),
            help="Takes back the last change of a slider, a filter or a pin.",
        )
        st.button(
            "Redo",
            icon=":material/redo:",
            key="select.redo",
            disabled=not state.can_redo(),
            on_click=_again,
            args=(state.redo,),
        )
        return st.container(width="content")


def _again(step: Callable[[], None]) -> None:
    step()
    st.rerun()  # all of the app: the step may have changed anything
