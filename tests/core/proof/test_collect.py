"""Results from elsewhere give the verdicts of a proof that was run here, and each fault in them is one sentence."""

import json
import shutil

import pytest

from core.errors import DamagedFile, WorkspaceError
from core.output.hand_over import write_folder
from core.output.trainer_files import run_name, target_file
from core.progress import SilentReporter
from core.proof.collect import collect_results
from core.proof.plan import Work
from core.proof.prove import prove, training_runs
from core.proof.stored import begin_proof, find_proof
from core.workspace.files import read_json
from core.workspace.folder import Workspace
from core.workspace.parts import Parts
from tests.core.proof.conftest import make_recipe

PAIRS = [("door", "A red door.", "No."), ("hat", "My old hat.", "Never."), ("sum of 2 and 2", "4", "five hundred")]


@pytest.fixture(scope="module")
def design(demo, tmp_path_factory):
    file = tmp_path_factory.mktemp("targets") / "pairs.jsonl"
    lines = [{"prompt": f"Name a {p}.", "chosen": chosen, "rejected": rejected} for p, chosen, rejected in PAIRS]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    options = {"budget": "6", "seeds": 2, "rates": (1e-3,), "held_out": "60", "work": Work(2, 64, 0)}
    return demo.design("lowest_nll", targets=(str(file),), **options)


@pytest.fixture(scope="module")
def proof(design):
    return prove(design, SilentReporter(), workers=1)


@pytest.fixture(scope="module")
def handed(design, proof, tmp_path_factory):
    """A folder with the results of the proof run here, as a trainer elsewhere would have written them."""
    folder = tmp_path_factory.mktemp("handed") / "proof"
    write_folder(design, begin_proof(design.stages.workspace, design.plan, design.rows, design.evaluated), folder)
    for spec, run in training_runs(design).items():
        write_result(folder, design, run_name(spec), run.load())
    return folder


def write_result(folder, design, name, figures):
    about = {"plan": design.plan.id, "run": name, "trainer": "trl", "losses": figures.losses.tolist()}
    lines = [about | {"training_seconds": 1.5, "evaluation_seconds": 0.5}]
    for one in design.evaluated:
        target, nll = one.target.name, figures.nll[one.target.name].tolist()
        for k, row in enumerate(one.rows.tolist()):
            line = {"target": target, "id": row, "nll": nll[k], "tokens": int(one.response_tokens[k])}
            if one.target.kind == "pairs":
                line |= {"rejected_nll": figures.margins[target][k] + nll[k] / line["tokens"], "rejected_tokens": 1}
            elif one.short[k]:
                line |= {"match": bool(figures.matches[target][k])}
            lines.append(line)
    path = folder / "results" / f"{name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def collect(folder, tmp_path):
    return collect_results(folder, Workspace(tmp_path / "ws"), SilentReporter())


def test_collected_results_give_the_same_verdicts_bit_for_bit(design, proof, handed, tmp_path):
    collected = collect(handed, tmp_path)
    assert proof.verdicts and collected.proof.verdicts == proof.verdicts
    assert collected.proof.headline == proof.headline
    assert (collected.found, collected.missing, collected.proof.state) == (7, (), "finished")
    same = ("arm", "seed", "rate", "work", "rows", "steps", "tokens", "response_tokens", "losses", "nll", "exact_match")
    for run, own in zip(collected.proof.runs, proof.runs, strict=True):
        assert {name: run[name] for name in same} == {name: own[name] for name in same}
        assert run["preference_accuracy"] == pytest.approx(own["preference_accuracy"])
        assert run["trainer"] == "trl"
    again = collect(handed, tmp_path)  # nothing is collected twice
    assert again.proof.verdicts == proof.verdicts


def test_a_collected_proof_is_stored_as_one_that_was_run_here(demo, design, proof, handed, tmp_path):
    collected = collect(handed, tmp_path).proof
    workspace = Workspace(tmp_path / "ws")
    assert collected.id == design.plan.id
    recipe = make_recipe("lowest_nll", budget="6")
    found = find_proof(workspace, demo.pool, recipe)
    assert found is not None and (found[0].id, found[1]) == (proof.id, "lowest_nll")
    assert [one.rows.tolist() for one in collected.targets] == [one.rows.tolist() for one in design.evaluated]
    row = Parts.stored(workspace.folder("measurements", collected.runs[1]["stage"])).read(0).to_pydict()
    spec, run = list(training_runs(design).items())[1]
    assert row["nll:held out"][0] == run.load().nll["held out"].tolist()
    assert collected.runs[1]["arm"] == spec.arm


def test_results_that_are_missing_are_counted_and_the_others_judged(handed, tmp_path):
    shutil.copytree(handed, tmp_path / "proof")
    (tmp_path / "proof/results/longest/1-0.001-steps.jsonl").unlink()
    collected = collect(tmp_path / "proof", tmp_path)
    assert collected.missing == ("longest/1-0.001-steps",)
    assert collected.proof.state == "running"
    assert {verdict.arm for verdict in collected.proof.verdicts} == {"lowest_nll"}
    assert all(verdict.verdict.startswith("indication: ") for verdict in collected.proof.verdicts)


def change(path, number, **fields):
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[number - 1] = {k: v for k, v in (lines[number - 1] | fields).items() if v is not ...}
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


