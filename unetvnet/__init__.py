"""The name of the installed package, and what its command `unetvnet` runs.

In a wheel this folder holds those of the app (`lib`, `infer`, `trainers`, `benchmarks`,
`monailabel_app`), so that none of these common names is at the top of site-packages. They import
each other by these names, so `main` puts the folder that holds them on the path first, for this
process and those that it starts. In a clone they lie beside this folder. See
docs/decisions/0020-package.md.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

_FOLDER = Path(__file__).resolve().parent
ROOT = _FOLDER if (_FOLDER / "monailabel_app").is_dir() else _FOLDER.parent


def main() -> None:
    """Run the command line of the app."""
    root = str(ROOT)
    sys.path.insert(0, root)
    others = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [root, others]))
    from monailabel_app.cli import main as run

    run(program="unetvnet")
