"""Layout of a row as text: pieces that are template text or the row's own, and part of the response or not.

There are two layouts: the model's chat template, and Alpaca's. Pieces end with the last response turn. Without one they
end where the response would begin: the same pieces that precede an actual response. Text of a row is never read as a
control token: "<s>" in a response is three characters. Offsets are in characters here; `core.models.encoder` turns
pieces into tokens.
"""

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, NamedTuple

from jinja2.exceptions import TemplateError

from core.errors import ModelError
from core.models.chat_template import ChatTemplate

PREAMBLE = "Below is an instruction that describes a task. Write a response that appropriately completes the request."
HEADINGS = {"user": "Instruction", "assistant": "Response", "tool": "Input", "system": "System"}
# Templates that print the date would give other tokens tomorrow, so the date is fixed.
FIXED_DATE_MACRO = (
    "{%- macro strftime_now(format) -%}{{ {'%Y-%m-%d': '2024-07-26', '%d %B %Y': '26 July 2024',"
    " '%B %d, %Y': 'July 26, 2024'}.get(format, '26 Jul 2024') }}{%- endmacro %}"
)
SETTINGS = {
    "enable_thinking": False,  # for templates with a thinking mode: leave room for the response alone
    "date_string": "26 Jul 2024",  # for templates that print the date, instead of today's
}
ANSWER_MARK = "\ue0f1\ue0f2winnow\ue0f3"  # mark in place of a response; private-use characters, in no pool
GUARD = "\ue0f4{}\ue0f5"  # replaces a control token's name in the row's own text
GUARD_PATTERN = re.compile("\ue0f4(\\d+)\ue0f5")


class Turn(NamedTuple):
    """One turn of a conversation; the response turns are those to be measured, the others are context."""

    role: str  # system | user | assistant | tool
    content: str
    is_response: bool = False


class Piece(NamedTuple):
    """Text that is tokenised separately, so that no token spans two pieces."""

    text: str
    control: bool = False  # control-token names in it are read as control tokens
    is_response: bool = False  # part of the response
    ids: tuple[int, ...] = ()  # token ids, instead of text


@dataclass(frozen=True)
class AlpacaLayout:
    """Alpaca's layout. Earlier turns become further blocks; system turns replace the preamble."""

    bos: int | None  # first token
    eos: int | None  # last token of every response

    @property
    def key_text(self) -> str:
        """Text that changes whenever the layout does, for content keys."""
        return repr((PREAMBLE, HEADINGS, self.bos, self.eos))

    def pieces(self, turns: Sequence[Turn]) -> list[Piece]:
        """Return the turns as blocks under headings, up to the last response turn."""
        turns = drop_blank_answers(turns)
        pieces = [Piece("", ids=(self.bos,))] if self.bos is not None else []
        end = [Piece("", is_response=True, ids=(self.eos,))] if self.eos is not None else []
        head = "\n\n".join(t.content for t in turns if t.role == "system") or PREAMBLE
        for turn in turns:
            if turn.role == "system":
                continue
            head += f"\n\n### {HEADINGS[turn.role]}:\n"
            if turn.is_response:
                pieces += [Piece(head), Piece(turn.content, is_response=True), *end]
                head = ""
            else:
                head += turn.content
        if not any(t.is_response for t in turns):
            pieces.append(Piece(head + f"\n\n### {HEADINGS['assistant']}:\n"))
        return pieces


