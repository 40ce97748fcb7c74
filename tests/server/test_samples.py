"""Samples that can be labelled: what is given out by a real server, and finished images again."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from server_support import MODEL, Server, assert_refused, threshold_weights
from test_active_learning import DENSITY, Site

from lib.errors import BusyError, InputError, NotFoundError
from lib.io.labels import read_label
from lib.phantoms.dicom_studies import volume_study
from lib.phantoms.mammograms.exams import write_exams
from lib.phantoms.nuclei import nuclei_phantom
from lib.tasks.registry import get_task

VOLUMES = "ultrasound3d_vnet"
GOOD = ("img1", "img2", "img10")


def _png(value: int = 1, side: int = 32) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((side, side), value, np.uint8)).save(file, "png")
    return file.getvalue()


def _write_studies(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for index, name in enumerate(GOOD):
        pixels, _ = nuclei_phantom(index, rows=32, columns=32, nuclei=3)
        Image.fromarray(pixels).save(folder / f"{name}.png")
    whole = (folder / "img1.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "text.nii.gz").write_text("no image")


def _prepare(server: Server) -> None:
    _write_studies(server.studies)
    for index, data in enumerate(volume_study(1, (4, 16, 16)).datasets):
        (server.studies / "CT_1").mkdir(exist_ok=True)
        data.save_as(server.studies / "CT_1" / f"IM{index}", enforce_file_format=True)
    threshold_weights(server.live_file)


@pytest.fixture(scope="module")
def own(launch: Any) -> Server:
    """A server over three pictures, two files that cannot be read, and a folder of DICOM."""
    return launch(_prepare)


def _ask(server: Server, strategy: str, who: str, **request: str) -> Any:
    return server.post(f"/activelearning/{strategy}", json={"client_id": who, **request})


def _accept(server: Server, image: str, value: int = 1) -> None:
    files = {"label": ("label.png", _png(value))}
    assert server.put("/datastore/label", params={"image": image}, files=files).ok


def test_a_folder_is_labelled_to_its_end_and_its_images_opened_again(own, tmp_path):
    stats = own.get("/info/").json()["datastore"]
    assert (stats["total"], stats["completed"], stats["unreadable_count"]) == (3, 0, 2)
    assert "truncated" in stats["unreadable"]["cut"] and "text" in stats["unreadable"]
    (said,) = stats["passed_over"]
    assert "4 DICOM files in 1 subfolder (CT_1 (4))" in said and said in own.log
    given = {_ask(own, "first", f"reader {n}").json()["id"] for n in range(5)}
    assert given == set(GOOD), "files that cannot be read are never given out"
    assert_refused(_ask(own, "finished", "anna", id="img1"), 400, "img1", "no accepted label")
    for image in GOOD:
        _accept(own, image)
    assert _ask(own, "random", "anna").json() == {}
    stats = own.get("/datastore/").json()
    assert stats["completed"] == stats["total"] == 3

    sample = _ask(own, "finished", "anna", id="img2").json()
    assert (sample["id"], sample["label_tag"]) == ("img2", "final")
    assert Path(sample["label"]) == own.studies / "labels" / "final" / "img2.png"
    assert_refused(_ask(own, "review", "bert", id="img2"), 429, "img2", "somebody else")
    assert _ask(own, "finished", "bert").json()["id"] != "img2"
    assert_refused(_ask(own, "finished", "anna", id="img3"), 404, "img3")
    assert_refused(_ask(own, "finished", "anna", id="cut"), 400, "cut.png", "truncated")

    # 3D Slicer loads the label with the tag original, and no other
    label = {"label": "img2", "tag": "original"}
    (tmp_path / "shown.nrrd").write_bytes(own.get("/datastore/label", params=label).content)
    assert np.unique(read_label(tmp_path / "shown.nrrd")).tolist() == [1]
    original = own.images()["img2"]["labels"]["original"]
    assert original["info"]["params"]["label_names"] == {"nuclei": 1}
    _accept(own, "img2", value=2)
    assert own.get("/datastore/label", params=label).status_code == 404, "it is done"
    assert set(own.images()["img2"]["labels"]) == {"final"}
    assert _ask(own, "finished", "bert", id="img2").json()["id"] == "img2"


def test_a_picture_that_slicer_would_load_with_others_comes_without_its_path(own):
    names = set()
    for image in GOOD:
        _accept(own, image)  # it is nobody's then
        sample = _ask(own, "finished", "cleo", id=image).json()
        assert "path" not in sample
        assert sample["name"].endswith(".png") and not any(c.isdigit() for c in sample["name"])
        names.add(sample["name"])
        content = own.get("/datastore/image", params={"image": image}).content
        assert sample["checksum"] == f"SHA256:{hashlib.sha256(content).hexdigest()}"
    assert len(names) == len(GOOD)


# --- without a server ----------------------------------------------------------------------------


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A site of three pictures and two files that cannot be read."""
    _write_studies(tmp_path / "studies")
    return Site(tmp_path)


