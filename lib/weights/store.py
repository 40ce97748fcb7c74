"""Where weights live: what is served, what was before, and the gate between training and serving.

A folder of models holds::

    pretrained_<task>.pt             shipped with the app (in the app's own folder)
    <task>.pt                        live weights; while absent, the shipped ones are live
    versions/<task>/<version>.pt     every trained candidate, published or kept aside
    versions/<task>/<version>.json   its figures and what was decided, and why
    versions/<task>/<version>.labels.json   the labels it was trained on, by id

Publishing replaces one file atomically, so a request sees the old weights or the new.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from functools import lru_cache
from pathlib import Path
from typing import Any

from lib.errors import InputError, choose
from lib.files import FileStamp, copy_atomically, file_stamp, sha256, write_json

SHIPPED = "shipped"
SHIPPED_PREFIX = "pretrained_"
LABELS = ".labels.json"
STORY = ("data", "training_cases", "validation_cases", "new_cases", "step", "seed")


@dataclass(frozen=True)
class Version:
    """One set of weights of a task.

    Attributes:
        id: "shipped", or time and content hash.
        published: whether it passed the gate when it was made.
        live: whether it is served now.
        reason: why it was published or kept aside.
        training: `STORY` of its training: ``data``, the fingerprint of all files it read, how many
            cases were trained on, held out and new to the weights it started from, steps and seed.
            Empty where nothing is known of it.
    """

    id: str
    path: Path
    created: str = ""
    published: bool = True
    live: bool = False
    reason: str = ""
    metrics: dict[str, float] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the version as plain data; the path is left out."""
        values = asdict(self)
        del values["path"]
        return values


@dataclass(frozen=True)
class TrainedOn:
    """What weights were trained on.

    Attributes:
        provenance: that of their checkpoint.
        labels: prints of the labels, by id, as `label_fingerprints` has them; None where
            nobody knows.
    """

    provenance: Mapping[str, Any]
    labels: Mapping[str, str] | None = None

    def story(self) -> dict[str, Any]:
        """Return what `STORY` names of the provenance."""
        return {name: self.provenance[name] for name in STORY if name in self.provenance}


@dataclass(frozen=True)
class Decision:
    """What the gate said of a candidate."""

    published: bool
    reason: str
    version: str


