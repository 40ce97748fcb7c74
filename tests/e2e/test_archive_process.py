"""The archive that the other tests stand on."""

from __future__ import annotations

import pytest
import requests
from archive import client, objects

from lib.errors import InputError
from monailabel_app.archive.orthanc import Orthanc


def test_studies_of_every_kind_are_in_the_archive_whichever_way_they_came(orthanc, demo):
    found = client(orthanc).search_for_series()
    assert len(found) == sum(len(study.series) for study in demo.values()) == 8
    for study in demo.values():
        stored = {
            str(data.SOPInstanceUID): data for data in client(orthanc).retrieve_study(study.study)
        }
        assert len(stored) == len(study.datasets)
        for data in study.datasets:
            assert stored[str(data.SOPInstanceUID)].PixelData == data.PixelData


def test_every_call_starts_an_archive_of_its_own(new_orthanc, orthanc, demo):
    other: Orthanc = new_orthanc(users={"reader": "secret"})
    assert other.port != orthanc.port
    assert client(other).search_for_series() == [] == objects(other, "SEG")
    refused = requests.get(f"{other.url}/series", timeout=60)
    assert refused.status_code == 401


def test_a_port_that_is_taken_is_refused_before_anything_is_started(orthanc, demo, tmp_path):
    second = Orthanc(tmp_path, port=orthanc.port)
    with pytest.raises(InputError, match=f"port {orthanc.port} .*choose another"):
        second.start()
    assert second.process is None
