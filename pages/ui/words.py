"""Meaning of every column: its label, its unit, and what its two ends mean."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from core.schema import Method

Prefer = Literal["high", "low", "middle"]


@dataclass(frozen=True)
class Meaning:
    """Label, unit and meaning of one column."""

    label: str
    unit: str  # "" = none
    low: str  # what a low value means
    high: str  # what a high value means
    help: str  # formula or source

    @property
    def title(self) -> str:
        """Return label and unit, for an axis."""
        return f"{self.label} ({self.unit})" if self.unit else self.label


NATS = "nats per response token"
IDENTIFIER_COLUMNS = (
    "activation_cluster",
    "semantic_bin",
    "task_code",
)  # their numbers identify groups; they are no quantities
INFLUENCE = Meaning(
    "Influence",
    "cosine",
    "training on these would move the model away from what the target set prefers",
    "training on these would move the model towards what the target set prefers",
    "Cosine of the row's step with the target's direction, mean over pairs, weighted over checkpoints; of several "
    "sub-tasks the highest.",
)
LESS = Meaning(
    "Influence on chosen answers (LESS)",
    "cosine",
    "training on these would make the target's chosen answers less likely",
    "training on these would make the target's chosen answers more likely",
    "As influence, but the target's loss is that of its chosen answers alone: the control.",
)
COLUMNS: dict[str, Meaning] = {
    "delta_entropy": Meaning(
        "ΔH",
        NATS,
        "the model grew less certain on these while it learned (expansion), or gained least certainty",
        "the model grew more certain on these while it learned (compression)",
        "Entropy of the base model minus entropy after the warm-up, mean over the response.",
    ),
    "delta_nll": Meaning(
        "ΔNLL",
        NATS,
        "the warm-up made these much easier to predict: learnt easily",
        "the warm-up made these harder to predict: not learnt",
        "NLL after the warm-up minus NLL of the base model, mean over the response.",
    ),
    "nll": Meaning(
        "NLL",
        NATS,
        "the base model predicts these responses well",
        "these responses surprise the base model: new knowledge, or noise",
        "Mean negative log-likelihood of the response under the base model.",
    ),
    "entropy": Meaning(
        "H",
        NATS,
        "the base model sees hardly any alternative at each token",
        "the base model sees many alternatives at each token",
        "Mean entropy of the base model's next-token distribution over the response.",
    ),
    "nll_cal": Meaning(
        "NLL after warm-up",
        NATS,
        "well predicted after the warm-up",
        "still a surprise after the warm-up",
        "Mean negative log-likelihood of the response under the calibrated model.",
    ),
    "entropy_cal": Meaning(
        "H after warm-up",
        NATS,
        "few alternatives at each token after the warm-up",
        "many alternatives at each token after the warm-up",
        "Mean entropy of the calibrated model's next-token distribution over the response.",
    ),
    "influence": INFLUENCE,
    "nll_adapted": Meaning(
        "NLL after the adapter",
        NATS,
        "well predicted after the LoRA warm-up",
        "still a surprise after the LoRA warm-up",
        "Mean negative log-likelihood of the response under the model with the adapter of the last epoch.",
    ),
    "response_tokens": Meaning(
        "Response length",
        "tokens",
        "short responses",
        "long responses",
        "Tokens of the response, end of turn included, as the model reads it.",
    ),
    "prompt_tokens": Meaning(
        "Prompt length",
        "tokens",
        "short prompts",
        "long prompts",
        "Tokens before the response, template included, as the model reads them.",
    ),
    "coverage_gain": Meaning(
        "Coverage gain",
        "",
        "what these switch on was covered by rows chosen before them: repeats",
        "these switched on most that the rows chosen before them had not: they add most variety",
        "f of the rows up to and with this one less f without it, in the greedy order over the model's neurons.",
    ),
    "activation_cluster": Meaning(
        "Activation cluster",
        "",
        "a large cluster",
        "a small cluster",
        "A number that names a group of rows with like neurons on, 0 = the largest: a label, no amount.",
    ),
    "task_code": Meaning(
        "Task number",
        "",
        "a large task",
        "a small task",
        "A number that names a task, 0 = the largest: a label, no amount.",
    ),
    "confidence": Meaning(
        "Confidence",
        "",
        "the base model is unsure how to go on after these prompts",
        "the base model goes on after these prompts without hesitation",
        "exp of the mean log-likelihood of the base model's own greedy continuation, for the prompts that were asked.",
    ),
    "response_confidence": Meaning(
        "Response confidence",
        "",
        "the base model would hardly have given these responses",
        "the base model finds these responses likely",
        "exp of minus the NLL of the pool's response under the base model.",
    ),
    "task_confidence": Meaning(
        "Task confidence",
        "",
        "rows of tasks that the base model is unsure of: these get more rows",
        "rows of tasks that the base model is sure of: these get fewer rows",
        "Mean confidence over the prompts of the row's task that were asked; the same for all rows of a task.",
    ),
    "task_weight": Meaning(
        "Task weight",
        "",
        "rows of tasks that get a small share of the budget",
        "rows of tasks that get a large share of the budget",
        "1 / confidence of the row's task, over the sum for all tasks: its share, until it has no rows left.",
    ),
    "divergence": Meaning(
        "Divergence",
        "",
        "the model's answers to these are alike, or differ in one way only",
        "the model's answers to these lie far apart, and in several directions",
        "w · D + (1 − w) · I of the row's answers; w is the weight of D.",
    ),
    "dispersion": Meaning(
        "D, how far apart",
        "0 = alike",
        "the model's answers to these are alike",
        "the model's answers to these lie far apart",
        "Dispersion: mean squared distance of a row's answers from their mean, as unit vectors.",
    ),
    "anisotropy": Meaning(
        "I, directions",
        "0 = all on one line",
        "what differs between the answers to these lies on one line: there are two kinds, or one outlier",
        "the answers to these differ in several directions: each in its own way",
        "1 − λ₁ / Σ λ of the centred similarities of a row's answers; its most is 1 − 1/(K − 1).",
    ),
    "answers_counted": Meaning(
        "Answers there",
        "",
        "some answers to these are missing: their figures are a little lower",
        "all answers to these are there",
        "How many answers of a row were there to be compared.",
    ),
    "semantic_bin": Meaning(
        "Semantic bin",
        "",
        "a large bin",
        "a small bin",
        "A number that names a group of rows with like instructions, 0 = the largest: a label, no amount.",
    ),
    "combined": Meaning(
        "Combined place",
        "1 = first for all",
        "the methods together place these low",
        "the methods together place these high",
        "1 − place / rows, where the place is the mean, best or worst one in the methods' orders, as the rule says.",
    ),
    "imported": Meaning(
        "Imported score",
        "",
        "the other tool gave these a low number",
        "the other tool gave these a high number",
        "The number that the rows brought along; what it means, and which end is good, is the other tool's to say.",
    ),
}
PER_TARGET = {"influence": INFLUENCE, "less": LESS}  # one column for each target: <word>.<target>
OPTION_LABELS = {
    "preference": "preference pairs (ROSE)",
    "sft": "chosen answers (LESS)",
}  # labels that differ from the value
# methods that rank inside groups -> the score that decides inside a group
DISPLAY_COLUMNS = {"answer_divergence": "divergence", "preference_influence": "influence"}
GROUP_NOUNS = {"preference_influence": "sub-task"}  # noun of their groups; default: bin


def meaning(column: str) -> Meaning:
    """Return the meaning of a column; an unknown column is labelled with its name."""
    word, _, target = column.partition(".")
    if target and word in PER_TARGET:
        return replace(PER_TARGET[word], label=f"{PER_TARGET[word].label}: {target}")
    defined = COLUMNS.get(column)
    plain = Meaning(column.replace("_", " "), "", "low values", "high values", "")
    return defined if defined is not None else plain


def option_label(name: str) -> str:
    """Return the label of a parameter's choice."""
    return OPTION_LABELS.get(name, name)


