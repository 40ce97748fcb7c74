"""The saved work on a study: its labels and densities, who saved them, and when."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

from lib.data.frame_ranges import FRAMES, read_frame_ranges
from lib.data.versions import LabelVersion, reader_of, standing
from lib.errors import InputError
from lib.mammography.density_labels import read_density
from monailabel_app.studies.blindness import TISSUE, hidden_exams
from monailabel_app.studies.label_files import ANSWER
from monailabel_app.studies.protocol import FINAL, ORIGINAL, StudiesProtocol

Kind = Literal["segmentation", "density"]
_KEPT = ("percent_density", "scale")  # of the answer on an exam, beside its class
_UNKNOWN_YEAR = 1970


@dataclass(frozen=True, kw_only=True)
class SavedWork:
    """One saved label.

    Attributes:
        image: id of the image; with `tag` and `version` it opens the label again.
        by: who saved it; "model ..." where a model did.
        when: in UTC, as ISO 8601; empty where it is not known.
        model: that answered, or whose structures were drawn; empty where none is named.
        tag: "final" for what a person accepted, "original" for a model's answer ...
        version: number of the accepted label, from 1 for each image; None for other tags.
        current: whether it is what the image's label, or the exam's density, is now.
        density: the class of an exam; empty for a segmentation.
        answer: what else the file of a density tells.
        frames: which frames hold a structure, outlined or not; see `lib.data.frame_ranges`.
    """

    image: str
    kind: Kind
    by: str
    when: str
    model: str = ""
    tag: str = FINAL
    version: int | None = None
    current: bool = True
    density: str = ""
    answer: Mapping[str, Any] = field(default_factory=dict)
    frames: Mapping[str, list[list[int]]] = field(default_factory=dict)

    @property
    def tells_density(self) -> bool:
        """Whether it is what a reader said of the density: a class, or dense tissue."""
        return self.tag == TISSUE or (self.kind == "density" and self.tag != ORIGINAL)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON; only a density has ``density``, ``answer``."""
        told = asdict(self)
        if self.kind == "segmentation":
            del told["density"], told["answer"]
        else:
            del told["frames"]
        return told


def saved_work(store: StudiesProtocol, image_id: str, reader: str = "") -> list[SavedWork]:
    """Return the saved work on all images of an image's study, the newest first.

    The density of an exam is listed once, with the first of the views that have it.

    Args:
        reader: from whom densities of `hidden_exams` are kept; empty for somebody who sees all.

    Raises:
        NotFoundError: no such image.
    """
    hidden = {id for images in hidden_exams(store, reader).values() for id in images}
    found = [
        work
        for id in store.study_images(image_id)
        for work in _of_image(store, id)
        if id not in hidden or work.by == reader or not work.tells_density
    ]
    kept: list[SavedWork] = []
    seen: set[tuple[object, ...]] = set()
    has_density = False  # a newer one, which counts for the exam
    for work in sorted(found, key=lambda work: (work.when, work.version or 0), reverse=True):
        if work.kind == "density":
            if (same := (work.when, work.by, work.tag, work.density)) in seen:
                continue  # the one report on an exam, as another view has it
            seen.add(same)
            if work.current and work.tag == FINAL:
                work = replace(work, current=not has_density)
                has_density = True
        kept.append(work)
    return kept


def _of_image(store: StudiesProtocol, id: str) -> Iterator[SavedWork]:
    versions = store.label_versions(id)
    # a folder has one accepted label for an image, an archive one of each kind
    newest = {"" if store.is_local else _kind(one.file): one.number for one in standing(versions)}
    for version in versions:
        if version.file and (work := _of_version(store, id, version)) is not None:
            yield replace(work, current=version.number in newest.values())
    for tag in store.get_labels_by_image_id(id):
        if tag != FINAL and (work := _of_tag(store, id, tag)) is not None:
            yield work


def _of_version(store: StudiesProtocol, id: str, version: LabelVersion) -> SavedWork | None:
    """Return an accepted label; None for a density that cannot be read."""
    work = SavedWork(
        image=id,
        kind=_kind(version.file),
        by=version.reader,
        when=_iso(version.time),
        model=str(version.info.get("model") or ""),
        version=version.number,
        frames=_frames(version.info),
    )
    if work.kind == "segmentation":
        return work
    try:
        return _with_density(work, store.version_file(id, version))
    except InputError:
        return None


def _of_tag(store: StudiesProtocol, id: str, tag: str) -> SavedWork | None:
    """Return the label with another tag than that of accepted ones; None for a damaged density."""
    info = store.get_label_info(id, tag)
    model = str(info.get("model") or "")
    seconds = info.get("ts") or 0
    work = SavedWork(
        image=id,
        kind=_kind(Path(str(info.get("name") or ""))),
        by=f"model {model}" if model else reader_of(info),
        when=_iso(datetime.fromtimestamp(seconds, timezone.utc)) if seconds else "",
        model=model,
        tag=tag,
    )
    if work.kind == "segmentation":
        return work
    try:
        return _with_density(work, Path(store.get_label_uri(id, tag)))
    except InputError:
        return None


def _with_density(work: SavedWork, file: Path) -> SavedWork:
    density = read_density(file)
    content = json.loads(file.read_text(encoding="utf-8"))
    return replace(work, density=density, answer={k: content[k] for k in _KEPT if k in content})


def _frames(info: Mapping[str, Any]) -> dict[str, list[list[int]]]:
    """Return the ranges of frames in the information on a label; none where they are damaged."""
    try:
        return read_frame_ranges(info.get(FRAMES) or {})
    except InputError:
        return {}


def _kind(file: Path | None) -> Kind:
    return "density" if file is not None and file.suffix.lower() == ANSWER else "segmentation"


def _iso(time: datetime) -> str:
    """Return a time in UTC to the second; empty for one that is not known."""
    known = time.year > _UNKNOWN_YEAR
    return time.astimezone(timezone.utc).isoformat(timespec="seconds") if known else ""
