"""K answers to each prompt from an OpenAI-compatible server: vLLM, SGLang, `transformers serve`, or a service.

A prompt is sent as messages, or with `form` "completions" as text in Alpaca's layout, for models without a chat
template. All K answers are asked for at once (`n`); from a server that refuses `n` or gives fewer, one at a time from
then on. Each request has a seed of its own, from the row's id: whether the server keeps to it is the server's affair.
httpx2 is enough for two kinds of request; the openai package would repeat prompts in its errors.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.errors import ModelError
from core.models.chat_layout import AlpacaLayout, Turn, drop_blank_answers, simplify_turns
from core.models.encoder import build_turns
from core.models.generation.answers import (
    ANSWER_COLUMNS,
    LENGTH,
    STOP,
    SamplingSettings,
    missing_answers,
    random_streams,
)
from core.models.generation.openai_client import KEY_VARIABLE, Endpoint, RequestRefusedError
from core.schema import Progress, ignore_progress

SEED_SHIFT = np.uint64(33)  # of 64 that are dropped: servers take seeds of 31 bits
MAX_REFUSALS_AT_START = 3  # rows that a server refuses before it has answered any: then it is no matter of a row
PATHS = {"chat": "/chat/completions", "completions": "/completions"}


@dataclass(frozen=True)
class ServedModel:
    """A model behind a server. Holds no key, only where one is found."""

    url: str  # http(s)://host[:port][/v1]
    model: str  # as the server calls it
    form: Literal["chat", "completions"] = "chat"
    key_variable: str = KEY_VARIABLE  # the environment variable that holds the key
    concurrency: int = 8  # requests at once
    timeout: float = 300.0  # seconds that an answer may take
    tries: int = 6  # of each request

    @property
    def key_fields(self) -> dict[str, Any]:
        """The part that decides the answers."""
        return {"url": self.url, "model": self.model, "form": self.form}


class ServerAnswer(NamedTuple):
    """One answer; nothing where there is none."""

    text: str | None
    tokens: int | None
    ended: str | None


class ServerSampler:
    """Asks one server for answers; use it in a `with` block. It remembers whether the server minds `n`."""

    columns = ANSWER_COLUMNS

    def __init__(self, served: ServedModel, settings: SamplingSettings, *, back_off: float = 1.0) -> None:
        if served.form not in PATHS:
            raise ModelError(f"A server is asked for {' or '.join(PATHS)}, not for {served.form!r}.")
        if settings.prompt_tokens is not None:
            raise ModelError("A server reads prompts whole: prompt_tokens is for models that run here. Leave it out.")
        if served.concurrency < 1 or served.tries < 1 or served.timeout <= 0:
            raise ModelError("Concurrency, tries and time-out of a server must be above 0.")
        self.served, self.settings = served, settings
        self.asks_together = True  # K answers in one request, until the server shows that it gives but one
        self.answered_rows = 0  # rows
        self.refused_rows = 0  # rows that the server will not answer, too long for it perhaps: they have no answers
        self._refusal: RequestRefusedError | None = None
        self.generated_tokens = 0  # tokens of answers, as far as the server counts them
        self.endpoint = Endpoint(
            served.url,
            key_variable=served.key_variable,
            connections=served.concurrency,
            timeout=served.timeout,
            tries=served.tries,
            back_off=back_off,
        )

    def __enter__(self) -> "ServerSampler":
        return self

    def __exit__(self, *error: object) -> None:
        self.endpoint.__exit__(*error)

    def __call__(self, batch: Mapping[str, Any], progress: Progress = ignore_progress) -> dict[str, list[list[Any]]]:
        """Columns prompt, response (None: there is none), turns (JSON or None), as `core.models.encoder.Encoder` takes
        them, and ids, each row's own text id, to `columns`, in the same order: K values for each row.

        A row that the server refuses while it answers others has K nulls and counts in `refused_rows`. `progress` is told
        of answers, in this thread; what it raises ends the work. ModelError when the server fails.
        """
        k = self.settings.answers
        prompts = [self._prompt(*row) for row in zip(batch["prompt"], batch["response"], batch["turns"], strict=True)]
        seeds = random_streams(self.settings.seed, batch["ids"], k) >> SEED_SHIFT
        found = missing_answers(len(prompts), k)
        self.endpoint.stop.clear()
        with ThreadPoolExecutor(self.served.concurrency) as pool:
            try:
                for done, (row, answers) in enumerate(self._each(pool, prompts, seeds), 1):
                    for name, values in zip(ANSWER_COLUMNS, zip(*answers, strict=True), strict=True):
                        found[name][row] = list(values)
                    progress(done * k, len(prompts) * k)
            finally:  # after an error or a cancel too, so that nothing more is asked
                self.endpoint.stop.set()
                pool.shutdown(cancel_futures=True)
        if self._refusal and not self.answered_rows:
            raise self._refusal
        return found

    def _each(self, pool: ThreadPoolExecutor, prompts: Sequence[dict[str, Any]], seeds: NDArray[np.uint64]) -> Any:
        """Rows and their answers as they come: the first by itself, from which is learnt how to ask for the others."""
        if prompts:
            yield 0, self._row(prompts[0], seeds[0].tolist())
        waiting = {pool.submit(self._row, prompts[i], seeds[i].tolist()): i for i in range(1, len(prompts))}
        for future in as_completed(waiting):
            yield waiting[future], future.result()

    def _prompt(self, prompt: str, response: str | None, turns: str | None) -> dict[str, Any]:
        """What of a request is the row's: all turns before its last answer."""
        said = drop_blank_answers(
            [turn for turn in build_turns(prompt, response, turns, all_answers=False) if not turn.is_response]
        )
        if self.served.form == "completions":
            return {"prompt": "".join(piece.text for piece in AlpacaLayout(None, None).pieces(said))}
        if any(turn.role == "tool" for turn in said):  # which servers take only with the call that it answers
            said = simplify_turns(said)
        return {"messages": [_message(turn) for turn in said]}

    def _row(self, prompt: dict[str, Any], seeds: Sequence[int]) -> list[ServerAnswer]:
        """K answers to one prompt; none of them where the server refuses it and has answered others."""
        try:
            said = self._answers(prompt, seeds)
        except RequestRefusedError as error:
            self.refused_rows, self._refusal = self.refused_rows + 1, error
            if self.refused_rows >= MAX_REFUSALS_AT_START and not self.answered_rows:
                raise
            return [ServerAnswer(None, None, None)] * len(seeds)
        self.answered_rows += 1
        return said

    def _answers(self, prompt: dict[str, Any], seeds: Sequence[int]) -> list[ServerAnswer]:
        """K answers to one prompt."""
        said: list[ServerAnswer] = []
        if self.asks_together:
            try:
                said = self._ask(prompt, seeds[0], len(seeds))
            except RequestRefusedError:
                said = self._ask(prompt, seeds[0], 1)  # raises again where it is not `n` that is refused
            self.asks_together = self.asks_together and len(said) == len(seeds)
        while len(said) < len(seeds):
            said += self._ask(prompt, seeds[len(said)], 1)
        return said

    def _ask(self, prompt: dict[str, Any], seed: int, count: int) -> list[ServerAnswer]:
        """One request; at least one answer, and at most so many."""
        settings = self.settings
        body = {
            "model": self.served.model,
            **prompt,
            "temperature": settings.temperature,
            "top_p": settings.top_p,
            "max_tokens": settings.max_new_tokens,
            "seed": seed,
            **({"n": count} if count > 1 else {}),
        }
        found = self.endpoint.post(PATHS[self.served.form], body)
        said = [_said(choice) for choice in _choices(found)]
        if not said or None in said:
            raise ModelError(
                f"Server {self.endpoint.url} answers with JSON that holds no answer where one is expected. See that it "
                "is an OpenAI-compatible server, and whether its model takes messages or plain prompts."
            )
        return self._counted([answer for answer in said if answer], found.get("usage"))[:count]

    def _counted(self, said: list[ServerAnswer], usage: Any) -> list[ServerAnswer]:
        """The answers, with its tokens where there is one: of several the server gives but the sum."""
        tokens = usage.get("completion_tokens") if isinstance(usage, dict) else None
        if not isinstance(tokens, int):
            return said
        self.generated_tokens += tokens
        return [said[0]._replace(tokens=tokens)] if len(said) == 1 else said


def _message(turn: Turn) -> dict[str, str]:
    return {"role": turn.role, "content": turn.content}


def _choices(found: dict[str, Any]) -> list[dict[str, Any]]:
    """The choices in their order, which is not always the order that they are given in."""
    given = found.get("choices")
    choices = [c for c in given if isinstance(c, dict)] if isinstance(given, list) else []
    return sorted(choices, key=lambda c: c["index"] if isinstance(c.get("index"), int) else 0)


def _said(choice: dict[str, Any]) -> ServerAnswer | None:
    """One choice of either kind; None where it has another shape."""
    text, reason = _text(choice), choice.get("finish_reason")
    return ServerAnswer(text, None, reason if reason in (STOP, LENGTH) else None) if isinstance(text, str) else None


def _text(choice: dict[str, Any]) -> Any:
    """No content is an empty answer."""
    message = choice.get("message")
    if not isinstance(message, dict):
        return choice.get("text")
    return message.get("content") or message.get("refusal") or ""
