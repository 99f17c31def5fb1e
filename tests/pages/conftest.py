"""Fixtures: a workspace with a small pool, finished runs, jobs in every state, and the app started on it."""

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from streamlit.components.v2 import manifest_scanner
from streamlit.components.v2.bidi_component.main import _make_trigger_id as make_trigger_id
from streamlit.proto.WidgetStates_pb2 import WidgetState
from streamlit.runtime.pages_manager import PagesManager
from streamlit.testing.v1 import AppTest, app_test
from streamlit.testing.v1.element_tree import Selectbox

from core.algorithms.active_neurons import ActiveNeurons
from core.algorithms.answer_geometry import compute_geometry, gram_matrices
from core.algorithms.greedy_coverage import coverage_gains
from core.algorithms.kmeans import number_by_size
from core.measurement.activation_files import ABOUT, INDICES, INDPTR
from core.measurement.answer_divergence import write_merges
from core.measurement.runs import DERIVED, Run, Tasks, save_run
from core.methods import build_method, describe_method
from core.methods.suggestions import with_suggestions
from core.models.generation.answers import answer_table, count_answers
from core.pool.pools import load_pool
from core.schema import Pool, Reading
from core.workspace.files import write_json
from core.workspace.folder import Workspace
from core.workspace.jobs import Job, birth_mark, get_job
from core.workspace.parts import Parts
from pages.ui.data import cached

ROOT = Path(__file__).parents[2]
ROWS = 240


