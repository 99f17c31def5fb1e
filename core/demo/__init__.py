"""What ships with the app: the demo pool's generator and a small base model."""

from pathlib import Path

MODEL_PATH = Path(__file__).parent / "model"
