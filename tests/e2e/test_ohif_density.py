"""Mammograms in the panel of OHIF without any model for them: class, percent density, reopening."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from archive import objects, stow
from archive_server import ArchiveServer
from server_support import MODEL

from lib.mammography.report.read import read_density_report
from lib.phantoms.dicom_studies import DemoStudy, mammogram_study


@pytest.fixture(scope="module")
def exam() -> DemoStudy:
    return mammogram_study(21, 0.06, "C")


@pytest.fixture(scope="module")
def server(new_orthanc, exam, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ArchiveServer]:
    archive = new_orthanc()
    stow(archive, exam.datasets)
    server = ArchiveServer(tmp_path_factory.mktemp("density_server"), archive, any_modality="false")
    yield server.start()
    server.stop()


def test_the_first_class_needs_no_model_and_is_shown_again(new_viewer, new_profile, server, exam):
    viewer = new_viewer(new_profile(), server.url)
    viewer.open(exam.study)
    offered = viewer.offered()
    assert "percent_density" in offered and MODEL not in offered, "nuclei are not on mammograms"
    box = viewer.page.locator(".ml-density")
    assert "No class is saved yet" in box.inner_text()
    assert "Percent density is estimated" in viewer.press("Percent density")
    assert "not saved yet" not in box.inner_text(), "nothing was corrected"
    drawn = viewer.drawn()
    assert all((drawn[str(one.SOPInstanceUID), 1] == 1).any() for one in exam.datasets)
    viewer.picture("density_estimate")
    assert "Class C is saved" in viewer.press("C")
    (report,) = objects(server.orthanc, "SR")
    found = read_density_report(report)
    assert found.density == "C" and sorted(found.percent) == ["L-CC", "L-MLO", "R-CC", "R-MLO"]
    viewer.open(exam.study)
    viewer.page.get_by_text("Saved: C by this browser").wait_for()
