"""Checks of the files and servers named in a browser, made before anything is opened.

Allowed folders: WINNOW_DATA_ROOTS (separated as in PATH); without it the folder the app was started in and the user's
home, or only the starting folder where the app may be reached from other computers. Hidden files and folders are
never opened: they hold keys and tokens.
Servers: this computer's, and hosts named in WINNOW_SERVERS (separated by commas).
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from core.errors import PoolError
from core.pool.readers import file_list
from pages.ui.shell import visitors
from pages.ui.shell.access import is_shared, is_this_computer
from pages.ui.words import shorten

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
CLUSTER = re.compile(r"([\w.-]+):\d{1,5}", re.ASCII)
HUB_ADDRESS = "hf://"
MAX_HUB_ID = 96  # characters, as on the hub
_FILES = (".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".parquet", ".gz", ".arrow")


def allowed_folders() -> tuple[Path, ...]:
    """Return the allowed folders, resolved."""
    setting = os.environ.get("WINNOW_DATA_ROOTS", "")
    folders = [Path(folder_name) for folder_name in setting.split(os.pathsep) if folder_name]
    if not folders:
        folders = [Path.cwd()]
        if not is_shared():
            folders.append(Path.home())
    return tuple(folder.expanduser().resolve() for folder in folders)


def check_source(text: str) -> str:
    """Return the typed source if it may be opened: "demo", a dataset of the hub, or a path or pattern in these folders.

    Raises PoolError. A path is resolved first, symlinks included, and so is every file that a folder or pattern names:
    none can lead out of the folders.
    """
    typed = text.strip().strip("\"'")
    if not typed or "\0" in typed:
        raise PoolError("Type a path or a hub id.")
    if typed == "demo" or is_hub_source(typed):
        return typed
    with _path_errors(shorten(typed)):
        pattern = Path(typed).expanduser() if file_list.is_pattern(typed) else None
    source = check_path(typed) if pattern is None else _check_pattern(pattern)
    if not source.is_file():
        files = file_list.list_files(str(source))
        for file in files.paths if files else ():
            check_path(str(file))
    return str(source)


def _check_pattern(pattern: Path) -> Path:
    """Return a pattern whose folder, the part before its first wildcard, is inside the allowed folders."""
    folder = file_list.folder_of(pattern)
    within = pattern.relative_to(folder)
    if ".." in within.parts:
        raise PoolError(f"{shorten(str(pattern))} has '..' after a wildcard. Write the pattern without it.")
    if "**" in within.parts:  # it would search all folders, however many there are
        raise PoolError(
            f"{shorten(str(pattern))} has '**'. Give the folder alone: the files in all its folders are read."
        )
    return check_path(str(folder)) / within


def is_hub_id(typed: str) -> bool:
    """Return whether the text has the form owner/name (or name) and is no path on this computer."""
    if len(typed) > MAX_HUB_ID:
        return False
    looks_like_path = typed.endswith(_FILES) or typed.startswith(("/", "~", ".", "\\")) or "\\" in typed
    return not looks_like_path and HUB_ID.fullmatch(typed) is not None and not Path(typed).exists()


def is_hub_source(typed: str) -> bool:
    """Return whether the text names a dataset of the hub, by its id or as hf://datasets/owner/name."""
    return typed.startswith(HUB_ADDRESS) or is_hub_id(typed)


def check_path(typed: str) -> Path:
    """Return the resolved path if it exists inside the allowed folders. Raises PoolError otherwise."""
    if typed.startswith(("\\\\", "//")):
        raise PoolError("Network paths are not opened. Copy the file to this computer first.")
    shown = shorten(typed)
    with _path_errors(shown):
        path = Path(os.path.abspath(Path(typed).expanduser())).resolve()  # noqa: PTH100  '..' first, then links
    inside = [root for root in allowed_folders() if path.is_relative_to(root)]
    if not inside:
        allowed = ", ".join(str(root) for root in allowed_folders())
        raise PoolError(
            f"{shown} is outside the folders this app may read ({allowed}). Move the file there, or start the app "
            "with its folder in WINNOW_DATA_ROOTS."
        )
    if all(any(part.startswith(".") for part in path.relative_to(root).parts) for root in inside):
        raise PoolError(f"{shown} lies in a hidden folder, which this app does not open. Copy the file elsewhere.")
    visitors.check_path(path)
    with _path_errors(shown):
        if not path.exists():
            raise PoolError(f"{shown} is not there. Check the path; it is read from {Path.cwd()}.")
    return path


@contextmanager
def _path_errors(shown: str) -> Iterator[None]:
    """Report what makes a path impossible: too long, a NUL, a circle of links, no such user."""
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise PoolError(f"{shown} cannot be opened ({reason}). Check the path.") from error


def check_model(typed: str) -> str:
    """Return a hub id, or the path of a model inside the allowed folders. Raises PoolError otherwise."""
    name = typed.strip()
    return name if is_hub_id(name) else str(check_path(name))


def check_server(typed: str) -> str:
    """Return the URL of a server that this app may call: on this computer, or named in WINNOW_SERVERS.

    Raises PoolError otherwise. Without the check, anyone who reaches the app could reach through it what only this
    computer can reach.
    """
    try:
        url = urlsplit(typed.strip())
        host, _ = (url.hostname or "").lower(), url.port  # an impossible port raises
    except ValueError:
        host = ""
    if not host or url.scheme not in ("http", "https") or url.username is not None:
        raise PoolError(f"{shorten(typed)} is no address of a server. Write it as http://127.0.0.1:8000/v1.")
    _check_host(host)
    return typed.strip()


def check_cluster(typed: str) -> str:
    """Return the address of a Ray cluster that this app may use, on an allowed host as for servers.

    Raises PoolError otherwise. A cluster runs code of its own in the process that connects to it.
    """
    found = CLUSTER.fullmatch(typed.strip())
    if found is None:
        raise PoolError(f"{shorten(typed)} is no address of a Ray cluster. Write it as 10.0.0.1:6379.")
    _check_host(found[1].lower())
    return found[0]


def _check_host(host: str) -> None:
    allowed_hosts = {name.strip().lower() for name in os.environ.get("WINNOW_SERVERS", "").split(",")}
    if host not in allowed_hosts and not is_this_computer(host):
        raise PoolError(
            f"{host} is not a server that this app may ask. Start the app with its host in WINNOW_SERVERS, or measure "
            "from the command line."
        )
