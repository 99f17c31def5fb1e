"""Descriptions of columns; the columns that all measurements share, and those of duplicates."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp
from typing import Any

from core.errors import RecipeError

LOW, HIGH = 1 / 3, 2 / 3  # percentiles that count as low and as high


@dataclass(frozen=True)
class Signs:
    """What the sign of a value means, as phrases; "" where a sign means nothing by itself."""

    negative: str = ""
    zero: str = ""
    positive: str = ""

    def phrase(self, value: float) -> str:
        """Return the phrase for the sign of `value`."""
        return self.negative if value < 0 else self.positive if value > 0 else self.zero


@dataclass(frozen=True)
class Column:
    """One column in words: its name, unit, and what its values mean.

    `low` and `high` are clauses that compare with other rows, so they hold wherever the values lie; "" where neither
    end is better. `signs` and `exponential` hold for a value by itself.
    """

    label: str
    low: str = ""
    high: str = ""
    help: str = ""  # formula or source
    unit: str = ""
    signs: Signs = Signs()
    exponential: str = ""  # meaning of e to the value, with "{}" in its place
    identifier: bool = False  # its numbers name groups: an identifier, not a quantity

    @property
    def title(self) -> str:
        """Label and unit, for an axis."""
        return f"{self.label} ({self.unit})" if self.unit else self.label

    def explain(self, value: float, lower: int, same: int, higher: int) -> str:
        """Return what the value of one row means: by itself if it has a meaning of its own, and among all rows.

        `lower`, `same`, `higher`: the number of other rows with such a value.
        """
        others = lower + same + higher
        meaning = self.signs.phrase(value)
        if self.exponential and not meaning:
            meaning = self.exponential.format(_format_exponential(value))
        if others and not meaning:
            share = (lower + same / 2) / others
            meaning = self.low if share <= LOW else self.high if share >= HIGH else ""
        return "; ".join(part for part in (meaning, _describe_position(lower, same, higher)) if part)


def _format_exponential(value: float) -> str:
    if value > 15:
        return f"e^{value:.1f}"
    number = exp(value)
    return f"{number:.1f}" if number < 100 else f"{number:,.0f}"


def _describe_position(lower: int, same: int, higher: int) -> str:
    """Return where a value lies among those of the other rows; a share is rounded down, so it is never overstated."""
    others = lower + same + higher
    if not others:
        return "the only row with this score"
    if same == others:
        return "the same for all rows"
    if not lower or not higher:
        end = "highest" if lower else "lowest"
        return f"the {end} value, shared by {same + 1:,} rows" if same else f"the {end} of all rows"
    share = 100 * max(lower, same, higher) // others
    if same > max(lower, higher):
        return f"the same as {share}% of rows"
    return f"{'higher' if lower >= higher else 'lower'} than {share}% of rows"


def group_column(label: str, meaning: str) -> Column:
    """Return the column of numbers that name groups of rows, the largest 0."""
    text = f"The number of {meaning}, 0 for the largest: an identifier, not a quantity."
    return Column(label, help=text, identifier=True)


NATS = "nats per response token"
Signals = Mapping[str, Mapping[str, Column]]  # what a method may need -> the columns that hold it

PERPLEXITY = "perplexity {}"  # e to the mean negative log-likelihood
ALTERNATIVES = "as uncertain as {} equally likely tokens"  # e to the mean entropy

SHARED_SIGNALS: Signals = {
    "tokens": {  # from the tokenizer alone
        "prompt_tokens": Column(
            "Prompt length",
            help="Tokens before the response as the model reads them, template included.",
            unit="tokens",
        ),
        "response_tokens": Column(
            "Response length", help="Tokens of the response as the model reads it, end of turn included.", unit="tokens"
        ),
        "prompt_cut": Column(
            "Prompt truncation",
            "less of the prompt is beyond the maximum sequence length",
            "more of the prompt is beyond the maximum sequence length",
            "Tokens of the prompt that the model does not read because the row exceeds the maximum sequence length.",
            unit="tokens",
            signs=Signs(zero="the model reads the whole prompt", positive="the model does not read the whole prompt"),
        ),
        "response_cut": Column(
            "Response truncation",
            "less of the response is beyond the maximum sequence length",
            "more of the response is beyond the maximum sequence length",
            "Tokens of the response that the model does not read because the row exceeds the maximum sequence length.",
            unit="tokens",
            signs=Signs(
                zero="the model reads the whole response", positive="the model does not read the whole response"
            ),
        ),
        "truncated": Column("Truncated", help="Whether the row exceeds the maximum sequence length."),
    },
    "base": {  # from one forward pass of the base model
        "nll": Column(
            "NLL",
            "the base model predicts the response better",
            "the response surprises the base model more: new knowledge, or noise",
            "Mean negative log-likelihood of the response under the base model.",
            unit=NATS,
            exponential=PERPLEXITY,
        ),
        "entropy": Column(
            "H",
            "the base model is more certain of the next token",
            "the base model is less certain of the next token",
            "Mean entropy of the base model's next-token distribution over the response.",
            unit=NATS,
            exponential=ALTERNATIVES,
        ),
    },
}


def count_cut(columns: Mapping[str, Any]) -> dict[str, int]:
    """Count what was not read of these rows, which were too long for the model: by side, rows and tokens."""
    counts = {"rows": int(columns["truncated"].sum())}
    for side in ("prompt", "response"):
        cut = columns[f"{side}_cut"]
        counts |= {f"{side}s": int((cut > 0).sum()), f"{side}_tokens": int(cut.sum())}
    return counts


def cut_in_words(counts: Mapping[str, int]) -> str:
    """Return what was not read, such as "3 prompts lost 120 tokens and 1 response lost 7 tokens"."""
    sides = [(counts[f"{side}s"], side, counts[f"{side}_tokens"]) for side in ("prompt", "response")]
    return " and ".join(f"{rows:,} {side}{'s'[: rows != 1]} lost {lost:,} tokens" for rows, side, lost in sides if rows)


EXACT_DUPLICATES = "duplicate_of"  # the earlier row that a row repeats exactly
NEAR_DUPLICATES_PREFIX = "near_duplicate_of@"  # before the least similarity; the earlier row that it nearly repeats
USUAL_NEAR_DUPLICATES = f"{NEAR_DUPLICATES_PREFIX}0.8"
USUAL_SEMANTIC_DUPLICATES = "semantic_duplicate_of@0.95"
OVERLAP_PREFIX = "overlap@"  # before the name of a benchmark; how much of the row is in it
SCORE_PREFIX = "score@"  # before the name of a score that another tool gave
TAG_PREFIX = "tag."  # before the name of a tag; whether a row has it
MIN_SIMILARITY = 0.3  # below it almost any two rows count as near-duplicates


@dataclass(frozen=True)
class Duplicates:
    """A kind of duplicates that are searched for from some similarity on."""

    prefix: str  # of its columns, before the least similarity
    name: str
    measure: str  # what the similarity is
    usual: float  # similarity
    least: float  # one that may be asked for
    embedding: str = ""  # column of the base pass that is compared; "": words are
    options: tuple[str, ...] = ()  # of `python -m core duplicates`

    @property
    def key(self) -> str:
        """Name of their number in results."""
        return f"{self.name.replace('-', ' ').replace(' ', '_')}s"

    def column(self, similarity: float) -> str:
        """Return the column of duplicates from this similarity on; RecipeError if it is out of range."""
        if not self.least <= similarity <= 1:
            raise RecipeError(f"The {self.name} threshold is a number from {self.least:g} to 1, not {similarity:g}.")
        return f"{self.prefix}{similarity:g}"

    def similarity(self, column: str) -> float:
        """Return the least similarity of one of its columns; RecipeError if it is no number, or out of range."""
        try:
            similarity = float(column.removeprefix(self.prefix))
        except ValueError:
            text = f"'{column}': write the {self.name} threshold after the @, such as {self.usual}."
            raise RecipeError(text) from None
        self.column(similarity)
        return similarity

    def limit(self, column: str) -> str:
        """Return in words from which similarity on rows are in one of its columns: similarity ≥ 0.8."""
        return f"{self.measure} ≥ {column.removeprefix(self.prefix)}"


DUPLICATES = {  # what is compared -> its kind
    "words": Duplicates(NEAR_DUPLICATES_PREFIX, "near-duplicate", "similarity", 0.8, MIN_SIMILARITY),
    "response": Duplicates(
        "semantic_duplicate_of@",
        "semantic duplicate",
        "cosine of responses",
        0.95,
        0.5,
        "response_embedding",
        ("--by", "embedding"),
    ),
    "prompt": Duplicates(
        "semantic_prompt_duplicate_of@",
        "semantic duplicate",
        "cosine of prompts",
        0.95,
        0.5,
        "prompt_embedding",
        ("--by", "embedding", "--of", "prompt"),
    ),
}


def duplicates_of(column: str) -> Duplicates | None:
    """Return the kind of duplicates that a column holds, by its prefix; None for other columns and exact duplicates."""
    return next((kind for kind in DUPLICATES.values() if column.startswith(kind.prefix)), None)


def normalise_duplicates(column: str) -> str:
    """Return a column's usual name: near_duplicate_of, and 0.80 after its @, also mean near_duplicate_of@0.8."""
    kind = duplicates_of(f"{column}@") if "@" not in column else duplicates_of(column)
    if kind is None:
        return column
    return kind.column(kind.similarity(column) if "@" in column else kind.usual)


def describe_duplicates(column: str) -> str:
    """Return what a column of duplicates holds: near-duplicates (similarity ≥ 0.8)."""
    kind = duplicates_of(column)
    return "exact duplicates" if kind is None else f"{kind.name}s ({kind.limit(column)})"


def pool_column(name: str) -> Column:
    """Return the description of a column of a pool that no run measured: overlap@NAME or score@NAME."""
    if name.startswith(SCORE_PREFIX):
        help = "A score that another tool gave the rows; the tool defines which end is better."
        return Column(name.removeprefix(SCORE_PREFIX), help=help)
    return Column(
        f"Overlap with {name.removeprefix(OVERLAP_PREFIX)}",
        low="little of the row is in the benchmark",
        high="much of the row is in the benchmark",
        help="Share of the words of prompt or response in 13 adjacent words that the benchmark has, or the similarity "
        "to one of its texts if that is greater; 0: no overlap.",
    )