class ModelStore:
    """Weights of all tasks in one folder.

    Args:
        folder: where live weights and versions are written; made when needed.
        shipped: folder with the weights that came with the app.
    """

    def __init__(self, folder: str | os.PathLike[str], shipped: str | os.PathLike[str]) -> None:
        self.folder, self.shipped = Path(folder), Path(shipped)
        self._known: dict[str, tuple[tuple[Path, FileStamp], str]] = {}

    def served_path(self, task: str) -> Path | None:
        """Return the file that is served for `task`, None where there are no weights."""
        for path in (self.published_path(task), self.shipped_path(task)):
            if path.is_file():
                return path
        return None

    def served_version(self, task: str) -> str:
        """Return the version that is served for `task`, "" where there are no weights.

        It is found anew only when the file has changed, so that every request may ask.
        """
        path = self.served_path(task)
        if path is None:
            return ""
        stamp = (path, file_stamp(path))
        known = self._known.get(task)
        if known is None or known[0] != stamp:
            found = next((item.id for item in self.versions(task) if item.live), "")
            known = self._known[task] = (stamp, found or f"sha256-{sha256(path)[:8]}")
        return known[1]

    def published_path(self, task: str) -> Path:
        """Return where live weights of `task` are published; the file may not exist."""
        return self.folder / f"{task}.pt"

    def shipped_path(self, task: str) -> Path:
        """Return where shipped weights of `task` would be."""
        return self.shipped / f"{SHIPPED_PREFIX}{task}.pt"

    def run_folder(self, task: str) -> Path:
        """Return the folder in which training of `task` keeps its state."""
        return self.folder / "runs" / task

    def versions(self, task: str) -> list[Version]:
        """Return all weights of `task`, oldest first, the live one marked."""
        found = []
        live = self.served_path(task)
        live_hash = sha256(live) if live else ""
        if self.shipped_path(task).is_file():
            path = self.shipped_path(task)
            figures, story = _of_file(path, file_stamp(path))
            why = "came with the app"
            found.append(
                Version(SHIPPED, path, "", True, path == live, why, dict(figures), dict(story))
            )
        for path in sorted(self._versions_folder(task).glob("*.pt")):
            try:
                note = json.loads(path.with_suffix(".json").read_text())
            except (OSError, ValueError):
                note = {"published": False, "reason": "its record is missing"}
            if "sha256" not in note:
                note["sha256"] = sha256(path)
            found.append(
                Version(
                    path.stem,
                    path,
                    note.get("created", ""),
                    bool(note.get("published")),
                    live != self.shipped_path(task) and note["sha256"] == live_hash,
                    note.get("reason", ""),
                    note.get("metrics", {}),
                    note.get("training", {}),
                )
            )
        return found

    def submit(
        self,
        task: str,
        candidate: Path,
        metrics: dict[str, float],
        key_metric: str,
        live_score: float | None,
        data: TrainedOn | None = None,
    ) -> Decision:
        """Keep `candidate` as a version, and publish it if it beats the live weights.

        Args:
            metrics: the candidate's figures on the fixed validation cases.
            key_metric: the one that decides; larger is better.
            live_score: the live weights' figure on the same cases; None where there are none.
            data: what it was trained on.
        """
        score = metrics[key_metric]
        if live_score is None:
            published, reason = True, f"first weights: {key_metric} {score:.4f}"
        elif score > live_score:
            published = True
            reason = f"{key_metric} {score:.4f} beats the live {live_score:.4f}"
        else:
            published = False
            reason = (
                f"{key_metric} {score:.4f} does not beat the live {live_score:.4f} on the same "
                f"validation cases; kept aside, the live model stays"
            )
        version = self.add(task, candidate, metrics, published, reason, data)
        if published:
            self.restore(task, version)
        return Decision(published, reason, version)

    def add(
        self,
        task: str,
        file: Path,
        metrics: dict[str, float],
        published: bool,
        reason: str,
        data: TrainedOn | None = None,
    ) -> str:
        """Copy `file` among the versions of `task` and return the version's id."""
        data = data or TrainedOn({})
        folder = self._versions_folder(task)
        folder.mkdir(parents=True, exist_ok=True)
        digest = sha256(file)
        now = datetime.now(timezone.utc)
        version = f"{now:%Y%m%dT%H%M%S%f}-{digest[:8]}"  # sorts by time, also within a second
        if data.labels is not None:
            write_json(folder / f"{version}{LABELS}", data.labels)
        write_json(
            folder / f"{version}.json",
            {
                "created": f"{now:%Y-%m-%dT%H:%M:%SZ}",
                "published": published,
                "reason": reason,
                "metrics": metrics,
                "training": data.story(),
                "sha256": digest,
            },
        )
        copy_atomically(file, folder / f"{version}.pt")
        return version

    def served_labels(self, task: str) -> dict[str, str]:
        """Return prints of the labels that the live weights have seen, none where not known."""
        live = next((item.id for item in self.versions(task) if item.live), SHIPPED)
        return _read_object(self._versions_folder(task) / f"{live}{LABELS}")

    def last_labels(self, task: str) -> dict[str, str]:
        """Return prints of the labels that the last training saw, whatever the gate said of it."""
        files = sorted(self._versions_folder(task).glob(f"*{LABELS}"))
        return _read_object(files[-1]) if files else {}

    def restore(self, task: str, version: str) -> Path | None:
        """Serve `version` of `task` from now on; "shipped" goes back to the app's own weights.

        Raises:
            NotFoundError: no such version.
        """
        known = {item.id: item.path for item in self.versions(task)}
        source = choose(f"version of '{task}'", version, known)
        self._keep_live(task)
        if version == SHIPPED:
            self.published_path(task).unlink(missing_ok=True)
        else:
            self.folder.mkdir(parents=True, exist_ok=True)
            copy_atomically(source, self.published_path(task))
        return self.served_path(task)

    def withdraw(self, task: str) -> None:
        """Stop serving published weights; their version stays, shipped ones are live again.

        Raises:
            InputError: there are no published weights.
        """
        path = self.published_path(task)
        if not path.is_file():
            raise InputError(f"'{task}' has no published weights to withdraw")
        self._keep_live(task)
        path.unlink()

    @contextmanager
    def candidate_folder(self) -> Iterator[Path]:
        """Yield a scratch folder on the store's file system."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.folder, prefix=".upload-") as folder:
            yield Path(folder)

    def _keep_live(self, task: str) -> None:
        """Add published weights that were put there by hand to the versions."""
        path = self.published_path(task)
        if path.is_file() and not any(item.live for item in self.versions(task)):
            self.add(task, path, {}, published=False, reason="was live, put there by hand")

    def _versions_folder(self, task: str) -> Path:
        return self.folder / "versions" / task


@lru_cache(maxsize=64)
def _of_file(file: Path, stamp: FileStamp) -> tuple[dict[str, float], dict[str, Any]]:
    """Return figures and `TrainedOn.story` of a checkpoint; nothing of a file that is none."""
    from lib.weights.checkpoint import load_checkpoint

    try:
        checkpoint = load_checkpoint(file)
    except InputError:
        return {}, {}
    return checkpoint.metrics, TrainedOn(checkpoint.provenance).story()


def _read_object(file: Path) -> dict[str, str]:
    """Return a JSON object; an absent or damaged file holds none."""
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
