"""PROTOCOL.md of a hand-over: the plan of a proof in words, how to run it, and how to read it."""

from collections.abc import Sequence

from core.algorithms.paired_comparison import ENOUGH_SEEDS
from core.output.trainer_files import HandedRun, harness_name, target_file
from core.proof.plan import HELD_OUT, Arm, Plan, Target


def write_protocol(plan: Plan, runs: Sequence[HandedRun]) -> str:
    """Return the text."""
    model = plan.train_model
    parts = [
        f"# Proof {plan.id}\n",
        f"Does a selection of {plan.budget} of {_code(plan.pool['name'])} train a better model than random rows? "
        f"{_code(model['name'])} (revision {_code(model['revision'])}) is trained on every arm, and evaluated on rows "
        "that no arm contains. The plan was fixed before the first step; its hash is the number above.\n",
        "## Arms\n",
        "| arm | rows | response tokens | files |\n| --- | --- | --- | --- |",
        *(_arm_line(arm, runs) for arm in plan.arms),
        "\n`untrained` is the model before any training.\n",
        "## Evaluated rows\n",
        *(f"- {_target_line(target)}" for target in plan.targets),
        "",
        "## Training\n",
        f"- Seeds {_join(plan.seeds)}; learning rates {_join(f'{rate:g}' for rate in plan.rates)}; "
        f"{len(runs):,} training runs.",
        f"- Equal steps: {plan.work.steps:,} optimizer steps of about {plan.work.tokens_per_step:,} response tokens.",
        *(
            [f"- Equal epochs: {plan.work.epochs} passes over the rows of the arm, in steps of the same size."]
            if "epochs" in plan.work.kinds
            else []
        ),
        f"- {_settings(plan)}",
        "- The loss is that of response tokens alone.\n",
        _HOW_TO_RUN.format(task=harness_name(next(t.name for t in plan.targets if t.kind == "rows"))),
        "## Verdicts\n",
        f"- The figure is the NLL of the response in nats per response token, by task and as the mean over tasks. "
        f"Differences to `random` are {plan.test}.",
        f"- The smallest effect of interest is {plan.smallest_effect:.10g} of the NLL of `random`.",
        "- A difference counts if it is significant after correction for the number of arms, its interval reaches the "
        "smallest effect, and its sign is the same at every learning rate.",
        f"- With fewer than {ENOUGH_SEEDS} seeds a verdict is an indication.",
    ]
    return "\n".join(parts) + "\n"


_HOW_TO_RUN = """\
## Run it

    pip install trl              # and peft, for an adapter
    sh run.sh                    # every run without a result; stop and start it at any time
    python -m core prove collect .

A run takes one GPU, or a processor. Several machines can share `runs.txt`: `sh run.sh RUN ...`. Then copy their
`results/` together. Results that are missing are counted, and the verdicts are those of what is there.

Another trainer trains the same arms: `TRAINER=llamafactory sh run.sh`, or `TRAINER=axolotl`. Both take steps of a fixed
number of rows, whose response tokens are equal on average; TRL takes the very rows of every step of the plan.
LLaMA-Factory tokenises the messages by itself, and skips conversations in which user and assistant do not alternate.
Say which trainer you used when you report a result, and use one trainer for all runs.

`train_trl.py RUN --weights FOLDER` evaluates a model that was trained in any other way. Each line of
`results/RUN.jsonl` after the first has the `target`, the `id` of the row, the summed NLL of its response (`nll`, in
nats) and the number of `tokens`.

lm-evaluation-harness computes the NLL per response token of kept models (`KEEP=1 sh run.sh`) from text. It tokenises by
itself, and counts white space at the end of a prompt as part of the response, so its figure is slightly higher:

    lm_eval --model hf --model_args pretrained=models/RUN --include_path lm_eval --tasks {task}
"""


def _arm_line(arm: Arm, runs: Sequence[HandedRun]) -> str:
    files = dict.fromkeys(run.rows for run in runs if run.spec.arm == arm.name)
    shown = next(iter(files)) if len(files) == 1 else f"{next(iter(files)).rpartition('/')[0]}/SEED.jsonl"
    return f"| {_code(arm.name)} | {_range(arm.rows)} | {_range(arm.response_tokens)} | {_code(shown)} |"


def _range(values: Sequence[int]) -> str:
    low, high = min(values), max(values)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _target_line(target: Target) -> str:
    what = "pairs" if target.kind == "pairs" else "rows"
    line = f"{_code(target.name)}: {target.rows:,} {what} in {_code(target_file(target.name))}"
    if target.name == HELD_OUT:
        line += f"; {target.near_duplicates:,} near-duplicates of them are in no arm either"
    tasks = ", ".join(f"{_code(task)} {rows:,}" for task, rows in target.tasks.items())
    return f"{line}. Tasks: {tasks}." if len(target.tasks) > 1 else f"{line}."


def _settings(plan: Plan) -> str:
    training = plan.training
    what = f"LoRA adapters of rank {training.lora_rank}" if training.lora_rank else "All parameters are trained"
    return (
        f"{what}; AdamW, weight decay {training.weight_decay:g}, gradient norm up to {training.clip:g}, linear warm-up "
        f"over {training.warmup:.10g} of the steps, then {training.schedule} decay to 0."
    )


def _join(values: object) -> str:
    return ", ".join(map(str, values))  # type: ignore[call-overload]


def _code(text: str) -> str:
    """Format foreign text as inline code, so that none of it is parsed as markdown."""
    return f"`{' '.join(str(text).replace('`', ' ').replace('|', ' ').split())}`"