def direction(column: str, prefer: Prefer) -> str:
    """Return a sentence about which end the method selects first, and what that end means."""
    about = meaning(column)
    if prefer == "middle":
        return "The middle is taken first: a control, neither end."
    if prefer == "low":
        return f"Lower is taken first: {about.low}."
    return f"Higher is taken first: {about.high}."


def display_column(method: Method) -> str:
    """Return the column that a method is shown by: the one it ranks by, or the score that decides inside its groups."""
    return DISPLAY_COLUMNS.get(method.name, method.ranks_by)


def best_of_each_group(method: Method) -> str:
    """Return a phrase for what is selected by a method that ranks inside groups."""
    return f"the best of each {GROUP_NOUNS.get(method.name, 'bin')}"


def direction_within_groups(column: str, method: Method) -> str:
    """Return a sentence about which end is selected first inside each group."""
    about, pick = meaning(column), getattr(method, "pick", "top")
    if pick == "middle":
        return "Inside each bin the middle is taken first: a control, neither end."
    first, what = ("Higher", about.high) if pick == "top" else ("Lower", about.low)
    return f"{first} is taken first inside each {GROUP_NOUNS.get(method.name, 'bin')}: {what}."


def describe_ends(column: str) -> str:
    """Return a sentence about both ends of a column that the method does not rank by."""
    about = meaning(column)
    return f"Low: {about.low}. High: {about.high}."


def task_label(name: str | None) -> str:
    """Return the label of a task; "no task" for None."""
    return "no task" if name is None else name


def format_rows(n: int) -> str:
    """Format a number of rows: 1 row, 2 rows."""
    return f"{n:,} row" if n == 1 else f"{n:,} rows"


def join_words(words: Sequence[str]) -> str:
    """Join words: a, b and c."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+\-.!|<>~$:^@&])")


def escape_markdown(value: object) -> str:
    """Escape data for a label, so that every character that markdown would interpret is shown as itself."""
    return _MARKDOWN.sub(r"\\\1", " ".join(str(value).split()))


def model_name(name: str) -> str:
    """Return the display name of a model: the last part of its id or folder; "embedded (small)" for our own."""
    return "embedded (small)" if name == "embedded" else name.rstrip("/").rsplit("/", 1)[-1]
