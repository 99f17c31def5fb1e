"""The model that calibration starts from: base or instruction-tuned, judged by its tokenizer's chat template.

The paper of entropy shift starts from a base model and calibrates on one domain at a time. With a tuned model and a
mixed pool the sign of ΔH may be the opposite.
"""

from collections.abc import Mapping
from typing import Any

import pyarrow.compute as pc

from core.measurement.runs import Run
from core.schema import Pool

BASE, TUNED = "base", "tuned"
MIXED_POOL = (
    "The start model seems instruction-tuned (it has a chat template) and the pool mixes {tasks:,} tasks. The "
    "paper starts from a base model, with one domain at a time, so ΔH may have the opposite sign here. Use "
    "per=task to calibrate each task separately."
)


def judge_start_model(tokenizer: Any, pool: Pool) -> dict[str, Any]:
    """Return what a run's summary keeps: the kind of the start model, and how many task labels the pool has."""
    tasks: int = pc.count_distinct(pool.rows["task"]).as_py()
    return {"kind": TUNED if tokenizer.chat_template else BASE, "tasks": tasks}


def warn_mixed_pool(start_model: Mapping[str, Any]) -> list[str]:
    """Warn about a tuned model that was calibrated on several tasks at once."""
    mixed = start_model["kind"] == TUNED and start_model["tasks"] > 1
    return [MIXED_POOL.format(tasks=start_model["tasks"])] if mixed else []


def describe_start_model(run: Run) -> dict[str, str]:
    """Return the kind of the model that a run started from, the evidence, and what the paper used; empty if not known.

    Runs that were stored before the kind was judged do not know it.
    """
    if "start_model" not in run.summary:
        return {}
    kind = run.summary["start_model"]["kind"]
    if kind == TUNED:
        evidence = "its tokenizer has a chat template, which some base models have too"
    else:
        embedded = run.reading["model"] == "embedded"
        evidence = "according to its card" if embedded else "its tokenizer has no chat template"
    return {"kind": kind, "evidence": evidence, "paper": "a base model, one domain at a time"}


def start_model_sentence(run: Run) -> str:
    """Return what `describe_start_model` returns as a sentence; empty if the kind is not known."""
    about = describe_start_model(run)
    sentence = "Warm-up training started from a {kind} model ({evidence}); the paper trains {paper}."
    return sentence.format(**about) if about else ""
