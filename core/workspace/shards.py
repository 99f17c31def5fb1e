"""Shards: processes that run one command together, on one workspace, started at any time and in any order."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from core.errors import RecipeError

_SHARD = re.compile(r"(\d+)/(\d+)")


@dataclass(frozen=True)
class Shard:
    """One of `count` processes of a command, by its index from 0. It decides only which parts it computes first."""

    index: int = 0
    count: int = 1

    @property
    def is_alone(self) -> bool:
        """Whether no other process runs the command."""
        return self.count == 1

    def order(self, parts: Iterable[int]) -> list[int]:
        """Return parts in the order in which to compute them: each count-th, then those of the next shards."""
        return sorted(parts, key=lambda part: ((part - self.index) % self.count, part))

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


ALONE = Shard()


def read_shard(text: str) -> Shard:
    """Return the shard that `INDEX/COUNT` names; RecipeError if it names none."""
    found = _SHARD.fullmatch(text.strip())
    index, count = map(int, found.groups()) if found else (0, 0)
    if index >= count:
        raise RecipeError(f"--shard {text}: write INDEX/COUNT, counted from 0, such as 0/4 for the first of four.")
    return Shard(index, count)
