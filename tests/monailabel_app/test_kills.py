"""The short form of `benchmark kills`: nothing acknowledged is lost, nothing torn or left."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lib.data.readers import MADE
from lib.io.masks import write_mask
from lib.io.pictures import save_picture
from lib.io.read import image_geometry
from lib.segmentation.readers import list_images_of_readers
from monailabel_app.kills.checks import check_consensus, check_labels, check_weights
from monailabel_app.kills.journal import BEGIN, DONE, Journal
from monailabel_app.kills.work import ROW, SIDE, Site, candidates, prepare
from monailabel_app.studies.datastore import StudiesDatastore

ROOT = Path(__file__).resolve().parents[2]
SHORT = {"saves": 8, "publishing": 6, "uploads": 3, "consensus": 4, "retraining": 2}


def test_kills_lose_tear_and_leave_nothing(tmp_path: Path) -> None:
    words = [word for kind, kills in SHORT.items() for word in (kind, "7", str(kills))]
    command = [sys.executable, "-m", "monailabel_app.kills", str(tmp_path), *words]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1800)
    assert ended.returncode == 0, ended.stderr
    results = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [one["faults"] for one in results] == [[]] * len(SHORT)
    assert {one["kind"]: one["kills"] for one in results} == SHORT
    assert all(one["begun"] >= one["kills"] for one in results)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A folder in which a label was saved, and weights were added, by a process that ended well."""
    site = Site(tmp_path / "site")
    prepare(site)
    label = site.sent / "label.png"
    save_picture(label, np.full((SIDE, SIDE), 5, np.uint16))
    StudiesDatastore(str(site.studies)).save_label("image_0", str(label), "final", {})
    site.store.submit(ROW.name, candidates(site)[0], {"m": 1.0}, "m", None)
    return site


def _saved(value: int, done: bool = True) -> Journal:
    journal = Journal(fixed=False)
    facts: dict[str, Any] = {"image": "image_0", "tag": "final", "value": value}
    for what in (BEGIN, DONE) if done else (BEGIN,):
        journal.note(what, facts)
    return journal


def test_whole_folders_have_no_faults(site: Site) -> None:
    assert check_labels(site, _saved(5)) == []
    assert check_weights(site, Journal(fixed=True)) == []
    assert check_consensus(site, Journal(fixed=False)) == []


def test_a_label_that_is_lost_or_torn_is_a_fault(site: Site) -> None:
    assert any("lost: final of image_0 is 5" in fault for fault in check_labels(site, _saved(6)))
    label = site.studies / "labels" / "final" / "image_0.png"
    label.write_bytes(label.read_bytes()[:40])
    assert "torn: final label of image_0" in check_labels(site, _saved(5))
    label.unlink()
    assert "lost: final label of image_0" in check_labels(site, _saved(5))


def test_a_version_that_is_torn_is_a_fault(site: Site) -> None:
    (version,) = (site.studies / "labels" / "versions" / "image_0").glob("*.png")
    version.write_bytes(version.read_bytes()[:40])
    faults = check_labels(site, _saved(5))
    assert f"torn: {version.name}" in faults
    assert "lost: version 5 of image_0" in faults


def test_weights_that_are_lost_or_torn_are_a_fault(site: Site) -> None:
    journal = Journal(fixed=True)
    journal.note(DONE, {"version": "20260101T000000-01234567"})
    assert any("lost: version 2026" in fault for fault in check_weights(site, journal))
    site.store.published_path(ROW.name).write_bytes(b"half")
    faults = check_weights(site, Journal(fixed=True))
    assert any(fault.startswith("torn: ") for fault in faults)
    assert "index: what is served is no version" in faults


def test_a_label_that_was_begun_and_not_acknowledged_may_be_there_or_not(site: Site) -> None:
    journal = _saved(5)
    journal.note(BEGIN, {"image": "image_0", "tag": "final", "value": 9})
    assert check_labels(site, journal) == []


def test_a_consensus_that_is_not_what_the_readers_say_is_a_fault(site: Site) -> None:
    store = StudiesDatastore(str(site.studies))
    for name, value in (("anna", 1), ("ben", 2)):
        save_picture(site.sent / f"{name}.png", np.full((SIDE, SIDE), value, np.uint16))
        store.save_label("image_1", str(site.sent / f"{name}.png"), "final", {"client_id": name})
    list_images_of_readers(site.studies, ROW, "consensus")
    (made,) = (site.studies / MADE).iterdir()
    assert check_consensus(site, Journal(fixed=False)) == []
    write_mask(made, np.full((SIDE, SIDE), 7, np.uint16), image_geometry(made))
    (fault,) = check_consensus(site, Journal(fixed=False))
    assert fault == f"torn: {made.name} differs from what is made anew"
