"""Rows out of folders and hub ids, by way of `datasets`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from core.errors import PoolError
from core.intake.records import BLOCK_ROWS, Source
from core.intake.tables import table_rows

SAVED = ("state.json", "dataset_dict.json")  # what `save_to_disk` leaves in a folder


def open_folder(path: Path, *, name: str | None, split: str | None, cache: Path) -> Source:
    """A `save_to_disk` folder, or a folder of data files that form one dataset."""
    import datasets  # here, not above: it takes most of a second, and the app seldom needs it

    if any((path / file).exists() for file in SAVED):
        data = _attempt(str(path), lambda: datasets.load_from_disk(str(path)))
        return _source(path.name, data, split)
    datasets.disable_progress_bars()
    data = _attempt(str(path), lambda: datasets.load_dataset(str(path), name=name, cache_dir=str(cache)))
    return _source(path.name, data, split)


def open_hub(source: str, *, name: str | None, split: str | None, revision: str | None) -> Source:
    """A dataset of the hub, or of its local cache when there is no way to the hub."""
    import datasets  # see open_folder

    data = _attempt(source, lambda: datasets.load_dataset(source, name=name, split=split, revision=revision))
    return _source(source, data, None)


def _attempt(source: str, load: Callable[[], Any]) -> Any:
    """Call `datasets`; whatever it could not find, reach or read becomes one PoolError."""
    from datasets.exceptions import DatasetsError

    try:
        return load()
    except (DatasetsError, OSError, ValueError, pa.ArrowException) as error:
        cause = error.__cause__ or error
        reason = (str(cause).strip() or type(cause).__name__).split("\n")[0].rstrip(".")
        raise PoolError(
            f"{source} cannot be opened as a dataset: {reason}. "
            "Check the name, split and revision, and for a hub id the way to the hub."
        ) from error


def _source(name: str, data: Any, split: str | None) -> Source:
    """One split of what `datasets` gives, as rows."""
    notices = []
    if isinstance(data, dict):
        chosen = _split(name, list(data), split)
        if split is None and len(data) > 1:
            notices.append(f"Split '{chosen}' is open; there are {', '.join(data)}.")
        data = data[chosen]
    elif split is not None and str(data.split) != split:
        raise PoolError(f"{name} holds one split ({data.split or 'without a name'}), and no '{split}'.")
    tables = data.with_format("arrow").iter(batch_size=BLOCK_ROWS)
    return Source(name, table_rows(name, tables, data.features.arrow_schema), len(data), notices)


def _split(name: str, splits: list[str], split: str | None) -> str:
    if split in splits:
        return str(split)
    if split is None and (len(splits) == 1 or "train" in splits):
        return "train" if "train" in splits else splits[0]
    asked = f"holds no split '{split}'" if split else "holds several splits"
    raise PoolError(f"{name} {asked}. Name one of {', '.join(splits)}.")
