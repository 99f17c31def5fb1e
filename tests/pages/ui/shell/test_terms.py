"""Terms of the highlight: their words, and the way to disk and back."""

from dataclasses import asdict, replace

import orjson
import pytest

from core.selection.filters import Filter
from pages.ui.shell import links
from pages.ui.shell.contender import Contender
from pages.ui.shell.settings import FORMAT, Settings, settings_from_json
from pages.ui.shell.terms import Area, MapArea, MapCluster, Match, Rows, Search, Sets, describe

TRIANGLE = ((0.0, 0.0), (1.5, 0.0), (0.0, 2.5))
TERMS = (
    Match(Filter("delta_entropy", low=0.2, high=0.4)),
    Match(Filter("task", values=("recipe", None))),
    Search("olive oil", exclude=True),
    Area("delta_nll", "delta_entropy", TRIANGLE),
    MapArea("ab umap", TRIANGLE),
    Sets((Contender("longest"),), (Contender("random"), Contender("imported", {"field": "x"})), "only longest"),
    Rows(("row-1", "row-7")),
    MapCluster("ab umap", 4, "recipe, cook"),
)


@pytest.mark.parametrize(
    ("term", "words"),
    [
        (TERMS[0], "ΔH 0.2 to 0.4"),
        (Match(Filter("delta_entropy", high=-1234.5)), "ΔH ≤ −1234"),
        (Match(Filter("delta_entropy", low=0.25), exclude=True), "not ΔH ≥ 0.25"),
        (TERMS[1], "task recipe, missing"),
        (Match(Filter("task", values=("a", "b", "c", "d", "e"))), "task a, b, c or 2 more"),
        (Match(Filter("activation_cluster", low=3, high=3), words="cluster 4"), "cluster 4"),
        (Match(Filter("prompt", contains="cook")), "prompt “cook”"),
        (TERMS[2], "not text “olive oil”"),
        (TERMS[3], "lasso on ΔNLL × ΔH"),
        (TERMS[4], "lasso on the map"),
        (TERMS[5], "only longest"),
        (TERMS[6], "2 rows"),
        (TERMS[7], "cluster: recipe, cook"),
        (MapCluster("ab umap", 4, exclude=True), "not cluster 5 on the map"),
        (Rows(("row-1",)), "1 row"),
        (Rows(("row-1",), "near the cutoff"), "near the cutoff"),
    ],
)
def test_a_term_in_words(term, words):
    assert describe(term) == words


def test_terms_are_stored_with_the_settings_and_read_back():
    now = Settings(highlight=TERMS)
    stored = orjson.loads(orjson.dumps({"format": FORMAT, **asdict(now)}))
    assert settings_from_json(stored) == now


def test_a_highlight_changes_the_link_and_none_leaves_it_as_it_was():
    plain, lit = Settings(), Settings(highlight=TERMS[:1])
    assert links.address_of("f" * 64, plain) != links.address_of("f" * 64, lit)
    assert links.address_of("f" * 64, replace(lit, highlight=())) == links.address_of("f" * 64, plain)
