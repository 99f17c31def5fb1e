"""What a report says of other methods is what a comparison of the same selections says."""

import numpy as np

from core.analysis.comparison import jaccard
from core.output.report.overlap import compare, describe, draw_curves, list_recipes, tabulate


def test_every_other_measured_method_is_compared_and_none_else(subject):
    about = subject(budget="10%")
    labels = [each.label for each in compare(about, list_recipes(about.recipe))]
    assert labels == ["Random", "Longest response", "Lowest NLL", "Highest NLL"]  # others need more measurements
    assert len(draw_curves(about, compare(about, list_recipes(about.recipe)))) == 4


def test_the_table_has_the_overlap_of_the_rows_and_what_chance_gives(subject):
    about = subject("lowest_nll", budget="10%")
    others = compare(about, list_recipes(about.recipe))
    labels, cells = tabulate(about, others)
    assert labels[0] == "this selection" and [row[k] for k, row in enumerate(cells)] == [None] * len(labels)
    place = labels.index("Entropy shift")
    other = others[place - 1]
    shared = len(np.intersect1d(about.selection.rows, other.rows))
    assert cells[0][place].share == jaccard(np.array(shared), np.array(24), np.array(len(other.rows)))
    assert cells[0][place] == cells[place][0]
    assert cells[0][place].low <= cells[0][place].expected <= cells[0][place].high


def test_pins_and_cutoff_are_this_selections_alone(subject, recipe):
    pins = [{"id": "row-0", "side": "in"}]
    about = subject(budget="10%", pins=pins)
    (longest,) = compare(about, [recipe("longest", budget="10%", pins=pins)])
    assert 0 in about.selection.rows and 0 not in longest.rows


def test_filters_hold_for_all(subject, recipe):
    filters = [{"column": "task", "values": ["sums"]}]
    about = subject(budget="10%", filters=filters)
    for other in compare(about, list_recipes(about.recipe)):
        assert (other.rows[other.rows < 239] % 3 == 0).all()  # the last row repeats the first


def test_the_sentence_names_what_overlaps_more_than_chance(subject, recipe):
    about = subject("longest", budget="10%")
    same = compare(about, [recipe("longest", budget="10%")])
    assert describe(*tabulate(about, same)).startswith("It overlaps more than chance with Longest response (100%,")
    random = compare(about, [recipe("random", budget="10%", seed=5)])
    assert describe(*tabulate(about, random)) == "It overlaps with no other method more than chance."


def test_a_budget_in_tokens_is_compared_in_tokens(subject):
    about = subject("longest", budget="500tok")
    others = compare(about, list_recipes(about.recipe))
    tokens = about.measured.need("response_tokens")
    assert all(int(tokens[other.rows].sum()) <= 500 for other in others)
    assert all("<path" in curve for curve in draw_curves(about, others))
