"""What `monailabel start_server --app monailabel_app` loads: a path line and the app."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from monailabel_app.app import App  # noqa: E402

__all__ = ["App"]
