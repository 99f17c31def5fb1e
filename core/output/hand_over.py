"""Hand-over of a proof: a folder with which other trainers train the same arms, on any machine.

    plan.json            the plan, hashed                     PROTOCOL.md      the plan in words, and how to run it
    arms/ARM/SEED.jsonl  rows to train on (rows.jsonl where all seeds have the same), and the rows of every step
    held_out.jsonl       evaluated rows of the pool           targets/         evaluated rows of the targets
    runs.json, runs.txt  all training runs                    run.sh           trains and evaluates what has no result
    train_trl.py         TRL; evaluates for every trainer     llamafactory/, axolotl/, lm_eval/   configurations
    results/             what `core.proof.collect` reads

Rows have their messages and, so that every trainer can train on the same tokens, input_ids and labels.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from core.errors import OutputError
from core.measurement.stages import PoolStages
from core.output import trainer_files
from core.output.formats import messages_of_text
from core.output.protocol import write_protocol
from core.output.trainer_files import (
    UNTRAINED_RUN,
    HandedRun,
    ModelSource,
    folder_name,
    harness_name,
    mean_rows,
    run_name,
    target_file,
)
from core.pool.pools import read_rows
from core.proof.collect import RUNS, read_runs
from core.proof.design import Design
from core.proof.plan import EvaluatedRows, Plan, RunSpec
from core.proof.runs import TrainingRun, run_settings
from core.proof.stored import PLAN, ROWS, Proof
from core.schema import IntArray
from core.workspace.files import atomic_path, disk_errors, write_atomic

SCRIPTS = Path(__file__).parent / "scripts"
PLACES = {"train_trl.py": "", "run.sh": "", "nll_per_token.py": "lm_eval"}  # of the scripts in the folder
MASKED = -100  # label of a token that is not trained on
BATCH = 2048  # rows that are read together


def write_folder(design: Design, proof: Proof, folder: Path) -> list[HandedRun]:
    """Write the folder of a proof that has begun; return its training runs. Results in it are left as they are.

    OutputError if the folder has other files, or two names would have one file.
    """
    plan, stages = design.plan, design.stages
    _check_folder(plan, folder)
    written = [run for arm in plan.arms for run in _write_arm(design, arm.name, folder)]
    runs = sorted(written, key=lambda run: _turn(plan, run.spec))
    for one in design.evaluated:
        _write_lines(folder / target_file(one.target.name), _evaluated_lines(one, stages.tokenizer))
    source = ModelSource.of(stages.ref, stages.encoder)
    _write_configurations(plan, runs, source, folder, tools=bool(stages.pool.fields.tools))
    _write_json(folder / RUNS, trainer_files.describe_runs(plan, runs, source))
    names = [run_name(UNTRAINED_RUN), *(run.name for run in runs)]
    _write(folder / "runs.txt", "".join(f"{name}\n" for name in names))
    for script, place in PLACES.items():
        write_atomic(folder / place / script, (SCRIPTS / script).read_bytes())
    _write(folder / "PROTOCOL.md", write_protocol(plan, runs))
    for file in (ROWS, PLAN):
        write_atomic(folder / file, (proof.folder / file).read_bytes())
    return runs


def _turn(plan: Plan, spec: RunSpec) -> tuple[int, ...]:
    """Return the place of a run in an order that gives a first verdict early: all arms with one seed, then the next."""
    return plan.work.kinds.index(spec.work), plan.seeds.index(spec.seed), plan.rates.index(spec.rate)


def _check_folder(plan: Plan, folder: Path) -> None:
    for names in ([arm.name for arm in plan.arms], [target.name for target in plan.targets]):
        files = [folder_name(name) for name in names]
        for name, file in zip(names, files, strict=True):
            if files.count(file) > 1:
                raise OutputError(f"'{name}' and another name have the same file, {file}. Give it another name.")
    with disk_errors(folder):
        has_files = folder.exists() and any(folder.iterdir())
    if has_files and not ((folder / RUNS).is_file() and read_runs(folder)["plan"] == plan.id):
        raise OutputError(f"{folder} is not empty, and is not the hand-over of this plan. Name another folder.")


# Arms


def _write_arm(design: Design, arm: str, folder: Path) -> Iterator[HandedRun]:
    """Write the rows of one arm, and those of every step; yield its runs."""
    from core.models.training.schedule import learning_rate

    plan, place = design.plan, f"arms/{folder_name(arm)}"
    each_seed = len(design.rows[arm]) > 1
    for seed in plan.seeds:
        chosen, file = design.arm_rows(arm, seed), str(seed) if each_seed else "rows"
        if each_seed or seed == plan.seeds[0]:
            _write_lines(folder / place / f"{file}.jsonl", _training_lines(design.stages, chosen))
        for work in plan.work.kinds:
            settings = run_settings(plan, RunSpec(arm, seed, plan.rates[0], work))
            assert settings is not None  # the rate is positive
            run = TrainingRun(design.stages, settings, chosen, design.evaluated)
            steps, counts = [step.tolist() for step in run.step_rows], run.counts
            shares = [learning_rate(settings, step, len(steps)) / settings.learning_rate for step in range(len(steps))]
            steps_file = f"{place}/{seed}.{work}.json"
            _write_json(folder / steps_file, {"rows": steps, "rate": shares})
            for rate in plan.rates:
                spec, data = RunSpec(arm, seed, rate, work), f"{folder_name(arm)}_{file}"
                yield HandedRun(spec, data, f"{place}/{file}.jsonl", steps_file, counts, mean_rows(steps))


def _training_lines(stages: PoolStages, chosen: IntArray) -> Iterator[dict[str, Any]]:
    """Yield rows of the pool as every trainer takes them."""
    for start in range(0, len(chosen), BATCH):
        some = chosen[start : start + BATCH]
        batch = stages.tokens.batch(some)
        rows = read_rows(stages.pool, some.tolist())
        for row, tokens, spans in zip(rows, batch["tokens"], batch["spans"], strict=True):
            line = {"id": row.id} | messages_of_text(row, stages.pool.fields)
            if "tools" in line:  # a text, as LLaMA-Factory takes it: tools of two rows have no common type
                line["tools"] = orjson.dumps(line["tools"]).decode()
            yield line | _as_labels(tokens, spans) | {"attention_mask": [1] * len(tokens)}


def _as_labels(tokens: Any, spans: Any) -> dict[str, list[int]]:
    """Return a row's tokens, with labels that are MASKED outside the response."""
    labels = np.full(len(tokens), MASKED, np.int64)
    for start, end in np.asarray(spans, np.int64).reshape(-1, 2):
        labels[start:end] = tokens[start:end]
    return {"input_ids": np.asarray(tokens).tolist(), "labels": labels.tolist()}


