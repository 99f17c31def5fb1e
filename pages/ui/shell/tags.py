"""Tags of the open pool's rows: each change is one step of undo."""

from collections.abc import Collection
from dataclasses import replace

from core.columns import TAG_PREFIX
from core.errors import RecipeError
from core.selection.filters import Filter
from core.selection.tags import check_tag_name
from pages.ui.shell.changes import change
from pages.ui.shell.settings import refresh_settings, settings
from pages.ui.shell.terms import Match

MAX_TAGGED = 20_000  # rows of a tag, because settings and recipes list their ids


def add_tag(ids: Collection[str], name: str) -> None:
    """Tag rows. Raises RecipeError for a bad name, and for more rows than a tag may have."""
    refresh_settings()  # another tab of the browser may have tagged others
    name, now = check_tag_name(name), settings().tags
    tagged = {*now.get(name, ()), *ids}
    if len(tagged) > MAX_TAGGED:
        raise RecipeError(
            f"A tag may have {MAX_TAGGED:,} rows, because settings and recipes list their ids; '{name}' would have "
            f"{len(tagged):,}. Narrow the rows, or use a filter."
        )
    change(tags={**now, name: tuple(sorted(tagged))})


def remove_tag(ids: Collection[str], name: str) -> None:
    """Remove a tag from rows. The tag itself stays, even without rows."""
    refresh_settings()
    now, gone = settings().tags, set(ids)
    if name in now:
        change(tags={**now, name: tuple(one for one in now[name] if one not in gone)})


def rename_tag(name: str, new_name: str) -> None:
    """Rename a tag, in filters and highlight too. RecipeError for a bad name, one in use, or no such tag."""
    refresh_settings()
    now, new_name = settings(), check_tag_name(new_name)
    if name not in now.tags:
        raise RecipeError(f"There is no tag '{name}'.")
    if new_name in now.tags and new_name != name:
        raise RecipeError(f"A tag named '{new_name}' exists already. Choose another name.")
    tags = {new_name if one == name else one: ids for one, ids in now.tags.items()}

    def renamed(one: Filter) -> Filter:
        return replace(one, column=TAG_PREFIX + new_name) if one.column == TAG_PREFIX + name else one

    change(
        tags=tags,
        filters=tuple(map(renamed, now.filters)),
        highlight=tuple(
            replace(one, filter=renamed(one.filter)) if isinstance(one, Match) else one for one in now.highlight
        ),
    )


def delete_tag(name: str) -> None:
    """Delete a tag, and what filters or highlights by it."""
    refresh_settings()
    now, column = settings(), TAG_PREFIX + name
    change(
        tags={one: ids for one, ids in now.tags.items() if one != name},
        filters=tuple(one for one in now.filters if one.column != column),
        highlight=tuple(one for one in now.highlight if not (isinstance(one, Match) and one.filter.column == column)),
    )


def tags_of(row_ids: Collection[str]) -> dict[str, list[str]]:
    """Return the tags of rows, sorted, by id; rows without a tag are left out."""
    found: dict[str, list[str]] = {}
    for name, ids in sorted(settings().tags.items()):
        for one in set(row_ids).intersection(ids):
            found.setdefault(one, []).append(name)
    return found
