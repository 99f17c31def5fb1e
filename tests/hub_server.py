"""A hub on this computer: an HTTP server of the shape of the hub's API, for what its client asks of datasets."""

import hashlib
import json
import re
import threading
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from huggingface_hub import constants

ATTRIBUTES = {".gitattributes": b""}


class Hub(ThreadingHTTPServer):
    """Datasets by id, their commits and branches, and what was asked of them."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.commits: dict[str, dict[str, dict[str, bytes]]] = {}  # repository -> commit -> files
        self.branches: dict[str, dict[str, str]] = {}
        self.private: dict[str, bool] = {}
        self.refusals: dict[str, tuple[int, dict[str, str]]] = {}  # beginning of a path -> status and headers
        self.asked: list[str] = []  # "GET /path" of every request
        self.tokens: set[str] = set()
        self.objects: dict[str, bytes] = {}

    def publish(self, repo: str, files: dict[str, bytes], branch: str = "main", private: bool = False) -> str:
        """Make a commit of these files, all there are, and return its hash."""
        files = ATTRIBUTES | files
        content = repr(sorted((name, hashlib.sha256(data).hexdigest()) for name, data in files.items()))
        commit = hashlib.sha1(f"{repo}{branch}{content}".encode()).hexdigest()
        self.commits.setdefault(repo, {})[commit] = files
        self.branches.setdefault(repo, {})[branch] = commit
        self.private.setdefault(repo, private)
        return commit

    def count(self, beginning: str) -> int:
        """Count the requests that begin so."""
        return sum(one.startswith(beginning) for one in self.asked)

    def files(self, repo: str) -> dict[str, bytes]:
        """Return the files of the default branch."""
        return self.commits[repo][self.branches[repo]["main"]]


class Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: Any) -> None:
        pass

    def answer(self, status: int, body: Any = b"", **headers: str) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(data))} | headers).items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def refuse(self, status: int, code: str) -> None:
        self.answer(status, {"error": code}, X_Error_Code=code)

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        self.server.asked.append(f"{self.command} {unquote(url.path)}")
        self.server.tokens.add(self.headers.get("Authorization", ""))
        for beginning, (status, headers) in self.server.refusals.items():
            if url.path.startswith(beginning):
                return self.answer(status, {"error": "refused"}, **headers)
        for pattern, respond in ROUTES:
            if found := pattern.fullmatch(url.path):
                return respond(self, body, *(unquote(part or "") for part in found.groups()))
        return self.refuse(404, "NotFound")

    do_GET = do_HEAD = do_POST = do_PUT = handle_any  # noqa: N815

    def api(self, body: bytes, repo: str, kind: str, revision: str) -> None:
        if repo not in self.server.commits:
            return self.refuse(401, "RepoNotFound")
        revision = revision or "main"
        commit = self.server.branches[repo].get(revision, revision)
        if commit not in self.server.commits[repo]:
            return self.refuse(404, "RevisionNotFound")
        files = self.server.commits[repo][commit]
        if kind == "tree":
            return self.answer(
                200,
                [{"type": "file", "path": name, "size": len(data), "oid": sha1(data)} for name, data in files.items()],
            )
        if kind == "preupload":
            modes = [
                {
                    "path": one["path"],
                    "uploadMode": "lfs" if one["path"].endswith(".parquet") else "regular",
                    "shouldIgnore": False,
                }
                for one in json.loads(body)["files"]
            ]
            return self.answer(200, {"files": modes})
        if kind == "commit":
            return self.commit(repo, revision, commit, files, body)
        siblings = [{"rfilename": name} for name in files]
        return self.answer(
            200,
            {
                "id": repo,
                "sha": commit,
                "private": self.server.private[repo],
                "siblings": siblings,
                "tags": [],
                "downloads": 0,
                "likes": 0,
            },
        )

    def resolve(self, _body: bytes, repo: str, revision: str, name: str) -> None:
        if repo not in self.server.commits:
            return self.refuse(401, "RepoNotFound")
        commit = self.server.branches[repo].get(revision, revision)
        files = self.server.commits[repo].get(commit, {})
        if name not in files:
            return self.refuse(404, "EntryNotFound")
        return self.answer(200, files[name], ETag=f'"{sha1(files[name])}"', X_Repo_Commit=commit)

    def create(self, body: bytes) -> None:
        asked = json.loads(body)
        repo = f"{asked['organization']}/{asked['name']}"
        url = f"http://{self.headers['Host']}/datasets/{repo}"
        if repo in self.server.commits:
            return self.answer(409, {"error": "exists", "url": url})
        self.server.publish(repo, {}, private=asked.get("visibility") == "private")
        return self.answer(200, {"url": url, "id": repo})

    def validate(self, _body: bytes) -> None:
        self.answer(200, {"errors": [], "warnings": []})

    def store(self, body: bytes, oid: str) -> None:
        self.server.objects[oid] = body
        self.answer(200)

    def batch(self, body: bytes, _repo: str) -> None:
        asked = json.loads(body)
        base = f"http://{self.headers['Host']}/lfs"
        objects = [
            one | {"actions": {"upload": {"href": f"{base}/{one['oid']}", "header": {}}}} for one in asked["objects"]
        ]
        return self.answer(200, {"transfer": "basic", "objects": objects})

    def commit(self, repo: str, branch: str, parent: str, files: dict[str, bytes], body: bytes) -> None:
        files = dict(files)
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "header" and value.get("parentCommit") not in (None, parent):
                return self.answer(412, {"error": "A commit has happened since. Please refresh and try again."})
            if line["key"] == "file":
                files[value["path"]] = b64decode(value["content"])
            if line["key"] == "lfsFile":
                files[value["path"]] = self.server.objects[value["oid"]]
        oid = self.server.publish(repo, files, branch)
        url = f"http://{self.headers['Host']}/datasets/{repo}/commit/{oid}"
        return self.answer(200, {"commitUrl": url, "commitOid": oid, "hookOutput": "", "success": True})


ROUTES = [
    (re.compile(r"/api/repos/create"), Handler.create),
    (re.compile(r"/api/validate-yaml"), Handler.validate),
    (re.compile(r"/api/datasets/([^/]+/[^/]+)(?:/(revision|tree|preupload|commit)/([^/]+))?"), Handler.api),
    (re.compile(r"/datasets/([^/]+/[^/]+)/resolve/([^/]+)/(.+)"), Handler.resolve),
    (re.compile(r"/datasets/([^/]+/[^/]+)\.git/info/lfs/objects/batch"), Handler.batch),
    (re.compile(r"/lfs/(.+)"), Handler.store),
]


def sha1(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()


@contextmanager
def serve() -> Iterator[Hub]:
    """Run a hub for the length of the block."""
    with Hub() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server
        server.shutdown()


def use_hub(monkeypatch: pytest.MonkeyPatch, server: Hub, cache: Path) -> None:
    """Let the client of this process ask this hub, with a cache of its own."""
    endpoint = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # whose own protocol this server does not speak
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
