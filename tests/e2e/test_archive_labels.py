"""Labels of every kind and origin in a real archive, read by the datastore itself."""

from __future__ import annotations

import json
import logging
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from archive import archive_of, client, objects, stow
from dicom_label_samples import dciodvfy, write
from pydicom import Dataset

from lib.dicom.objects import Author, item
from lib.dicom.seg.write import make_seg
from lib.errors import InputError, NotFoundError
from lib.io.labels import read_label
from lib.io.masks import write_mask
from lib.io.read import read_image
from lib.mammography.report.read import read_density_report
from lib.phantoms.dicom_studies import DemoStudy, demo_studies, frame_study
from lib.tasks.registry import get_task
from monailabel_app.archive.datastore import ArchiveDatastore
from monailabel_app.archive.dicomweb import ArchiveError
from monailabel_app.archive.orthanc import Orthanc

TASKS = tuple(
    get_task(name)
    for name in ("busi_lesion", "nerve_cine", "ultrasound3d_structures", "density_birads")
)
READER = Author(person="Reader^One")
KINDS = ("volume", "volume_us", "frame", "cine")


@pytest.fixture
def archive(new_orthanc) -> Orthanc:
    return new_orthanc()


@pytest.fixture(scope="module")
def studies() -> dict[str, DemoStudy]:
    return {study.kind: study for study in demo_studies(seed=3, scale=0.04)}


def _open(orthanc: Orthanc, folder: Path, limit: int = 10**9) -> ArchiveDatastore:
    """Open the archive with a cache of its own, as a server that was just started does."""
    cache = folder / str(time.monotonic_ns())
    return ArchiveDatastore(archive_of(orthanc), cache, limit, TASKS)


def _label(store: ArchiveDatastore, image: str, pixels: np.ndarray, folder: Path) -> Path:
    geometry = read_image(store.get_image_uri(image), spatial_dims=None).geometry
    return write_mask(folder / "label.nrrd", pixels.astype(np.uint8), geometry)


def _final(store: ArchiveDatastore, image: str) -> np.ndarray:
    return np.squeeze(sitk.GetArrayFromImage(sitk.ReadImage(store.get_label_uri(image, "final"))))


@pytest.mark.parametrize("kind", KINDS)
def test_empty_and_partial_labels_come_back_and_the_newest_counts(archive, studies, kind, tmp_path):
    study = studies[kind]
    stow(archive, study.datasets)
    (image,) = study.series
    shape = study.pixels[image].shape
    partial = np.zeros(shape, np.uint8)
    partial[..., -1, -1] = 1
    for pixels in (np.zeros(shape, np.uint8), partial, np.zeros(shape, np.uint8)):
        store = _open(archive, tmp_path)
        store.save_label(image, str(_label(store, image, pixels, tmp_path)), "final", {})
        for reader in (store, _open(archive, tmp_path)):
            assert np.array_equal(_final(reader, image), pixels)
            assert reader.get_labeled_images() == [image]
    assert len(objects(archive, "SEG")) == 3


def test_tags_are_told_apart_by_a_server_that_never_saw_them(archive, studies, tmp_path):
    study = studies["frame"]
    stow(archive, study.datasets)
    (image,) = study.series
    store = _open(archive, tmp_path)
    answer, truth = study.truth[image] * 0 + 1, study.truth[image]
    params = {"model": "busi_lesion", "params": {"label_names": {"lesion": 1}}}
    store.save_label(image, str(_label(store, image, answer, tmp_path)), "original", params)
    assert _open(archive, tmp_path).get_unlabeled_images() == [image]
    store.save_label(
        image,
        str(_label(store, image, truth, tmp_path)),
        "final",
        {"user": "anna", "note": 3},
    )
    other = _open(archive, tmp_path)
    assert other.get_labels_by_image_id(image) == {"original": image, "final": image}
    assert np.array_equal(_final(other, image), truth)
    assert (np.squeeze(read_label(other.get_label_uri(image, "original"))) == 1).all()
    assert other.get_label_info(image, "original")["params"] == params["params"]
    assert other.get_label_info(image, "final")["user"] == "anna"
    kinds = {
        seg.SegmentSequence[0].SegmentAlgorithmType: str(seg.ContentCreatorName)
        for seg in objects(archive, "SEG")
    }
    assert kinds == {"AUTOMATIC": "", "MANUAL": "anna"}


