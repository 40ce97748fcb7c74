"""All weights that were ever trained for a task, with their figures and what was decided on them.

The folder of the versions of a task holds::

    <version>.pt             the weights
    <version>.json           figures, training, and whether they were published, and why
    <version>.labels.json    fingerprints of the labels they were trained on, by id
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from lib.errors import InputError
from lib.files import FileStamp, file_stamp, sha256

SHIPPED = "shipped"
LABELS = ".labels.json"
TRAINING = ("data", "training_cases", "validation_cases", "new_cases", "step", "seed")


@dataclass(frozen=True, kw_only=True)
class Version:
    """One set of weights of a task.

    Attributes:
        id: "shipped", or time and content hash.
        published: whether it was published when it was made.
        served: whether it is served now.
        reason: why it was published or kept aside.
        training: the entries of `TRAINING`: ``data``, the fingerprint of all files that were read,
            how many cases were trained on, held out, and new to the weights it started from, steps
            and seed. Empty where nothing is known.
    """

    id: str
    path: Path
    created: str = ""
    published: bool = True
    served: bool = False
    reason: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the version as plain data, without the path; ``live`` tells what is served."""
        names = {"served": "live"}
        return {names.get(k, k): value for k, value in asdict(self).items() if k != "path"}


@dataclass(frozen=True)
class TrainedOn:
    """What weights were trained on.

    Attributes:
        provenance: that of their checkpoint.
        labels: fingerprints of the labels, by id, as `lib.training.replay.label_fingerprints`
            returns them; None where they are not known.
    """

    provenance: Mapping[str, Any]
    labels: Mapping[str, str] | None = None

    def training(self) -> dict[str, Any]:
        """Return the entries of the provenance that `TRAINING` names."""
        return {name: self.provenance[name] for name in TRAINING if name in self.provenance}


def read_version(path: Path, served: str) -> Version:
    """Return the version whose weights are at `path`.

    Args:
        served: SHA-256 of the published weights, "" where there are none.
    """
    record = read_object(path.with_suffix(".json")) or {"reason": "its record is missing"}
    return Version(
        id=path.stem,
        path=path,
        created=record.get("created", ""),
        published=bool(record.get("published")),
        served=(record.get("sha256") or sha256(path)) == served,
        reason=record.get("reason", ""),
        metrics=record.get("metrics", {}),
        training=record.get("training", {}),
    )


def shipped_version(path: Path, served: bool) -> Version:
    """Return the weights that came with the app as a version."""
    metrics, training = _read_checkpoint(path, file_stamp(path))
    return Version(
        id=SHIPPED,
        path=path,
        served=served,
        reason="came with the app",
        metrics=metrics,
        training=training,
    )


@lru_cache(maxsize=64)
def _read_checkpoint(file: Path, stamp: FileStamp) -> tuple[Mapping[str, float], Mapping[str, Any]]:
    """Return figures and training of a checkpoint; both are empty for another file."""
    from lib.weights.checkpoint import load_checkpoint  # imports torch

    try:
        checkpoint = load_checkpoint(file)
    except InputError:
        return {}, {}
    return checkpoint.metrics, TrainedOn(checkpoint.provenance).training()


def read_object(file: Path) -> dict[str, Any]:
    """Return a JSON object; an absent or damaged file counts as an empty one."""
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
