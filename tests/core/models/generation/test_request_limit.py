"""The number of requests at once grows while a server answers more of them a second, and falls when it is too busy."""

import time
from itertools import pairwise

import pytest
from starlette.responses import JSONResponse

from core.models.generation.answers import SamplingSettings
from core.models.generation.openai_client import ServedModel
from core.models.generation.request_limit import PATIENCE, RequestLimit
from core.models.generation.server import ServerSampler
from tests.core.models.generation.answer_app import AnswerApp, serving

CAPACITY = 16
SECONDS = 0.6  # of one answer


def limits_over(limit, replies, capacity):
    """Return the limits that follow each other while a server answers at most `capacity` requests a second at once."""
    seen = [limit.current]
    for _ in range(replies):
        limit.replied(1, 1 / min(limit.current, capacity))
        if limit.current != seen[-1]:
            seen.append(limit.current)
    return seen


@pytest.mark.parametrize(
    ("capacity", "seen"),
    [
        (1, [4, 8, 4]),
        (16, [4, 8, 16, 32, 16]),
        (40, [4, 8, 16, 32, 64]),  # 64 answers 1.25 times as many as 32
        (33, [4, 8, 16, 32, 64, 32]),
        (1000, [4, 8, 16, 32, 64]),
    ],
)
def test_it_doubles_while_that_gives_a_tenth_more_replies_a_second(capacity, seen):
    replies = 16 + (8 + 16) + (16 + 32) + (32 + 64) + (64 + 128)
    assert limits_over(RequestLimit(64), replies, capacity)[: len(seen)] == seen


def test_a_limit_that_was_lowered_is_tried_again_as_load_changes():
    limit = RequestLimit(64)
    assert limits_over(limit, 200, 16)[-1] == 16
    assert limits_over(limit, PATIENCE + 300, 1000) == [16, 32, 64]
    assert limits_over(limit, 1000, 1000) == [64]


def test_it_never_exceeds_what_was_asked_for():
    assert max(limits_over(RequestLimit(6), 1000, 1000)) == 6
    assert set(limits_over(RequestLimit(1), 1000, 1000)) == {1}


def test_requests_that_were_open_together_halve_it_once():
    limit = RequestLimit(64)
    limits_over(limit, 40, 1000)
    assert limit.current == 16
    changes = limit.changes
    for _ in range(10):
        limit.rejected(changes)
    assert limit.current == 8
    for expected in (4, 2, 1, 1):
        limit.rejected(limit.changes)
        assert limit.current == expected


# --- against a server


class BusyApp(AnswerApp):
    """A server that is fastest with CAPACITY requests at once; more slow each other down, or are rejected with 429."""

    def __init__(self, *, rejects=False):
        super().__init__(model=None, behave=self.work)
        self.rejects, self.rejected, self.working = rejects, 0, 0

    def work(self, number, body):
        with self.lock:
            self.rejected += self.rejects and self.working >= CAPACITY
            if self.rejects and self.working >= CAPACITY:
                return 429
            self.working += 1
            working = self.working
        time.sleep(SECONDS * max(1, working / CAPACITY) ** 1.5)
        with self.lock:
            self.working -= 1
        choices = [{"index": k, "message": {"content": f"{body['seed']} {k}"}} for k in range(body["n"])]
        return JSONResponse({"choices": choices})


def sample(app, rows, **more):
    names = [f"row {k:03}" for k in range(rows)]
    given = {"prompt": names, "response": [None] * rows, "turns": [None] * rows, "ids": names}
    limits = []
    with (
        serving(app) as url,
        ServerSampler(ServedModel(url, "embedded", **more), SamplingSettings(answers=2), back_off=0.2) as server,
    ):
        columns = server(given, lambda done, total: limits.append(server.endpoint.limit.current))
    return columns["answers"], limits


@pytest.mark.soak
def test_it_finds_what_a_server_can_do_and_the_answers_do_not_depend_on_it():
    answers, limits = sample(BusyApp(), 240)
    assert max(limits) == 2 * CAPACITY and limits[-1] == CAPACITY
    one_by_one, _ = sample(BusyApp(), 5, concurrency=1)
    assert answers[:5] == one_by_one


def test_a_server_that_rejects_what_is_too_much_is_asked_for_less():
    app = BusyApp(rejects=True)
    answers, limits = sample(app, 160)
    assert all(len(set(row)) == 2 for row in answers)
    assert app.rejected > 0
    assert max(limits) == 32 and limits[-1] <= 16
    assert all(after <= 2 * before for before, after in pairwise(limits))
