"""Tags: free labels on rows, given by hand. Each is a column of 0 and 1 to filter by: tag.NAME."""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from core.columns import TAG_PREFIX
from core.errors import RecipeError
from core.schema import BoolArray, Pool
from core.selection.text_search import is_unicode

MAX_NAME_LENGTH = 64  # characters of a tag's name

Ids = TypeVar("Ids", bound=Sequence[str])
Tags = Mapping[str, Sequence[str]]  # name -> ids of rows


def check_tag_name(name: str) -> str:
    """Return the name of a tag without space around it; RecipeError if no tag can have it."""
    name = name.strip()
    if not 0 < len(name) <= MAX_NAME_LENGTH:
        raise RecipeError(f"A tag needs a name of 1 to {MAX_NAME_LENGTH} characters; '{name[:80]}' has {len(name):,}.")
    if not is_unicode(name) or any(unicodedata.category(c) in ("Cc", "Zl", "Zp") for c in name):
        raise RecipeError(f"The name of a tag is one line of text; {name!r} contains a control character.")
    return name


def check_tags(tags: Mapping[str, Ids]) -> dict[str, Ids]:
    """Return tags by their checked names; RecipeError for a name that is not valid, or that two of them have."""
    checked: dict[str, Ids] = {}
    for given, ids in tags.items():
        name = check_tag_name(given)
        if name in checked:
            raise RecipeError(f"The tag '{name}' is given twice. Give each tag once, with all its rows.")
        checked[name] = ids
    return checked


def tags_of_filters(tags: Mapping[str, Ids], filters: Iterable[Any]) -> dict[str, Ids]:
    """Return the tags that filters, or parts of a recipe with a `column`, name: what decides a selection."""
    columns = {part.column for part in filters}
    return {name: ids for name, ids in tags.items() if TAG_PREFIX + name in columns}


def tag_columns(pool: Pool, tags: Tags) -> dict[str, BoolArray]:
    """Return (N,) whether each row has the tag, by column; RecipeError for ids that the pool does not have."""
    return {TAG_PREFIX + name: has_id(pool, ids, f"tags: '{name}' has") for name, ids in tags.items()}


def tag_lists(pool: Pool, tags: Tags) -> NDArray[Any]:
    """Return (N,) the sorted names of each row's tags, as lists; RecipeError for ids that the pool does not have."""
    lists = np.empty(len(pool), object)
    lists[:] = [[] for _ in range(len(pool))]
    for name in sorted(tags):
        for row in np.flatnonzero(has_id(pool, tags[name], f"tags: '{name}' has")):
            lists[row].append(name)
    return lists


def has_id(pool: Pool, ids: Sequence[str], subject: str) -> BoolArray:
    """Return (N,) whether each row has one of the ids; RecipeError, beginning with `subject`, for an unknown id."""
    mask: BoolArray = pc.is_in(pool.rows["id"], value_set=pa.array(list(ids), pa.string())).to_numpy()
    unknown = set(ids) - set(pool.rows["id"].filter(pa.array(mask)).to_pylist()) if mask.sum() < len(ids) else ()
    if unknown:
        first = next(one for one in ids if one in unknown)
        count = "1 id" if len(unknown) == 1 else f"{len(unknown):,} ids"
        raise RecipeError(
            f"{subject} {count} that {pool.name} does not have, first '{first}'. Remove them, or open the "
            "pool they belong to."
        )
    return mask
