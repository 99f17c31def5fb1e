"""Prompts go to no server that the user did not name, and the key to no host that it is not for; on real commands."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

import core as winnow
from core.__main__ import app
from core.errors import RecipeError
from core.workspace.folder import Workspace
from core.workspace.jobs import get_job, start_job

KEY = "sk-of-the-owner"
PROMPTS = ["Name a colour.", "Add 2 and 3.", "Say hello."]


@dataclass
class Recorder:
    """A server that answers like OpenAI's and remembers whoever connects."""

    host: str
    port: int = 0
    connections: int = 0
    keys: set[str | None] = field(default_factory=set)
    prompts: set[str] = field(default_factory=set)

    @property
    def at(self) -> str:
        return f"{self.host}:{self.port}"


@contextmanager
def recording(host: str) -> Iterator[Recorder]:
    seen = Recorder(host)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            seen.keys.add(self.headers["Authorization"])
            seen.prompts.add(body["messages"][-1]["content"])
            choices = [
                {"index": k, "finish_reason": "stop", "message": {"content": f"Answer {k}."}} for k in range(body["n"])
            ]
            data = json.dumps({"choices": choices}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def get_request(self) -> Any:
            seen.connections += 1
            return super().get_request()

    with Server((host, 0), Handler) as server:
        seen.port = server.server_address[1]
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield seen
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Return the working folder, with a pool; the owner's key is set, for a host that no test asks."""
    monkeypatch.chdir(tmp_path)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WINNOW_API_KEY", KEY)
    monkeypatch.setenv("WINNOW_API_HOST", "api.example")
    rows = [{"id": f"r{k}", "instruction": text, "output": "Fine."} for k, text in enumerate(PROMPTS)]
    Path("pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def params_for(server: Recorder) -> dict[str, Any]:
    own = {"source": "server", "base_url": f"http://{server.at}/v1", "served_model": "m", "answers": 2}
    return own | {"max_new_tokens": 4}


def recipe_for(server: Recorder, *, inside_a_combination: bool = False) -> str:
    method: dict[str, Any] = {"name": "answer_divergence", "params": params_for(server)}
    if inside_a_combination:
        method = {"name": "combined", "params": {"members": json.dumps(["longest", method])}}
    data = {"pool": {"source": "pool.jsonl"}, "method": method, "budget": "2"}
    Path("stranger.recipe.yaml").write_text(yaml.safe_dump(data))
    return "stranger.recipe.yaml"


def measure_options(server: Recorder) -> list[str]:
    return [word for name, value in params_for(server).items() for word in ("--set", f"{name}={value}")]


def winnow_says(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stderr.replace("\r", "\n").strip().split("\n")[-1]


@pytest.mark.parametrize("inside", [False, True])
def test_a_recipe_asks_no_server_elsewhere_unless_it_is_allowed(place, inside):
    """0.0.0.0 is not a loopback address, and yet a server that a test can run."""
    with recording("0.0.0.0") as server:
        recipe = recipe_for(server, inside_a_combination=inside)
        for refused in ([], ["--allow-server", f"0.0.0.0:{server.port + 1}"], ["--allow-server", "127.0.0.1"]):
            code, said = winnow_says("run", recipe, *refused)
            assert code == 2 and f"--allow-server {server.at}" in said and "Nothing was sent" in said
        assert server.connections == 0 and not Path("chosen.jsonl").exists()
        assert winnow_says("run", recipe, "--allow-server", server.at)[0] == 0
        assert server.prompts == set(PROMPTS) and server.keys == {None}
        connections = server.connections
        assert winnow_says("run", recipe)[0] == 0  # measured already: no server is asked
        assert server.connections == connections


def test_a_manifest_asks_no_server_elsewhere_unless_it_is_allowed(place):
    with recording("0.0.0.0") as server:
        assert winnow_says("run", recipe_for(server), "--allow-server", "0.0.0.0")[0] == 0
        seen, elsewhere = server.connections, ["--workspace", "another"]
        code, said = winnow_says("replay", "chosen.manifest.json", *elsewhere)
        assert code == 2 and f"--allow-server {server.at}" in said
        with pytest.raises(RecipeError, match="allow_servers"):
            winnow.replay("chosen.manifest.json", workspace="another", report=None)
        assert server.connections == seen
        assert winnow_says("replay", "chosen.manifest.json", "--rows-only", *elsewhere)[0] == 0
        assert server.connections == seen
        winnow.replay("chosen.manifest.json", workspace="another", allow_servers=[server.at], report=None)
        assert server.connections > seen
        assert (
            winnow_says("replay", "chosen.manifest.json", "--allow-server", server.at, "--workspace", "third")[0] == 0
        )


def test_a_server_on_this_computer_is_asked_without_the_key(place):
    with recording("127.0.0.2") as server:
        assert winnow_says("run", recipe_for(server))[0] == 0
        assert server.prompts == set(PROMPTS) and server.keys == {None}


def test_the_key_goes_to_the_host_and_port_it_is_for_and_to_no_other(place, monkeypatch):
    with recording("127.0.0.1") as bound, recording("127.0.0.1") as port, recording("127.0.0.2") as host:
        monkeypatch.setenv("WINNOW_API_HOST", f"api.example,{bound.at}")
        for server in (bound, port, host):
            command = ["measure", "pool.jsonl", "--method", "answer_divergence", *measure_options(server)]
            assert winnow_says(*command)[0] == 0
            assert server.prompts == set(PROMPTS)
        assert bound.keys == {f"Bearer {KEY}"} and port.keys == host.keys == {None}


def test_a_key_without_hosts_goes_nowhere(place, monkeypatch):
    monkeypatch.delenv("WINNOW_API_HOST")
    with recording("127.0.0.1") as server:
        assert winnow_says("measure", "pool.jsonl", "--method", "answer_divergence", *measure_options(server))[0] == 0
        assert server.keys == {None}


@pytest.mark.slow
def test_a_job_of_the_app_inherits_the_key_for_its_own_host_alone(place, monkeypatch):
    """A visitor may name any port of this computer as the server."""
    workspace = Workspace("workspace")
    with recording("127.0.0.1") as bound, recording("127.0.0.1") as named:
        monkeypatch.setenv("WINNOW_API_HOST", bound.at)
        command = ["measure", "pool.jsonl", "--method", "answer_divergence", *measure_options(named)]
        job = start_job(workspace, [*command, "--workspace", str(workspace.root)], title="", about={})
        until = time.monotonic() + 120
        while get_job(workspace, job.id).live and time.monotonic() < until:
            time.sleep(0.2)
        finished = get_job(workspace, job.id)
        assert finished.state == "done", finished.log_tail()
        assert os.environ["WINNOW_API_KEY"] == KEY
        assert named.prompts == set(PROMPTS) and named.keys == {None} and bound.connections == 0
