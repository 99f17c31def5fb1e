"""What a step of undo reverts, in words."""

from dataclasses import fields, replace

import pytest

from core.methods import METHODS
from core.schema import Reading
from core.selection.filters import Filter
from core.selection.selection import Pin
from pages.ui.shell.differences import MAX_LENGTH, describe_change
from pages.ui.shell.settings import Contender, Settings
from pages.ui.words import model_name, param_words

PLAIN = Settings()
SUMS, WORDS = Filter("task", values=("sums",)), Filter("task", values=("words",))
IN, OUT = Pin("row-1", "in"), Pin("row-2", "out")


@pytest.mark.parametrize(
    ("before", "changed", "words"),
    [
        ({"budget": "10.3%"}, {"budget": "29.8%"}, "budget 10.3% → 29.8%"),
        ({"budget": "500"}, {"budget": "20ktok"}, "budget 500 rows → 20,000 response tokens"),
        ({"threshold": -0.5}, {"method": "longest", "threshold": None}, "method Entropy shift → Longest response"),
        ({}, {"threshold": -0.25}, "score limit none → −0.25"),
        ({}, {"filters": (SUMS,)}, "filter added: task is sums"),
        ({"filters": (SUMS, WORDS)}, {"filters": (SUMS,)}, "filter removed: task is words"),
        ({"filters": (SUMS,)}, {"filters": (WORDS,)}, "filter task is sums → task is words"),
        ({}, {"pins": (IN,)}, "always include row-1"),
        ({"pins": (IN,)}, {"pins": (Pin("row-1", "out"),)}, "always exclude row-1"),
        ({"pins": (OUT,)}, {"pins": ()}, "no longer always exclude row-2"),
        ({}, {"pins": (IN, OUT)}, "always include or exclude 2 rows"),
        ({}, {"pins": (IN, replace(OUT, side="in"))}, "always include 2 rows"),
        ({"pins": (IN, OUT)}, {"pins": ()}, "always include or exclude 2 rows"),
        ({}, {"tags": {"unclear": ("a", "b")}}, "tag 'unclear' on 2 rows"),
        ({"tags": {"x": ("a",)}}, {"tags": {"x": ("a", "b")}}, "tag 'x' on 1 row"),
        ({"tags": {"x": ("a", "b")}}, {"tags": {"x": ()}}, "tag 'x' removed from 2 rows"),
        ({"tags": {"x": ("a",)}}, {"tags": {}}, "tag 'x' deleted"),
        ({"tags": {"x": ("a",)}}, {"tags": {"y": ("a",)}}, "tag 'x' → 'y'"),
        ({"tags": {"x": ("a",)}, "filters": (SUMS,)}, {"tags": {}, "filters": ()}, "tag 'x' deleted and 1 more"),
        ({}, {"seed": 3}, "seed 0 → 3"),
        ({}, {"reading": Reading(model="org/small")}, f"model {model_name('embedded')} → small"),
        ({}, {"contenders": (Contender("random"),)}, "compared methods"),
        ({}, {"budget": "20%", "seed": 1}, "budget 10% → 20% and 1 more"),
    ],
)
def test_a_change_is_described_by_what_it_changes(before, changed, words):
    old = replace(PLAIN, **before)
    assert describe_change(old, replace(old, **changed)) == words


@pytest.mark.parametrize(
    ("name", "value", "words"), [("gamma", 0.2, "0.1 → 0.2"), ("pick", "highest", "lowest → highest")]
)
def test_a_parameter_is_named_as_on_its_widget(name, value, words):
    field = next(f for f in fields(METHODS["entropy_shift"]) if f.name == name)
    changed = replace(PLAIN, params={"entropy_shift": {name: value}})
    assert describe_change(PLAIN, changed) == f"{param_words(field)['label']} {words}"


def test_a_long_change_is_shortened():
    words = describe_change(PLAIN, replace(PLAIN, filters=(Filter("prompt", contains="x" * 200),)))
    assert len(words) == MAX_LENGTH + 1 and words.endswith("…")
