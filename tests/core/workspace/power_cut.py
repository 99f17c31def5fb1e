"""A file system that loses what was not synced: every state that a power cut may leave, rebuilt from a recorded run.

While a run is recorded, each fsync and rename is an event, and what else changed in the folder is seen at the next one.
A name (created, renamed, removed) is certain once its folder was synced, and may be there or not before that, in any
combination; bytes are certain once their file was synced, and may be missing, cut, zeroed or whole before.
"""

import itertools
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MOST_PENDING = 4  # names whose combinations are all tried; of more, all, none, each alone and each missing
UNSYNCED: tuple[Callable[[bytes], bytes], ...] = (
    lambda data: b"",
    lambda data: data[: len(data) // 2],
    lambda data: bytes(len(data)),
    lambda data: data,
)


@dataclass(eq=False)
class Node:
    """A file or folder, whatever its name."""

    inode: int
    is_folder: bool
    entries: dict[str, "Node"] = field(default_factory=dict)  # of a folder, now
    data: bytes = b""  # of a file, when it was last seen
    synced: list[tuple[int, bytes]] = field(default_factory=list)  # event, bytes


@dataclass(frozen=True)
class Change:
    """Names that change together: (folder, name, node), None for a name that is gone."""

    event: int
    names: tuple[tuple[Node, str, Node | None], ...]


@dataclass
class Recording:
    """What happened below one folder."""

    root: Path
    tree: Node
    changes: list[Change] = field(default_factory=list)
    syncs: list[tuple[int, Node]] = field(default_factory=list)  # of folders
    marks: list[tuple[int, str]] = field(default_factory=list)
    events: int = 0

    def mark(self, what: str) -> None:
        """Record that something was reported as finished."""
        self._see()
        self.marks.append((self.events, what))

    def _see(self) -> None:
        """Record what changed since the last event."""
        self.events += 1
        self._scan(self.root, self.tree)

    def _scan(self, path: Path, node: Node) -> None:
        there = {entry.name: entry for entry in os.scandir(path)}
        for name in [name for name in node.entries if name not in there]:
            self._change((node, name, None))
        for name, entry in there.items():
            old = node.entries.get(name)
            if old is None or old.inode != entry.inode():
                old = Node(entry.inode(), entry.is_dir())
                self._change((node, name, old))
            if old.is_folder:
                self._scan(path / name, old)
            else:
                old.data = (path / name).read_bytes()

    def _change(self, *names: tuple[Node, str, Node | None]) -> None:
        self.changes.append(Change(self.events, names))
        for folder, name, node in names:
            if node is None:
                folder.entries.pop(name, None)
            else:
                folder.entries[name] = node

    def node(self, path: Path) -> Node:
        """Return the node at a path."""
        node = self.tree
        for part in path.relative_to(self.root).parts:
            node = node.entries[part]
        return node

    def sync(self, path: Path) -> None:
        """Record an fsync."""
        self._see()
        node = self.node(path)
        if node.is_folder:
            self.syncs.append((self.events, node))
        else:
            node.synced.append((self.events, node.data))

    def rename(self, old: Path, new: Path) -> None:
        """Record a rename that has not happened yet."""
        self._see()
        before, after = self.node(old.parent), self.node(new.parent)
        self._change((before, old.name, None), (after, new.name, before.entries[old.name]))

    # After the run

    def states(self, event: int) -> Iterator[dict[str, bytes | None]]:
        """Yield the files (and folders, None) that a power cut just after an event may leave."""
        past = [change for change in self.changes if change.event <= event]
        pending = [change for change in past if not self._is_certain(change, event)]
        for kept in _subsets(pending):
            tree: dict[Node, dict[str, Node]] = {}
            for change in past:
                if change in kept or change not in pending:
                    _apply(change, tree)
            for spoil in UNSYNCED:
                yield dict(self._files(self.tree, tree, event, spoil, ""))

    def _is_certain(self, change: Change, event: int) -> bool:
        return all(
            any(change.event <= when <= event and synced is folder for when, synced in self.syncs)
            for folder, _, _ in change.names
        )

    def _files(
        self, folder: Node, tree: Mapping[Node, Mapping[str, Node]], event: int, spoil: Any, prefix: str
    ) -> Iterator[tuple[str, bytes | None]]:
        for name, node in tree.get(folder, {}).items():
            path = f"{prefix}{name}"
            if node.is_folder:
                yield path, None
                yield from self._files(node, tree, event, spoil, f"{path}/")
            else:
                synced = [data for when, data in node.synced if when <= event]
                yield path, synced[-1] if synced else spoil(node.data)


def _apply(change: Change, tree: dict[Node, dict[str, Node]]) -> None:
    for folder, name, node in change.names:
        if node is None:
            tree.setdefault(folder, {}).pop(name, None)
        else:
            tree.setdefault(folder, {})[name] = node


def _subsets(changes: list[Change]) -> Iterator[list[Change]]:
    if len(changes) <= MOST_PENDING:
        for size in range(len(changes) + 1):
            yield from map(list, itertools.combinations(changes, size))
        return
    yield from ([], changes)
    for each in changes:
        yield [each]
        yield [other for other in changes if other is not each]


def write_state(state: Mapping[str, bytes | None], root: Path) -> None:
    """Write the files of a state into a new folder."""
    root.mkdir(parents=True)
    for path, data in state.items():
        if data is None:
            (root / path).mkdir()
        else:
            (root / path).write_bytes(data)


@contextmanager
def record(root: Path) -> Iterator[Recording]:
    """Record what the block does in a folder, which exists."""
    recording = Recording(root, Node(root.stat().st_ino, True))
    recording._see()
    recording.syncs.append((recording.events, recording.tree))
    real = {name: getattr(os, name) for name in ("fsync", "rename", "replace")}

    def fsync(handle: int) -> None:
        real["fsync"](handle)
        path = Path(f"/proc/self/fd/{handle}").readlink()
        if path.is_relative_to(root):
            recording.sync(path)

    def renaming(name: str) -> Callable[..., None]:
        def rename(old: Any, new: Any, **options: Any) -> None:
            if Path(new).is_relative_to(root) and Path(old).exists() and not _refused(Path(old), Path(new)):
                recording.rename(Path(old), Path(new))
            real[name](old, new, **options)

        return rename

    os.fsync, os.rename, os.replace = fsync, renaming("rename"), renaming("replace")
    try:
        yield recording
    finally:
        for name, function in real.items():
            setattr(os, name, function)


def _refused(old: Path, new: Path) -> bool:
    return old.is_dir() and new.is_dir() and any(new.iterdir())
