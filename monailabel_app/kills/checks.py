"""What must be true of the folders of a killed process: nothing lost, torn or left."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from lib.data.readers import MADE
from lib.data.versions import VERSIONS, read_versions
from lib.errors import InputError
from lib.files import content_fingerprint, sha256
from lib.io.labels import read_label
from lib.segmentation.readers import list_images_of_readers
from lib.weights.checkpoint import load_checkpoint
from monailabel_app.kills.journal import Journal
from monailabel_app.kills.work import IMAGES, ROW, SIDE, Site, candidates, image_id
from monailabel_app.studies.datastore import StudiesDatastore
from monailabel_app.studies.label_files import image_and_extension

INDEX = "datastore_v2.json"

Faults = list[str]


def check_labels(site: Site, journal: Journal) -> Faults:
    """Check a studies folder after labels were saved."""
    store = StudiesDatastore(str(site.studies))  # the next start
    faults = _left(site.studies) + _index(site, store)
    for number in range(IMAGES):
        id = image_id(number)
        for tag in ("final", "original"):
            faults += _label(store, id, tag, _may_be(journal, id, tag))
        kept = {_value(one.file) for one in read_versions(site.studies, id) if one.file}
        for facts in journal.done:
            if (facts["image"], facts["tag"]) == (id, "final") and facts["value"] not in kept:
                faults.append(f"lost: version {facts['value']} of {id}")
        faults += _versions(site.studies, id)
    return faults


def _may_be(journal: Journal, image: str, tag: str) -> list[int | None]:
    """Return the values that a label may have: the last saved one, or the one that was begun."""

    def of(entries: Sequence[dict[str, object]]) -> list[int | None]:
        return [int(str(e["value"])) for e in entries if (e["image"], e["tag"]) == (image, tag)]

    last: list[int | None] = of(journal.done)[-1:] or [None]
    return [*last, *of(journal.open_since(image, tag))]


def _label(store: StudiesDatastore, id: str, tag: str, may_be: list[int | None]) -> Faults:
    uri = store.get_label_uri(id, tag)
    if not uri:
        return [] if None in may_be else [f"lost: {tag} label of {id}"]
    value = _value(Path(uri))
    if value is None:
        return [f"torn: {tag} label of {id}"]
    return [] if value in may_be else [f"lost: {tag} of {id} is {value}, expected {may_be}"]


def _value(file: Path) -> int | None:
    """Return the one value of a whole label; None for a torn one."""
    try:
        pixels = read_label(file, (SIDE, SIDE))
    except InputError:
        return None
    return int(pixels[0, 0]) if (pixels == pixels[0, 0]).all() else None


def _versions(studies: Path, id: str) -> Faults:
    """Check that each version is whole and has the content that its record tells."""
    faults = []
    for one in read_versions(studies, id):
        if one.file and one.content and content_fingerprint(one.file) != one.content:
            faults.append(f"torn: {one.file.name}")
    return faults


def _index(site: Site, store: StudiesDatastore) -> Faults:
    """Check that index and folder have the same images and labels."""
    index = json.loads((site.studies / INDEX).read_text())["objects"]
    listed = {(id, tag, id + one["ext"]) for id in index for tag, one in _labels(index[id])}
    there = set()
    for folder in (site.studies / "labels").iterdir():
        if folder.name != VERSIONS.name:
            names = (file.name for file in folder.iterdir() if not file.name.startswith("."))
            there |= {(image_and_extension(name)[0], folder.name, name) for name in names}
    faults = [f"index: {entry} is not there" for entry in sorted(listed - there)]
    faults += [f"index: {entry} is not listed" for entry in sorted(there - listed)]
    if sorted(store.list_images()) != sorted(map(image_id, range(IMAGES))):
        faults.append(f"index: lists {store.list_images()}")
    return faults


def _labels(entry: dict[str, dict[str, dict[str, str]]]) -> list[tuple[str, dict[str, str]]]:
    return list(entry["labels"].items())


def check_weights(site: Site, journal: Journal) -> Faults:
    """Check a folder of weights after some were uploaded, published or trained."""
    store = site.store
    store.clean()  # the next start
    known = {sha256(file) for file in candidates(site)}
    faults = _left(store.folder)
    versions = {version.id: version for version in store.versions(ROW.name)}
    for facts in journal.done:
        if "version" in facts and facts["version"] not in versions:
            faults.append(f"lost: version {facts['version']}")
    paths = [version.path for version in versions.values()]
    served = store.served_path(ROW.name)
    for path in (*paths, *([served] if served else [])):
        try:
            load_checkpoint(path)
        except InputError as error:
            faults.append(f"torn: {error}")
        if journal.fixed and sha256(path) not in known:
            faults.append(f"torn: {path.name} is none of what was sent")
    records = {file.name.split(".")[0] for file in store.folder.glob("versions/*/*.json")}
    faults += [f"left: record {name}" for name in sorted(records - versions.keys())]
    faults += [f"lost: record of {id}" for id, one in versions.items() if not one.created]
    told = [versions.get(facts.get("version", "")) for facts in journal.done]
    if served is None and any(one and one.published for one in told):
        faults.append("lost: the served weights")
    if len(versions) < len(journal.done):
        faults.append(f"lost: {len(journal.done)} versions, {len(versions)} are there")
    if served and not any(version.served for version in versions.values()):
        faults.append("index: what is served is no version")
    return faults


def check_consensus(site: Site, journal: Journal) -> Faults:
    """Check the labels that were made of those of several readers."""
    StudiesDatastore(str(site.studies))  # the next start
    faults = _left(site.studies)
    made = site.studies / MADE
    there = sorted(made.iterdir()) if made.is_dir() else []
    for file in there:
        try:
            read_label(file, (SIDE, SIDE))
        except InputError as error:
            faults.append(f"torn: {error}")
    faults += _not_as_made_again(site)
    names = {file.name for file in there}
    for facts in journal.done:
        faults += [f"lost: {name}" for name in facts["made"] if name not in names]
    for number in range(IMAGES):
        faults += _versions(site.studies, image_id(number))
    return faults


def _not_as_made_again(site: Site) -> Faults:
    """Return the consensus labels that differ from those that are made anew."""

    def made() -> dict[Path, np.ndarray]:
        labels = [item.label for item in list_images_of_readers(site.studies, ROW, "consensus")]
        return {file: read_label(file) for file in labels if file and file.parent.name == MADE}

    try:
        found = made()
    except InputError:
        return []  # told of already
    for file in found:
        file.unlink()
    anew = made()
    return [
        f"torn: {file.name} differs from what is made anew"
        for file, pixels in found.items()
        if file not in anew or not np.array_equal(pixels, anew[file])
    ]


def _left(folder: Path) -> Faults:
    """Return temporary files and folders that are still there."""
    names = (".partial", ".upload-", ".making-", ".check-")
    return [
        f"left: {path.relative_to(folder)}"
        for path in sorted(folder.rglob(".*"))
        if any(name in path.name for name in names)
    ]


CHECKS: dict[str, Callable[[Site, Journal], Faults]] = {
    "saves": check_labels,
    "uploads": check_weights,
    "publishing": check_weights,
    "retraining": check_weights,
    "consensus": check_consensus,
}
