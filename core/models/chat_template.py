"""Rendering of a chat template, which is code that comes with a model, in a process with limits.

Every conversation of every row is rendered there, so no template can hang this process or fill its memory, whatever
text it is given. `core.models.template_worker` is the program that runs in it, and states the limits.
"""

import atexit
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from jinja2.exceptions import TemplateError

from core.errors import ModelError
from core.models import template_worker

MAX_CHARACTERS = 1_000_000  # of a template


class ChatTemplate:
    """A chat template with its values: the names of special tokens, and settings.

    Raises ModelError if it is not a text, or too long.
    """

    def __init__(self, text: Any, values: Mapping[str, Any]) -> None:
        if not isinstance(text, str) or len(text) > MAX_CHARACTERS:
            raise ModelError(
                f"The chat template of this model is not a text of at most {MAX_CHARACTERS:,} characters. Choose "
                "template 'alpaca', or download the model again."
            )
        self.text = text
        self.values = dict(values)

    def render(self, messages: Sequence[Mapping[str, str]], *, for_generation: bool) -> str:
        """Render one conversation.

        Raises TemplateError if the template refuses it or fails on it, and ModelError if it needs more time or memory
        than the worker has.
        """
        request = {"messages": messages, "add_generation_prompt": for_generation}
        reply = _worker().ask(self, request)
        if "error" in reply:
            raise TemplateError(" ".join(reply["error"].split())[:200])
        return str(reply["text"])


class _Worker:
    """A running worker, used by one thread at a time."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self._lock = threading.Lock()
        self._template: ChatTemplate | None = None  # that it has compiled
        program = [sys.executable, "-P", str(Path(template_worker.__file__))]
        self._process = subprocess.Popen(
            program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )

    def ask(self, template: ChatTemplate, request: dict[str, Any]) -> dict[str, Any]:
        """Send one request and return the reply; ModelError if the worker ends instead."""
        with self._lock:
            try:
                return self._exchange(template, request)
            except BaseException:  # a reply may be on its way, which is not that of the next request
                self.close()
                raise

    def _exchange(self, template: ChatTemplate, request: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin and self._process.stdout
        if self._template is not template:
            request = request | {"template": template.text, "values": template.values}
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            slow = self._process.wait() == -signal.SIGPROF
            what = f"{template_worker.SECONDS:g} s" if slow else f"{template_worker.MEMORY / 1e9:.1f} GB of memory"
            first = request["messages"][0]["content"][:60]
            raise ModelError(
                f"The chat template needs more than {what} for the conversation that begins {first!r}, so it is not "
                "used. Choose template 'alpaca', or another model."
            )
        self._template = template
        return dict(json.loads(line))

    @property
    def running(self) -> bool:
        """Whether it can be asked by this process: one that was forked has no worker yet."""
        return self.owner == os.getpid() and self._process.poll() is None

    def close(self) -> None:
        """End the worker, unless it is that of the process from which this one was forked."""
        if self.owner != os.getpid():
            return
        self._process.kill()
        with suppress(BrokenPipeError):  # of a request that was not sent whole
            self._process.communicate()


_current: list[_Worker] = []  # at most one


@atexit.register
def _close() -> None:
    for worker in _current:
        worker.close()


def _worker() -> _Worker:
    """Return the worker of this process; start one if there is none."""
    if not _current or not _current[0].running:
        _close()
        _current[:] = [_Worker()]
    return _current[0]