FAULTS = [
    ({"number": 1, "plan": "0" * 16}, "is a result of the plan 0000000000000000, not of"),
    ({"number": 1, "run": "longest/0-0.001-steps"}, "is the result of the run longest/0-0.001-steps"),
    ({"number": 3, "nll": float("nan")}, "line 3: not JSON"),
    ({"number": 3, "nll": "2.5"}, "line 3: nll is 2.5, and must be a number of at least 0"),
    ({"number": 3, "nll": -1.0}, "line 3: nll is -1.0, and must be a number"),
    ({"number": 3, "nll": ...}, "line 3: nll is None"),
    ({"number": 3, "tokens": 1000}, "line 3: row .* of 'held out' has 1000 response tokens, and .* in the plan"),
    ({"number": 3, "id": 10**9}, "1 of the 60 rows of 'held out' are missing, first"),
    ({"number": 3, "target": "elsewhere"}, "line 3: the plan has no target 'elsewhere'"),
    ({"number": 62, "rejected_tokens": 0}, "line 62: rejected_tokens is 0, and must be a number of at least 1"),
]


@pytest.mark.parametrize(("edit", "sentence"), FAULTS, ids=[sentence[:30] for _, sentence in FAULTS])
def test_a_fault_in_a_result_is_one_sentence_with_its_line(handed, tmp_path, edit, sentence):
    shutil.copytree(handed, tmp_path / "proof")
    path = tmp_path / "proof/results/random/0-0.001-steps.jsonl"
    change(path, **edit)
    with pytest.raises(WorkspaceError, match=sentence) as caught:
        collect(tmp_path / "proof", tmp_path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_row_twice_and_one_too_many_are_refused(handed, tmp_path):
    shutil.copytree(handed, tmp_path / "proof")
    path = tmp_path / "proof/results/random/0-0.001-steps.jsonl"
    whole = path.read_text()
    path.write_text(whole + whole.splitlines()[1] + "\n")
    with pytest.raises(WorkspaceError, match=r"line 65: row .* of 'held out' is repeated"):
        collect(tmp_path / "proof", tmp_path)
    path.write_text(whole + json.dumps({"target": "held out", "id": 10**9, "nll": 1, "tokens": 1}) + "\n")
    with pytest.raises(WorkspaceError, match="line 65: 'held out' has no row 1000000000"):
        collect(tmp_path / "proof", tmp_path)


def test_a_short_response_without_its_match_is_refused(design, handed, tmp_path):
    shutil.copytree(handed, tmp_path / "proof")
    short = design.evaluated[0].short.tolist()
    assert any(short)
    path = tmp_path / "proof/results/random/0-0.001-steps.jsonl"
    change(path, 2 + short.index(True), match=...)
    with pytest.raises(WorkspaceError, match="match is missing: true or false"):
        collect(tmp_path / "proof", tmp_path)


def test_folders_that_are_no_hand_over_are_refused(handed, tmp_path):
    with pytest.raises(WorkspaceError, match=r"is no hand-over of a proof: it has no runs.json"):
        collect(tmp_path, tmp_path)
    shutil.copytree(handed, tmp_path / "proof")
    shutil.rmtree(tmp_path / "proof/results")
    with pytest.raises(WorkspaceError, match="holds no result"):
        collect(tmp_path / "proof", tmp_path)
    (tmp_path / "proof/results").mkdir()
    (tmp_path / "proof/results/mine.jsonl").write_text("{}\n")
    with pytest.raises(WorkspaceError, match=r"mine.jsonl is the result of no training run"):
        collect(tmp_path / "proof", tmp_path)
    (tmp_path / "proof/runs.json").write_text("[")
    with pytest.raises(WorkspaceError, match=r"runs.json is not JSON"):
        collect(tmp_path / "proof", tmp_path)


def test_a_plan_that_was_edited_is_refused(handed, tmp_path):
    shutil.copytree(handed, tmp_path / "proof")
    plan = tmp_path / "proof/plan.json"
    plan.write_text(plan.read_text().replace('"smallest_effect": 0.01', '"smallest_effect": 0.1'))
    with pytest.raises(DamagedFile, match=r"plan.json is damaged"):
        collect(tmp_path / "proof", tmp_path)
    shutil.copy(handed / "plan.json", plan)
    about = json.loads((tmp_path / "proof/runs.json").read_text())
    (tmp_path / "proof/runs.json").write_text(json.dumps(about | {"plan": "0" * 16}))
    with pytest.raises(WorkspaceError, match="are of different plans"):
        collect(tmp_path / "proof", tmp_path)


def test_results_are_not_mixed_with_runs_that_were_made_here(design, proof, handed):
    with pytest.raises(WorkspaceError, match="7 training runs of this proof were made in this workspace"):
        collect_results(handed, design.stages.workspace, SilentReporter())
    assert read_json(proof.folder / "proof.json")["headline"] == proof.headline


def test_evaluated_rows_are_handed_over_by_number(design, handed):
    for one in design.evaluated:
        lines = [json.loads(line) for line in (handed / target_file(one.target.name)).read_text().splitlines()]
        assert [line["id"] for line in lines] == one.rows.tolist()
        assert [bool(line.get("short")) for line in lines] == one.short.tolist()
