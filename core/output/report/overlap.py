"""Overlap of a selection with what the other measured methods select, at its budget and at every budget."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from core.analysis.comparison import Membership, compute_overlap, expected_overlap, jaccard
from core.analysis.prefix_counts import prefix_lengths
from core.measurement.lookup import find_run
from core.measurement.run_data import load_measured
from core.measurement.runs import Run
from core.methods import standalone_methods
from core.methods.suggestions import with_suggestions
from core.output.report import svg
from core.output.report.subject import Subject
from core.schema import IntArray, Order, Pool
from core.selection.budget import Budget, count_spent
from core.selection.recipe import MethodPart, Recipe, make_selection
from core.selection.selection import Selection

SHARES = np.linspace(0, 1, 51)  # budgets at which a curve is computed
MAX_COMPARED = 12  # methods
Select = Callable[[Recipe, Pool, Run], Selection]


@dataclass(frozen=True, eq=False)
class Compared:
    """A method that is compared, with its order and the rows that it selects at the budget."""

    label: str
    order: Order
    rows: IntArray


@dataclass(frozen=True)
class Cell:
    """The overlap of two selections: Jaccard, and what is expected by chance."""

    share: float
    expected: float
    low: float
    high: float

    @property
    def kind(self) -> str:
        """Return "more" or "less" than chance, or "within" its range."""
        return "more" if self.share > self.high else "less" if self.share < self.low else "within"


def list_recipes(recipe: Recipe) -> list[Recipe]:
    """Return a recipe for each other method that needs no setup, with suggested parameters and the same filters."""
    names, model = [name for name in standalone_methods() if name != recipe.method.name], recipe.reading.model
    methods = [MethodPart(name=name, params=with_suggestions(name, {}, model)) for name in names]
    return [recipe.model_copy(update={"method": method}) for method in methods]


def select(recipe: Recipe, pool: Pool, run: Run) -> Selection:
    """Select the rows of a recipe from a run."""
    return make_selection(recipe, pool, load_measured(run))


def compare(subject: Subject, recipes: Sequence[Recipe], select: Select = select) -> list[Compared]:
    """Return what each recipe that is measured selects at the budget, without pins and cutoff.

    The random baseline has a seed of its own, so that it repeats no draw of another method.
    """
    compared = []
    for recipe in recipes[:MAX_COMPARED]:
        seed = recipe.seed + (recipe.method.name == "random")
        plain = recipe.model_copy(update={"pins": [], "threshold": None, "seed": seed})
        method = plain.method.build()
        run = find_run(subject.workspace, subject.pool, method, plain.reading.reading(), plain.seed)
        if run is None:
            continue
        selection = select(plain, subject.pool, run)
        compared.append(Compared(method.label, selection.order, selection.rows))
    return compared


def draw_curves(subject: Subject, compared: Sequence[Compared]) -> list[str]:
    """Draw the overlap of the selection's order with every other one, at every budget."""
    n, tokens = len(subject.pool), subject.measured.need("response_tokens")
    in_tokens = Budget.parse(subject.recipe.budget).unit == "tokens"
    budgets = [Budget(float(100 * share), "percent") for share in SHARES]
    if in_tokens:
        budgets = [Budget(int(tokens.sum() * share), "tokens") for share in SHARES]
    ranks, sizes = subject.selection.order.rank(n), _sizes(subject.selection.order, budgets, tokens)
    selected = subject.selection.tokens / max(int(tokens.sum()), 1) if in_tokens else len(subject.selection.rows) / n
    curves = []
    for other in compared:
        found = compute_overlap(ranks, other.order.rank(n), sizes, _sizes(other.order, budgets, tokens))
        ranged = found.low, found.high
        curves.append(svg.overlap_curve(SHARES, found.jaccard, *ranged, at=selected, title=other.label))
    return curves


def _sizes(order: Order, budgets: Sequence[Budget], tokens: IntArray) -> IntArray:
    return prefix_lengths(order.rows, budgets, tokens, spent=count_spent(order.used, tokens))


def tabulate(subject: Subject, compared: Sequence[Compared]) -> tuple[list[str], list[list[Cell | None]]]:
    """Return the labels of all selections, this one first, and the overlap of each with those before it."""
    orders = [subject.selection.order, *(each.order for each in compared)]
    rows, n = [subject.selection.rows, *(each.rows for each in compared)], len(subject.pool)
    shared = Membership.from_subsets(rows, n).shared()
    common = Membership.from_subsets([order.rows for order in orders], n).shared()
    sizes, eligible = np.diag(shared), np.diag(common)
    share = jaccard(shared, sizes[:, None], sizes[None, :])
    a, b = np.broadcast_arrays(sizes[:, None], sizes[None, :])
    chance = expected_overlap(common, eligible[:, None], eligible[None, :], a, b)
    labels = ["this selection", *(each.label for each in compared)]
    numbers, places = np.stack([share, *chance]), range(len(labels))
    return labels, [[Cell(*numbers[:, i, j].tolist()) if i != j else None for j in places] for i in places]


def describe(labels: Sequence[str], cells: Sequence[Sequence[Cell | None]]) -> str:
    """Return which other selections share more rows with this one than chance, as a sentence."""
    others = [(label, cell) for label, cell in zip(labels, cells[0], strict=True) if cell is not None]
    above = [(label, cell) for label, cell in others if cell.kind == "more"]
    more = [f"{label} ({cell.share:.0%}, expected {cell.expected:.0%})" for label, cell in above]
    if not more:
        return "It overlaps with no other method more than chance."
    return f"It overlaps more than chance with {', '.join(more)}."
