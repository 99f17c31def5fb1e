"""Options made of a recipe make the same recipe again."""

import pytest

from core.cli.arguments import measure_arguments, replace_workers
from core.selection.recipe import parse_recipe


def arguments(**pool):
    recipe = parse_recipe({"pool": {"source": "p.csv"} | pool, "method": {"name": "longest"}}, "test")
    return measure_arguments(recipe, "measure")


def test_a_pool_without_a_header_is_opened_without_one():
    assert arguments() == ["measure", "p.csv", "--method", "longest"]
    assert arguments(header=False) == ["measure", "p.csv", "--method", "longest", "--no-header"]


@pytest.mark.parametrize("before", [[], ["--workers", "4"]])
@pytest.mark.parametrize(("workers", "after"), [("local", []), ("2", ["--workers", "2"])])
def test_the_workers_of_a_command_can_be_replaced(before, workers, after):
    assert replace_workers(["measure", "x", *before, "--seed", "1"], workers) == ["measure", "x", "--seed", "1", *after]
