"""Options made of a recipe make the same recipe again."""

from core.cli.arguments import measure_arguments
from core.selection.recipe import parse_recipe


def arguments(**pool):
    recipe = parse_recipe({"pool": {"source": "p.csv"} | pool, "method": {"name": "longest"}}, "test")
    return measure_arguments(recipe, "measure")


def test_a_pool_without_a_header_is_opened_without_one():
    assert arguments() == ["measure", "p.csv", "--method", "longest"]
    assert arguments(header=False) == ["measure", "p.csv", "--method", "longest", "--no-header"]
