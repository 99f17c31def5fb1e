"""A small OpenAI-compatible server on loopback that answers with a real model, and can be made to misbehave."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock, Thread
from typing import Any, Literal

import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from core.models.generation.answers import SamplingSettings
from core.models.generation.sampler import Sampler
from core.models.loading import Model

KEY = "sk-a-key-for-tests-only"
START = 10.0  # seconds a server may take to start and to stop


@dataclass
class AnswerApp:
    """The server's behaviour, and the requests it received.

    `behave` is called with each request's number, from 1, and its body; what it returns is sent instead of answers (a
    number is a status).
    """

    model: Model
    ignores_n: bool = False
    refuses_n: bool = False
    samples: Literal["always", "on_request", "never"] = "always"  # "on_request": as `transformers serve`
    behave: Any = lambda number, body: None
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    lock: Lock = field(default_factory=Lock)

    def chat(self, request: Request, body: dict[str, Any]) -> Response:
        text = "".join(f"{m['role']}: {m['content']}\n" for m in body["messages"]) + "assistant:"
        return self._answer(body, text, lambda t: {"message": {"role": "assistant", "content": t}})

    def complete(self, request: Request, body: dict[str, Any]) -> Response:
        return self._answer(body, body["prompt"], lambda t: {"text": t})

    def _answer(self, body: dict[str, Any], text: str, choice: Any) -> Response:
        if body["model"] != "embedded":
            return JSONResponse({"error": {"message": text}}, 404)
        n = body.get("n", 1)
        if self.refuses_n and n > 1:
            return JSONResponse({"error": {"message": f"n must be 1: {text}"}}, 400)
        n = 1 if self.ignores_n else n
        answers = self._sample(body, text, n)
        choices = [
            {"index": k, "finish_reason": answers["ended"][0][k], **choice(answers["answers"][0][k])} for k in range(n)
        ]
        usage = {"completion_tokens": sum(answers["answer_tokens"][0][:n])}
        return JSONResponse({"object": "list", "choices": choices[::-1], "usage": usage})

    def _sample(self, body: dict[str, Any], text: str, n: int) -> dict[str, Any]:
        tokens = self.model.tokenizer(text)["input_ids"]
        asked = json.loads(body.get("generation_config", "{}")).get("do_sample")
        seed = body["seed"] if self.samples == "always" or (self.samples == "on_request" and asked) else 0
        given = SamplingSettings(max(2, n), body["temperature"], body["top_p"], body["max_tokens"], seed)
        with self.lock:  # one model, one request at a time
            sampler = Sampler(self.model, given)
            return sampler({"tokens": [np.array(tokens)], "ids": ["any"]})

    def endpoint(self, handler: Any) -> Any:
        async def run(request: Request) -> Response:
            body = json.loads(await request.body())
            return await run_in_threadpool(self._noted, handler, request, body)

        return run

    def _noted(self, handler: Any, request: Request, body: dict[str, Any]) -> Response:
        self.asked.append(body)
        self.keys.append(request.headers.get("authorization"))
        number = len(self.asked)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            sent = self.behave(number, body)
            if isinstance(sent, int):
                return JSONResponse({"error": {"message": json.dumps(body)}}, sent)
            return sent if sent is not None else handler(request, body)
        finally:
            self.at_once -= 1

    def routes(self) -> list[Route]:
        async def models(_request: Request) -> Response:
            return JSONResponse({"data": [{"id": "embedded"}]})

        return [
            Route("/v1/models", models),
            Route("/v1/chat/completions", self.endpoint(self.chat), methods=["POST"]),
            Route("/v1/completions", self.endpoint(self.complete), methods=["POST"]),
        ]


@contextmanager
def serving(app: AnswerApp) -> Iterator[str]:
    """Run the app on a free loopback port and yield its address."""
    config = uvicorn.Config(
        Starlette(routes=app.routes()), host="127.0.0.1", port=0, log_level="critical", lifespan="off", ws="none"
    )
    server = uvicorn.Server(config)
    thread = Thread(target=server.run, daemon=True)
    thread.start()
    until = time.monotonic() + START
    while not server.started and time.monotonic() < until:
        time.sleep(0.01)
    assert server.started, "the server has not started"
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/v1"
    finally:
        server.should_exit = True
        thread.join(START)