@pytest.fixture(scope="session", autouse=True)
def manifests_read_once() -> Iterator[None]:
    """Let Streamlit look through the installed packages for components once, not at every start of the app."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifest_scanner, "scan_component_manifests", cache(manifest_scanner.scan_component_manifests))
        yield


def write_rows(path: Path, rows: int = ROWS) -> Path:
    """Write rows of three tasks with responses of growing length; the last repeats the first."""
    data = [
        {
            "id": f"row-{i}",
            "instruction": f"Question {i}: what is {i} plus {i}?",
            "input": "",
            "output": "It is " + " and ".join(["so"] * (i % 40)) + f" {2 * i}.",
            "category": ("sums", "words", "facts")[i % 3],
        }
        for i in range(rows - 1)
    ]
    data.append({**data[0], "id": "again"})
    path.write_text("".join(json.dumps(row) + "\n" for row in data))
    return path


def opened(at: AppTest) -> str:
    """Return the name of the open pool, as the Pool page shows it."""
    return str(at.header[1].value)


def choose_pool(at: AppTest, source: object, *, header: bool = True) -> None:
    """Choose a fingerprint, or type a path or hub id, on the Pool page, and open it."""
    count = at.session_state.get("open.count", 0)
    at.session_state[f"open.choice.{count}"] = str(source)
    at.checkbox(key="open.no_header").set_value(not header)
    at.run()
    at.button(key="open.open").click().run()
    assert not at.exception


def run_until(at: AppTest, done: Callable[[], Any], seconds: float = 90) -> None:
    """Run the app again and again, as its polling does, until a job has led to this."""
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, [each.value for each in (*at.error, *at.warning)]
        assert not at.exception
        time.sleep(0.1)
        at.run()


def tick(at: AppTest, *names: str, ticked: bool = True) -> None:
    """Tick or untick methods on the Measure page."""
    for name in names:
        at.checkbox(key=f"measure.tick.{name}").set_value(ticked).run()
        assert not at.exception


def choose_only(at: AppTest, name: str) -> None:
    """Tick one method alone, which makes it the current one."""
    tick(at, name)
    others = [box.key.removeprefix("measure.tick.") for box in at.checkbox if box.value]
    tick(at, *(other for other in others if other != name), ticked=False)


def ticked(at: AppTest) -> list[str]:
    """Return the methods that are ticked on the Measure page."""
    return [box.key.removeprefix("measure.tick.") for box in at.checkbox if box.value]


def pick_bar(at: AppTest, key: str, bar: str) -> None:
    """Click on a bar of plain HTML (pages.ui.controls.pick_bars), as a browser reports it."""
    element = next(one for one in at.get("bidi_component") if one.proto.id.endswith(f"-{key}"))
    event = json.dumps([{"event": "picked", "value": bar}])
    _send(at, WidgetState(id=make_trigger_id(element.proto.id, "events"), json_trigger_value=event))


def bars_html(at: AppTest) -> str:
    """Return the HTML of all bars that can be picked."""
    return "".join(json.loads(one.proto.json)["html"] for one in at.get("bidi_component") if '"html"' in one.proto.json)


def click_line(at: AppTest, key: str, line: int, *, ticked: Sequence[int] = ()) -> None:
    """Click on a line of the table with this key, or tick lines, as a browser reports it."""
    table = next(one for one in at.dataframe if one.proto.id.endswith(key))
    cells = [] if ticked else [[line, "prompt"]]
    event = json.dumps({"selection": {"rows": list(ticked), "columns": [], "cells": cells}})
    _send(at, WidgetState(id=table.proto.id, string_value=event))


def _send(at: AppTest, event: WidgetState) -> None:
    states = at._tree.get_widget_states()
    states.widgets.append(event)
    at._run(states)
    assert not at.exception


def write_near_duplicates(path: Path, pairs: int) -> Path:
    """Write the rows of `write_rows`, where row 100 + k nearly repeats row k for k below `pairs`."""
    rows = [json.loads(line) for line in write_rows(path).read_text().splitlines()]
    for k in range(pairs):
        rows[k]["output"] = rows[100 + k]["output"] = " ".join(f"word{k}-{w}" for w in range(30))
    rows[-1] = {**rows[0], "id": "again"}
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("WINNOW_WORKSPACE", str(tmp_path / "workspace"))
    monkeypatch.setenv("WINNOW_DATA_ROOTS", str(tmp_path))
    return Workspace(tmp_path / "workspace")


@pytest.fixture
def pool(workspace: Workspace, tmp_path: Path) -> Pool:
    """Return the pool that the app opens at first, which is the pool opened last."""
    return load_pool(str(write_rows(tmp_path / "small.jsonl")), workspace=workspace.root)


@pytest.fixture
def measure(workspace: Workspace, pool: Pool) -> Callable[..., Run]:
    """Return a function that stores a finished run with the given additions to its summary."""
    return partial(entropy_shift_run, workspace, pool)


@pytest.fixture
def run(measure: Callable[..., Run]) -> Run:
    """Return a run of entropy shift with the embedded model: seeded numbers, computed without it."""
    return measure()


def entropy_shift_run(workspace: Workspace, pool: Pool, **summary: Any) -> Run:
    """Store a finished run of entropy shift for the app's initial settings."""
    random = np.random.default_rng(0)
    n = len(pool)
    method = build_method("entropy_shift", with_suggestions("entropy_shift", {}, "embedded"))
    nll, entropy = random.gamma(4, 0.5, n), random.gamma(3, 0.5, n)
    columns = {
        "prompt_tokens": pool.rows["prompt_chars"].to_numpy().astype(np.int64) // 4,
        "response_tokens": pool.rows["response_chars"].to_numpy().astype(np.int64) // 4,
        **dict.fromkeys(("prompt_cut", "response_cut"), np.zeros(n, np.int64)),
        "truncated": np.zeros(n, np.bool_),
        "nll": nll.astype(np.float32),
        "entropy": entropy.astype(np.float32),
        "nll_cal": (nll - 0.3 + random.normal(0, 0.1, n)).astype(np.float32),
        "entropy_cal": (entropy + random.normal(0, 0.2, n)).astype(np.float32),
    }
    base_summary = {
        "seconds": {"tokens": 1.0, "probe": 40.0, "warm-up": 20.0},
        "tokens": 4321,
        "rounds": [{"rows": 24, "loss": np.linspace(4, 3, 15).tolist(), "steps": 15}],
        "warnings": [],
    }
    finished = Run(
        id=pool.fingerprint[:16],  # caches are keyed by it
        pool_id=pool.fingerprint,
        method=describe_method(method),
        reading=asdict(Reading()),
        model={"name": "embedded", "revision": "0" * 32},
        encoder="0" * 16,
        seed=0,
        columns=tuple(columns),
        folder=workspace.folder("runs", pool.fingerprint[:16]),
        summary=base_summary | summary,
        kept=shared_stages(pool),
    )
    return save_run(workspace, finished, columns)


