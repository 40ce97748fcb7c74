"""Which series of an archive are images."""

from __future__ import annotations

import pytest

from monailabel_app.archive.catalogue import Catalogue
from monailabel_app.archive.dicomweb import Series


class _Archive:
    """Lists one series of each modality, each of one instance."""

    def __init__(self, *modalities: str) -> None:
        self.modalities = modalities

    def series(self) -> list[Series]:
        return [
            Series(study="1", uid=f"1.{n}", modality=name, count=1, patient="", facts={})
            for n, name in enumerate(self.modalities)
        ]


class _NoLabels:
    def of_series(self, series: list[Series]) -> list[object]:
        self.asked = [one.modality for one in series]
        return []


@pytest.mark.parametrize(
    "modality", ["CT", "PT", "US", "MG", "XA", "CR", "GM", "SM", "XC", "OT", ""]
)
def test_every_series_of_pictures_or_scans_is_an_image(modality):
    images = Catalogue(_Archive(modality), _NoLabels()).get().images
    assert [image.series.modality for image in images.values()] == [modality]


def test_documents_doses_and_labels_are_no_images():
    labels = _NoLabels()
    archive = _Archive("SEG", "SR", "PR", "KO", "RTDOSE", "RTSTRUCT", "ECG", "DOC", "MR")
    images = Catalogue(archive, labels).get().images
    assert [image.series.modality for image in images.values()] == ["MR"]
    assert labels.asked == ["SEG", "SR"]


def test_what_another_server_stored_is_listed_at_once(tmp_path):
    changes = tmp_path / "cache" / "changed"
    archive = _Archive("CT")
    one, other = (Catalogue(archive, _NoLabels(), changes) for _ in range(2))
    assert len(one.get().images) == len(other.get().images) == 1
    archive.modalities = ("CT", "MR")
    assert len(other.get().images) == 1, "it keeps its listing for a moment"
    one.refresh()
    assert len(one.get().images) == len(other.get().images) == 2
    assert len(other.last().images) == 2
