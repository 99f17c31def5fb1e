"""Shortening of conversations that are too long to read: they lose words, never their form.

A conversation is shortened before it is laid out. So what a model reads is the whole layout of a shorter conversation:
each turn that is left has its header and its end, and Alpaca's preamble and headings stay. A system turn at the
beginning stays, and so does the last turn. Words are dropped in this order:

1. those of the other turns, oldest first. A turn without words is dropped as a whole.
2. those of the system turn, from its end, and of the last turn, from its beginning; always of the longer one.

A word is up to 16 characters with the white space before them; from U+3000 on (Chinese, Japanese, Korean) it is one
character.
"""

import math
import re
from collections.abc import Callable, Sequence

from core.models.chat_layout import Turn

WORD = re.compile(r"\s*[^\s\u3000-\U0010ffff]{1,16}|\s*\S|\s+")
Pieces = list[tuple[Sequence[int], bool]]  # ids of each piece of a layout, and whether they belong to a response


class Shortening:
    """The ways to shorten one conversation: from 0 words dropped to `most`, which leaves none."""

    def __init__(self, turns: Sequence[Turn]) -> None:
        self._has_system = len(turns) > 0 and turns[0].role == "system"
        self._turns = [(turn, WORD.findall(turn.content)) for turn in turns]
        self._starts: list[int | None] = []  # how many words are dropped before those of a turn; None: it stays
        self._older = 0  # words of all turns that do not stay
        for place, (_, words) in enumerate(self._turns):
            stays = place == len(turns) - 1 or (place == 0 and self._has_system)
            self._starts.append(None if stays else self._older)
            self._older += 0 if stays else max(1, len(words))
        staying = zip(self._turns, self._starts, strict=True)
        self._longest = max((len(words) for (_, words), start in staying if start is None), default=0)
        self.most = self._older + self._longest

    def __call__(self, dropped: int) -> list[Turn]:
        """Return the conversation without the first `dropped` words of that order."""
        longest = self._longest - max(0, dropped - self._older)
        shorter: list[Turn] = []
        for place, ((turn, words), start) in enumerate(zip(self._turns, self._starts, strict=True)):
            gone = max(0, len(words) - longest if start is None else dropped - start)
            if start is not None and gone >= max(1, len(words)):
                continue
            from_end = place == 0 and self._has_system
            left = "".join(words[:-gone]) if from_end else "".join(words[gone:]).lstrip()
            shorter.append(turn._replace(content=left) if gone else turn)
        return shorter


def shorten(turns: Sequence[Turn], whole: Pieces, room: int, lay_out: Callable[[Sequence[Turn]], Pieces]) -> Pieces:
    """Return the layout, in at most `room` tokens, of `turns` without as few words as possible, to within about one.

    If none is that short, return the shortest. `whole` is the layout of all words, which is longer than that. What a
    candidate takes is found by laying it out, so any template is measured right; five or six are enough, because each
    is guessed from the tokens of a mean word.
    """
    ways = Shortening(turns)
    low, high, shortest = 0, ways.most, lay_out(ways(ways.most))  # too few words dropped, and enough
    fits, tried = shortest, 0
    words_per_token = high / max(1, count_tokens(whole) - count_tokens(shortest))
    guess = math.ceil((count_tokens(whole) - room) * words_per_token)
    while high - low > 1 and (room - count_tokens(fits)) * words_per_token >= 1:
        tried += 1
        guess = min(max(guess, low + 1), high - 1) if tried % 3 else (low + high) // 2
        candidate = lay_out(ways(guess))
        excess = count_tokens(candidate) - room
        if excess > 0:
            low = guess
        else:
            high, fits = guess, candidate
        guess += math.ceil(excess * words_per_token)
    return fits


def count_tokens(pieces: Pieces) -> int:
    """Count the tokens of all pieces."""
    return sum(len(ids) for ids, _ in pieces)