def grouped_shift_run(workspace: Workspace, pool: Pool, field: str = "category", **summary: Any) -> Run:
    """Store a finished run of entropy shift, calibrated for each label of `field`; odd labels as in a real pool."""
    plain = entropy_shift_run(workspace, pool)
    group = np.arange(len(pool)) % 3
    group[-6:] = -1
    names = ("sums", "*words* ![x](http://x.y/z.png)", "facts")
    groups = [
        {"name": name, "rows": int((group == k).sum()), "rounds": [{"rows": 8, "loss": [3.0, 2.0], "steps": 2}]}
        for k, name in enumerate(names)
    ]
    columns = plain.load_columns(plain.columns) | {"shift_group": group}
    about = {"groups": groups, "field": field, "start_model": {"kind": "tuned", "tasks": 3}, "warnings": []}
    method = {"name": "entropy_shift", "params": plain.method["params"] | {"per": field}}
    run = replace(
        plain,
        id=f"ab{plain.id[2:]}",
        folder=workspace.folder("runs", f"ab{plain.id[2:]}"),
        method=method,
        columns=tuple(columns),
        summary={k: v for k, v in plain.summary.items() if k != "rounds"} | about | summary,
    )
    return save_run(workspace, run, columns)


def shared_stages(pool: Pool) -> dict[str, str]:
    """Return keys for the tokens and the base pass of a run that no model made."""
    return {"tokens": f"tokens-{pool.fingerprint[:8]}", "base": f"base-{pool.fingerprint[:8]}"}


NEURONS = 60


def store_run(
    workspace: Workspace,
    pool: Pool,
    method: str,
    columns: dict[str, Any],
    *,
    summary: Mapping[str, Any] | None = None,
    kept: Mapping[str, str] | None = None,
    **more: Any,
) -> Run:
    """Store a finished run of any method with these columns and the token counts."""
    tokens = {
        "prompt_tokens": pool.rows["prompt_chars"].to_numpy().astype(np.int64) // 4,
        "response_tokens": pool.rows["response_chars"].to_numpy().astype(np.int64) // 4,
        **dict.fromkeys(("prompt_cut", "response_cut"), np.zeros(len(pool), np.int64)),
        "truncated": np.zeros(len(pool), np.bool_),
    }
    finished = Run(
        id=f"{method[:8]:0<8}{pool.fingerprint[:8]}",
        pool_id=pool.fingerprint,
        method=describe_method(build_method(method, with_suggestions(method, {}, "embedded"))),
        reading=asdict(Reading()),
        model={"name": "embedded", "revision": "0" * 32},
        encoder="0" * 16,
        seed=0,
        columns=(*tokens, *columns),
        folder=workspace.folder("runs", f"{method[:8]:0<8}{pool.fingerprint[:8]}"),
        summary=summary or {"seconds": {}, "tokens": 0, "warnings": []},
        kept=shared_stages(pool) | dict(kept or {}),
        **more,
    )
    return save_run(workspace, finished, tokens | columns)


