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
              adds rows. Rows that are used already count as selected.
    release   for one budget B of N rows, the rule of the authors' code (`select_by_release_rule`). Subsets of other
              budgets do not nest, and it mostly gives a few rows less than B. In the order its rows come first and
              then all other rows, by score; `Order.fixed` holds the release's, and `facts` counts the selected ones.

Sizes and N count the eligible rows that have a score and a bin. A row whose instruction has no embedding is in no bin
and has no quota, so it is excluded with that reason.

A row with fewer than K answers has the values of those it has, which are a little lower than with all K
(core/algorithms/answer_geometry.py); `answers_counted` holds their number.

Source: ADG, https://arxiv.org/abs/2604.10448, and the authors' released code, whose quota rule and 80-token limit on
prompts are options here. There middle and bottom scores are the baselines, and D or I alone did worse.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from core.algorithms.apportionment import interleave_by_seats
from core.algorithms.semantic_bins import BinTree
from core.methods.params import BaseMethod, measure_param, number, option, param
from core.methods.ranking import exclusions, group_rows, missing_response, put_first, rank_rows, split_eligible
from core.schema import NO_ROWS, BoolArray, FloatArray, IntArray, Measured, Order, Prefer

NO_BIN = "no semantic bin"
MIN_BIN_ROWS = 3  # of a bin that the release takes top and bottom rows from
Pick = Literal["top", "middle", "bottom"]


@dataclass(frozen=True)
class AnswerDivergence(BaseMethod):
    """Spread of a model's own answers to each instruction, within semantic bins (ADG)."""

    name: ClassVar[str] = "answer_divergence"
    label: ClassVar[str] = "Answer divergence"
    paper: ClassVar[str] = "ADG"
    summary: ClassVar[str] = (
        "Selects instructions whose generated answers differ most, within groups of similar instructions."
    )
    needs: ClassVar[tuple[str, ...]] = ("tokens", "base", "answers")
    # Its own rank: quotas put a low score of one bin before a high one of another, so a threshold on the score would
    # not cut this order at one place. To set one, filter by the column `divergence`.
    ranks_by: ClassVar[str] = "answer_divergence.rank"
    prefer: ClassVar[Prefer] = "low"  # rank 0 comes first, whichever end of the scores `pick` names

    dispersion_weight: float = param(
        number(0.6, 0.0, 1.0, label="Weight of D"),
        "Weight of dispersion D, how much the answers differ. Anisotropy I, in how many directions, has the rest.",
    )
    pick: Literal["top", "middle", "bottom"] = param(
        option("top", label="Preferred scores", words={"top": "highest", "bottom": "lowest"}),
        "The scores that rank first inside each semantic bin. Middle and lowest are controls.",
    )
    bins: int = param(
        number(0, 0, 2000, label="Semantic bins", zero="all measured"),
        "Number of semantic bins that share the budget: the most similar bins are merged until this many remain.",
    )
    quota: Literal["webster", "release"] = param(
        option("webster", label="Rows per bin", words={"webster": "by bin size", "release": "the authors' rule"}),
        "How the bins share the budget: in proportion to their sizes (Webster seats), or as in the authors' code.",
    )
    released_rows: int = param(
        number(10_000, 1, 10_000_000, label="Budget B of the authors' rule"),
        "The budget, in rows, for which the authors' rule is computed.",
        used_if=lambda method: method.quota == "release",
    )
    source: Literal["local", "server", "file"] = measure_param(
        option("local", label="Answers from", words={"local": "the model", "server": "a server", "file": "a file"}),
        "Source of the answers: the measuring model, a server with the OpenAI API, or a file of generated answers.",
    )
    base_url: str = measure_param(
        option("", label="Server address", names="server"),
        "Address of the server, with its /v1. It receives chat messages, or plain text with the Alpaca template.",
        used_if=lambda method: method.source == "server",
    )
    served_model: str = measure_param(
        option("", label="Model on the server", names="word"),
        "Name of the model on the server.",
        used_if=lambda method: method.source == "server",
    )
    answers_file: str = measure_param(
        option("", label="File of answers", names="file"),
        "JSONL with id and generated_answers in each row.",
        used_if=lambda method: method.source == "file",
    )
    answers: int = measure_param(number(5, 2, 20, label="Answers K"), "Number of answers per instruction.")
    temperature: float = measure_param(
        number(1.4, 0.01, 5.0),
        "Sampling temperature. Above 1, unlikely tokens are sampled more often than the model predicts.",
        used_if=lambda method: method.source != "file",
    )
    top_p: float = measure_param(
        number(0.9, 0.01, 1.0, label="Top-p"),
        "Each token is sampled from the most likely tokens that together have this probability.",
        used_if=lambda method: method.source != "file",
    )
    max_new_tokens: int = measure_param(
        number(256, 1, 8192), "Maximum length of an answer, in tokens.", used_if=lambda method: method.source != "file"
    )
    prompt_limit: int = measure_param(
        number(0, 0, 100_000, zero="all tokens"),
        "Maximum number of prompt tokens that the model reads. The authors' code reads 80.",
        minor=True,
    )
    embeddings: str = measure_param(
        option("", label="Embedding model", names="model", words={"": "the measuring model"}),
        "A sentence-transformer (id or folder) that embeds the answers. Empty: hidden states of the measuring model.",
        minor=True,
    )
    weights: Literal["unicode", "release"] = measure_param(
        option("unicode", label="Token weights", words={"unicode": "no punctuation", "release": "the authors' list"}),
        "Tokens that do not count in an answer's embedding: punctuation by Unicode, or the list of the authors' code.",
        later=True,
        minor=True,
        used_if=lambda method: method.embeddings == "",
    )
    bins_measured: int = measure_param(
        number(0, 0, 2000, label="Measured semantic bins", zero="automatic"),
        "Number of clusters of instructions (k-means). Automatic is one for every 50 rows, at most 1,000.",
        minor=True,
    )

    def scores(self, measured: Measured) -> dict[str, NDArray[Any]]:
        """Return divergence, w · D + (1 − w) · I in [0, 1]; NaN for rows with fewer than two answers."""
        return {"divergence": self._divergence(measured)}

    def order(self, measured: Measured, eligible: BoolArray, *, seed: int, used: IntArray = NO_ROWS) -> Order:
        """Order rows by the quotas of their bins; `seed` is unused here, the measurement has used it."""
        score, bin_of = self._divergence(measured), self.bin_of(measured)
        excluded_by = exclusions(eligible, missing_response(measured), np.isfinite(score)) | {NO_BIN: bin_of < 0}
        candidates, excluded = split_eligible(excluded_by)
        bins = group_rows(bin_of, candidates)
        if self.quota == "webster":
            orders = [rank_rows(score, rows, prefer=self._preferred_end) for rows in bins]
            sizes = [float(len(rows)) for rows in orders]
            return Order(interleave_by_seats(put_first(used, bin_of, orders), sizes), excluded)
        first = select_by_release_rule(score, bins, self.released_rows, pick=self.pick)
        rest = rank_rows(score, np.setdiff1d(candidates, first), prefer=self._preferred_end)
        return Order(np.concatenate([first, rest]), excluded, fixed=first)

    def facts(self, measured: Measured, order: Order, rows: IntArray) -> dict[str, Any]:
        """Return how many of the selected rows are the release's; {} under another quota."""
        if order.fixed is None:
            return {}
        kept = int(np.isin(rows, order.fixed).sum())
        return {"release_rows": kept, "filled_by_score": len(rows) - kept, "release_selects": len(order.fixed)}

    def facts_in_words(self, facts: Mapping[str, Any]) -> list[str]:
        """Return a sentence on the rows that the release's rule selected."""
        return [describe_release(facts, self.released_rows)] if facts else []

    def bin_of(self, measured: Measured) -> IntArray:
        """Return (N,) the semantic bin of each row after merging to `bins`, 0 = the largest; −1: none."""
        fine: IntArray = measured.need("semantic_bin")
        return BinTree(fine, measured.need("bin_merges")).cut(self.bins) if self.bins else fine

    def _divergence(self, measured: Measured) -> FloatArray:
        dispersion, anisotropy = (measured.need(name).astype(np.float64) for name in ("dispersion", "anisotropy"))
        score: NDArray[np.float64] = self.dispersion_weight * dispersion + (1 - self.dispersion_weight) * anisotropy
        return score.astype(np.float32)

    @property
    def _preferred_end(self) -> Prefer:
        ends: dict[str, Prefer] = {"top": "high", "middle": "middle", "bottom": "low"}
        return ends[self.pick]