class ChatLayout:
    """The layout of the tokenizer's chat template.

    A response is located by rendering the conversation again with a mark in its place, so nothing is assumed about
    headers, generation prompts, or templates that rewrite earlier turns. The response is the text as the template
    prints it (often trimmed), plus the control token right after it.

    If a template rejects a conversation, a simplified version is tried (`simplify_turns`). If that is rejected too, or
    a response is not printed: ModelError.
    """

    def __init__(self, tokenizer: Any) -> None:
        try:
            template = tokenizer.get_chat_template()
        except ValueError as error:
            raise ModelError(
                f"The tokenizer in {tokenizer.name_or_path} has no chat template. Choose template 'alpaca' or 'auto'."
            ) from error
        fixed = FIXED_DATE_MACRO if isinstance(template, str) and "strftime_now" in template else ""
        self._template = ChatTemplate(fixed + template if fixed else template, tokenizer.special_tokens_map | SETTINGS)
        self._special_tokens = sorted(tokenizer.special_tokens_map.items())
        special = {t.content for t in tokenizer.added_tokens_decoder.values() if t.special and t.content.strip()}
        self._names = sorted(special, key=lambda name: (-len(name), name))  # longest first: none hides another
        self._control = re.compile("|".join(map(re.escape, self._names)) or r"(?!)")
        self._end = re.compile(f" *(?:{self._control.pattern})")

    @property
    def key_text(self) -> str:
        """Text that changes whenever the layout does, for content keys."""
        return repr((self._template.text, self._names, self._special_tokens))

    def pieces(self, turns: Sequence[Turn]) -> list[Piece]:
        """Return the turns as the template lays them out, up to the last response turn."""
        guarded = [t._replace(content=self._control.sub(self._guard, t.content)) for t in drop_blank_answers(turns)]
        with suppress(TemplateError):  # the simplified turns may still be accepted
            return self._lay_out(guarded)
        try:
            return self._lay_out(simplify_turns(guarded))
        except TemplateError as error:
            raise ModelError(
                f"The chat template refuses a conversation ({error}) that begins {turns[0].content[:60]!r}. Choose "
                "template 'alpaca', or remove such rows."
            ) from error

    def _lay_out(self, turns: Sequence[Turn]) -> list[Piece]:
        responses = [number for number, turn in enumerate(turns) if turn.is_response]
        if not responses:
            return self._lay_out_prompt(turns)
        whole = self._render(turns)
        pieces: list[Piece] = []
        done = 0
        for number in responses:
            start, stop = self._locate(turns, number, whole)
            start = max(done, len(whole[:start].rstrip(" ")))  # a space before the response belongs to its first word
            pieces += self._context(whole[done:start])
            text = GUARD_PATTERN.sub(lambda match: self._names[int(match.group(1))], whole[start:stop])
            pieces.append(Piece(text, is_response=True))
            end = self._end.match(whole, stop)
            done = end.end() if end else stop
            if end:
                pieces.append(Piece(end.group(), control=True, is_response=True))
        return pieces

    def _lay_out_prompt(self, turns: Sequence[Turn]) -> list[Piece]:
        """Return the pieces before a response that does not exist.

        They are taken from a rendering with a mark as the response, because some templates have no generation prompt
        and others open a thought in it that responses do not have. If the template prints no responses, its generation
        prompt is used.
        """
        try:
            answered = self._lay_out([*turns, Turn("assistant", ANSWER_MARK, is_response=True)])
        except (ModelError, TemplateError):
            return self._context(self._render(turns, for_generation=True))
        return list(takewhile(lambda piece: not piece.is_response, answered))

    def _locate(self, turns: Sequence[Turn], number: int, whole: str) -> tuple[int, int]:
        """Return the [start, stop) characters of one turn's content in `whole`."""
        marked = [*turns[:number], turns[number]._replace(content=ANSWER_MARK), *turns[number + 1 :]]
        parts = self._render(marked).split(ANSWER_MARK)
        start, stop = len(parts[0]), len(whole) - len(parts[-1])
        fits = start <= stop and whole.startswith(parts[0]) and whole.endswith(parts[-1])
        if len(parts) != 2 or not fits:
            raise ModelError(
                "The chat template does not print an answer in one separate place, so the response cannot be "
                f"located in the conversation that begins {turns[0].content[:60]!r}. Choose template 'alpaca'."
            )
        return start, stop

    def _render(self, turns: Sequence[Turn], *, for_generation: bool = False) -> str:
        messages = [{"role": t.role, "content": t.content} for t in turns]
        return self._template.render(messages, for_generation=for_generation)

    def _guard(self, match: re.Match[str]) -> str:
        return GUARD.format(self._names.index(match.group()))

    def _context(self, text: str) -> list[Piece]:
        """Return context pieces: the template's text, split at control-token names that come from the row."""
        parts = enumerate(GUARD_PATTERN.split(text))  # text, number, text, number, ..., text
        pieces = (Piece(self._names[int(part)]) if n % 2 else Piece(part, control=True) for n, part in parts)
        return [piece for piece in pieces if piece.text]


def drop_blank_answers(turns: Sequence[Turn]) -> Sequence[Turn]:
    """Drop blank assistant turns at the end; they are placeholders for a missing response."""
    size = len(turns)
    while size and turns[size - 1]._replace(content=turns[size - 1].content.strip()) == Turn("assistant", ""):
        size -= 1
    return turns[:size]


def simplify_turns(turns: Sequence[Turn]) -> list[Turn]:
    """Rewrite a conversation for templates that accept only alternating user and assistant turns, user first.

    System text is prepended to the first user turn, tool turns become user turns, and adjacent turns of one role are
    joined (a response if either is one). An assistant who speaks first answers an empty user turn.
    """
    system = "\n\n".join(t.content for t in turns if t.role == "system")
    joined: list[Turn] = [Turn("user", system)] if system else []
    for role, content, is_response in turns:
        if role == "system":
            continue
        simple_role = "user" if role == "tool" else role
        if joined and joined[-1].role == simple_role:
            before = joined.pop()
            joined.append(Turn(simple_role, f"{before.content}\n\n{content}", before.is_response or is_response))
        else:
            joined.append(Turn(simple_role, content, is_response))
    return joined if joined and joined[0].role == "user" else [Turn("user", ""), *joined]
