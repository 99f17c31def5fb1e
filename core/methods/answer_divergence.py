"""Answer divergence: instructions whose generated answers differ most and in most directions, bin by bin.

    K answers are generated per instruction and embedded as unit vectors (core/models/generation/answers.py,
    core/models/answer_embeddings.py)
    D       how much they differ                                core/algorithms/answer_geometry.py
    I       in how many directions: 0 = along one line
    score   w · D + (1 − w) · I,  w = 0.6                       high is first

Rows are taken from semantic bins, groups of similar instructions (core/algorithms/semantic_bins.py), so that no
subject is excluded only because the model is sure of it:

    webster   (default) the next row comes from the bin with the highest  size / (rows selected + ½), its best
              remaining one. Shares follow the sizes as closely as whole rows can, exactly, and a larger budget only
              adds rows.
    release   for a budget of B of N rows: bins under 3 rows are skipped, each other gives its max(1, ⌊size · B / N⌋)
              best rows, and of all these the B best are kept. Made for that one B: subsets of other budgets do not
              nest, and rounding down mostly leaves a few rows less than B. In the order these come first, by score,
              and then all other rows, by score: a prefix of `release_length` rows is the release's selection.

Sizes and N count the eligible rows that have a score and a bin. A row whose instruction has no embedding is in no bin
and has no quota, so it is excluded with that reason.

A row with fewer than K answers has the values of those it has, which are a little lower than with all K
(core/algorithms/answer_geometry.py); `answers_counted` holds their number.

Source: ADG, https://arxiv.org/abs/2604.10448, and the authors' released code, whose quota rule and 80-token limit on
prompts are options here. There middle and bottom scores are the baselines, and D or I alone did worse.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from core.algorithms.apportionment import interleave_by_seats
from core.algorithms.semantic_bins import BinTree
from core.methods.params import BaseMethod, measure_param, number, option, param
from core.methods.ranking import exclusions, group_rows, missing_response, rank_rows, split_eligible
from core.schema import BoolArray, FloatArray, IntArray, Measured, Order, Prefer

NO_BIN = "no semantic bin"
MIN_BIN_ROWS = 3  # the release skips smaller bins


@dataclass(frozen=True)
class AnswerDivergence(BaseMethod):
    """Spread of a model's own answers to each instruction, within semantic bins (ADG)."""

    name: ClassVar[str] = "answer_divergence"
    label: ClassVar[str] = "Answer divergence"
    summary: ClassVar[str] = (
        "Keeps, among like instructions, those to which a model gives answers far apart and in several directions."
    )
    needs: ClassVar[tuple[str, ...]] = ("tokens", "base", "answers")
    # Its own rank: quotas put a low score of one bin before a high one of another, so a threshold on the score would
    # not cut this order at one place. To set one, filter by the column `divergence`.
    ranks_by: ClassVar[str] = "answer_divergence.rank"
    prefer: ClassVar[Prefer] = "low"  # rank 0 comes first, whichever end of the scores `pick` names

    dispersion_weight: float = param(
        number(0.6, 0.0, 1.0, label="Weight of D"),
        "Weight of D, how far apart answers lie; the rest is that of I, in how many directions.",
    )
    pick: Literal["top", "middle", "bottom"] = param(
        option("top", label="Take scores from the"),
        "Which scores to take first inside each bin. Middle and bottom are there to compare with.",
    )
    bins: int = param(
        number(0, 0, 2000, label="Semantic bins"),
        "Semantic bins to take rows from: like ones are merged until so many are left. 0: all that were measured.",
    )
    quota: Literal["webster", "release"] = param(
        option("webster", label="Rows per bin"),
        "Webster: bins give rows in proportion to their size, at every budget. Release: the rule of the authors' code.",
    )
    released_rows: int = param(
        number(10_000, 1, 10_000_000, label="Released rows B"),
        "The budget B in rows that the release's rule is worked out for. For release only.",
    )
    source: Literal["local", "server", "file"] = measure_param(
        option("local", label="Answers from"),
        "Who answers: the model itself, a server that speaks the OpenAI API, or a file of answers made elsewhere.",
    )
    answers: int = measure_param(number(5, 2, 20, label="Answers K"), "Answers drawn per instruction.")
    temperature: float = measure_param(
        number(1.4, 0.01, 5.0), "Of the draw: above 1 unlikely words come more often than the model thinks."
    )
    top_p: float = measure_param(
        number(0.9, 0.01, 1.0, label="Top-p"),
        "Each token is drawn from the likeliest that have this probability together.",
    )
    max_new_tokens: int = measure_param(number(256, 1, 8192), "Tokens of an answer, at most.")
    prompt_limit: int = measure_param(
        number(0, 0, 100_000), "Tokens of a prompt that are read, as the release does with 80. 0: all."
    )
    embeddings: str = measure_param(
        option("", label="Embeddings by", names="model"),
        "A sentence-transformer (id or folder) to embed answers with. Empty: the scoring model's own hidden states.",
    )
    base_url: str = measure_param(
        option("", label="Server address", names="server"),
        "Where the server listens, with its /v1. It is sent messages; with the Alpaca template, text. For server only.",
    )
    served_model: str = measure_param(
        option("", label="Model on the server", names="word"), "What the server calls the model. For server only."
    )
    answers_file: str = measure_param(
        option("", label="File of answers", names="file"),
        "JSONL with an id and generated_answers in each row. For file only.",
    )
    bins_measured: int = measure_param(
        number(0, 0, 2000),
        "Semantic bins to find by k-means, of which the bins in use are made. 0: one for every 50 rows, 1000 at most.",
    )

    def scores(self, measured: Measured) -> dict[str, NDArray[Any]]:
        """Return divergence, w · D + (1 − w) · I in [0, 1]; NaN for rows with fewer than two answers."""
        return {"divergence": self._divergence(measured)}

    def order(self, measured: Measured, eligible: BoolArray, *, seed: int) -> Order:
        """Order rows by the quotas of their bins; `seed` is unused here, the measurement has used it."""
        score, bin_of = self._divergence(measured), self.bin_of(measured)
        excluded_by = exclusions(eligible, missing_response(measured), np.isfinite(score)) | {NO_BIN: bin_of < 0}
        candidates, excluded = split_eligible(excluded_by)
        return Order(self._order_by_quota(score, bin_of, candidates), excluded)

    def release_length(self, measured: Measured, order: Order) -> int:
        """Return how many of the first rows of `order`, one of this method, are the release's selection: B at most."""
        return len(self._release_selection(self._divergence(measured), self.bin_of(measured), np.sort(order.rows)))

    def bin_of(self, measured: Measured) -> IntArray:
        """Return (N,) the semantic bin of each row after merging to `bins`, 0 = the largest; −1: none."""
        fine: IntArray = measured.need("semantic_bin")
        return BinTree(fine, measured.need("bin_merges")).cut(self.bins) if self.bins else fine

    def _divergence(self, measured: Measured) -> FloatArray:
        dispersion, anisotropy = (measured.need(name).astype(np.float64) for name in ("dispersion", "anisotropy"))
        score: NDArray[np.float64] = self.dispersion_weight * dispersion + (1 - self.dispersion_weight) * anisotropy
        return score.astype(np.float32)

    def _order_by_quota(self, score: FloatArray, bin_of: IntArray, rows: IntArray) -> IntArray:
        """Sort `rows` (ascending), best first."""
        if self.quota == "webster":
            orders = [rank_rows(score, bin_rows, prefer=self._preferred_end) for bin_rows in group_rows(bin_of, rows)]
            return interleave_by_seats(orders, [float(len(bin_rows)) for bin_rows in orders])
        first = self._release_selection(score, bin_of, rows)
        rest = np.setdiff1d(rows, first, assume_unique=True)
        return np.concatenate([first, rank_rows(score, rest, prefer=self._preferred_end)])

    def _release_selection(self, score: FloatArray, bin_of: IntArray, rows: IntArray) -> IntArray:
        return select_by_release_rule(score, group_rows(bin_of, rows), self.released_rows, prefer=self._preferred_end)

    @property
    def _preferred_end(self) -> Prefer:
        ends: dict[str, Prefer] = {"top": "high", "middle": "middle", "bottom": "low"}
        return ends[self.pick]


def select_by_release_rule(score: FloatArray, bins: list[IntArray], budget: int, *, prefer: Prefer) -> IntArray:
    """Select for `budget` rows B by the release's rule, best first; `bins` hold rows (ascending).

    Each bin of at least 3 rows gives max(1, ⌊size · B / N⌋), N the number of all rows; of those the B best are kept.
    Mostly a few rows fewer than B.
    """
    n = sum(len(rows) for rows in bins)
    best_of_bins = [
        rank_rows(score, rows, prefer=prefer)[: max(1, len(rows) * budget // n)]
        for rows in bins
        if len(rows) >= MIN_BIN_ROWS
    ]
    rows = np.sort(np.concatenate([np.empty(0, np.int64), *best_of_bins]))
    return rank_rows(score, rows, prefer=prefer)[:budget]
