"""A real server over a real archive: list, answer, accept, lose the cache, train, go on."""

from __future__ import annotations

import http.client
import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import requests
import SimpleITK as sitk
from archive import objects, store_all
from archive_server import ArchiveServer, expected_answer
from dicom_label_samples import dciodvfy
from dicomweb_client import DICOMwebClient
from server_support import MODEL, QUICK, assert_refused

from lib.dicom.objects import Author
from lib.dicom.seg.read import read_seg
from lib.dicom.seg.write import MAX_OBJECTS, make_seg
from lib.dicom.sources import in_order
from lib.io.masks import write_mask
from lib.io.read import read_image
from lib.mammography.report.read import read_density_report
from lib.phantoms.dicom_studies import DemoStudy, demo_studies, frame_study, mammogram_study
from monailabel_app.archive.orthanc import Orthanc
from monailabel_app.web.users import Users

DENSITY = "density_birads"
VIEWER = Author(person="Eye^Naked")
KINDS = ("volume", "volume_us", "frame", "cine", "mammograms")


@pytest.fixture(scope="module")
def archive(new_orthanc) -> Orthanc:
    """An archive with a password, for this module alone."""
    return new_orthanc(users={"server": "secret"})


@pytest.fixture(scope="module")
def studies(archive: Orthanc) -> dict[str, DemoStudy]:
    """A study of each kind, two exams more, and a frame more."""
    made = {study.kind: study for study in demo_studies(seed=2, scale=0.04)}
    for seed, density in enumerate("BD", start=10):
        made[f"exam {density}"] = mammogram_study(seed, 0.04, density)
    made["viewed"] = frame_study(10, (48, 64))
    store_all(archive, made.values())
    return made


@pytest.fixture(scope="module")
def server(
    archive: Orthanc, studies: dict[str, DemoStudy], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ArchiveServer]:
    server = ArchiveServer(tmp_path_factory.mktemp("archive_server"), archive, DENSITY)
    yield server.start()
    server.stop()


def _file(study: DemoStudy, series: str, folder: Path) -> Path:
    """Write a series as a file that was never in an archive, volumes of slices as NRRD."""
    if study.kind == "volume":
        image = sitk.GetImageFromArray(study.pixels[series])
        sitk.WriteImage(image, str(folder / "image.nrrd"))
        return folder / "image.nrrd"
    (data,) = [data for data in study.datasets if data.SeriesInstanceUID == series]
    data.save_as(folder / "image.dcm", enforce_file_format=True)
    return folder / "image.dcm"


def test_every_image_is_listed_once_by_the_id_that_viewers_send(server, studies):
    listed = server.images()
    assert set(listed) == {uid for study in studies.values() for uid in study.series}
    assert {item["image"]["info"]["Modality"] for item in listed.values()} == {"MR", "US", "MG"}
    assert all(not item["labels"] for item in listed.values())
    stats = {"total": 17, "completed": 0, "label_tags": {}, "unreadable_count": 0, "unreadable": {}}
    assert server.get("/datastore/").json() == stats


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
        data.save_as(tmp_path / f"{index:03d}.dcm", enforce_file_format=True)
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
    params = {"result": "instances", "result_extension": ".nrrd"}
    file, figures = server.client().infer(MODEL, series, params)
    answer = np.squeeze(sitk.GetArrayFromImage(sitk.ReadImage(file)))
    expected = expected_answer(server, _file(study, series, tmp_path))
    assert np.array_equal(answer, expected)
    assert figures["objects"] == expected.max() > 0


@pytest.mark.parametrize("kind", KINDS)
def test_the_answer_is_given_as_a_segmentation_where_that_is_asked_for(
    server, studies, kind, tmp_path
):
    study = studies[kind]
    series = study.series[0]
    reply = server.infer(series, '{"result": "instances"}', output="dicom_seg")
    assert reply.ok, reply.text
    (tmp_path / "seg.dcm").write_bytes(reply.content)
    assert dciodvfy(tmp_path / "seg.dcm") == []
    mine = [data for data in study.datasets if data.SeriesInstanceUID == series]
    expected = expected_answer(server, _file(study, series, tmp_path))
    if expected.max() > MAX_OBJECTS:
        expected = expected > 0
    assert expected.any() and np.array_equal(
        read_seg(tmp_path / "seg.dcm", in_order(mine)), expected
    )


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


