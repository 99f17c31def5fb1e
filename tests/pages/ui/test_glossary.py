"""The glossary: every link leads to an entry, and every entry says something."""

import ast
from pathlib import Path

import pytest

from core.measurement import MEASUREMENTS, all_signals
from pages.ui import glossary
from pages.ui.glossary import GROUPS, TERMS

PAGES = Path(__file__).parents[3] / "pages"


def linked_keys(source: str) -> list[str]:
    """Return the keys of all links in a source file; a key that is no literal is a failure."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    links = [call for call in calls if ast.unparse(call.func) == "glossary.link"]
    assert all(isinstance(call.args[0], ast.Constant) for call in links)
    return [call.args[0].value for call in links]


@pytest.mark.parametrize("file", sorted(PAGES.rglob("*.py")), ids=lambda file: file.stem)
def test_every_link_on_a_page_has_an_entry(file):
    assert set(linked_keys(file.read_text())) <= set(TERMS)


def test_a_key_occurs_in_one_group_only():
    assert sum(len(terms) for terms in GROUPS.values()) == len(TERMS)


@pytest.mark.parametrize("key", TERMS)
def test_an_entry_is_a_sentence_or_two_and_leads_to_others(key):
    term = TERMS[key]
    assert term.meaning.endswith(".") and 1 <= term.meaning.count(". ") + 1 <= 2
    assert set(term.see) <= set(TERMS) - {key}
    assert not term.good or term.good.endswith(".")


@pytest.mark.parametrize("text", ["", "lowest ΔH"])
def test_a_link_shows_the_word_and_names_the_entry(text):
    assert glossary.link("delta_entropy", text) == f"[{text or 'ΔH'}](#glossary-delta_entropy)"


def test_a_link_without_an_entry_is_an_error():
    with pytest.raises(KeyError):
        glossary.link("no such term", "words")


def test_scores_lead_to_their_entries():
    columns = {name for names in all_signals().values() for name in names}
    columns |= {name for one in MEASUREMENTS.values() for name in one.scores}
    assert set(glossary.COLUMN_TERMS) <= columns
    assert set(glossary.COLUMN_TERMS.values()) <= set(TERMS)
    assert glossary.key_of_column("influence.sound") == "influence"
    assert glossary.key_of_column("answers_counted") == ""