def describe_release(facts: Mapping[str, Any], budget: int) -> str:
    """Return a sentence on `AnswerDivergence.facts`: how many rows the authors' rule selected, and what the rest is."""
    kept, filled = facts["release_rows"], facts["filled_by_score"]
    rest = f" The other {filled:,} have the next best scores or are always included." if filled else ""
    return (
        f"The authors' rule for B = {budget:,} selects {facts['release_selects']:,} rows; "
        f"{kept:,} of the {kept + filled:,} selected rows are among them.{rest}"
    )


def select_by_release_rule(score: FloatArray, bins: list[IntArray], budget: int, *, pick: Pick) -> IntArray:
    """Select for `budget` rows B by the release's rule; `bins` hold rows (ascending), N in all.

        quota      q = max(1, ⌊size · (B / N)⌋) rows of each bin, each for top, middle and bottom
        scale      size / 3q, if 3q > size: top and bottom are max(1, ⌊q · scale⌋) rows, the middle all others
        top        the highest of a bin; bottom the lowest; of equal scores the earlier row counts as the higher
        middle     of the rows between top and bottom those around their median, of two equally far from it the higher
        small      bins under 3 rows give nothing to top and bottom, and all their rows to the middle
        cut        of more than B rows in all the B highest are kept, for the bottom the B lowest

    Mostly a few rows fewer than B. Computed in floating point, as the release does: 98 · (1 / 49) is below 2. Returned
    in the order of the cut; of equal scores the row of the bin that begins earlier is first.
    """
    filled = sorted((rows for rows in bins if len(rows)), key=lambda rows: int(rows[0]))
    share = budget / max(1, sum(map(len, filled)))
    picked = [_pick_of_bin(rank_rows(score, rows, prefer="high"), share, pick) for rows in filled]
    rows = np.concatenate([np.empty(0, np.int64), *picked])
    values = score[rows].astype(np.float64)
    return np.asarray(rows[np.argsort(values if pick == "bottom" else -values, kind="stable")][:budget])


def _pick_of_bin(ranked: IntArray, share: float, pick: Pick) -> IntArray:
    """Return what one bin gives by the release's rule; `ranked` are its rows, the highest first."""
    size = len(ranked)
    if size < MIN_BIN_ROWS:
        return ranked if pick == "middle" else ranked[:0]
    end, middle = release_quota(size, share)
    if pick != "middle":
        return ranked[:end] if pick == "top" else ranked[-end:]
    start = end + (size - 2 * end - middle) // 2
    return ranked[start : start + middle]


def release_quota(size: int, share: float) -> tuple[int, int]:
    """Return how many rows a bin of 3 or more gives to top and to bottom, and how many to the middle."""
    quota = max(1, int(size * share))
    if 3 * quota <= size:
        return quota, quota
    end = max(1, int(quota * (size / (3 * quota))))
    return end, size - 2 * end