def test_a_density_is_corrected_by_any_view_of_its_exam(server, studies, archive, tmp_path):
    for density in "BD":
        study = studies[f"exam {density}"]
        (tmp_path / "answer.json").write_text(json.dumps({"density": density}))
        reply = server.save_label(study.series[1], tmp_path / "answer.json")
        assert reply.ok, reply.text
        read = server.get("/datastore/label", params={"label": study.series[3], "tag": "final"})
        assert read.json() == {"density": density, "scale": "birads"}
    reports = [read_density_report(report) for report in objects(archive, "SR")]
    assert sorted(report.density for report in reports) == ["B", "D"]
    assert {report.study for report in reports} == {studies[f"exam {d}"].study for d in "BD"}


def test_a_segmentation_stored_by_a_viewer_is_a_label(server, studies):
    study = studies["viewed"]
    seg = make_seg(study.truth[study.series[0]], list(study.datasets), {"nuclei": 1}, VIEWER)
    seg.Manufacturer = "Another"
    DICOMwebClient(f"{server.url}/proxy/dicom").store_instances([seg])
    assert np.array_equal(_read_back(server, study.series[0]), study.truth[study.series[0]])


def test_after_a_kill_and_without_a_cache_the_labels_are_there_and_are_trained_on(server, studies):
    labelled = {studies[kind].series[0] for kind in (*KINDS, "viewed")}
    exams = {uid for density in "BD" for uid in studies[f"exam {density}"].series}
    before = {series: _read_back(server, series) for series in labelled}
    server.kill()
    shutil.rmtree(server.cache)
    server.start()
    found = {id for id, item in server.images().items() if "final" in item["labels"]}
    assert found == labelled | exams
    for series, label in before.items():
        assert np.array_equal(_read_back(server, series), label)
    assert {
        Path(pair["image"]).name
        for pair in server.get("/datastore/", params={"output": "train"}).json()
    } == {Path(server.images()[id]["image"]["info"]["name"]).name for id in found}
    reply = server.post(f"/train/{MODEL}", params={"run_sync": True}, json=QUICK)
    assert reply.ok, reply.text
    outcome = reply.json()
    assert outcome["training_cases"] + outcome["validation_cases"] == len(labelled)
    assert outcome["steps"] >= 1
    params = {"max_epochs": 1, "input_size": 64, "device": "cpu"}
    reply = server.post(f"/train/{DENSITY}", params={"run_sync": True}, json=params)
    assert reply.ok, reply.text
    assert reply.json()["training_cases"] + reply.json()["validation_cases"] == 8
    answer = server.post(f"/infer/{DENSITY}?image={min(exams)}&output=json").json()
    assert answer["class"] in "ABCD" and len(answer["views_used"]) == 4
    sample = server.client().next_sample("first", {})
    assert sample["id"] not in found and Path(sample["path"]).is_file()


def test_an_unknown_image_is_refused_with_what_is_expected(server):
    assert_refused(server.infer("1.2.3"), 404, "unknown image '1.2.3'")


# --- viewers and users --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shared(
    new_orthanc, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[ArchiveServer, list[DemoStudy], dict[str, dict[str, str]]]]:
    """A server that asks who is there, over an archive with a password; two annotators' headers."""
    orthanc = new_orthanc(users={"server": "secret"})
    frames = [frame_study(seed, (40, 50)) for seed in range(4)]
    store_all(orthanc, frames)
    users, headers = Users.empty(), {}
    for name in ("anna", "bert"):
        users.set(name, "annotator", f"password of {name}")
        headers[name] = {"Authorization": f"Bearer {users.new_token(name)}"}
    users.set("otto", "user", "password of otto")
    headers["otto"] = {"Authorization": f"Bearer {users.new_token('otto')}"}
    folder = tmp_path_factory.mktemp("shared_server")
    users.write(folder / "users.json")
    server = ArchiveServer(folder, orthanc, users=str(folder / "users.json"))
    server.headers = headers["otto"]
    yield server.start(), frames, headers
    server.stop()


