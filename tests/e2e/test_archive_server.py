"""A real server over a real archive: list, answer, accept, lose the cache, train, go on."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from archive import objects, store_all
from archive_server import ArchiveServer, expected_answer
from server_support import MODEL, QUICK, assert_refused

from lib.datasets.dicom_phantoms import DemoStudy, demo_studies
from lib.images import read_image
from lib.masks import write_mask
from monailabel_app.archive.orthanc import Orthanc

KINDS = ("volume", "volume_us", "frame", "cine", "mammograms")


@pytest.fixture(scope="module")
def archive(new_orthanc) -> Orthanc:
    """An archive with a password, for this module alone."""
    return new_orthanc(users={"server": "secret"})


@pytest.fixture(scope="module")
def studies(archive: Orthanc) -> dict[str, DemoStudy]:
    made = demo_studies(seed=2, scale=0.04)
    store_all(archive, made)
    return {study.kind: study for study in made}


@pytest.fixture(scope="module")
def server(
    archive: Orthanc, studies: dict[str, DemoStudy], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ArchiveServer]:
    server = ArchiveServer(tmp_path_factory.mktemp("archive_server"), archive)
    yield server.start()
    server.stop()


def _file(study: DemoStudy, series: str, folder: Path) -> Path:
    """Write a series as a file that was never in an archive, volumes of slices as NRRD."""
    if study.kind == "volume":
        image = sitk.GetImageFromArray(study.pixels[series])
        sitk.WriteImage(image, str(folder / "image.nrrd"))
        return folder / "image.nrrd"
    (data,) = [data for data in study.datasets if data.SeriesInstanceUID == series]
    data.save_as(folder / "image.dcm", write_like_original=False)
    return folder / "image.dcm"


def test_every_image_is_listed_once_by_the_id_that_viewers_send(server, studies):
    listed = server.images()
    assert set(listed) == {uid for study in studies.values() for uid in study.series}
    assert {item["image"]["info"]["Modality"] for item in listed.values()} == {"MR", "US", "MG"}
    assert all(not item["labels"] for item in listed.values())
    assert server.get("/datastore/").json() == {"total": 8, "completed": 0, "label_tags": {}}


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_comes_as_it_was_drawn(server, studies, kind, tmp_path):
    study = studies[kind]
    for series in study.series[:2]:
        response = server.get("/datastore/image", params={"image": series})
        assert response.ok, response.text
        file = tmp_path / f"got{'.nrrd' if kind == 'volume' else '.dcm'}"
        file.write_bytes(response.content)
        got = read_image(file, spatial_dims=None).pixels
        if kind in ("volume", "mammograms"):
            assert np.array_equal(got, study.pixels[series])
        else:
            assert np.array_equal(
                got, read_image(_file(study, series, tmp_path), spatial_dims=None).pixels
            )


def test_a_volume_of_slices_lies_where_itk_puts_it(server, studies, tmp_path):
    study = studies["volume"]
    for index, data in enumerate(study.datasets):
        data.save_as(tmp_path / f"{index:03d}.dcm", write_like_original=False)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path)))
    true = reader.Execute()
    response = server.get("/datastore/image", params={"image": study.series[0]})
    (tmp_path / "got.nrrd").write_bytes(response.content)
    got = sitk.ReadImage(str(tmp_path / "got.nrrd"))
    assert got.GetSize() == true.GetSize()
    for ask in ("GetSpacing", "GetOrigin", "GetDirection"):
        assert getattr(got, ask)() == pytest.approx(getattr(true, ask)(), abs=1e-6)
    assert np.array_equal(sitk.GetArrayFromImage(got), sitk.GetArrayFromImage(true))


@pytest.mark.parametrize("kind", KINDS)
def test_the_answer_is_that_on_the_same_pixels_in_a_file(server, studies, kind, tmp_path):
    study = studies[kind]
    series = study.series[0]
    file, figures = server.client().infer(MODEL, series, {"result_extension": ".nrrd"})
    answer = np.squeeze(sitk.GetArrayFromImage(sitk.ReadImage(file)))
    expected = expected_answer(server, _file(study, series, tmp_path))
    assert np.array_equal(answer, expected)
    assert figures["objects"] == expected.max() > 0


def _submit(server, study: DemoStudy, series: str, folder: Path, suffix: str) -> np.ndarray:
    """Submit the true label as 3D Slicer does, and return it."""
    truth = (study.truth[series] > 0).astype(np.uint8)
    client = server.client()
    got = server.get("/datastore/image", params={"image": series}).content
    image = folder / f"image{'.nrrd' if study.kind == 'volume' else '.dcm'}"
    image.write_bytes(got)
    geometry = read_image(image, spatial_dims=None).geometry
    label = write_mask(folder / f"label{suffix}", truth, geometry)
    info = [{"name": "nuclei", "idx": 1}]
    assert client.save_label(series, str(label), params={"label_info": info})["label"] == series
    return truth


def _read_back(server, series: str) -> np.ndarray:
    file = server.client().download_label(series, "final")
    return np.squeeze(sitk.GetArrayFromImage(sitk.ReadImage(file)))


@pytest.mark.parametrize(
    ("kind", "suffix"), zip(KINDS, (".nrrd", ".nii.gz", ".nrrd", ".nii.gz", ".nrrd"), strict=True)
)
def test_a_submitted_label_is_a_segmentation_in_the_archive_and_comes_back_to_the_voxel(
    server, studies, archive, kind, suffix, tmp_path
):
    study = studies[kind]
    series = study.series[0]
    before = {str(seg.SOPInstanceUID) for seg in objects(archive, "SEG")}
    truth = _submit(server, study, series, tmp_path, suffix)
    assert truth.any()
    (seg,) = [seg for seg in objects(archive, "SEG") if str(seg.SOPInstanceUID) not in before]
    assert seg.StudyInstanceUID == study.study
    (about,) = seg.ReferencedSeriesSequence
    assert about.SeriesInstanceUID == series
    assert [segment.SegmentLabel for segment in seg.SegmentSequence] == ["nuclei"]
    assert np.array_equal(_read_back(server, series), truth)
    listed = server.images()[series]["labels"]["final"]
    assert listed["ext"] == ".nrrd" and listed["info"]["SOPInstanceUID"] == seg.SOPInstanceUID


def test_after_a_kill_and_without_a_cache_the_labels_are_there_and_are_trained_on(server, studies):
    labelled = {study.series[0] for study in studies.values()}
    before = {series: _read_back(server, series) for series in labelled}
    server.kill()
    shutil.rmtree(server.cache)
    server.start()
    assert {id for id, item in server.images().items() if "final" in item["labels"]} == labelled
    for series, label in before.items():
        assert np.array_equal(_read_back(server, series), label)
    assert {
        Path(pair["image"]).name
        for pair in server.get("/datastore/", params={"output": "train"}).json()
    } == {Path(server.images()[id]["image"]["info"]["name"]).name for id in labelled}
    reply = server.post(f"/train/{MODEL}", params={"run_sync": True}, json=QUICK)
    assert reply.ok, reply.text
    outcome = reply.json()
    assert outcome["training_cases"] + outcome["validation_cases"] == len(labelled)
    assert outcome["steps"] >= 1
    sample = server.client().next_sample("first", {})
    assert sample["id"] not in labelled and Path(sample["path"]).is_file()


def test_an_unknown_image_is_refused_with_what_is_expected(server):
    assert_refused(server.infer("1.2.3"), 404, "unknown image '1.2.3'")