def test_a_segmentation_of_a_viewer_is_a_label_by_its_names_whatever_its_numbers(
    archive, studies, tmp_path
):
    study = studies["volume"]
    stow(archive, study.datasets)
    (image,) = study.series
    truth = study.truth[image]
    assert set(np.unique(truth)) >= {0, 1}
    truth = truth.copy()
    truth[0, 0, :3] = 2
    store = _open(archive, tmp_path)
    # as OHIF: numbered by the alphabet over all models' labels, where "cyst" comes before "gland"
    seg = make_seg(
        np.array([0, 9, 5], np.uint8)[truth],
        store.sources(image),
        {"cyst": 5, "gland": 9},
        READER,
    )
    seg.Manufacturer = "Another"
    for segment in seg.SegmentSequence:
        segment.pop("SegmentDescription", None)
    stow(archive, [seg])
    store.refresh()
    assert np.array_equal(_final(store, image), truth)
    seg.SOPInstanceUID = seg.file_meta.MediaStorageSOPInstanceUID = f"{seg.SOPInstanceUID[:-2]}7"
    seg.SeriesInstanceUID = f"{seg.SeriesInstanceUID[:-2]}7"
    for segment in seg.SegmentSequence:
        segment.SegmentAlgorithmType, segment.SegmentAlgorithmName = "AUTOMATIC", "Other"
    stow(archive, [seg])
    assert set(_open(archive, tmp_path).get_labels_by_image_id(image)) == {"final", "original"}


