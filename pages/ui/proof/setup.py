"""The form of a new proof: arms, targets and settings; and the command that they are."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import streamlit as st

from core.cli.arguments import shared_arguments
from core.models.reference import is_installed
from core.proof.arms import ALWAYS_IN
from core.proof.design import suggested_rates, suggested_work
from core.proof.plan import Training
from core.schema import Pool
from pages.ui.data import cached
from pages.ui.proof import arms, files
from pages.ui.proof.words import format_rate
from pages.ui.shell import roots, show, state
from pages.ui.words import MODEL_NAMES

MIN_HELD_OUT, HELD_OUT_ROWS = 20, 300


@dataclass(frozen=True)
class Setup:
    """A proof as it is asked for."""

    arguments: tuple[str, ...]  # after `python -m core`
    title: str
    runs: int  # training runs


def draw(pool: Pool) -> Setup:
    """Draw the form."""
    st.subheader("Arms", anchor=False)
    chosen = arms.choose_arms(pool)
    st.subheader("Targets", anchor=False)
    targets = _targets(pool)
    st.subheader("Training", anchor=False)
    training = _training()
    now = state.settings()
    budget, recipe = now.budget, state.recipe(pool, replace(now, given=""))  # which belong to an arm
    options = [*chosen, "--budget", budget, *targets]
    options += [word for name, value in training.items() for word in (f"--{name}", value)]
    return Setup(
        ("prove", pool.source, *options, *shared_arguments(recipe, cached.workspace())),
        f"Proof on {show.pool_name(pool.name, pool.source)}, {budget}",
        _count_runs(chosen.count("--arms"), training),
    )


def _count_runs(added: int, training: Mapping[str, str]) -> int:
    rates = len([rate for rate in training["rates"].split(",") if rate])
    return (added + len(ALWAYS_IN)) * int(training["seeds"]) * rates * (1 + (training["epochs"] != "0"))


# Targets


def _targets(pool: Pool) -> list[str]:
    """Draw the choice of targets. Return their options."""
    held_out = st.number_input(
        "Held-out rows",
        min_value=MIN_HELD_OUT,
        max_value=max(MIN_HELD_OUT, len(pool) // 2),
        value=min(HELD_OUT_ROWS, max(MIN_HELD_OUT, len(pool) // 5)),
        step=20,
        key=f"proof.held_out.{pool.fingerprint}",
        persist_state="session",
        help="Random rows of the pool that every trained model is judged on. They leave the pool before any arm "
        "selects, with their near-duplicates.",
    )
    st.caption("Held-out rows favour arms that keep the pool's mixture of tasks. Add a target that is your own aim.")
    files.draw(files.TARGETS, pool)
    options = ["--held-out", str(held_out)]
    for one in files.list_added(files.TARGETS, pool):
        options += ["--target", one.word]
    label, help = "Train on rows whose prompt is in a target", "Otherwise these rows are in no arm."
    if len(options) > 2 and st.checkbox(label, key="proof.allow", persist_state="session", help=help):
        options.append("--allow-target-prompts")
    return options


# Training


def _training() -> dict[str, str]:
    """Draw the settings of training. Return them by the names of their options."""
    model = _model()
    work = suggested_work(model)
    first, second, third = st.columns(3)
    with first:
        seeds = _number("Seeds", "seeds", 5, "A verdict needs 5. With fewer it is an indication only.", (2, 100))
        help = "A difference counts only if its sign is the same at every rate."
        rates = _text("Learning rates", f"rates.{model}", ", ".join(map(format_rate, suggested_rates(model))), help)
        rank = _number("LoRA rank", "rank", Training().lora_rank, "0 trains all weights.", (0, 1024))
    with second:
        help = "Of every training run with equal steps."
        steps = _number("Steps", f"steps.{model}", work.steps, help, (1, 1_000_000))
        help = "Response tokens of each step, to within a row."
        tokens = _number("Tokens per step", f"tokens.{model}", work.tokens_per_step, help, (1, 1_000_000))
    with third:
        help = "How often each row is read in training runs with equal epochs. 0 leaves these runs out."
        epochs = _number("Epochs", "epochs", work.epochs, help, (0, 1000))
        help = "The smallest effect of interest, as a share of the NLL of random."
        effect = _text("Smallest effect", "effect", "1%", help)
    return {
        "train-model": model,
        "seeds": str(seeds),
        "rates": rates,
        "steps": str(steps),
        "tokens-per-step": str(tokens),
        "epochs": str(epochs),
        "smallest-effect": effect,
        "lora-rank": str(rank),
    }


def _model() -> str:
    measured = state.settings().reading.model
    typed = st.selectbox(
        "Model to train",
        list(dict.fromkeys([measured, "embedded", *filter(is_installed, ["smollm2"])])),
        format_func=lambda name: MODEL_NAMES.get(name, name),
        accept_new_options=True,
        key=f"proof.model.{measured}",
        persist_state="session",
        help="It may differ from the model that measures. Type the id or the folder of another one.",
    )
    return str(typed) if typed in (measured, *MODEL_NAMES) else roots.check_model(str(typed))


def _number(label: str, key: str, value: int, help: str, limits: tuple[int, int]) -> int:
    low, high = limits
    options = {"key": f"proof.{key}", "help": help, "persist_state": "session", "step": 1}
    return int(st.number_input(label, low, high, value, **options))  # type: ignore[arg-type]


def _text(label: str, key: str, value: str, help: str) -> str:
    """Draw a short text, and return it without spaces."""
    typed = st.text_input(label, value, key=f"proof.{key}", help=help, persist_state="session")
    return str(typed).replace(" ", "")
