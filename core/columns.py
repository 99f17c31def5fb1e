"""The columns that a measurement stores, and the names of columns that say what a row repeats."""

from core.errors import RecipeError

SIGNALS: dict[str, tuple[str, ...]] = {
    "tokens": ("prompt_tokens", "response_tokens", "truncated"),  # the tokenizer alone
    "base": ("nll", "entropy"),  # one forward pass of the model as it is
    "calibrated": ("nll_cal", "entropy_cal"),  # warm-up training, then a second pass
    "activations": ("coverage_gain", "activation_cluster"),  # ride on the base pass; then greedy search and k-means
    "tasks": ("task_code",),  # labels of the pool, or derived from embeddings of the prompts
    "confidence": ("confidence",),  # greedy continuation of some prompts of each task
    "influence": ("nll_adapted",),  # LoRA warm-up; agreement of every row's gradient with those of target sets
    "answers": ("dispersion", "anisotropy", "answers_counted", "semantic_bin"),  # K answers to each prompt
    "imported": ("imported",),  # a number in the rows themselves
}


EXACT_DUPLICATES = "duplicate_of"  # the row that a row repeats word for word
NEAR_DUPLICATES_PREFIX = "near_duplicate_of@"  # the row that it nearly repeats; the least similarity, 0 to 1, follows
USUAL_NEAR_DUPLICATES = f"{NEAR_DUPLICATES_PREFIX}0.8"
MIN_SIMILARITY = 0.3  # below it almost any two rows count as near-duplicates


def near_duplicate_column(alike: float) -> str:
    """The column to filter by for one likeness: near_duplicate_of@0.8."""
    if not MIN_SIMILARITY <= alike <= 1:
        raise RecipeError(f"Near duplicates are alike from {MIN_SIMILARITY:g} to 1, not from {alike:g}.")
    return f"{NEAR_DUPLICATES_PREFIX}{alike:g}"


def near_duplicate_similarity(column: str) -> float | None:
    """How alike the near duplicates of a column are at least; None for any other column. RecipeError for no number."""
    if not column.startswith(NEAR_DUPLICATES_PREFIX):
        return None
    try:
        alike = float(column.removeprefix(NEAR_DUPLICATES_PREFIX))
    except ValueError:
        raise RecipeError(f"'{column}': behind the @ stands how alike rows are at least, such as 0.8.") from None
    near_duplicate_column(alike)
    return alike
