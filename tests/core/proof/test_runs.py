"""Training runs: what they measure, that they are stored once, and that a killed one gives the same figures."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from core.models.exact_match import ExactMatch
from core.models.forward_pass import ForwardPass
from core.models.generation.greedy import GreedyLogProbs, generate, strip_generation_config
from core.models.loading import load_model
from core.models.training import finetune
from core.models.training.finetune import train
from core.proof.plan import RunSpec
from core.proof.runs import TrainingRun, evaluate, run_settings
from tests.core.proof.tiny import make_evaluated, make_plan, make_stages

PLAN = make_plan()
SPEC = RunSpec("random", 1, 1e-2, "steps")


@pytest.fixture(scope="module")
def stages(tiny_model_dir, tmp_path_factory):
    return make_stages(tiny_model_dir, tmp_path_factory.mktemp("runs"))


@pytest.fixture
def fresh(tiny_model_dir, tmp_path):
    """Return the same pool in a workspace of its own."""
    return make_stages(tiny_model_dir, tmp_path / "fresh")


def as_pairs(stages, chosen, rejected):
    one, other = make_evaluated(stages, chosen, name="pairs"), make_evaluated(stages, rejected)
    return replace(one, rejected_tokens=other.tokens, rejected_spans=other.spans)


def training_run(stages, spec=SPEC, rows=range(12), plan=PLAN):
    return TrainingRun(
        stages, run_settings(plan, spec), np.array(rows), (make_evaluated(stages, range(12, 20), short=[1]),)
    )


def figures_of(run):
    found = run.figures()
    return found.losses.tolist(), found.nll["held out"].tolist(), found.matches["held out"].tolist(), found.counts


def test_a_run_gives_the_losses_of_its_training_and_the_summed_nll_of_the_trained_model(fresh, tmp_path):
    run = training_run(fresh)
    found = run.figures()
    batch = fresh.tokens.batch(run.rows)
    plain = train(
        fresh.ref, batch["tokens"], batch["spans"], run.settings, folder=tmp_path / "t", dtype="float32", device="cpu"
    )
    np.testing.assert_array_equal(found.losses, plain.losses)
    (rows,) = run.evaluated
    network = load_model(fresh.ref, state=tmp_path / "t" / "state").network
    for k, (tokens, spans) in enumerate(zip(rows.tokens, rows.spans, strict=True)):
        ids = torch.from_numpy(tokens.astype(np.int64))
        logp = torch.log_softmax(network(ids[None]).logits[0].detach().double(), dim=-1)
        expected = -sum(float(logp[t - 1, ids[t]]) for t in range(spans[0], spans[1]))
        assert found.nll["held out"][k] == pytest.approx(expected, rel=1e-5)


def test_the_untrained_model_is_evaluated_as_it_is(fresh):
    run = training_run(fresh, RunSpec("untrained", 0, 0.0, "steps"))
    found = run.figures()
    counts = np.array([int(spans[1] - spans[0]) for spans in run.evaluated[0].spans])
    batch = {"tokens": run.evaluated[0].tokens, "spans": run.evaluated[0].spans}
    nll = ForwardPass(load_model(fresh.ref))(batch)["nll"]
    np.testing.assert_allclose(found.nll["held out"], nll * counts, rtol=1e-5)
    assert found.counts.steps == found.counts.rows == 0 and len(found.losses) == 0


def test_counts_are_those_of_the_steps(fresh):
    run = training_run(fresh)
    lengths, responses = fresh.lengths[run.rows], fresh.counts["response_tokens"][run.rows]
    places = np.concatenate(run.step_rows)
    counts = run.figures().counts
    assert counts.steps == 6 and counts.rows == 12
    assert counts.tokens == lengths[places].sum() and counts.response_tokens == responses[places].sum()
    assert abs(counts.response_tokens - 6 * 60) <= responses.max() / 2
    epochs = training_run(fresh, replace(SPEC, work="epochs")).figures().counts
    assert epochs.response_tokens == 2 * responses.sum() and epochs.rows == 12


def test_margins_are_mean_log_probabilities_per_token_chosen_minus_rejected(stages):
    model = load_model(stages.ref)
    columns = evaluate(model, as_pairs(stages, [0, 1, 2], [5, 15, 2]))
    nll = ForwardPass(model)(stages.tokens.batch(np.array([0, 1, 2, 5, 15])))["nll"].astype(np.float64)
    np.testing.assert_allclose(columns["margin:pairs"], [nll[3] - nll[0], nll[4] - nll[1], 0.0], rtol=1e-5)


def test_exact_match_is_what_greedy_decoding_gives(stages):
    """Worked with `generate`: of rows whose response is the greedy continuation, and of the same with a wrong token."""
    model = load_model(stages.ref)
    batch = stages.tokens.batch(np.arange(4))
    endless = strip_generation_config(model.network, ())
    prompts = [t[: s[0]].astype(np.int64) for t, s in zip(batch["tokens"], batch["spans"], strict=True)]
    greedy = [generate(endless, [prompt], GreedyLogProbs(), 5, "cpu")[0][0] for prompt in prompts]
    right = [np.concatenate(pair) for pair in zip(prompts, greedy, strict=True)]
    wrong = [row.copy() for row in right]
    for k, row in enumerate(wrong):
        row[len(prompts[k]) + k] = (row[len(prompts[k]) + k] + 1) % 300  # another place in each row
    spans = [np.array([len(prompt), len(prompt) + 5]) for prompt in prompts]
    forward = ForwardPass(model, observers=[ExactMatch(model)])
    found = forward({"tokens": [*right, *wrong, prompts[0]], "spans": [*spans, *spans, np.array([], np.int64)]})
    assert found["match"].tolist() == [True] * 4 + [False] * 4 + [False]


def test_exact_match_counts_short_responses_alone(stages):
    model = load_model(stages.ref)
    columns = evaluate(model, make_evaluated(stages, [3, 4], short=[1]))
    assert not columns["match:held out"][0]
    assert "match:held out" not in evaluate(model, make_evaluated(stages, [3, 4]))


def test_a_run_is_stored_and_never_repeated(fresh, monkeypatch):
    run = training_run(fresh)
    assert not run.is_stored
    first = figures_of(run)
    assert run.is_stored
    monkeypatch.setattr(finetune, "_run_step", None)  # a step would raise TypeError
    assert figures_of(training_run(fresh)) == first
    assert not list(fresh.workspace.root.rglob("*.safetensors"))


@pytest.mark.parametrize(
    ("spec", "rows"),
    [
        (replace(SPEC, seed=2), range(12)),
        (replace(SPEC, rate=2e-2), range(12)),
        (replace(SPEC, work="epochs"), range(12)),
        (SPEC, range(11)),
    ],
)
def test_other_settings_and_other_rows_are_another_run(fresh, spec, rows):
    assert training_run(fresh, spec, rows).spec != training_run(fresh).spec


def test_arms_of_the_same_rows_share_a_run(fresh):
    assert training_run(fresh, replace(SPEC, arm="entropy_shift")).spec == training_run(fresh).spec
    longer = replace(PLAN, work=replace(PLAN.work, epochs=7))
    assert training_run(fresh, plan=longer).spec == training_run(fresh).spec  # equal steps have no epochs


def test_what_is_evaluated_decides_the_run(fresh):
    run = training_run(fresh)
    one = run.evaluated[0]
    for other in (
        replace(one, short=~one.short),
        replace(one, tokens=one.tokens[::-1], spans=one.spans[::-1]),
        replace(one, target=replace(one.target, name="other")),
    ):
        assert TrainingRun(fresh, run.settings, run.rows, (other,)).spec != run.spec


class Killed(BaseException):
    pass


@pytest.mark.parametrize("during", ["training", "evaluation"])
def test_a_killed_run_resumes_to_the_same_figures(stages, fresh, monkeypatch, during):
    whole = figures_of(training_run(stages))
    steps = []
    step = finetune._run_step
    run_steps = finetune._run_steps
    monkeypatch.setattr(finetune, "_run_steps", lambda *args: run_steps(*args[:4], 2))  # a checkpoint every other step

    def stop(done, _total):
        if during == "training" and done == 5:
            raise Killed

    def fail(*_):
        raise Killed

    with monkeypatch.context() as patch:
        if during == "evaluation":
            patch.setattr("core.proof.runs.evaluate", fail)
        with pytest.raises(Killed):
            training_run(fresh).figures(stop)
    assert not training_run(fresh).is_stored
    monkeypatch.setattr(finetune, "_run_step", lambda run: (steps.append(len(run.losses)), step(run)))
    assert figures_of(training_run(fresh)) == whole
    assert steps[0] == 4  # from the last checkpoint
    assert not list(fresh.workspace.root.rglob("checkpoint"))


def test_a_run_that_another_worker_is_at_is_busy(fresh):
    run = training_run(fresh)
    assert not run.is_busy
    with fresh.open(run.spec, [np.arange(1)]):
        assert training_run(fresh).is_busy
    assert not run.is_busy


def test_training_changes_what_is_evaluated(fresh):
    untrained = training_run(fresh, RunSpec("untrained", 0, 0.0, "steps")).figures()
    trained = training_run(fresh).figures()
    assert trained.nll["held out"].sum() < 0.9 * untrained.nll["held out"].sum()
