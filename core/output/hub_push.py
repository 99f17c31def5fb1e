"""Push of an export to the hub: what would be sent is shown first, and sent only on request.

The token is the one that the hub's client finds by itself (`hf auth login`, HF_TOKEN); it is never read here.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson
from huggingface_hub import CommitOperationAdd, HfApi, constants, errors, get_token

from core.errors import OutputError
from core.output.destinations import PROOF_SUFFIX, SUFFIXES
from core.output.manifest import Manifest, read_manifest
from core.output.row_files import sibling_path
from core.pool.readers.hub import DATASET
from core.pool.readers.hub_errors import hub_errors

CARD = "README.md"  # on the hub
REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)
UNREACHABLE = "The hub cannot be reached, so nothing was sent to {repo}. Go online, and run the command again."


@dataclass(frozen=True)
class PushFile:
    """A file to send."""

    name: str  # in the repository
    file: str  # on this computer
    bytes: int
    replaces: bool  # a file that the repository has


@dataclass(frozen=True)
class Push:
    """Files to send to a dataset repository, or sent."""

    repository: str
    url: str
    private: bool
    revision: str | None  # commit that the files are added to; None: the repository is made
    files: tuple[PushFile, ...] = ()
    notices: tuple[str, ...] = ()
    commit: str | None = None  # its address; None: nothing was sent


def find_repository(name: str, *, public: bool = False) -> Push:
    """Look a repository up, and return a push without files. OutputError if it must not be sent to.

    `public`: whether all may read what is sent: a new repository is made so, and one that is so is accepted.
    """
    if not REPOSITORY.fullmatch(name):
        raise OutputError(f"--push {name}: write it as owner/name, the dataset repository on the hub.")
    url = f"{constants.ENDPOINT}/datasets/{name}"
    with _errors(name):
        try:
            info = HfApi().dataset_info(name)
        except errors.RepositoryNotFoundError as error:
            if isinstance(error, errors.GatedRepoError):
                raise
            return Push(name, url, not public, None)
    if not info.private and not public:
        raise OutputError(f"{name} is public, so all could read what is sent. Add --public if that is meant.")
    here = tuple(PushFile(one.rfilename, "", 0, True) for one in info.siblings or ())
    return Push(name, url, bool(info.private), info.sha, here)


def plan_push(repository: Push, out: Path, scores: Path | None = None) -> Push:
    """Return the push of all files of an export, which `curate` has written as a bundle."""
    manifest_file, card = (sibling_path(out, SUFFIXES[role]) for role in ("manifest", "card"))
    manifest = read_manifest(manifest_file)
    paths = [out.with_name(name) for name in manifest.files if scores is None or name != scores.name]
    paths += [manifest_file, *([scores] if scores else [])]
    names = {CARD if path == card else path.name: path for path in paths}
    here = {file.name for file in repository.files}
    files = [PushFile(name, str(path), path.stat().st_size, name in here) for name, path in sorted(names.items())]
    notices = _describe_places(manifest, sibling_path(out, PROOF_SUFFIX))
    if get_token() is None:
        notices.append("You are not logged in at the hub, and sending needs it: `hf auth login`.")
    return replace(repository, files=tuple(files), notices=tuple(notices))


def send(push: Push, message: str) -> Push:
    """Send the files as one commit, to a repository that is made if need be; return the push with the commit."""
    api = HfApi()
    with _errors(push.repository):
        api.create_repo(push.repository, repo_type=DATASET, private=push.private, exist_ok=True)
        done = api.create_commit(
            push.repository,
            [CommitOperationAdd(path_in_repo=file.name, path_or_fileobj=file.file) for file in push.files],
            commit_message=message,
            repo_type=DATASET,
            parent_commit=push.revision,
        )
    return replace(push, commit=str(done.commit_url))


def _errors(name: str) -> Any:
    return hub_errors(name, unreachable=UNREACHABLE, error_type=OutputError)


def _describe_places(manifest: Manifest, proof: Path) -> list[str]:
    """Return a sentence on the paths and addresses of this computer that the files contain."""
    data = [manifest.model_dump(exclude={"rows", "held_out"})]
    data += [orjson.loads(proof.read_bytes())] if proof.name in manifest.files else []
    places = sorted({text for text in _strings(data) if _is_place(text)})
    if not places:
        return []
    return [
        f"The files contain paths and addresses of yours: {', '.join(places)}. Paths given without folders stay so."
    ]


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _strings(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _strings(each)


def _is_place(text: str) -> bool:
    return text.startswith(("http://", "https://", "~/")) or (text.startswith("/") and Path(text).exists())