def _save(site: Site, image: str, **info: Any) -> None:
    file = site.folder / "label.png"
    file.write_bytes(_png())
    site.datastore.save_label(image, str(file), "final", {})
    site.datastore.update_label_info(image, "final", info)
    site.active.saved(image)


def test_the_oldest_label_comes_first_and_then_the_next(site):
    assert site.next("finished") == {}
    for ts, image in enumerate(("img2", "img10", "img1")):
        _save(site, image, ts=100 + ts)
    assert [site.next("finished")["id"] for _ in range(4)] == ["img2", "img10", "img1", "img2"]
    assert site.next("finished", "bert")["id"] == "img10", "others hold all: any of them"


def test_the_most_doubted_label_comes_first_for_review(site):
    _save(site, "img1", ts=1)
    _save(site, "img2", ts=2, label_quality={"quality": 0.9})
    _save(site, "img10", ts=3, label_quality={"quality": 0.2})
    assert [site.next("review", who)["id"] for who in "abc"] == ["img10", "img2", "img1"]


def test_an_image_that_somebody_works_on_is_not_opened_for_another(site):
    for image in ("img1", "img2"):
        _save(site, image)
    assert site.next("finished", "anna", id="img1")["label_tag"] == "final"
    assert site.next("finished", "bert")["id"] == "img2"
    with pytest.raises(BusyError, match="'img1' is being labelled by somebody else"):
        site.next("review", "bert", id="img1")
    assert site.active.reopened_for("img1") == get_task(MODEL)
    assert site.active.reopened_for("img10") is None
    _save(site, "img1")
    assert site.active.reopened_for("img1") is None
    assert site.next("review", "bert", id="img1")["id"] == "img1"


def test_what_cannot_be_opened_is_named(site):
    with pytest.raises(NotFoundError, match="img3"):
        site.next("finished", id="img3")
    with pytest.raises(InputError, match="'img1' has no accepted label of"):
        site.next("finished", id="img1")


def test_an_image_for_another_task_is_not_given_out_and_counted_apart(tmp_path):
    _write_studies(tmp_path / "studies")
    site = Site(tmp_path, (VOLUMES, MODEL))
    assert site.next("random", model=VOLUMES) == {}
    assert site.next("random", model=MODEL)["id"] in GOOD
    for tasks, total in (((VOLUMES, MODEL), 3), ((VOLUMES,), 0)):
        site.datastore.tasks = [get_task(name) for name in tasks]
        assert site.datastore.status()["total"] == total
    assert "answers volumes" in site.datastore.unreadable()["img1"]


def test_an_exam_is_opened_again_with_its_density(tmp_path):
    write_exams(tmp_path / "studies", seed=3, exams=3, scale=0.02, labelled=0.67)
    site = Site(tmp_path, (MODEL, DENSITY))
    sample = site.next("finished", model=DENSITY)
    density = json.loads(Path(sample["label"]).read_text())["density"]
    assert sample["model"] == DENSITY and density in "ABCD" and sample["exam"]
    other = site.next("review", "bert", model=DENSITY)
    assert other["exam"] != sample["exam"]
    assert site.next("finished", id=sample["id"])["model"] == DENSITY, "by its label"
    assert site.next("finished", "cleo", model=MODEL) == {}, "no label image is finished"
