"""Descriptions of columns; the columns that all measurements share, and those of duplicates."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.errors import RecipeError


@dataclass(frozen=True)
class Column:
    """One column in words: its name, unit, and what its two ends mean."""

    label: str
    low: str = "low values"  # what a low value means
    high: str = "high values"
    help: str = ""  # formula or source
    unit: str = ""
    identifier: bool = False  # its numbers name groups and are no amounts

    @property
    def title(self) -> str:
        """Label and unit, for an axis."""
        return f"{self.label} ({self.unit})" if self.unit else self.label


def group_column(label: str, group: str, meaning: str) -> Column:
    """Return the column of numbers that name groups of rows, the largest 0."""
    text = f"A number that names {meaning}, 0 = the largest: a label, no amount."
    return Column(label, f"a large {group}", f"a small {group}", text, identifier=True)


NATS = "nats per response token"
Signals = Mapping[str, Mapping[str, Column]]  # what a method may need -> the columns that hold it

SHARED_SIGNALS: Signals = {
    "tokens": {  # from the tokenizer alone
        "prompt_tokens": Column(
            "Prompt length",
            "short prompts",
            "long prompts",
            "Tokens before the response, template included, as the model reads them.",
            unit="tokens",
        ),
        "response_tokens": Column(
            "Response length",
            "short responses",
            "long responses",
            "Tokens of the response, end of turn included, as the model reads it.",
            unit="tokens",
        ),
        "prompt_cut": Column(
            "Prompt cut",
            "the whole prompt was read",
            "much of the prompt did not fit and was not read",
            "Tokens of the prompt that were not read, because the row is longer than the model reads.",
            unit="tokens",
        ),
        "response_cut": Column(
            "Response cut",
            "the whole response was read",
            "much of the response did not fit and was not read",
            "Tokens of the response that were not read, because the row is longer than the model reads.",
            unit="tokens",
        ),
        "truncated": Column("truncated"),
    },
    "base": {  # from one forward pass of the base model
        "nll": Column(
            "NLL",
            "the base model predicts these responses well",
            "these responses surprise the base model: new knowledge, or noise",
            "Mean negative log-likelihood of the response under the base model.",
            unit=NATS,
        ),
        "entropy": Column(
            "H",
            "the base model sees hardly any alternative at each token",
            "the base model sees many alternatives at each token",
            "Mean entropy of the base model's next-token distribution over the response.",
            unit=NATS,
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
MIN_SIMILARITY = 0.3  # below it almost any two rows count as near-duplicates


def near_duplicate_column(similarity: float) -> str:
    """Return the column of near-duplicates from this similarity on, such as near_duplicate_of@0.8."""
    if not MIN_SIMILARITY <= similarity <= 1:
        raise RecipeError(f"Near duplicates are alike from {MIN_SIMILARITY:g} to 1, not from {similarity:g}.")
    return f"{NEAR_DUPLICATES_PREFIX}{similarity:g}"


def near_duplicate_similarity(column: str) -> float | None:
    """Return the least similarity of a column of near-duplicates; None for other columns. RecipeError for no number."""
    if not column.startswith(NEAR_DUPLICATES_PREFIX):
        return None
    try:
        similarity = float(column.removeprefix(NEAR_DUPLICATES_PREFIX))
    except ValueError:
        raise RecipeError(f"'{column}': behind the @ stands how alike rows are at least, such as 0.8.") from None
    near_duplicate_column(similarity)
    return similarity


def normalise_duplicates(column: str) -> str:
    """Return a column's usual name: near_duplicate_of, and 0.80 after its @, also mean near_duplicate_of@0.8."""
    column = USUAL_NEAR_DUPLICATES if column == NEAR_DUPLICATES_PREFIX.removesuffix("@") else column
    similarity = near_duplicate_similarity(column)
    return column if similarity is None else near_duplicate_column(similarity)
