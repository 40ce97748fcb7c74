"""Which weights of a task are served, and which were before.

A folder of models holds::

    <task>.pt            published weights; while absent, the shipped ones are served
    versions/<task>/     every trained candidate; see `lib.weights.versions`
    runs/<task>/         the state of training
    int8/<task>/         networks in int8; see `lib.weights.calibrated`

The weights that are shipped, ``pretrained_<task>.pt``, are in the app's own folder. Publishing
replaces one file atomically, so a request gets the old weights or the new.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from filelock import FileLock

from lib.errors import InputError, choose
from lib.files import (
    FileStamp,
    copy_atomically,
    file_stamp,
    is_text,
    read_object,
    remove_leftovers,
    sha256,
    write_json,
)
from lib.leftovers import new_folder, remove_left
from lib.weights.versions import (
    LABELS,
    SHIPPED,
    TrainedOn,
    Trivial,
    Version,
    is_better,
    read_version,
    shipped_version,
)

logger = logging.getLogger(__name__)

SHIPPED_PREFIX = "pretrained_"
UPLOAD = ".upload-"  # begins the names of scratch folders


@dataclass(frozen=True)
class Decision:
    """What was decided on a candidate.

    Attributes:
        published: whether it is served from now on.
        reason: why, or why not.
        version: that it is now.
        score: its figure on the held-out cases; None where it was not told.
        before: that of the weights that were served; None where there were none.
    """

    published: bool
    reason: str
    version: str
    score: float | None = None
    before: float | None = None


class ModelStore:
    """Weights of all tasks in one folder.

    Args:
        folder: where published weights and versions are written; made when needed.
        shipped: folder with the weights that came with the app.
    """

    def __init__(self, folder: str | os.PathLike[str], shipped: str | os.PathLike[str]) -> None:
        self.folder, self.shipped = Path(folder), Path(shipped)
        self._versions: dict[str, tuple[tuple[Path, FileStamp], str]] = {}
        self._guard = threading.RLock()
        self._file_lock = FileLock(self.folder / ".lock")

    def served_path(self, task: str) -> Path | None:
        """Return the file that is served for `task`, None where there are no weights."""
        for path in (self.published_path(task), self.shipped_path(task)):
            if path.is_file():
                return path
        return None

    def served_version(self, task: str) -> str:
        """Return the version that is served for `task`, "" where there are no weights.

        The files are read only if the served one has changed, so that every request may ask.
        """
        path = self.served_path(task)
        if path is None:
            return ""
        stamp = (path, file_stamp(path))
        if task not in self._versions or self._versions[task][0] != stamp:
            version = self._find_served(task) or f"sha256-{sha256(path)[:8]}"
            self._versions[task] = (stamp, version)
        return self._versions[task][1]

    def published_path(self, task: str) -> Path:
        """Return where weights of `task` are published; the file may not exist."""
        return self.folder / f"{task}.pt"

    def shipped_path(self, task: str) -> Path:
        """Return where shipped weights of `task` would be."""
        return self.shipped / f"{SHIPPED_PREFIX}{task}.pt"

    def run_folder(self, task: str) -> Path:
        """Return the folder in which training of `task` keeps its state."""
        return self.folder / "runs" / task

    def versions(self, task: str) -> list[Version]:
        """Return all weights of `task`, oldest first; what cannot be read is logged instead."""
        shipped, published = self.shipped_path(task), self.published_path(task)
        digest = sha256(published) if published.is_file() else ""
        versions = []
        for file in sorted(self._version_folder(task).glob("*.pt")):
            if not file.is_file() or not is_text(file.name):
                continue
            try:
                versions.append(read_version(file, digest))
            except OSError as error:
                logger.warning(f"Version {file.name} of '{task}' cannot be read: {error.strerror}")
        if shipped.is_file():
            versions.insert(0, shipped_version(shipped, served=not digest))
        return versions

    def submit(
        self,
        task: str,
        candidate: Path,
        metrics: Mapping[str, float],
        key_metric: str,
        served_score: float | None,
        data: TrainedOn | None = None,
        trivial: Trivial | None = None,
        collapsed: bool = False,
    ) -> Decision:
        """Keep `candidate` as a version, and publish it if it beats the served weights.

        First weights must beat the trivial answer by a margin, see `Trivial.least`. Weights whose
        answers are all the same are never published.

        Args:
            metrics: the candidate's figures on the fixed validation cases.
            key_metric: the one that decides; larger is better.
            served_score: the served weights' figure on the same cases; None if there are none.
            data: what it was trained on.
            trivial: the best answer that looks at no image, on the same cases; None if not known.
            collapsed: whether it answers the same on every validation case.
        """
        published, reason = is_better(
            key_metric, metrics[key_metric], served_score, trivial, collapsed
        )
        with self._locked():
            version = self.add(task, candidate, metrics, published, reason, data, trivial)
            if published:
                self.restore(task, version)
        return Decision(published, reason, version)

    def add(
        self,
        task: str,
        file: Path,
        metrics: Mapping[str, float],
        published: bool,
        reason: str,
        data: TrainedOn | None = None,
        trivial: Trivial | None = None,
    ) -> str:
        """Copy `file` among the versions of `task` and return the version's id."""
        data = data or TrainedOn({})
        folder = self._version_folder(task)
        folder.mkdir(parents=True, exist_ok=True)
        digest = sha256(file)
        now = datetime.now(timezone.utc)
        version = f"{now:%Y%m%dT%H%M%S%f}-{digest[:8]}"  # sorts by time, also within a second
        record = {
            "created": f"{now:%Y-%m-%dT%H:%M:%SZ}",
            "published": published,
            "reason": reason,
            "metrics": metrics,
            "trivial": asdict(trivial) if trivial else {},
            "training": data.training(),
            "sha256": digest,
        }
        with self._locked():
            if data.labels is not None:
                write_json(folder / f"{version}{LABELS}", data.labels)
            write_json(folder / f"{version}.json", record)
            copy_atomically(file, folder / f"{version}.pt")
        return version

    def served_labels(self, task: str) -> dict[str, str]:
        """Return fingerprints of the labels that the served weights were trained on, by id.

        It is empty where they are not known.
        """
        version = self._find_served(task) or SHIPPED
        return _texts(read_object(self._version_folder(task) / f"{version}{LABELS}"))

    def last_labels(self, task: str) -> dict[str, str]:
        """Return the same for the last training, whether it was published or not."""
        files = sorted(self._version_folder(task).glob(f"*{LABELS}"))
        return _texts(read_object(files[-1])) if files else {}

    def restore(self, task: str, version: str) -> Path | None:
        """Serve `version` of `task` from now on; "shipped" goes back to the app's own weights.

        Raises:
            NotFoundError: no such version.
        """
        paths = {item.id: item.path for item in self.versions(task)}
        source = choose(f"version of '{task}'", version, paths)
        with self._locked():
            self._keep_published(task)
            if version == SHIPPED:
                self.published_path(task).unlink(missing_ok=True)
            else:
                copy_atomically(source, self.published_path(task))
        return self.served_path(task)

    def withdraw(self, task: str) -> None:
        """Stop serving published weights; their version stays, shipped ones are served again.

        Raises:
            InputError: there are no published weights.
        """
        path = self.published_path(task)
        if not path.is_file():
            raise InputError(f"'{task}' has no published weights to withdraw")
        with self._locked():
            self._keep_published(task)
            path.unlink()

    @contextmanager
    def candidate_folder(self) -> Iterator[Path]:
        """Yield a scratch folder on the store's file system."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with new_folder(self.folder, UPLOAD) as folder:
            yield folder

    def clean(self) -> None:
        """Remove what killed processes left: uploads, parts of files, records without weights."""
        if not self.folder.is_dir():
            return
        versions = list(self.folder.glob("versions/*/"))
        with self._locked():
            remove_left(self.folder.glob(f"{UPLOAD}*"))
            for folder in (self.folder, *versions, *self.folder.glob("runs/*/")):
                remove_leftovers(folder)
            for folder in versions:
                for record in folder.glob("*.json"):
                    name = record.name.removesuffix(LABELS).removesuffix(".json")
                    if not (folder / f"{name}.pt").exists():
                        record.unlink(missing_ok=True)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Lock the store against other threads and processes that change it; may be nested."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._guard, self._file_lock:
            yield

    def _keep_published(self, task: str) -> None:
        """Add published weights that somebody copied there to the versions."""
        path = self.published_path(task)
        if path.is_file() and not self._find_served(task):
            self.add(task, path, {}, published=False, reason="was published, copied there by hand")

    def _find_served(self, task: str) -> str:
        """Return the id of the version that is served, "" where it is none of the versions."""
        return next((item.id for item in self.versions(task) if item.served), "")

    def _version_folder(self, task: str) -> Path:
        return self.folder / "versions" / task


def _texts(content: Mapping[str, Any]) -> dict[str, str]:
    return {name: value for name, value in content.items() if isinstance(value, str)}