# Targets


def _evaluated_lines(rows: EvaluatedRows, tokenizer: Any) -> Iterator[dict[str, Any]]:
    """Yield evaluated rows by number; their text is that of the tokens, as lm-evaluation-harness reads it."""
    tasks = list(rows.target.tasks)
    for k, number in enumerate(rows.rows.tolist()):
        line = {"id": number, "task": tasks[int(rows.task[k])]}
        line |= _evaluated_line(tokenizer, rows.tokens[k], rows.spans[k])
        if rows.rejected_tokens:
            rejected = _evaluated_line(tokenizer, rows.rejected_tokens[k], rows.rejected_spans[k])
            line |= {f"rejected_{name}": rejected[name] for name in ("response", "input_ids", "labels")}
        yield line | ({"short": True} if rows.short[k] else {})


def _evaluated_line(tokenizer: Any, tokens: Any, spans: Any) -> dict[str, Any]:
    from core.models.encoder import decode_tokens

    read = _as_labels(tokens, spans)
    ids, start = read["input_ids"], int(spans[-2])  # of the last response: earlier ones are part of the prompt's text
    text = {"prompt": decode_tokens(tokenizer, ids[:start]), "response": decode_tokens(tokenizer, ids[start:])}
    return text | {"tokens": int(spans[-1]) - start} | read


# Trainers


def _write_configurations(
    plan: Plan, runs: Sequence[HandedRun], source: ModelSource, folder: Path, *, tools: bool
) -> None:
    _write_json(folder / "dataset_info.json", trainer_files.dataset_info(runs, tools=tools))
    for run in runs:
        for trainer, configure in trainer_files.CONFIGURE.items():
            _write(folder / trainer / f"{run.name}.yaml", trainer_files.to_yaml(configure(plan, run, source)))
    for target in plan.targets:
        if target.kind == "rows":
            _write(folder / "lm_eval" / f"{harness_name(target.name)}.yaml", trainer_files.harness_task(target.name))


def _write_json(path: Path, data: Any) -> None:
    write_atomic(path, orjson.dumps(data, option=orjson.OPT_INDENT_2))


def _write(path: Path, text: str) -> None:
    write_atomic(path, text.encode("utf-8"))


def _write_lines(path: Path, rows: Iterator[dict[str, Any]]) -> None:
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        for row in rows:
            file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