def activation_coverage_run(workspace: Workspace, pool: Pool) -> Run:
    """Store a run of activation coverage: rows of six kinds, five active neurons each; kinds are the clusters."""
    random, n = np.random.default_rng(1), len(pool)
    kind = np.sort(random.integers(0, 6, n))
    table = np.stack([np.sort(random.choice(20, 5, replace=False)) + 8 * k for k in kind]).astype(np.uint32)
    states = ActiveNeurons.from_table(table, NEURONS)
    folder = workspace.folder("measurements", "states0000000000")
    folder.mkdir(parents=True)
    np.save(folder / INDPTR, states.indptr)
    np.save(folder / INDICES, states.indices)
    write_json(folder / ABOUT, {"neurons": NEURONS})
    columns = {
        "nll": random.gamma(4, 0.5, n).astype(np.float32),
        "entropy": random.gamma(3, 0.5, n).astype(np.float32),
        "coverage_gain": coverage_gains(states, np.arange(n)),
        "activation_cluster": number_by_size(kind),
    }
    return store_run(workspace, pool, "activation_coverage", columns, kept={"states": "states0000000000"})


def task_confidence_run(workspace: Workspace, pool: Pool) -> Run:
    """Store a run of task confidence for the pool's three tasks or derived ones: 8, 8 and 1 prompts continued."""
    n = len(pool)
    labelled = cached.tasks(pool)[0] != (None,)
    names = cached.tasks(pool)[0] if labelled else ("derived 1: so, it", "derived 2: plus", "derived 3: is")
    code = cached.tasks(pool)[1] if labelled else np.arange(n) % 3
    confidence = np.full(n, np.nan, np.float32)
    for task, (mean, n_asked) in enumerate(((0.5, 8), (0.25, 8), (0.8, 1))):
        confidence[np.flatnonzero(code == task)[:n_asked]] = mean + (np.arange(n_asked) - (n_asked - 1) / 2) / 500
    tasks = Tasks(names, "labels: category" if labelled else DERIVED)
    columns = {"task_code": np.array(code), "confidence": confidence}
    return store_run(workspace, pool, "task_confidence", columns, tasks=tasks)


ANSWERS = 5  # generated per prompt


def answer_divergence_run(workspace: Workspace, pool: Pool) -> Run:
    """Store a run of answer divergence: six bins, three parts; answers in turn equal, of two kinds, different, similar.

    Row 5 lacks its second answer, row 6 all but one; row 9 has a refusal, an empty and a truncated answer.
    """
    random, n = np.random.default_rng(2), len(pool)
    kinds = np.eye(ANSWERS)[[[0, 0, 0, 0, 0], [0, 0, 0, 1, 1], [0, 1, 2, 3, 4]]]
    vectors = kinds[[0, 1, 2, 0]][np.arange(n) % 4] + 0.0
    vectors[3::4] += random.normal(0, 0.1, (len(vectors[3::4]), ANSWERS, ANSWERS))
    vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
    answers: list[list[Any]] = [[f"Answer {k} to {i}." for k in range(ANSWERS)] for i in range(n)]
    answers[5][1] = None
    answers[6][1:] = [None] * 4
    answers[9][:3] = ["I'm sorry, but no.", " ", "![beacon](http://evil.example/x.png) **bold**"]
    vectors[[[a is None for a in row_answers] for row_answers in answers]] = np.nan
    tokens = [[None if a is None else 4 + k for k, a in enumerate(row_answers)] for row_answers in answers]
    ended = [[None if a is None else "stop" for a in row_answers] for row_answers in answers]
    ended[9][2] = "length"
    table = answer_table({"answers": answers, "answer_tokens": tokens, "ended": ended})
    gram = gram_matrices(vectors)
    flat = pa.FixedSizeListArray.from_arrays(pa.array(gram.ravel()), ANSWERS**2)
    plan = [np.sort(rows) for rows in np.array_split(random.permutation(n), 3)]
    for name, content in (("answers000000000", table), ("grams00000000000", pa.table({"gram": flat}))):
        parts = Parts.open(workspace.folder("measurements", name), {}, plan)
        for part in parts.missing():
            parts.write(part, content.take(plan[part]))
    bins = workspace.folder("measurements", "bins000000000000")
    write_merges(bins, np.array([[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]]))
    geometry = compute_geometry(gram)
    columns = {
        "nll": random.gamma(4, 0.5, n).astype(np.float32),
        "entropy": random.gamma(3, 0.5, n).astype(np.float32),
        "dispersion": geometry.dispersion.astype(np.float32),
        "anisotropy": geometry.anisotropy.astype(np.float32),
        "answers_counted": geometry.counted,
        "semantic_bin": number_by_size(np.minimum(np.arange(n) % 7, 5)),
    }
    stored = {"answers": "answers000000000", "grams": "grams00000000000", "bins": "bins000000000000"}
    summary = {"seconds": {}, "tokens": 0, "warnings": [], "answers": asdict(count_answers(table))}
    return store_run(workspace, pool, "answer_divergence", columns, kept=stored, summary=summary)


