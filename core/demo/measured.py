"""Measured results of the demo pool that ship with the app, so that it opens with scores, maps and near-duplicates.

They are `measured.zip`: files of a workspace, which `python -m core.demo.build` makes from the embedded model. They
were measured with the suggested settings, under the same keys as everything else, so nothing of them is special:
another setting is measured as usual, and what they share with it is reused.
"""

import json
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zipfile import ZipFile

from core.workspace.files import disk_errors, write_atomic

ARCHIVE = Path(__file__).parent / "measured.zip"
ABOUT = "about.json"  # in the archive: how it was made
MARK = "measured"  # in the workspace's folder of the demo pool: the version of what was unpacked


def unpack_measured(root: Path, *, again: bool = False) -> None:
    """Unpack the results into the workspace at `root`: once for each version of them, or `again`.

    What is stored there already is left as it is, and results that are deleted later stay deleted.
    """
    mark, version = root / "demo" / MARK, about_measured()["version"].encode()
    if not again and mark.exists() and mark.read_bytes() == version:
        return
    with disk_errors(root), ZipFile(ARCHIVE) as archive, TemporaryDirectory(dir=root, prefix=".measured.") as fresh:
        archive.extractall(fresh)
        for name in archive.namelist():  # in the order of packing: a run comes after all that it was made from
            if name != ABOUT and not (root / name).exists():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                Path(fresh, name).rename(root / name)
    write_atomic(mark, version)


@cache
def about_measured() -> dict[str, Any]:
    """Return how the results were made: version, commands, seconds, torch, threads, processor, and the ids of runs."""
    with ZipFile(ARCHIVE) as archive:
        about: dict[str, Any] = json.loads(archive.read(ABOUT))
    return about
