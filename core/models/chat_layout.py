"""A row as a model is made to read it: pieces of text, each control text or the row's own, is_response or not.

Two forms: the model's chat template, or Alpaca's. What a row says is never taken for a control token: "<s>" in a
response is three characters. Sizes are in characters here; core/models/encoder.py turns pieces into tokens.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, NamedTuple, Protocol

from jinja2.exceptions import TemplateError

from core.errors import ModelError

PREAMBLE = "Below is an instruction that describes a task. Write a response that appropriately completes the request."
HEADINGS = {"user": "Instruction", "assistant": "Response", "tool": "Input", "system": "System"}
# Templates that print today's date would measure differently tomorrow, so the day is fixed for all.
FIXED_DATE_MACRO = (
    "{%- macro strftime_now(format) -%}{{ {'%Y-%m-%d': '2024-07-26', '%d %B %Y': '26 July 2024',"
    " '%B %d, %Y': 'July 26, 2024'}.get(format, '26 Jul 2024') }}{%- endmacro %}"
)
ANSWER_MARK = "\ue0f1\ue0f2winnow\ue0f3"  # stands where an answer will be; private use, in no pool
GUARD = "\ue0f4{}\ue0f5"  # stands for a control token's name in the row's own words
GUARD_PATTERN = re.compile("\ue0f4(\\d+)\ue0f5")


class Turn(NamedTuple):
    """One turn. `is_response` turns are the response, the others its context."""

    role: str  # system | user | assistant | tool
    content: str
    is_response: bool = False


class Piece(NamedTuple):
    """A stretch of text that is tokenised by itself, so that no token spans two pieces."""

    text: str
    control: bool = False  # names of control tokens in it are control tokens
    is_response: bool = False  # part of the response
    ids: tuple[int, ...] = ()  # these tokens, instead of text


class Layout(Protocol):
    """How a conversation is laid out. `key_text` is everything that decides it, for the key."""

    @property
    def key_text(self) -> str:
        """Text that changes whenever the layout does."""
        ...

    def pieces(self, turns: Sequence[Turn]) -> list[Piece]:
        """The turns laid out, up to the last is_response one; with none is_response, ready for an answer: the same pieces
        that come before an answer which is there."""
        ...


@dataclass(frozen=True)
class AlpacaLayout:
    """Alpaca's layout. Earlier turns become further blocks; system turns replace the preamble."""

    bos: int | None  # put first
    eos: int | None  # ends every is_response response

    @property
    def key_text(self) -> str:
        """Text that changes whenever the layout does."""
        return repr((PREAMBLE, HEADINGS, self.bos, self.eos))

    def pieces(self, turns: Sequence[Turn]) -> list[Piece]:
        """The turns as blocks under headings."""
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
    """The layout that the tokenizer's chat template gives.

    Where an answer begins and ends is found by rendering the conversation once more with a mark in its place, so
    nothing is assumed about headers, generation prompts or templates that rewrite earlier turns. The response is
    the answer as the template prints it (often trimmed) and the control token right after it.

    A template that refuses a conversation gets it once more in plainer words (`plainer`). If it refuses that
    too, or does not print an answer that is to be is_response: ModelError.
    """

    def __init__(self, tokenizer: Any) -> None:
        try:
            template = tokenizer.get_chat_template()
        except ValueError as error:
            raise ModelError(
                f"{tokenizer.name_or_path}: this tokenizer has no chat template. Choose template 'alpaca' or 'auto'."
            ) from error
        self._tokenizer = tokenizer
        self._template = FIXED_DATE_MACRO + template if "strftime_now" in template else template
        special = {t.content for t in tokenizer.added_tokens_decoder.values() if t.special and t.content.strip()}
        self._names = sorted(special, key=lambda name: (-len(name), name))  # longest first: none hides another
        self._special = re.compile("|".join(map(re.escape, self._names)) or r"(?!)")
        self._end = re.compile(f" *(?:{self._special.pattern})")

    @property
    def key_text(self) -> str:
        """Text that changes whenever the layout does."""
        return repr((self._template, self._names, sorted(self._tokenizer.special_tokens_map.items())))

    def pieces(self, turns: Sequence[Turn]) -> list[Piece]:
        """The turns as the template lays them out."""
        guarded = [t._replace(content=self._special.sub(self._guard, t.content)) for t in drop_blank_answers(turns)]
        try:
            return self._laid_out(guarded)
        except TemplateError:
            pass  # it may still take the same in plainer words
        try:
            return self._laid_out(simplify_turns(guarded))
        except TemplateError as error:
            raise ModelError(
                f"The chat template refuses a conversation ({error}) that begins {turns[0].content[:60]!r}. "
                "Choose template 'alpaca', or leave such rows out."
            ) from error

    def _laid_out(self, turns: Sequence[Turn]) -> list[Piece]:
        responses = [number for number, turn in enumerate(turns) if turn.is_response]
        if not responses:
            return self._unanswered(turns)
        whole = self._render(turns)
        pieces: list[Piece] = []
        done = 0
        for number in responses:
            start, stop = self._place(turns, number, whole)
            start = max(done, len(whole[:start].rstrip(" ")))  # a space before it belongs to its first word
            pieces += self._context(whole[done:start])
            pieces.append(Piece(self._restored(whole[start:stop]), is_response=True))
            end = self._end.match(whole, stop)
            done = end.end() if end else stop
            if end:
                pieces.append(Piece(end.group(), control=True, is_response=True))
        return pieces

    def _unanswered(self, turns: Sequence[Turn]) -> list[Piece]:
        """What comes before an answer, were there one: some templates have no generation prompt, others open a
        thought in it that answers do not have. The generation prompt where the template prints no answers."""
        try:
            answered = self._laid_out([*turns, Turn("assistant", ANSWER_MARK, is_response=True)])
        except (ModelError, TemplateError):
            return self._context(self._render(turns, ready=True))
        return list(takewhile(lambda piece: not piece.is_response, answered))

    def _place(self, turns: Sequence[Turn], number: int, whole: str) -> tuple[int, int]:
        """Where in `whole` the content of one turn stands, as [start, stop) characters."""
        marked = [*turns[:number], turns[number]._replace(content=ANSWER_MARK), *turns[number + 1 :]]
        parts = self._render(marked).split(ANSWER_MARK)
        start, stop = len(parts[0]), len(whole) - len(parts[-1])
        fits = start <= stop and whole.startswith(parts[0]) and whole.endswith(parts[-1])
        if len(parts) != 2 or not fits:
            raise ModelError(
                "The chat template does not print an answer in one place of its own, so the response of the "
                f"conversation that begins {turns[0].content[:60]!r} cannot be told from the rest. "
                "Choose template 'alpaca'."
            )
        return start, stop

    def _render(self, turns: Sequence[Turn], *, ready: bool = False) -> str:
        return str(
            self._tokenizer.apply_chat_template(
                [{"role": t.role, "content": t.content} for t in turns],
                chat_template=self._template,
                tokenize=False,
                add_generation_prompt=ready,
                enable_thinking=False,  # templates that know it leave room for the answer alone
                date_string="26 Jul 2024",  # likewise, instead of today
            )
        )

    def _guard(self, match: re.Match[str]) -> str:
        return GUARD.format(self._names.index(match.group()))

    def _restored(self, text: str) -> str:
        return GUARD_PATTERN.sub(lambda match: self._names[int(match.group(1))], text)

    def _context(self, text: str) -> list[Piece]:
        """Uncounted pieces: the template's text, and between it control tokens' names that a row wrote."""
        parts = GUARD_PATTERN.split(text)  # text, number, text, number, ..., text
        pieces = []
        for place, part in enumerate(parts):
            pieces.append(Piece(self._names[int(part)]) if place % 2 else Piece(part, control=True))
        return [piece for piece in pieces if piece.text]


def drop_blank_answers(turns: Sequence[Turn]) -> Sequence[Turn]:
    """The turns without blank assistant turns at their end, which hold the place of an answer that is not there."""
    size = len(turns)
    while size and turns[size - 1]._replace(content=turns[size - 1].content.strip()) == Turn("assistant", ""):
        size -= 1
    return turns[:size]


def simplify_turns(turns: Sequence[Turn]) -> list[Turn]:
    """The same conversation for templates that know only user and assistant, taking turns, the user first.

    System text goes before the first user turn, tool turns become user turns, neighbours of one role are joined
    (is_response if one of them is), and an assistant who speaks first answers an empty user turn.
    """
    system = "\n\n".join(t.content for t in turns if t.role == "system")
    joined: list[Turn] = [Turn("user", system)] if system else []
    for role, content, is_response in turns:
        if role == "system":
            continue
        speaker = "user" if role == "tool" else role
        if joined and joined[-1].role == speaker:
            before = joined.pop()
            joined.append(Turn(speaker, f"{before.content}\n\n{content}", before.is_response or is_response))
        else:
            joined.append(Turn(speaker, content, is_response))
    return joined if joined and joined[0].role == "user" else [Turn("user", ""), *joined]
