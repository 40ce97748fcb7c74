"""What `infer` asks of the function that answers on files for a kind of task."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib.tasks.spec import TaskSpec
from monailabel_app.cli import options


@dataclass(frozen=True, kw_only=True)
class FileRequest:
    """The files to answer on, and the options of `infer`.

    Attributes:
        load: returns the predictor and the file of its weights.
        out: folder of the results.
        result: what to write, one of `monailabel_app.cli.images.RESULTS`; None for the default.
        suffix: of the result files, such as ".png"; None for that of the input.
        saliency: methods of `lib.classification.saliency` to explain each view by.
        json_file: where to write a summary; None for nowhere.
    """

    task: TaskSpec
    files: tuple[Path, ...]
    load: Callable[[], tuple[Any, Path]]
    out: Path
    result: str | None = None
    suffix: str | None = None
    saliency: tuple[str, ...] = ()
    json_file: Path | None = None

    def about(self, weights: Path) -> dict[str, Any]:
        """Return task, weights and command, for the record."""
        command = options.command_line()
        return {"task": self.task.name, "weights": weights.name, "command": command}
