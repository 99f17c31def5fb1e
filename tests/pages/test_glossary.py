"""The glossary opens as a dialog (tests/browser/test_glossary.py opens it by a word)."""

from pages.ui.glossary import TERMS


def shown(at) -> str:
    return "\n".join(block.value for block in at.markdown)


def test_the_button_opens_all_entries(pool, app):
    at = app("pool")
    assert TERMS["manifest"].meaning not in shown(at)
    at.button(key="glossary.open").click().run()
    assert not at.exception
    assert all(term.meaning in shown(at) for term in TERMS.values())
    assert [block.value for block in at.latex] == [f"$$\n{term.formula}\n$$" for term in TERMS.values() if term.formula]
