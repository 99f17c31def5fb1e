"""Which files and servers a browser may name. What is typed into a page is checked here before anything is opened.

Allowed folders: WINNOW_DATA_ROOTS (separated as in PATH); without it the folder the app was started in and
the user's home, or the starting folder alone where the app may be reached from other computers. Hidden
files and folders are never opened: that is where keys and tokens live.
Servers: those of this computer, and hosts named in WINNOW_SERVERS (separated by commas).
"""

import ipaddress
import os
import re
from pathlib import Path
from urllib.parse import urlsplit

from core.errors import PoolError

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_FILES = (".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".parquet", ".gz", ".arrow")


def allowed_folders() -> tuple[Path, ...]:
    """The allowed folders, resolved."""
    named = os.environ.get("WINNOW_DATA_ROOTS", "")
    folders = [Path(one) for one in named.split(os.pathsep) if one]
    if not folders:
        folders = [Path.cwd()]
        if os.environ.get("WINNOW_ALLOW_REMOTE") != "1":
            folders.append(Path.home())
    return tuple(folder.expanduser().resolve() for folder in folders)


def check_source(text: str) -> str:
    """What was typed, if it may be opened: "demo", a hub id, or a path inside the allowed folders.

    Raises PoolError. A path is resolved first, symlinks included, so nothing leads out of the folders.
    """
    typed = text.strip().strip("\"'")
    if not typed or "\0" in typed:
        raise PoolError("Type a path or a hub id.")
    if typed == "demo" or is_hub_id(typed):
        return typed
    return str(check_path(typed))


def is_hub_id(typed: str) -> bool:
    """Does it read as owner/name, and name nothing on this computer?"""
    looks_like_path = typed.endswith(_FILES) or typed.startswith(("/", "~", ".", "\\")) or "\\" in typed
    return not looks_like_path and HUB_ID.fullmatch(typed) is not None and not Path(typed).exists()


def check_path(typed: str) -> Path:
    """An existing path inside the allowed folders, resolved; PoolError when it is not."""
    if typed.startswith(("\\\\", "//")):
        raise PoolError("Network paths are not opened. Copy the file to this computer first.")
    path = Path(os.path.abspath(Path(typed).expanduser())).resolve()  # noqa: PTH100  '..' first, then links
    inside = [root for root in allowed_folders() if path.is_relative_to(root)]
    if not inside:
        allowed = ", ".join(str(root) for root in allowed_folders())
        raise PoolError(
            f"{typed} is outside the folders this app may read ({allowed}). Move the file there, or start the app "
            "with its folder in WINNOW_DATA_ROOTS."
        )
    if all(any(part.startswith(".") for part in path.relative_to(root).parts) for root in inside):
        raise PoolError(f"{typed} lies in a hidden folder, which this app does not open. Copy the file elsewhere.")
    if not path.exists():
        raise PoolError(f"{typed} is not there. Check the path; it is read from {Path.cwd()}.")
    return path


def check_model(typed: str) -> str:
    """A hub id, or the folder of a model inside the allowed folders; PoolError otherwise."""
    name = typed.strip()
    return name if is_hub_id(name) else str(check_path(name))


def check_server(typed: str) -> str:
    """The address of a server that this app may ask: of this computer, or named in WINNOW_SERVERS; PoolError else.

    Otherwise whoever reaches the app could reach, through it, what only this computer reaches.
    """
    url = urlsplit(typed.strip())
    host = (url.hostname or "").lower()
    if url.scheme not in ("http", "https") or not host or url.username is not None:
        raise PoolError(f"{typed} is no address of a server. Write it as http://127.0.0.1:8000/v1.")
    named = {one.strip().lower() for one in os.environ.get("WINNOW_SERVERS", "").split(",")}
    if host not in named and not _here(host):
        raise PoolError(
            f"{host} is not a server that this app may ask. Start the app with its host in WINNOW_SERVERS, or measure "
            "from the command line."
        )
    return typed.strip()


def _here(host: str) -> bool:
    """Is this a name of this computer?"""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
