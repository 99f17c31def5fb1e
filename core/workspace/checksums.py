"""Checksums of stored files, so that what is read is what was written.

    NAME.xxh128          next to a file: the XXH3-128 of its bytes and its name, as `xxh128sum --check` reads them
    {"checksum": "…",    the first field of a JSON file: the XXH3-128 of the file without this field

A checksum is stored before its file gets its name, so a crash in between leaves no file that seems damaged and is not.
A file is verified when a process first reads it, and again when its size, modification time or inode has changed.
Files of version 0.2 and before have no checksum; they get one when they are first read whole.
"""

import re
from pathlib import Path

import xxhash

SUFFIX = ".xxh128"
BLOCK = 1 << 20  # bytes hashed at a time
JSON_HEAD = b'{"checksum": "'
_HEAD = re.compile(re.escape(JSON_HEAD) + rb'([0-9a-f]{32})",?')
_OLD_JSON = (b"{\n", b"{}", b"[\n", b"[]")  # how JSON files without a checksum begin

Identity = tuple[int, int, int]  # size, modification time in ns, inode
_verified: dict[Path, tuple[Identity, bool]] = {}  # by this process


def hash_bytes(data: bytes) -> str:
    """Return the XXH3-128 of these bytes, 32 hex digits."""
    return xxhash.xxh3_128_hexdigest(data)


def hash_file(path: Path) -> str:
    """Return the XXH3-128 of a file, 32 hex digits."""
    digest, buffer = xxhash.xxh3_128(), bytearray(BLOCK)
    view = memoryview(buffer)
    with path.open("rb", buffering=0) as file:
        while size := file.readinto(buffer):
            digest.update(view[:size])
    return digest.hexdigest()


def checksum_path(path: Path) -> Path:
    """Return where the checksum of a file is stored."""
    return path.with_name(path.name + SUFFIX)


def checksum_line(digest: str, name: str) -> bytes:
    """Return the content of a checksum's file."""
    return f"{digest}  {name}\n".encode()


def read_checksum(path: Path) -> str | None:
    """Return the stored checksum of a file: 32 hex digits, "" if it is itself damaged, None if there is none."""
    try:
        line = checksum_path(path).read_bytes()
    except FileNotFoundError:
        return None
    digest = line[:32].decode("latin-1")
    return digest if line == checksum_line(digest, path.name) else ""


def matches_checksum(path: Path) -> bool:
    """Return whether a file has the bytes that were written, True if it has no checksum; FileNotFoundError without it.

    The result is kept for the process until the file changes.
    """
    about = path.stat()
    identity = (about.st_size, about.st_mtime_ns, about.st_ino)
    known = _verified.get(path)
    if known is None or known[0] != identity:
        recorded = read_checksum(path)
        if recorded is None:
            return True
        known = _verified[path] = (identity, hash_file(path) == recorded)
    return known[1]


def mark_verified(path: Path) -> None:
    """Record that a file is as it was written, because this process just wrote it."""
    about = path.stat()
    _verified[path] = (about.st_size, about.st_mtime_ns, about.st_ino), True


def has_known_damage(folder: Path) -> bool:
    """Return whether a file below a folder was found damaged by this process, and still is. Nothing else is read."""
    found = [path for path, (_, whole) in list(_verified.items()) if not whole and folder in path.parents]
    return any(path.exists() and not matches_checksum(path) for path in found)


def forget_verified() -> None:
    """Verify every file again when it is next read."""
    _verified.clear()


def seal_json(body: bytes) -> bytes:
    """Return an indented JSON object with its checksum as the first field."""
    comma = b"" if body.startswith(b"{}") else b","
    return JSON_HEAD + hash_bytes(body).encode() + b'"' + comma + body[1:]


def unseal_json(data: bytes) -> bytes | None:
    """Return the JSON without its checksum; None if the checksum does not match."""
    if data.startswith(_OLD_JSON):
        return data
    head = _HEAD.match(data)
    if head is None:
        return None
    body = b"{" + data[head.end() :]
    return body if hash_bytes(body).encode() == head[1] else None
