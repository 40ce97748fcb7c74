"""From an empty models folder to an own model, in the browser: each kind, in each place."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from archive import SILENT_SECONDS
from journey import Place, walk
from journey_archive import MAKERS, ArchivePlace
from journey_folder import FolderPlace
from journey_kinds import KINDS, Kind
from server_support import Server
from viewer import Viewer

# each kind in one place, and in each place what is flat, what is deep and an exam
OFTEN = {
    "folder": ("picture", "still", "cine", "exam_png"),
    "archive": ("histology", "volume_us", "mr", "exam_dicom"),
}
JOURNEYS = [
    pytest.param(
        where,
        kind,
        id=f"{where}-{kind.name}",
        marks=() if kind.name in OFTEN[where] else pytest.mark.slow,
    )
    for where in OFTEN
    for kind in KINDS
    if where == "folder" or kind.name in MAKERS
]


@pytest.fixture(scope="module")
def profile(new_profile):
    return new_profile(viewport={"width": 1280, "height": 720})


@pytest.fixture
def place(where: str, kind: Kind, profile, tmp_path: Path, request) -> Iterator[Place]:
    conf = {"archive_cache": str(tmp_path / "cache"), "archive_seconds": str(SILENT_SECONDS)}
    server = Server(tmp_path, kind.task, device="cpu", **conf)
    place: Place
    if where == "archive":
        orthanc = request.getfixturevalue("new_orthanc")()
        server.studies = orthanc.url  # type: ignore[assignment]
        place = ArchivePlace(orthanc, kind, server)
    else:
        place = FolderPlace(tmp_path, kind, server)
    assert not list(server.model_dir.iterdir()), "no model to begin with"
    server.start()
    yield place
    server.stop()


def test_each_kind_is_taken_every_time():
    assert sorted(sum(OFTEN.values(), ())) == sorted(kind.name for kind in KINDS)


@pytest.mark.parametrize(("where", "kind"), JOURNEYS)
def test_a_kind_of_study_is_taken_from_nothing_to_an_own_model_in_the_browser(
    new_viewer, profile, place: Place, kind: Kind
):
    viewer: Viewer = new_viewer(profile, place.server.url)
    walk(viewer, place, kind)
