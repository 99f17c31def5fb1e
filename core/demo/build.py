"""Measure the demo pool by all methods and pack the results that ship with the app.

    python -m core.demo.build FOLDER

It runs the commands that a user would run, in a workspace of its own, and can be stopped and started again. Not
packed are the pool itself (each workspace generates it), the trained states of the model (22 MB, only the token views
of a calibrated model need them) and the signatures of near-duplicates (recomputed in a second).
"""

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import numpy as np
import typer
from threadpoolctl import threadpool_info  # type: ignore[import-untyped]

from core.demo.measured import ABOUT, ARCHIVE
from core.workspace.files import atomic_path, read_json
from core.workspace.parts import PLAN

MAX_BYTES = 8_000_000
NEAR_DUPLICATES = "near-duplicates"  # the kind of their stage
EMBEDDINGS = ("prompt", "response", "answers", "activations")
COMMANDS = (
    ("measure", "demo", "--method", "entropy_shift", "--also", "all"),
    ("duplicates", "demo"),
    *(("project", "demo", "--of", of, "--layout", "umap") for of in EMBEDDINGS),
)


def describe_processor() -> dict[str, Any]:
    """Return the kind of processor, which decides the last bits of a result, and the number of threads."""
    np.dot(np.ones(1), np.ones(1))  # loads the library that is described
    (blas,) = [one for one in threadpool_info() if one["user_api"] == "blas"][:1]
    return {"processor": blas["architecture"], "threads": blas["num_threads"]}


def measure(workspace: Path) -> dict[str, float]:
    """Run COMMANDS in a workspace; return the seconds that each took."""
    seconds = {}
    for command in COMMANDS:
        began = time.monotonic()
        subprocess.run([sys.executable, "-m", "core", *command, "--workspace", str(workspace)], check=True)
        seconds[" ".join(command)] = round(time.monotonic() - began, 1)
    return seconds


def results(workspace: Path) -> Iterator[Path]:
    """Yield the files to pack: stages, then columns of runs, then the file that makes a run complete."""
    for folder in sorted(workspace.glob("measurements/*")):
        signatures = read_json(folder / "spec.json")["kind"] == NEAR_DUPLICATES
        for file in sorted(folder.iterdir()):
            if not (signatures and file.name.startswith(("part-", PLAN))):
                yield file
    yield from sorted(workspace.glob("runs/*/*"), key=lambda file: (file.name == "run.json", file))


def pack(workspace: Path, archive: Path, about: dict[str, Any]) -> None:
    """Write the archive. The same files give the same bytes."""
    files = {file.relative_to(workspace).as_posix(): file.read_bytes() for file in results(workspace)}
    digest = hashlib.sha256()
    for name, content in files.items():
        digest.update(f"{name} {len(content)}\n".encode() + content)
    runs = [name.split("/")[1] for name in files if name.endswith("run.json")]
    files[ABOUT] = json.dumps({"version": digest.hexdigest(), "runs": runs} | about, indent=1).encode()
    with atomic_path(archive) as temporary, ZipFile(temporary, "w") as out:
        for name, content in files.items():
            out.writestr(ZipInfo(name), content, ZIP_DEFLATED, 9)


def main(
    work: Annotated[Path, typer.Argument(help="Folder for the workspace in which the pool is measured.")],
    archive: Annotated[Path, typer.Option(help="File to write.")] = ARCHIVE,
) -> None:
    """Measure the demo pool and pack the results."""
    seconds = measure(work)
    pack(work, archive, {"seconds": seconds, "torch": version("torch")} | describe_processor())
    size = archive.stat().st_size
    typer.echo(f"{archive}: {size / 1e6:.1f} MB")
    if size > MAX_BYTES:
        raise typer.BadParameter(f"The archive has {size:,} bytes; at most {MAX_BYTES:,} may ship.")


if __name__ == "__main__":
    typer.run(main)