def _bad(seg: Dataset, study: DemoStudy, how: str) -> Dataset:
    """Damage a segmentation; its time is later than that of good ones."""
    later = datetime.now(timezone.utc) + timedelta(hours=1)
    seg.ContentDate, seg.ContentTime = later.strftime("%Y%m%d"), later.strftime("%H%M%S")
    if how == "truncated pixels":
        seg.PixelData = seg.PixelData[: len(seg.PixelData) // 4 * 2]
    elif how == "no segments":
        seg.SegmentSequence = []
    elif how == "no references":
        del seg.ReferencedSeriesSequence
    elif how == "another size":
        seg.Rows, seg.Columns = seg.Columns, seg.Rows
    elif how == "unknown names":
        seg.SegmentSequence[0].SegmentLabel = "liver"
        seg.SegmentSequence[0].SegmentNumber = 40
        for frame in seg.PerFrameFunctionalGroupsSequence:
            frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber = 40
    return seg


def test_bad_objects_are_said_and_neither_the_list_nor_the_training_stops(
    archive, studies, tmp_path, caplog
):
    study = studies["frame"]
    stow(archive, study.datasets)
    (image,) = study.series
    hows = "truncated pixels", "no segments", "no references", "another size", "unknown names"
    truth = study.truth[image]
    for how in hows:
        stow(
            archive,
            [_bad(make_seg(truth, list(study.datasets), {"lesion": 1}, READER), study, how)],
        )
    report = item(
        SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11",
        SOPInstanceUID="1.2.3.4.5",
        StudyInstanceUID=study.study,
        SeriesInstanceUID="1.2.3.4.6",
        PatientID="P",
        Modality="SR",
    )
    report.file_meta = study.datasets[0].file_meta.__class__()
    report.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    report.file_meta.MediaStorageSOPClassUID = report.SOPClassUID
    report.file_meta.MediaStorageSOPInstanceUID = report.SOPInstanceUID
    report.preamble = b"\0" * 128
    stow(archive, [report])
    store = _open(archive, tmp_path)
    with caplog.at_level(logging.INFO):
        assert store.list_images() == [image]
        assert store.datalist() == []
        assert store.get_unlabeled_images() == [image]
    logged = " ".join(record.message for record in caplog.records)
    assert logged.count("is left out") == 3 and logged.count("is no label here") == 3
    store.save_label(image, str(_label(store, image, truth, tmp_path)), "final", {})
    for reader in (store, _open(archive, tmp_path)):
        (pair,) = reader.datalist()
        assert np.array_equal(np.squeeze(read_label(pair["label"])), truth)
        folder = reader.training_folder("mask")
        assert sorted(file.name for file in folder.rglob("*") if file.is_file()) == sorted(
            [f"{image}.dcm", f"{image}.nrrd", "groups.csv"]
        )


def test_a_density_is_a_report_on_the_exam_and_a_correction_replaces_it(archive, studies, tmp_path):
    study = studies["mammograms"]
    stow(archive, study.datasets)
    store = _open(archive, tmp_path)
    (tmp_path / "answer.json").write_text('{"density": "B", "by": "reader"}')
    store.save_label(study.series[2], str(tmp_path / "answer.json"), "final", {})
    assert sorted(store.get_labeled_images()) == sorted(study.series)  # of all its views
    (tmp_path / "answer.json").write_text('{"density": "D"}')
    store.save_label(study.series[0], str(tmp_path / "answer.json"), "final", {"user": "bert"})
    other = _open(archive, tmp_path)
    assert json.loads(Path(other.get_label_uri(study.series[1], "final")).read_text()) == {
        "density": "D",
        "scale": "birads",
    }
    first, second = sorted(
        (read_density_report(report) for report in objects(archive, "SR")),
        key=lambda report: report.when,
    )
    assert (first.density, second.density) == ("B", "D")
    assert second.corrects == (first.uid,) and second.author.person == "bert"
    assert set(second.images) == {str(data.SOPInstanceUID) for data in study.datasets}
    task = get_task("density_birads")
    from lib.classification.cases import list_views

    views = list_views(other.training_folder("density"), task, labelled=True)
    assert len(views) == 4 and {view.density for view in views} == {"D"}
    assert {view.group for view in views} == {study.datasets[0].PatientID}
    assert other.datalist()


def test_a_painted_class_and_the_answer_of_a_model_are_reports_and_keep_their_tissue(
    archive, studies, tmp_path
):
    study = studies["mammograms"]
    stow(archive, study.datasets)
    store = _open(archive, tmp_path)
    image = study.series[0]
    painted = study.truth[image] * 3
    store.save_label(image, str(_label(store, image, painted, tmp_path)), "final", {})
    assert np.array_equal(_final(store, image), painted)
    (report,) = [read_density_report(report) for report in objects(archive, "SR")]
    (seg,) = objects(archive, "SEG")
    assert report.density == "C"
    assert [segment.SegmentLabel for segment in seg.SegmentSequence] == ["A", "B", "C", "D"]
    info = {
        "model": "density_birads",
        "params": {
            "class": "B",
            "probabilities": {"A": 0.1, "B": 0.6, "C": 0.2, "D": 0.1},
            "views": {"R-CC": {"percent_density": 12.5}},
            "label_names": {"B": 2},
            "model_version": "v7",
        },
    }
    store.save_label(
        image, str(_label(store, image, study.truth[image] * 2, tmp_path)), "original", info
    )
    (answer,) = [
        found
        for report in objects(archive, "SR")
        if (found := read_density_report(report)).density == "B"
    ]
    assert answer.probabilities["B"] == pytest.approx(0.6) and not answer.author.person
    assert answer.percent == {"R-CC": 12.5} and answer.author.version == "v7"


def test_the_exam_of_a_view_is_answered_on_with_all_of_its_views(archive, studies, tmp_path):
    study = studies["mammograms"]
    stow(archive, study.datasets)
    store = _open(archive, tmp_path)
    exam = store.exam_of(Path(store.get_image_uri(study.series[3])))
    assert exam is not None and exam.id == study.study
    assert {path.stem for path in exam.views.values()} == set(study.series)


@pytest.mark.parametrize("kind", ["volume", "cine", "mammograms"])
def test_what_is_stored_keeps_to_the_standard(archive, studies, kind, tmp_path):
    study = studies[kind]
    stow(archive, study.datasets)
    store = _open(archive, tmp_path)
    image = study.series[0]
    store.save_label(image, str(_label(store, image, study.truth[image], tmp_path)), "final", {})
    stored = [*objects(archive, "SEG"), *objects(archive, "SR")]
    assert len(stored) == 1 + (kind == "mammograms")
    for index, data in enumerate(stored):
        assert dciodvfy(write(data, tmp_path / f"{index}.dcm")) == []


def test_frames_of_one_ultrasound_series_are_images_of_their_own(archive, tmp_path):
    first, second = (frame_study(seed, (40, 50)) for seed in (1, 2))
    (one,), (two,) = first.datasets, second.datasets
    truth = second.truth[second.series[0]]
    two.StudyInstanceUID, two.SeriesInstanceUID = one.StudyInstanceUID, one.SeriesInstanceUID
    two.PatientID, two.InstanceNumber = one.PatientID, 2
    stow(archive, [one, two])
    store = _open(archive, tmp_path)
    ids = [str(one.SOPInstanceUID), str(two.SOPInstanceUID)]
    assert sorted(store.list_images()) == sorted(ids)
    with pytest.raises(NotFoundError, match=f"holds 2 images.*{ids[0]}"):
        store.image(str(one.SeriesInstanceUID))
    store.save_label(ids[1], str(_label(store, ids[1], truth, tmp_path)), "final", {})
    assert store.get_labeled_images() == [ids[1]]
    assert np.array_equal(_final(_open(archive, tmp_path), ids[1]), truth)


def test_a_series_that_is_no_volume_is_refused_and_left_out(archive, studies, tmp_path):
    study = studies["volume"]
    stow(archive, [data for data in study.datasets if data.InstanceNumber != 3])
    store = _open(archive, tmp_path)
    with pytest.raises(InputError, match=r"1 of \d+ slices are not 1 mm .* missing"):
        store.get_image_uri(study.series[0])
    assert store.datalist() == []
    # what was missing arrives: it is another volume then
    stow(archive, [data for data in study.datasets if data.InstanceNumber == 3])
    store.refresh()
    got = read_image(store.get_image_uri(study.series[0]), spatial_dims=3)
    assert np.array_equal(got.pixels, study.pixels[study.series[0]])


def test_a_label_that_does_not_fit_is_refused_and_nothing_is_stored(archive, studies, tmp_path):
    study = studies["frame"]
    stow(archive, study.datasets)
    store = _open(archive, tmp_path)
    (image,) = study.series
    sitk.WriteImage(sitk.GetImageFromArray(np.ones((9, 8), np.uint8)), str(tmp_path / "a.nrrd"))
    with pytest.raises(InputError, match="8 x 9 pixels"):
        store.save_label(image, str(tmp_path / "a.nrrd"), "final", {})
    with pytest.raises(InputError, match="plain name"):
        store.save_label(image, str(tmp_path / "a.nrrd"), "../final", {})
    with pytest.raises(InputError, match="not deleted from here"):
        store.remove_label(image, "final")
    assert objects(archive, "SEG") == []


def test_an_archive_that_does_not_answer_is_said(archive, studies, tmp_path):
    store = _open(archive, tmp_path)
    archive.stop()
    with pytest.raises(ArchiveError, match="does not answer when asked to list.*running"):
        store.list_images()


def test_the_cache_stays_within_its_size_and_is_filled_again(archive, studies, tmp_path):
    stow(archive, [data for study in studies.values() for data in study.datasets])
    store = _open(archive, tmp_path, limit=60_000)
    folders = store.image_files.cache
    folders.grace = 0.0
    sizes = []
    for id in store.list_images():
        assert Path(store.get_image_uri(id)).is_file()
        sizes.append(sum(file.stat().st_size for file in folders.root.rglob("*.*")))
    assert max(sizes) <= 60_000 + 50_000
    assert len(client(archive).search_for_series()) == len(sizes)
