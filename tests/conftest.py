"""Environment and fixtures of all tests."""

import os
from pathlib import Path

import pytest

from core.workspace.folder import Workspace

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test contacts a hub
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")  # the same bits everywhere; for test_cuda.py set it to 0
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # with tiny models, synchronising threads costs more than they save

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of public pools next to the project; skip the test where there is none."""
    if not (SHARED / "SOURCES.md").exists():
        pytest.skip("the public pools (../shared/data) are not beside the project")
    return SHARED


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "workspace")
