"""What links lead to outside a studies folder is not served."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lib.errors import InputError, NotFoundError
from monailabel_app.studies.datastore import StudiesDatastore


def picture(file: Path, value: int) -> Path:
    Image.fromarray(np.full((20, 30), value, np.uint8)).save(file)
    return file


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    """One image of its own, and links out of the folder, to nowhere, and to themselves."""
    folder, outside = tmp_path / "studies", tmp_path / "outside"
    labels = folder / "labels" / "final"
    labels.mkdir(parents=True)
    outside.mkdir()
    secret = picture(outside / "secret.png", 7)
    picture(folder / "own.png", 0)
    (folder / "inner.png").symlink_to(folder / "own.png")
    (folder / "outer.png").symlink_to(secret)
    (folder / "twice.png").symlink_to(folder / "outer.png")
    (folder / "loop.png").symlink_to(folder / "loop.png")
    (folder / "nowhere.png").symlink_to(tmp_path / "nowhere.png")
    (labels / "own.png").symlink_to(secret)
    (folder / "labels" / "other").symlink_to(outside)
    (folder / "labels" / "round").symlink_to(folder / "labels")
    picture(outside / "own.png", 7)
    return folder


def test_links_that_lead_out_are_neither_images_nor_labels(studies, caplog):
    store = StudiesDatastore(str(studies))
    assert sorted(store.list_images()) == ["inner", "own"]
    assert store.get_labels_by_image_id("own") == {}
    for name in ("outer.png", "twice.png", "own.png", "other"):
        assert f"{name} leads out of the studies folder" in caplog.text


def test_an_image_that_becomes_such_a_link_is_no_longer_served(studies, tmp_path):
    store = StudiesDatastore(str(studies))
    (studies / "own.png").unlink()
    (studies / "own.png").symlink_to(tmp_path / "outside" / "secret.png")
    assert store.get_image_uri("own") == ""
    with pytest.raises(NotFoundError, match="own"):
        store.require_image("own")


def test_a_label_is_not_written_through_such_a_link(studies, tmp_path):
    store = StudiesDatastore(str(studies))
    before = {file: file.read_bytes() for file in (tmp_path / "outside").iterdir()}
    label = str(picture(tmp_path / "label.png", 1))
    store.save_label("own", label, "final", {})
    assert store.get_label_uri("own", "final") == str(studies / "labels" / "final" / "own.png")
    with pytest.raises(InputError, match="leads out of the studies folder"):
        store.save_label("own", label, "other", {})
    assert {file: file.read_bytes() for file in (tmp_path / "outside").iterdir()} == before


def test_versions_are_neither_written_nor_read_through_such_a_link(studies, tmp_path):
    store = StudiesDatastore(str(studies))
    versions = studies / "labels" / "versions"
    versions.mkdir()
    (versions / "own").symlink_to(tmp_path / "outside")
    picture(tmp_path / "outside" / "0001-anna-20260101T000000Z.png", 7)
    label = str(picture(tmp_path / "label.png", 1))
    with pytest.raises(InputError, match="leads out of the studies folder"):
        store.save_label("own", label, "final", {})
    with pytest.raises(InputError, match="leads out of the studies folder"):
        store.label_versions("own")
