"""Worker process that renders chat templates: a program of its own, with limits on memory and processor time.

It reads requests from stdin and writes an answer to each on stdout, one line of JSON each. A request is
{"template", "values", "messages", "add_generation_prompt"}; without "template", the last one and its values are meant.
An answer is {"text"} or {"error"}. The environment is that of transformers, so templates render as they do there.
"""

import json
import resource
import signal
import sys
from contextlib import suppress
from datetime import datetime
from typing import Any

from jinja2 import Template, TemplateError
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.nodes import Node
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

MEMORY = 1 << 30  # bytes of this process
SECONDS = 3.0  # of processor time for one conversation; the system ends the process after them
PRINTED = (20, 1_000_000)  # at most so many times the characters of the conversation, plus so many
FAILURES = (
    TemplateError, ArithmeticError, AttributeError, LookupError, MemoryError, RuntimeError, SyntaxError, TypeError,
    ValueError,
)  # fmt: skip


class _Generation(Extension):
    """The {% generation %} tag, which marks answers for training and prints its body unchanged."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> list[Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Dict:
    """The `dict` of a template: the function, without the attributes of the class."""

    def __call__(self, *parts: Any, **values: Any) -> dict[Any, Any]:
        return dict(*parts, **values)

    def fromkeys(self, *parts: Any) -> dict[Any, Any]:
        return dict.fromkeys(*parts)


class _Names(Namespace):
    """The `namespace` of a template, without names that begin with an underscore."""

    def __init__(*parts: Any, **values: Any) -> None:  # so that `self` may be a name in it
        self, *rest = parts
        names = dict(*rest, **values)
        for name in names:
            _check_name(name)
        Namespace.__init__(self, names)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_name(name)
        super().__setitem__(name, value)


def _check_name(name: Any) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise SecurityError(f"a namespace cannot hold {name!r}")


def build_environment() -> ImmutableSandboxedEnvironment:
    """Return the environment that transformers renders chat templates in."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals |= {"raise_exception": _raise_exception, "strftime_now": _format_now}
    environment.globals |= {"dict": _Dict(), "namespace": _Names}
    return environment


def _to_json(
    value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise_exception(message: str) -> None:
    raise TemplateError(message)


def _format_now(pattern: str) -> str:
    return datetime.now().strftime(pattern)


def compile_template(environment: ImmutableSandboxedEnvironment, text: str) -> Template | str:
    """Return the compiled template, or why it cannot be compiled."""
    try:
        return environment.from_string(text)
    except FAILURES as error:
        return describe(error)


def describe(error: BaseException) -> str:
    """Return the message of an error, with its kind unless the template itself raised it."""
    return str(error) if isinstance(error, TemplateError) else f"{type(error).__name__} {error}".strip()


def answer(template: Template | str, values: dict[str, Any], request: dict[str, Any]) -> str:
    """Render one conversation; TemplateError without a template, ValueError when far too much is printed."""
    if isinstance(template, str):
        raise TemplateError(template)
    messages = request["messages"]
    prompt = request["add_generation_prompt"]
    text = template.render(messages=messages, tools=None, documents=None, add_generation_prompt=prompt, **values)
    times, more = PRINTED
    if len(text) > times * sum(len(message["content"]) for message in messages) + more:
        raise ValueError(f"it prints {len(text):,} characters")
    return text


def main() -> None:
    """Answer requests until stdin ends."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # it ends with the process that started it
    with suppress(ValueError, OSError):  # a system without this limit
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    environment = build_environment()
    compiled: Template | str = "no template was sent"  # or why there is none
    values: dict[str, Any] = {}
    for line in sys.stdin.buffer:
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        try:
            request = json.loads(line)
            if "template" in request:
                compiled, values = compile_template(environment, request["template"]), request["values"]
            reply = {"text": answer(compiled, values, request)}
        except FAILURES as error:
            reply = {"error": describe(error)}
        signal.setitimer(signal.ITIMER_PROF, 0)
        sys.stdout.write(json.dumps(reply) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
