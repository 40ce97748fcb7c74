"""All weights that were ever trained for a task, with their figures and what was decided on them.

The folder of the versions of a task holds::

    <version>.pt             the weights
    <version>.json           figures, training, and whether they were published, and why
    <version>.labels.json    fingerprints of the labels they were trained on, by id
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from lib.errors import InputError
from lib.files import FileStamp, file_stamp, is_text, read_object, sha256

SHIPPED = "shipped"
FIRST_MARGIN = 0.02  # share of the way from the trivial answer's score to 1
LABELS = ".labels.json"
COUNTED = "familiar_with"  # number of training images whose features the weights come with
TRAINING = (
    "data",
    "training_cases",
    "validation_cases",
    "new_cases",
    COUNTED,
    "step",
    "seed",
)


@dataclass(frozen=True)
class Trivial:
    """What an answer that looks at no image scores on the validation cases.

    Attributes:
        answer: in words, such as "an empty mask".
        score: its key metric.
    """

    answer: str
    score: float

    def least(self) -> float:
        """Return what first weights must score: `FIRST_MARGIN` of the way from here to 1."""
        return self.score + FIRST_MARGIN * (1 - self.score)


def is_better(
    key_metric: str,
    score: float,
    served_score: float | None,
    trivial: Trivial | None,
    collapsed: bool,
) -> tuple[bool, str]:
    """Tell whether new weights are to be served, and why; see `ModelStore.submit`."""
    if collapsed:
        beside = f"; {trivial.answer} scores {trivial.score:.4f}" if trivial else ""
        return False, (
            f"{key_metric} {score:.4f}, but it answers the same on every validation case{beside}: "
            f"kept aside; label more images, or train longer"
        )
    if served_score is None and trivial and not score >= trivial.least():
        return False, (
            f"{key_metric} {score:.4f}, {trivial.answer} scores {trivial.score:.4f}: kept aside; "
            f"first weights must reach {trivial.least():.4f}; label more images, or train longer"
        )
    if served_score is None:
        return True, f"first weights: {key_metric} {score:.4f}"
    if score > served_score:
        return True, f"{key_metric} {score:.4f} beats the published {served_score:.4f}"
    return False, (
        f"{key_metric} {score:.4f} does not beat the published {served_score:.4f} on the same "
        f"validation cases; kept aside, the published model stays"
    )


@dataclass(frozen=True, kw_only=True)
class Version:
    """One set of weights of a task.

    Attributes:
        id: "shipped", or time and content hash.
        published: whether it was published when it was made.
        served: whether it is served now.
        reason: why it was published or kept aside.
        trivial: the best answer that looks at no image: ``answer`` and ``score``;
            empty where it was not asked for.
        training: the entries of `TRAINING`: ``data``, the fingerprint of all files that were read,
            how many cases were trained on, held out, and new to the weights it started from, how
            many tell which images are unlike them (see `lib.weights.familiarity`), steps and seed.
            Empty where nothing is known.
    """

    id: str
    path: Path
    created: str = ""
    published: bool = True
    served: bool = False
    reason: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    trivial: Mapping[str, Any] = field(default_factory=dict)
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
        created=_text(record.get("created")),
        published=bool(record.get("published")),
        served=(record.get("sha256") or sha256(path)) == served,
        reason=_text(record.get("reason")),
        metrics=_figures(record.get("metrics")),
        trivial=_trivial(record.get("trivial")),
        training=_training(record.get("training")),
    )


def shipped_version(path: Path, served: bool) -> Version:
    """Return the weights that came with the app as a version."""
    metrics, training = _read_checkpoint(path, file_stamp(path))
    return Version(
        id=SHIPPED,
        path=path,
        served=served,
        reason="came with the app",
        metrics=_figures(metrics),
        training=_training(training),
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) and is_text(value) else ""


def _figures(value: object) -> dict[str, float]:
    """Return the finite numbers by name; what else stands there was written by hand."""
    entries = value.items() if isinstance(value, Mapping) else ()
    return {_text(name): number for name, number in entries if _is_finite(number)}


def _trivial(value: object) -> dict[str, Any]:
    """Return ``answer`` and ``score`` of a record; empty where one is missing, or is none."""
    entries = value if isinstance(value, Mapping) else {}
    answer, score = _text(entries.get("answer")), entries.get("score")
    return {"answer": answer, "score": score} if answer and _is_finite(score) else {}


def _training(value: object) -> dict[str, Any]:
    """Return the texts and finite numbers that `TRAINING` names."""
    entries = value if isinstance(value, Mapping) else {}
    known = {name: entries[name] for name in TRAINING if name in entries}
    return {name: one for name, one in known.items() if _is_finite(one) or _text(one)}


def _is_finite(value: object) -> bool:
    """Tell whether a value is a number that JSON and tables can show."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return abs(value) < 2**63 if isinstance(value, int) else math.isfinite(value)


@lru_cache(maxsize=64)
def _read_checkpoint(file: Path, stamp: FileStamp) -> tuple[Mapping[str, float], Mapping[str, Any]]:
    """Return figures and training of a checkpoint; both are empty for another file."""
    from lib.weights.checkpoint import load_checkpoint  # imports torch

    try:
        checkpoint = load_checkpoint(file)
    except InputError:
        return {}, {}
    return checkpoint.metrics, TrainedOn(checkpoint.provenance).training()
