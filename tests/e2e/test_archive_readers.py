"""Several readers in a real archive: all labels stay there, one is put back, training chooses."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from archive import archive_of, objects, stow

from lib.dicom.objects import Author
from lib.dicom.seg.write import make_seg
from lib.errors import NotFoundError
from lib.io.labels import read_label
from lib.io.masks import write_mask
from lib.io.read import read_image
from lib.kinds import list_labelled
from lib.mammography.density_labels import read_density, write_density
from lib.phantoms.dicom_studies import DemoStudy, demo_studies
from lib.tasks.registry import get_task
from monailabel_app.archive.datastore import ArchiveDatastore
from monailabel_app.archive.orthanc import Orthanc
from monailabel_app.studies.agreement import agreement

LESION, DENSITY = get_task("busi_lesion"), get_task("density_birads")


@pytest.fixture
def archive(new_orthanc) -> Orthanc:
    return new_orthanc()


def study_of(kind: str) -> DemoStudy:
    (found,) = [study for study in demo_studies(seed=3, scale=0.04) if study.kind == kind]
    return found


def opened(orthanc: Orthanc, folder: Path, readers: str = "latest") -> ArchiveDatastore:
    """Open the archive with a cache of its own, as a server that was just started does."""
    cache = folder / str(time.monotonic_ns())
    return ArchiveDatastore(archive_of(orthanc), cache, 10**9, (LESION, DENSITY), readers)


def squeezed(file: str | Path) -> np.ndarray:
    return np.squeeze(read_image(file, spatial_dims=None).pixels)


def test_label_images_of_two_readers(archive, tmp_path):
    study = study_of("frame")
    stow(archive, study.datasets)
    (image,) = study.series
    truth = study.truth[image]
    drawn = {"anna": truth, "bert": np.roll(truth, 3, axis=1)}
    store = opened(archive, tmp_path)
    for reader, pixels in drawn.items():
        geometry = read_image(store.get_image_uri(image), spatial_dims=None).geometry
        file = write_mask(tmp_path / "label.nrrd", pixels.astype(np.uint8), geometry)
        store.save_label(image, str(file), "final", {"client_id": reader, "client": "Slicer"})
    other = make_seg(truth, list(study.datasets), {"lesion": 1}, Author(person="Reader^Third"))
    other.Manufacturer = "Another"
    stow(archive, [other])

    again = opened(archive, tmp_path)
    versions = again.label_versions(image)
    readers = ["anna", "bert", "Reader^Third"]
    assert [one.reader for one in versions] == readers
    assert [one.client for one in versions] == ["Slicer", "Slicer", "unknown"]
    assert [one.number for one in versions] == [1, 2, 3]
    assert len(objects(archive, "SEG")) == 3  # nothing was replaced
    for version, pixels in zip(versions, [*drawn.values(), truth], strict=True):
        assert np.array_equal(squeezed(again.version_file(image, version)), pixels)

    cases = {}
    for choice in ("latest", "consensus", "each"):
        folder = opened(archive, tmp_path, choice).training_folder("mask")
        found = list_labelled(folder, LESION, choice)
        assert len({item.key for item in found}) == 1
        cases[choice] = {item.id: np.squeeze(read_label(item.label)) for item in found}
    assert list(cases["each"]) == [f"{image}@{name}" for name in sorted(readers)]
    assert np.array_equal(cases["each"][f"{image}@bert"], drawn["bert"])
    assert np.array_equal(cases["latest"][image], truth)
    assert np.array_equal(cases["consensus"][image], truth)  # two of three

    report = agreement(again.readers_folder("mask"), again.readers_folder("density"), LESION)
    assert len(report["masks"]["images"]) == 3
    same = {tuple(row["readers"]): row["dice"]["lesion"] for row in report["masks"]["images"]}
    assert same["Reader^Third", "anna"] == 1 and 0 < same["anna", "bert"] < 1

    made = again.restore_label(image, 2, "chief")
    assert (made.number, made.reader, made.restored_by) == (4, "bert", "chief")
    last = opened(archive, tmp_path)
    assert np.array_equal(squeezed(last.get_label_uri(image, "final")), drawn["bert"])
    assert [one.reader for one in last.label_versions(image)] == [*readers, "bert"]
    assert last.label_versions(image)[-1].restored_from == 2
    assert len(objects(archive, "SEG")) == 4
    with pytest.raises(NotFoundError, match="no version 9"):
        last.restore_label(image, 9, "chief")


def test_densities_of_three_readers(archive, tmp_path):
    study = study_of("mammograms")
    stow(archive, study.datasets)
    store = opened(archive, tmp_path)
    for reader, density, view in (("anna", "B", 0), ("bert", "C", 1), ("cleo", "C", 2)):
        file = write_density(tmp_path / "answer.json", density)
        store.save_label(study.series[view], str(file), "final", {"user": reader})
    again = opened(archive, tmp_path)
    view = study.series[3]
    assert [one.reader for one in again.label_versions(view)] == ["anna", "bert", "cleo"]
    assert len(objects(archive, "SR")) == 3
    found = {}
    for choice in ("latest", "consensus", "each"):
        folder = opened(archive, tmp_path, choice).training_folder("density")
        views = list_labelled(folder, DENSITY, choice)
        found[choice] = {item.exam.partition("@")[2]: item.density for item in views}
        assert len({item.group for item in views}) == 1
    assert found == {
        "latest": {"": "C"},
        "consensus": {"": "C"},
        "each": {"anna": "B", "bert": "C", "cleo": "C"},
    }
    folder = again.readers_folder("density")
    pairs = agreement(folder, folder, DENSITY)["densities"]["pairs"]
    assert [(*one["readers"], one["percent_agreement"]) for one in pairs] == [
        ("anna", "bert", 0),
        ("anna", "cleo", 0),
        ("bert", "cleo", 100),
    ]
    again.restore_label(view, 1, "chief")
    last = opened(archive, tmp_path)
    assert read_density(last.get_label_uri(study.series[0], "final")) == "B"
    assert [one.reader for one in last.label_versions(view)] == ["anna", "bert", "cleo", "anna"]
