"""``python -m monailabel_app.kills FOLDER KIND SEED KILLS ...``: each result a line of JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from monailabel_app.kills.series import run_series


def main(arguments: list[str]) -> int:
    """Run series in a process of its own, which has one thread, and so can be forked."""
    folder, *words = arguments
    torch.set_num_threads(1)
    for kind, seed, kills in zip(words[::3], words[1::3], words[2::3], strict=True):
        result = run_series(kind, int(seed), int(kills), Path(folder, f"{kind}_{seed}"))
        print(json.dumps(result), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
