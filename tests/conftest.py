"""What several test files share."""

import os
from pathlib import Path

import pytest

from core.workspace.folder import Workspace

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test reaches for a hub
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")  # the same bits everywhere; test_cuda.py wants it set to 0
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny models: threads that wait for each other cost more than they do

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real public pools beside the project; skips the test where there is none."""
    if not (SHARED / "SOURCES.md").exists():
        pytest.skip("the public pools (../shared/data) are not beside the project")
    return SHARED


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "workspace")
