"""Blind second reads and ranges of frames on a real archive: the proxy keeps reports back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from archive import archive_of, stow
from archive_server import ArchiveServer
from server_support import MODEL

from lib.io.masks import write_mask
from lib.io.read import read_image
from lib.phantoms.dicom_studies import DemoStudy, cine_study, mammogram_study
from monailabel_app.archive.datastore import ArchiveDatastore
from monailabel_app.web.users import Users

PEOPLE = {"anna": "annotator", "bert": "annotator", "rita": "reviewer"}
JSON = {"Accept": "application/dicom+json"}


@pytest.fixture(scope="module")
def exam() -> DemoStudy:
    return mammogram_study(41, 0.04, "C")


@pytest.fixture(scope="module")
def archive(new_orthanc, exam) -> Any:
    archive = new_orthanc()
    stow(archive, exam.datasets)
    return archive


@pytest.fixture(scope="module")
def sent(archive, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Any]]:
    folder = tmp_path_factory.mktemp("blind_archive")
    with Users.changed(folder / "users.json") as users:
        for name, role in PEOPLE.items():
            users.set(name, role, f"correct horse {name}")
        tokens = {name: users.new_token(name) for name in PEOPLE}
    server = ArchiveServer(folder, archive, users=str(folder / "users.json")).start()

    def send(name: str, method: str, path: str, **more: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {tokens[name]}", **more.pop("headers", {})}
        return server.request(method, path, headers=headers, **more)

    yield send
    server.stop()


def _give(sent: Callable[..., Any], name: str, image: str, density: str) -> None:
    content = json.dumps({"density": density})
    files = {"label": ("answer.json", content)}
    answer = sent(name, "PUT", "/datastore/label", params={"image": image}, files=files)
    assert answer.ok, answer.text


def _series(sent: Callable[..., Any], name: str, study: str) -> dict[str, str]:
    """Modality of each series that a reader's viewer is told of, by its UID."""
    answer = sent(name, "GET", f"/proxy/dicom/studies/{study}/series", headers=JSON)
    assert answer.ok, answer.text
    rows = answer.json()
    return {row["0020000E"]["Value"][0]: row["00080060"]["Value"][0] for row in rows}


def test_the_proxy_gives_a_second_reader_images_and_no_report_until_the_own_class(sent, exam):
    image, study = exam.series[0], exam.study
    _give(sent, "anna", image, "C")
    series = _series(sent, "anna", study)
    assert sorted(series.values()) == ["MG"] * 4 + ["SR"]
    (report,) = (uid for uid, modality in series.items() if modality == "SR")
    assert "SR" in _series(sent, "rita", study).values()

    assert set(_series(sent, "bert", study).values()) == {"MG"}
    root = f"/proxy/dicom/studies/{study}"
    closed = [f"{root}/series/{report}", f"{root}/series/{report}/metadata", root]
    closed += [f"{root}/series/{report}/instances", "/proxy/dicom/bulkdata/1"]
    for path in closed:
        answer = sent("bert", "GET", path, headers=JSON)
        assert answer.status_code == 403, (path, answer.text)
        assert "you did not yet" in answer.json()["detail"]
    for path in (f"{root}/metadata", f"{root}/instances", "/proxy/dicom/qido/instances"):
        rows = sent("bert", "GET", path, headers=JSON).json()
        found = {row["0020000E"]["Value"][0] for row in rows}
        assert set(exam.series) <= found and report not in found, path
    instance = str(exam.datasets[0].SOPInstanceUID)
    assert sent("bert", "GET", f"{root}/series/{image}/metadata", headers=JSON).ok
    frame = sent("bert", "GET", f"{root}/series/{image}/instances/{instance}/frames/1")
    assert frame.ok and len(frame.content) > 1000
    query = {"label": image, "tag": "final"}
    assert sent("bert", "GET", "/datastore/label", params=query).status_code == 403

    _give(sent, "bert", exam.series[2], "B")
    assert sorted(_series(sent, "bert", study).values()) == ["MG"] * 4 + ["SR"] * 2
    assert sent("bert", "GET", f"{root}/series/{report}/metadata", headers=JSON).ok
    told = sent("bert", "GET", "/viewer/density", params={"image": image}).json()
    assert [label["density"] for label in told["labels"]] == ["B", "C"]


def test_ranges_of_frames_are_found_again_by_a_server_with_an_empty_cache(archive, tmp_path: Path):
    study = cine_study(77, 6, (32, 40))
    stow(archive, study.datasets)
    (image,) = study.series  # a series of one instance goes by its UID

    def opened(name: str) -> ArchiveDatastore:
        return ArchiveDatastore(archive_of(archive), tmp_path / name, 10**9, ())

    store = opened("one")
    label = np.zeros((6, 32, 40), np.uint8)
    label[4, 5:9, 5:9] = 1
    geometry = read_image(store.get_image_uri(image), spatial_dims=None).geometry
    file = write_mask(tmp_path / "label.nrrd", label, geometry)
    names = [{"name": "nerve", "idx": 1, "id": 1}]
    info = {"label_info": names, "model": MODEL, "frames": {"nerve": [[2, 3], [5, 5]]}}
    store.save_label(image, str(file), "final", info)
    (version,) = opened("two").label_versions(image)
    assert version.info["frames"] == {"nerve": [[2, 3], [5, 5]]}
