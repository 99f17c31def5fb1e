"""Answers from a real server on loopback that runs the embedded model, and from a misbehaving one."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, replace
from itertools import chain
from threading import Timer

import pytest
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from core.demo import MODEL_PATH
from core.errors import Cancelled, ModelError
from core.measurement import answer_divergence
from core.measurement.measure import measure
from core.measurement.run_data import load_measured
from core.methods import build_method
from core.models.generation import server
from core.models.generation.addresses import check_url
from core.models.generation.answers import SamplingSettings, answer_table, count_answers
from core.models.generation.openai_client import Endpoint, ServedModel
from core.models.generation.server import ServerSampler
from core.models.loading import load_model
from core.models.reference import resolve_model
from core.pool.pools import load_pool
from core.progress import SilentReporter
from core.schema import Reading
from core.workspace.folder import Workspace
from tests.core.models.generation.answer_app import KEY, AnswerApp, serving

QUICK = SamplingSettings(answers=3, max_new_tokens=6)
QUESTIONS = ["What is the capital of France?", "Add 2 and 3.", "Name a colour.", "SECRET-PROMPT, say something."]


@pytest.fixture(scope="module")
def model():
    return load_model(resolve_model(str(MODEL_PATH)), dtype="float32", device="cpu")


@pytest.fixture(autouse=True)
def no_key(monkeypatch):
    monkeypatch.delenv("WINNOW_API_KEY", raising=False)
    monkeypatch.delenv("WINNOW_API_HOST", raising=False)


def batch(questions=QUESTIONS, **more):
    n = len(questions)
    return {
        "prompt": questions,
        "response": [None] * n,
        "turns": [None] * n,
        "ids": [f"id {q}" for q in questions],
    } | more


def served_model(url, **more):
    return ServedModel(url, "embedded", **({"tries": 3, "concurrency": 3} | more))


def request_answers(app, given=None, settings=QUICK, **more):
    with serving(app) as url, ServerSampler(served_model(url, **more), settings, back_off=0.01) as server:
        return server(given or batch()), server


def error_text(app, given=None, **more):
    with pytest.raises(ModelError) as caught:
        request_answers(app, given, **more)
    text = str(caught.value)
    assert text.count("http://127.0.0.1") == 1 and "SECRET" not in text and KEY not in text
    return text


# --- requests


@pytest.mark.parametrize("form", ["chat", "completions"])
def test_a_server_gives_k_answers_to_each_row_in_one_request(model, form):
    app = AnswerApp(model)
    actual, _ = request_answers(app, form=form)
    assert len(app.asked) == len(QUESTIONS) and app.most_at_once <= 3
    counts = count_answers(answer_table(actual))
    assert (counts.rows, counts.asked, counts.missing) == (4, 12, 0)
    assert all(len(set(answers)) == 3 for answers in actual["answers"])
    assert {e for row in actual["ended"] for e in row} <= {"stop", "length"}
    assert actual["answer_tokens"] == [[None] * 3] * 4 and all(3 <= total <= 18 for total in actual["row_tokens"])
    assert (counts.tokens, counts.tokens_unknown) == (sum(actual["row_tokens"]), 0)
    body = next(b for b in app.asked if "France" in json.dumps(b))
    assert {k: body[k] for k in ("model", "n", "temperature", "top_p", "max_tokens")} == {
        "model": "embedded",
        "n": 3,
        "temperature": 1.4,
        "top_p": 0.9,
        "max_tokens": 6,
    }
    assert 0 <= body["seed"] < 2**31 and len({b["seed"] for b in app.asked}) == 4
    if form == "chat":
        assert body["messages"] == [{"role": "user", "content": QUESTIONS[0]}]
    else:
        assert body["prompt"].startswith("Below is an instruction")
        assert body["prompt"].endswith("France?\n\n### Response:\n")


def test_a_row_has_the_same_answers_in_any_batch_and_order_if_the_server_respects_seeds(model):
    app = AnswerApp(model)
    with serving(app) as url, ServerSampler(served_model(url), QUICK) as server:
        whole = server(batch())["answers"]
        assert server(batch(QUESTIONS[::-1]))["answers"] == whole[::-1]
        assert server(batch(QUESTIONS[2:3]))["answers"] == whole[2:3]
        assert server(batch([])) == {"answers": [], "answer_tokens": [], "ended": [], "row_tokens": []}


@pytest.mark.parametrize("fault", ["ignores_n", "refuses_n"])
def test_a_server_that_does_not_support_n_gets_k_requests_from_then_on(model, fault):
    app = AnswerApp(model, **{fault: True})
    with serving(app) as url, ServerSampler(served_model(url), QUICK) as server:
        actual = server(batch())
        extra = fault == "refuses_n"
        assert len(app.asked) == 12 + extra and not server.asks_together
        assert ["n" in body for body in app.asked] == [True] + [False] * (11 + extra)
        assert all(len(set(answers)) == 3 for answers in actual["answers"])
        assert all(1 <= tokens <= 6 for row in actual["answer_tokens"] for tokens in row)
        assert actual["row_tokens"] == [sum(row) for row in actual["answer_tokens"]]
        assert len({body["seed"] for body in app.asked}) == 12
        server(batch(QUESTIONS[:1]))
        assert len(app.asked) == 15 + extra


def test_prompts_with_the_same_beginning_follow_each_other(model):
    app = AnswerApp(model)
    questions = ["b: two", "a: one", "b: one", "a: two"]
    actual, _ = request_answers(app, batch(questions), concurrency=1)
    asked = [body["messages"][0]["content"] for body in app.asked]
    assert asked == sorted(questions)
    alone, _ = request_answers(AnswerApp(model), batch(questions[2:3]))
    assert actual["answers"][2] == alone["answers"][0]


def test_a_server_that_samples_only_on_request_is_asked_to(model):
    app = AnswerApp(model, ignores_n=True, samples="on_request")
    actual, _ = request_answers(app, concurrency=1)
    assert all(len(set(answers)) == 3 for answers in actual["answers"])
    assert ["generation_config" in body for body in app.asked] == [False] * 3 + [True] * 3 * len(QUESTIONS)


def test_a_server_that_refuses_to_be_asked_so_is_asked_as_before(model):
    def behave(number, body):
        return 400 if "generation_config" in body else None

    app = AnswerApp(model, ignores_n=True, samples="on_request", behave=behave)
    actual, _ = request_answers(app)
    assert all(len(set(answers)) == 1 for answers in actual["answers"])


@pytest.mark.parametrize(("rows", "stops"), [(4, True), (3, False)])
def test_a_server_that_never_samples_is_an_error_after_some_rows(model, rows, stops, monkeypatch):
    monkeypatch.setattr(server, "MAX_ROWS_ALIKE", 4)
    app = AnswerApp(model, ignores_n=True, samples="never")
    given = batch([f"{k}: say something." for k in range(rows)])
    if stops:
        assert "3 identical answers to each of the first 4" in error_text(app, given)
    else:
        request_answers(app, given)


def test_turns_before_the_last_answer_are_sent_and_a_response_is_not(model):
    app = AnswerApp(model)
    turns = [("system", "Be brief."), ("user", "Hi"), ("assistant", "Hello"), ("user", "Bye"), ("assistant", "Gone")]
    tools = [("user", "Weather?"), ("assistant", "Asking."), ("tool", "Rain"), ("assistant", "It rains.")]
    columns = [json.dumps([{"role": r, "content": c} for r, c in sent]) for sent in (turns, tools)]
    given = batch(["Hi", "Weather?", "One?"]) | {"response": ["Gone", "It rains.", "Uno"], "turns": [*columns, None]}
    request_answers(app, given, concurrency=1)
    sent = [[(m["role"], m["content"]) for m in body["messages"]] for body in app.asked]
    plain = [("user", "Weather?"), ("assistant", "Asking."), ("user", "Rain")]
    assert sorted(sent) == sorted([turns[:4], plain, [("user", "One?")]])


def test_progress_counts_answers_and_an_exception_it_raises_ends_the_work(model):
    app, calls = AnswerApp(model), []
    with serving(app) as url, ServerSampler(served_model(url), QUICK) as server:
        server(batch(), lambda *so_far: calls.append(so_far))
        assert calls == [(3, 12), (6, 12), (9, 12), (12, 12)]

        def stop(done, total):
            raise Cancelled("enough")

        asked = len(app.asked)
        with pytest.raises(Cancelled):
            server(batch([f"Question {k}" for k in range(40)]), stop)
        assert len(app.asked) <= asked + 3


# --- the key


def host_of(url):
    return url.removeprefix("http://").removesuffix("/v1")


def test_the_key_is_sent_and_appears_nowhere_else(model, monkeypatch, caplog):
    monkeypatch.setenv("WINNOW_API_KEY", KEY)
    caplog.set_level(0)
    app = AnswerApp(model)
    with serving(app) as url:
        monkeypatch.setenv("WINNOW_API_HOST", f"api.example, {host_of(url)}")
        with ServerSampler(served_model(url), QUICK) as server:
            server(batch())
            assert set(app.keys) == {f"Bearer {KEY}"}
            app.behave = lambda number, body: 401
            with pytest.raises(
                ModelError, match=r"does not accept the key \(status 401\)\. Check WINNOW_API_KEY"
            ) as caught:
                server(batch())
    endpoint = server.endpoint
    for text in (
        repr(server),
        repr(server.served),
        repr(vars(endpoint)),
        repr(endpoint),
        caplog.text,
        str(caught.value),
    ):
        assert KEY not in text and "SECRET" not in text
    assert KEY not in repr(asdict(server.served))


@pytest.mark.parametrize(
    "hosts", [None, "", "127.0.0.1", "localhost", "127.0.0.2:{port}", "127.0.0.1:1", "api.example"]
)
def test_the_key_is_sent_to_no_host_that_it_is_not_for_and_the_error_says_so(model, monkeypatch, hosts):
    monkeypatch.setenv("WINNOW_API_KEY", KEY)
    app = AnswerApp(model, behave=lambda number, body: 403)
    with serving(app) as url:
        if hosts is not None:
            monkeypatch.setenv("WINNOW_API_HOST", hosts.format(port=host_of(url).partition(":")[2]))
        with ServerSampler(served_model(url), QUICK) as server, pytest.raises(ModelError) as caught:
            server(batch(QUESTIONS[:1]))
    assert app.keys == [None]
    assert "requires a key (status 403), and none was sent. Put the key in the environment" in str(caught.value)
    assert f"{host_of(url)} in WINNOW_API_HOST" in str(caught.value)


def test_without_a_key_none_is_sent_and_what_is_no_key_is_refused(model, monkeypatch):
    app = AnswerApp(model)
    request_answers(app, batch(QUESTIONS[:1]))
    assert app.keys == [None]
    monkeypatch.setenv("WINNOW_API_KEY", "sk-one\nsk-two")
    with pytest.raises(ModelError, match="WINNOW_API_KEY is not a valid key") as caught:
        Endpoint(ServedModel("http://127.0.0.1:1/v1", "m"))
    assert "sk-" not in str(caught.value)


def test_neither_key_nor_prompt_follows_a_redirect(model, monkeypatch):
    monkeypatch.setenv("WINNOW_API_KEY", KEY)
    other = AnswerApp(model)
    with serving(other) as elsewhere, serving(AnswerApp(model)) as url:
        monkeypatch.setenv("WINNOW_API_HOST", f"{host_of(url)},{host_of(elsewhere)}")
        for status in (301, 302, 303, 307, 308):
            away = RedirectResponse(f"{elsewhere}/chat/completions", status)
            text = error_text(AnswerApp(model, behave=lambda n, b, a=away: a))
            assert f"status {status} and no JSON object" in text
    assert other.asked == other.keys == []


def test_what_is_on_this_computer_is_not_asked_by_a_proxy(model, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    app = AnswerApp(model)
    request_answers(app, batch(QUESTIONS[:1]))
    assert len(app.asked) == 1


# --- addresses


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000/v1"),
        ("http://127.0.0.1:8000/", "http://127.0.0.1:8000/v1"),
        ("https://host.example/api/v1/", "https://host.example/api/v1"),
        (" http://[::1]:80/openai ", "http://[::1]/openai"),
    ],
)
def test_an_address_is_http_or_https_and_gets_v1_if_it_has_no_path(given, url):
    assert check_url(given) == url


@pytest.mark.parametrize("url", ["", "localhost:8000", "file:///etc/passwd", "http://", "ftp://host/v1", "http://a b"])
def test_an_invalid_address_is_a_clear_error(url):
    with pytest.raises(ModelError, match=r"http://127\.0\.0\.1:8000/v1"):
        check_url(url)


@pytest.mark.parametrize("url", ["http://me:sk-mine@host/v1", "http://host/v1?key=sk-mine", "http://host/#sk-mine"])
def test_an_address_with_a_key_in_it_is_refused_without_repeating_it(url):
    with pytest.raises(ModelError, match="WINNOW_API_KEY") as caught:
        check_url(url)
    assert "sk-mine" not in str(caught.value)


# --- retries


@pytest.mark.parametrize("status", [429, 500, 503])
def test_transient_failures_are_retried(model, status):
    app = AnswerApp(model, behave=lambda number, body: status if number in (1, 2, 5) else None)
    actual, _ = request_answers(app)
    assert count_answers(answer_table(actual)).missing == 0
    assert len(app.asked) == 7


def test_retry_after_is_respected(model):
    busy = Response(status_code=429, headers={"Retry-After": "1"})
    began = time.monotonic()
    request_answers(AnswerApp(model, behave=lambda number, body: busy if number == 1 else None), batch(QUESTIONS[:1]))
    assert time.monotonic() - began >= 1
    later = Response(status_code=429, headers={"Retry-After": "Fri, 31 Dec 2100 23:59:59 GMT"})
    assert "asks for a pause of " in error_text(AnswerApp(model, behave=lambda number, body: later))


def test_a_wait_ends_when_the_work_is_stopped_and_nothing_more_is_sent(model):
    app = AnswerApp(model, behave=lambda number, body: Response(status_code=429, headers={"Retry-After": "60"}))
    with serving(app) as url, Endpoint(ServedModel(url, "m")) as endpoint:
        began = time.monotonic()
        Timer(0.3, endpoint.stop.set).start()
        with pytest.raises(ModelError, match="answers with status 429, 1 times in a row"):
            endpoint.post("/chat/completions", {"model": "embedded"})
    assert time.monotonic() - began < 30 and len(app.asked) == 1


def test_a_server_that_always_fails_is_an_error_after_all_attempts(model):
    app = AnswerApp(model, behave=lambda number, body: 500)
    assert "answers with status 500, 3 times in a row. Check that it runs" in error_text(app)
    assert len(app.asked) == 3  # only the first row: no other has started


def test_one_failure_ends_the_other_requests(model):
    app = AnswerApp(model, behave=lambda number, body: 401 if "Question 07" in str(body) else None)
    text = error_text(app, batch([f"Question {k:02}." for k in range(60)]), concurrency=2)
    assert "requires a key (status 401)" in text and len(app.asked) < 30


def test_a_rejected_row_has_no_answers_while_others_do(model):
    app = AnswerApp(model, behave=lambda number, body: 400 if "France" in str(body) else None)
    actual, server = request_answers(app)
    assert actual["answers"][0] == [None] * 3 and None not in chain(*actual["answers"][1:])
    assert (server.refused_rows, server.answered_rows, server.asks_together) == (1, 3, True)


@pytest.mark.parametrize(("rows", "asked"), [(1, 2), (2, 4), (4, 6)])
def test_a_server_that_rejects_all_rows_is_an_error(model, rows, asked):
    app = AnswerApp(model, behave=lambda number, body: 422)
    text = error_text(app, batch(QUESTIONS[:rows]), concurrency=1)
    assert "refuses the request (status 422). Check whether model 'embedded'" in text
    assert asked <= len(app.asked) <= asked + 2  # the next row may have started when the third failed


def test_a_broken_connection_is_retried(model):
    cut = Response("{", headers={"Content-Length": "1000"})
    app = AnswerApp(model, behave=lambda number, body: cut if number == 1 else None)
    actual, _ = request_answers(app, batch(QUESTIONS[:1]))
    assert len(app.asked) == 2 and count_answers(answer_table(actual)).missing == 0


def test_a_slow_or_missing_server_is_a_clear_error(model):
    app = AnswerApp(model, behave=lambda number, body: time.sleep(0.6))
    text = error_text(app, batch(QUESTIONS[:1]), timeout=0.2, tries=2)
    assert "gives no answer within 0.2 seconds, 2 times in a row" in text
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"  # bound, but not listening
        with (
            ServerSampler(served_model(url), QUICK, back_off=0.01) as server,
            pytest.raises(ModelError, match=r"/v1 cannot be reached \(ConnectError\), 3 times in a row"),
        ):
            server(batch())


# --- malformed answers


@pytest.mark.parametrize(
    "text",
    [
        "<html>busy</html>",
        "[]",
        "{}",
        '{"choices": []}',
        '{"choices": [{}]}',
        '{"choices": 3}',
        '{"choices": [{"text": 3}]}',
    ],
)
def test_json_of_another_shape_is_an_error(model, text):
    message = error_text(AnswerApp(model, behave=lambda number, body: PlainTextResponse(text)))
    assert "no JSON object" in message or "JSON that has no answer" in message


def test_an_unknown_model_is_named_with_the_available_ones(model):
    with serving(AnswerApp(model)) as url, ServerSampler(ServedModel(url, "other"), QUICK) as server:
        with pytest.raises(
            ModelError, match=r"has no model 'other', .* \(status 404\)\. Its models: embedded\."
        ) as caught:
            server(batch())
        assert "SECRET" not in str(caught.value)


def test_missing_content_is_an_empty_answer_refusals_are_text_and_extra_answers_are_dropped(model):
    choices = [
        {"index": 0, "message": {"content": None}, "finish_reason": "content_filter"},
        {"index": 1, "message": {"content": None, "refusal": "I can't."}, "finish_reason": "stop"},
        {"index": 2, "message": {"content": "Yes"}, "finish_reason": "length"},
        {"index": 3, "message": {"content": "More"}, "finish_reason": "length"},
    ]
    text = json.dumps({"choices": choices[::-1], "usage": {"completion_tokens": 90}})  # of four answers
    actual, server = request_answers(
        AnswerApp(model, behave=lambda number, body: PlainTextResponse(text)), batch(QUESTIONS[:1])
    )
    assert actual == {
        "answers": [["", "I can't.", "Yes"]],
        "answer_tokens": [[None] * 3],
        "ended": [[None, "stop", "length"]],
        "row_tokens": [None],
    }
    assert count_answers(answer_table(actual)).tokens_unknown == 3
    assert server.asks_together


@pytest.mark.parametrize(
    ("more", "settings", "words"),
    [
        ({"form": "text"}, QUICK, "chat or completions"),
        ({"concurrency": 0}, QUICK, "above 0"),
        ({}, SamplingSettings(prompt_tokens=80), "prompt_limit is for local models"),
    ],
)
def test_unsupported_settings_are_refused_at_once(more, settings, words):
    with pytest.raises(ModelError, match=words):
        ServerSampler(served_model("http://127.0.0.1:1", **more), settings)


def test_the_environment_is_left_unchanged():
    assert "WINNOW_API_KEY" not in os.environ


# --- as part of a measurement


def test_a_failing_server_loses_no_stored_answer(model, tmp_path, monkeypatch):
    monkeypatch.setattr(answer_divergence, "SERVED_PART_ROWS", 2)
    file = tmp_path / "pool.jsonl"
    file.write_text("".join(json.dumps({"instruction": q, "output": "yes"}) + "\n" for q in QUESTIONS))
    pool = load_pool(str(file), workspace=tmp_path)
    method = build_method(
        "answer_divergence", {"source": "server", "served_model": "embedded", "answers": 2, "max_new_tokens": 4}
    )
    app = AnswerApp(model, behave=lambda number, body: 401 if number > 2 else None)
    with serving(app) as url:
        asked = replace(method, base_url=url)
        with pytest.raises(ModelError, match="401"):
            measure(pool, asked, Reading(), Workspace(tmp_path), report=SilentReporter())
        assert len(app.asked) > 2
        app.behave = lambda number, body: None
        app.asked.clear()
        run = measure(pool, asked, Reading(), Workspace(tmp_path), report=SilentReporter())
    assert len(app.asked) == 2  # the first part, of two rows, was stored
    measured = load_measured(run)
    assert (measured.columns["answers_counted"] == 2).all()
    assert run.summary["answers"]["asked"] == 8


# --- another program's server


@pytest.fixture(scope="module")
def transformers_serve() -> Iterator[str]:
    """Run `transformers serve` with the embedded model; yield its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", str(MODEL_PATH), "--device", "cpu"]
    server = subprocess.Popen([*command, "--host", "127.0.0.1", "--port", str(port)])
    try:
        until = time.monotonic() + 120
        while time.monotonic() < until:
            with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2):
                break
            assert server.poll() is None, "the server has ended"
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        server.wait(30)


@pytest.mark.slow
def test_transformers_serve_samples_different_answers(transformers_serve):
    served = ServedModel(transformers_serve, str(MODEL_PATH), form="completions", concurrency=2)
    with ServerSampler(served, replace(QUICK, max_new_tokens=40)) as server:
        columns = server(batch())
    assert all(len(set(answers)) > 1 for answers in columns["answers"])
    assert all(isinstance(n, int) and 1 <= n <= 40 for row in columns["answer_tokens"] for n in row)
    assert "stop" in {end for row in columns["ended"] for end in row}  # the model's end token still ends answers
