"""K answers per prompt from an OpenAI-compatible server: vLLM, SGLang, `transformers serve`, or a hosted service.

A prompt is sent as messages, or with `form` "completions" as text in Alpaca's layout, for models without a chat
template. All K answers are requested at once (`n`). If the server rejects `n` or returns fewer, answers are requested
one at a time from then on. Each request has its own seed, derived from the row's id, which the server may ignore.

Identical answers of one row are requested again in the words that `transformers serve` needs to sample: it
ignores the temperature unless the model's generation config says so. A server that samples neither way is an error.
Rows are requested one by one until the answers of one of them differ, so that all later ones are requested alike, and
then as many at once as the server is fastest with (`core.models.generation.request_limit`).

A server counts the tokens of a request, so those of one answer are known only if it was requested alone; else they are
null, and the row's total is stored. httpx2 is enough for two kinds of request; the openai package would repeat prompts
in its errors.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from time import monotonic
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.errors import ModelError
from core.models.chat_layout import AlpacaLayout, drop_blank_answers, simplify_turns
from core.models.encoder import build_turns
from core.models.generation.answers import ANSWER_COLUMNS, LENGTH, ROW_TOKENS, STOP, SamplingSettings, missing_answers
from core.models.generation.openai_client import Endpoint, RequestRefusedError, ServedModel
from core.schema import Progress, ignore_progress

SEED_SHIFT = np.uint64(33)  # of 64 bits: servers accept seeds of 31 bits
MAX_REFUSALS_AT_START = 3  # after this many rejected rows and no answer, the request itself is at fault
MAX_ROWS_ALIKE = 16  # rows with identical answers, and none with others, after which the server does not sample
SAMPLE = {"generation_config": '{"do_sample": true}'}  # field of a request to `transformers serve`
PATHS = {"chat": "/chat/completions", "completions": "/completions"}


class ServerAnswer(NamedTuple):
    """One answer; all fields are None if it is missing."""

    text: str | None
    tokens: int | None
    ended: str | None


class ServerRow(NamedTuple):
    """Answers to one prompt, and the tokens of all of them; None if the server does not count them."""

    answers: list[ServerAnswer]
    tokens: int | None


class ServerSampler:
    """Requests answers from one server; a context manager. It remembers whether the server supports `n`."""

    columns = ANSWER_COLUMNS

    def __init__(self, served: ServedModel, settings: SamplingSettings, *, back_off: float = 1.0) -> None:
        if served.form not in PATHS:
            raise ModelError(f"The form of a server's requests must be {' or '.join(PATHS)}, not {served.form!r}.")
        if settings.prompt_tokens is not None:
            raise ModelError("A server reads whole prompts, and prompt_limit is for local models. Set prompt_limit=0.")
        if served.concurrency < 1 or served.tries < 1 or served.timeout <= 0:
            raise ModelError("Concurrency, tries and time-out of a server must be above 0.")
        self.served, self.settings = served, settings
        self.asks_together = True  # K answers per request, until the server returns only one
        self.answered_rows = self.refused_rows = 0  # the server may reject rows as too long: they have no answers
        self._refusal: RequestRefusedError | None = None
        self._samples = False  # whether the answers of some row differ
        self._more: dict[str, str] = {}  # fields of a request that the server needs to sample
        self.endpoint = Endpoint(served, back_off=back_off)

    def __enter__(self) -> "ServerSampler":
        return self

    def __exit__(self, *error: object) -> None:
        self.endpoint.__exit__(*error)

    def __call__(self, batch: Mapping[str, Any], progress: Progress = ignore_progress) -> dict[str, list[Any]]:
        """Request K answers for each row of the columns prompt, response, turns and ids.

        The first three are as for `core.models.encoder.Encoder`; `ids` are the rows' own text ids. Returns `columns`
        and ROW_TOKENS, in the same row order. A row that the server rejects while it answers others has K nulls and
        counts in `refused_rows`. `progress` counts answers, in this thread; an exception it raises ends the work.
        Raises ModelError if the server fails.
        """
        k = self.settings.answers
        prompts = [self._prompt(*row) for row in zip(batch["prompt"], batch["response"], batch["turns"], strict=True)]
        seeds = self.settings.random_streams(batch["ids"]) >> SEED_SHIFT
        columns: dict[str, list[Any]] = {**missing_answers(len(prompts), k), ROW_TOKENS: [None] * len(prompts)}
        self.endpoint.stop.clear()
        with ThreadPoolExecutor(self.served.concurrency) as pool:
            try:
                for done, (row, (answers, tokens)) in enumerate(self._answer_rows(pool, prompts, seeds), 1):
                    columns[ROW_TOKENS][row] = tokens
                    for name, values in zip(ANSWER_COLUMNS, zip(*answers, strict=True), strict=True):
                        columns[name][row] = list(values)
                    progress(done * k, len(prompts) * k)
            finally:  # also after an error or a cancellation, so that no further request is sent
                self.endpoint.stop.set()
                pool.shutdown(cancel_futures=True)
        if self._refusal and not self.answered_rows:
            raise self._refusal
        return columns

    def _answer_rows(
        self, pool: ThreadPoolExecutor, prompts: Sequence[dict[str, Any]], seeds: NDArray[Any]
    ) -> Iterator[tuple[int, ServerRow]]:
        """Yield rows and their answers as they arrive; one at a time until it is known how to request them.

        Prompts are sent in the order of their text, so that those with the same beginning follow each other: servers
        keep what they have computed of a beginning.
        """
        waiting = deque(sorted(range(len(prompts)), key=lambda row: str(prompts[row])))
        requested: dict[Future[ServerRow], int] = {}
        limit, counted = self.endpoint.limit, monotonic()
        while waiting or requested:
            while waiting and len(requested) < (limit.current if self._samples else 1):
                row = waiting.popleft()
                requested[pool.submit(self._answer_row, prompts[row], seeds[row].tolist())] = row
            full = bool(waiting) and len(requested) >= limit.current
            done, _ = wait(requested, return_when=FIRST_COMPLETED)
            last, counted = counted, monotonic()
            if full:
                limit.replied(len(done), counted - last)
            for future in done:
                yield requested.pop(future), future.result()

    def _prompt(self, prompt: str, response: str | None, turns: str | None) -> dict[str, Any]:
        """Return the row's part of a request: all turns before its last response."""
        whole = build_turns(prompt, response, turns, all_answers=False)
        context = drop_blank_answers([turn for turn in whole if not turn.is_response])
        if self.served.form == "completions":
            return {"prompt": "".join(piece.text for piece in AlpacaLayout(None, None).pieces(context))}
        if any(turn.role == "tool" for turn in context):  # which servers accept only after a matching tool call
            context = simplify_turns(context)
        return {"messages": [{"role": turn.role, "content": turn.content} for turn in context]}

    def _answer_row(self, prompt: dict[str, Any], seeds: Sequence[int]) -> ServerRow:
        """Request K answers to one prompt; K empty ones if the server rejects it but has answered others."""
        try:
            row = self._sampled_answers(prompt, seeds)
        except RequestRefusedError as error:
            self.refused_rows, self._refusal = self.refused_rows + 1, error
            if self.refused_rows >= MAX_REFUSALS_AT_START and not self.answered_rows:
                raise
            return ServerRow([ServerAnswer(None, None, None)] * len(seeds), None)
        self.answered_rows += 1
        if not self._samples and self.answered_rows >= MAX_ROWS_ALIKE:
            raise ModelError(
                f"Server {self.endpoint.url} gives {len(seeds)} identical answers to each of the first "
                f"{self.answered_rows} prompts, so it does not sample. Check that its model's generation config "
                "sets do_sample, and that the server uses temperature and seed."
            )
        return row

    def _sampled_answers(self, prompt: dict[str, Any], seeds: Sequence[int]) -> ServerRow:
        """Request K answers to one prompt; once more with SAMPLE if they are identical, as in all rows so far."""
        row = self._request_answers(prompt, seeds, self._more)
        if not self._samples and not _differ(row.answers):
            with suppress(RequestRefusedError):  # other servers may reject the field
                again = self._request_answers(prompt, seeds, SAMPLE)
                if _differ(again.answers):
                    row, self._more = again, SAMPLE
        self._samples = self._samples or _differ(row.answers)
        return row

    def _request_answers(self, prompt: dict[str, Any], seeds: Sequence[int], more: Mapping[str, str]) -> ServerRow:
        """Request K answers to one prompt, in one request or several. `more`: further fields of each."""
        prompt = prompt | dict(more)
        replies: list[ServerRow] = []
        if self.asks_together:
            try:
                replies = [self._request(prompt, seeds[0], len(seeds))]
            except RequestRefusedError:
                replies = [self._request(prompt, seeds[0], 1)]  # raises again if `n` was not the reason
            self.asks_together = self.asks_together and len(replies[0].answers) == len(seeds)
        given = sum(len(reply.answers) for reply in replies)
        replies += [self._request(prompt, seed, 1) for seed in seeds[given:]]
        answers = [answer for reply in replies for answer in reply.answers]
        counts = [reply.tokens for reply in replies if reply.tokens is not None]
        return ServerRow(answers, sum(counts) if len(counts) == len(replies) else None)

    def _request(self, prompt: dict[str, Any], seed: int, count: int) -> ServerRow:
        """Send one request; return at least one answer and at most `count`."""
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
        reply = self.endpoint.post(PATHS[self.served.form], body)
        choices = _choices(reply)
        answers = [answer for answer in map(_parse_choice, choices) if answer]
        if not answers or len(answers) < len(choices):
            raise ModelError(
                f"Server {self.endpoint.url} answers with JSON that has no answer in the expected place. Check "
                "that it is an OpenAI-compatible server, and whether its model takes messages or plain prompts."
            )
        usage = reply.get("usage")
        tokens = usage.get("completion_tokens") if isinstance(usage, dict) else None
        if not isinstance(tokens, int) or len(answers) > count:  # the count includes answers that are dropped here
            tokens = None
        if len(answers) == 1:
            answers = [answers[0]._replace(tokens=tokens)]
        return ServerRow(answers[:count], tokens)


def _differ(answers: Sequence[ServerAnswer]) -> bool:
    return len({answer.text for answer in answers}) > 1


def _choices(reply: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the choices ordered by index, which may not be the order they are sent in."""
    entries = reply.get("choices")
    choices = [c for c in entries if isinstance(c, dict)] if isinstance(entries, list) else []
    return sorted(choices, key=lambda c: c["index"] if isinstance(c.get("index"), int) else 0)


def _parse_choice(choice: dict[str, Any]) -> ServerAnswer | None:
    """Convert a choice of either kind to an answer; None if it has another shape."""
    text, reason = _text(choice), choice.get("finish_reason")
    return ServerAnswer(text, None, reason if reason in (STOP, LENGTH) else None) if isinstance(text, str) else None


def _text(choice: dict[str, Any]) -> Any:
    """Return the text of a choice; missing content is an empty answer."""
    message = choice.get("message")
    if not isinstance(message, dict):
        return choice.get("text")
    return message.get("content") or message.get("refusal") or ""