def test_a_viewers_query_reaches_the_archive_and_nothing_but_dicomweb_does(shared):
    server, frames, headers = shared
    ask = {"headers": headers["otto"]}
    one = server.get(f"/proxy/dicom/qido/studies?StudyInstanceUID={frames[2].study}", **ask)
    assert one.ok, one.text
    (row,) = one.json()
    assert row["0020000D"]["Value"] == [frames[2].study]
    assert len(server.get("/proxy/dicom/studies", **ask).json()) == 4
    assert len(server.get("/proxy/dicom/studies?limit=3", **ask).json()) == 3
    for path in ("../system", "%2e%2e/system", "studies/../../instances", "wado/..%2fsystem"):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
        connection.request("GET", f"/proxy/dicom/{path}", headers=headers["otto"])
        answer = connection.getresponse()
        assert answer.status == 404 and b"DicomAet" not in answer.read()
        connection.close()


def test_who_may_only_look_stores_nothing(shared):
    server, _, headers = shared
    assert server.request("GET", "/proxy/dicom/studies", headers={}).status_code == 401
    answer = server.post("/proxy/dicom/studies", headers=headers["otto"], data=b"x")
    assert answer.status_code == 403
    answer = server.post("/proxy/dicom/instances", headers=headers["anna"], data=b"x")
    assert answer.status_code == 404


def test_a_segmentation_that_a_viewer_stores_is_a_label_at_once(shared):
    server, frames, headers = shared
    study = frames[3]
    seg = make_seg(
        study.truth[study.series[0]],
        list(study.datasets),
        {"nuclei": 1},
        VIEWER,
    )
    seg.Manufacturer = "Another"
    session = requests.Session()
    session.headers.update(headers["anna"])
    web = DICOMwebClient(f"{server.url}/proxy/dicom", session=session)
    web.store_instances([seg])
    listed = server.get("/datastore/?output=all", headers=headers["anna"]).json()["objects"]
    assert "final" in listed[study.series[0]]["labels"]
    lines = (server.model_dir / "audit.jsonl").read_text().splitlines()
    noted = [one for one in map(json.loads, lines) if one["what"] == "stored in the archive"]
    assert noted[-1]["by"] == "anna" and noted[-1]["on"].startswith("studies")


def test_two_users_get_different_images_and_both_labels_are_kept_with_their_names(shared, tmp_path):
    server, frames, headers = shared
    truths = {study.series[0]: study.truth[study.series[0]] for study in frames}
    clients = {}
    for name in ("anna", "bert"):
        clients[name] = server.client("user-xyz")
        clients[name].update_auth(
            {"token_type": "Bearer", "access_token": headers[name]["Authorization"].split()[1]}
        )
    samples = {name: client.next_sample("first", {})["id"] for name, client in clients.items()}
    assert samples["anna"] != samples["bert"]
    assert clients["anna"].next_sample("first", {})["id"] == samples["anna"]
    before = len(objects(server.orthanc, "SEG"))

    def work(name: str) -> None:
        folder = tmp_path / name
        folder.mkdir()
        image = sitk.GetImageFromArray(truths[samples[name]])
        sitk.WriteImage(image, str(folder / "label.nrrd"))
        clients[name].save_label(samples[name], str(folder / "label.nrrd"))

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, clients))
    assert len(objects(server.orthanc, "SEG")) == before + 2
    for name, client in clients.items():
        file = client.download_label(samples[name], "final")
        label = np.squeeze(sitk.GetArrayFromImage(sitk.ReadImage(file)))
        assert np.array_equal(label, truths[samples[name]])
        info = client.datastore()["objects"][samples[name]]["labels"]["final"]["info"]
        assert info["user"] == name