@pytest.fixture
def divergence_run(workspace: Workspace, pool: Pool) -> Run:
    """Return a run of answer divergence on the small pool."""
    return answer_divergence_run(workspace, pool)


@pytest.fixture
def coverage_run(workspace: Workspace, pool: Pool) -> Run:
    """Return a run of activation coverage on the small pool."""
    return activation_coverage_run(workspace, pool)


@pytest.fixture
def confidence_run(workspace: Workspace, pool: Pool) -> Run:
    """Return a run of task confidence on the small pool, by its labels."""
    return task_confidence_run(workspace, pool)


@pytest.fixture
def unlabelled(workspace: Workspace, tmp_path: Path) -> Pool:
    """Return the same rows without a task field."""
    return _without(workspace, tmp_path, "category")


@pytest.fixture
def prompts_only(workspace: Workspace, tmp_path: Path) -> Pool:
    """Return the same rows without tasks and responses."""
    return _without(workspace, tmp_path, "category", "output")


def _without(workspace: Workspace, folder: Path, *fields: str) -> Pool:
    rows = [json.loads(line) for line in write_rows(folder / "small.jsonl").read_text().splitlines()]
    file = folder / "less.jsonl"
    file.write_text("".join(json.dumps({k: v for k, v in row.items() if k not in fields}) + "\n" for row in rows))
    return load_pool(str(file), workspace=workspace.root)


@pytest.fixture
def job(workspace: Workspace) -> Callable[..., Job]:
    """Return a function that stores a job as a worker leaves it; a live one belongs to this process."""

    def put(about: dict[str, Any], **progress: Any) -> Job:
        folder = workspace.folder("jobs", "20260101-000000-00000000")
        started = "2026-01-01T00:00:00+00:00"
        write_json(folder / "job.json", {"title": "A job", "about": about, "command": ["x"], "created": started})
        write_json(folder / "progress.json", progress | {"updated": started})
        born = birth_mark(os.getpid()) if progress["state"] in ("queued", "running") else ""
        write_json(folder / "process.json", {"pid": os.getpid(), "born": born, "started": started})
        return get_job(workspace, folder.name)

    return put


@pytest.fixture(autouse=True)
def through_the_router(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run app.py for every page, as the server does (pages.ui.shell.server.lifespan); AppTest alone would skip it."""

    def manager(*args: Any, **options: Any) -> PagesManager:
        PagesManager.uses_pages_directory = False
        return PagesManager(*args, **options)

    monkeypatch.setattr(app_test, "PagesManager", manager)


@pytest.fixture(autouse=True)
def typed_options(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let AppTest send what is typed into a selectbox that accepts it, as a browser does."""
    send_option = Selectbox._widget_state.fget

    def send(box: Selectbox[Any]) -> WidgetState:
        try:
            if box.options or box.value is None:
                return send_option(box)
        except ValueError:  # none of its options
            pass
        return WidgetState(id=box.id, string_value=str(box.value))

    monkeypatch.setattr(Selectbox, "_widget_state", property(send))


@pytest.fixture
def app(workspace: Workspace) -> Callable[[str], AppTest]:
    """Return a function that starts the app and goes to one page."""

    def started(page: str) -> AppTest:
        at = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
        at.run()
        if page != "pool":
            at.switch_page(f"pages/{page}.py").run()
        return at

    return started
