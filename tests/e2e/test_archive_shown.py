"""Images of an archive, named by the instance that a viewer shows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import SimpleITK as sitk
from archive import objects, stow
from archive_server import ArchiveServer
from pydicom import Dataset
from server_support import MODEL

from lib.phantoms.dicom_studies import frame_study, volume_study

UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")


@pytest.fixture(scope="module")
def stills() -> list[Dataset]:
    """Three ultrasound stills in one series."""
    found = [frame_study(seed, (48, 64)).datasets[0] for seed in (61, 62, 63)]
    for number, data in enumerate(found, 1):
        for tag in ("StudyInstanceUID", "SeriesInstanceUID", "PatientID", "PatientName"):
            setattr(data, tag, getattr(found[0], tag))
        data.InstanceNumber = number
    return found


@pytest.fixture(scope="module")
def slices() -> list[Dataset]:
    return list(volume_study(61, (6, 24, 32)).datasets)


@pytest.fixture(scope="module")
def server(
    new_orthanc, stills, slices, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ArchiveServer]:
    orthanc = new_orthanc()
    stow(orthanc, [*stills, *slices])
    server = ArchiveServer(tmp_path_factory.mktemp("shown_server"), orthanc)
    yield server.start()
    server.stop()


def _label(server: ArchiveServer, name: str) -> np.ndarray:
    reply = server.get("/datastore/label", params={"label": name, "tag": "final"})
    assert reply.ok, reply.text
    (server.folder / "got.nrrd").write_bytes(reply.content)
    return np.squeeze(sitk.GetArrayFromImage(sitk.ReadImage(str(server.folder / "got.nrrd"))))


def test_an_instance_names_its_still_or_its_volume_in_each_route(server, stills, slices):
    middle, volume = str(stills[1].SOPInstanceUID), str(slices[0].SeriesInstanceUID)
    drawn = np.zeros((48, 64), np.uint8)
    drawn[10:20, 30:40] = 1
    sitk.WriteImage(sitk.GetImageFromArray(drawn), str(server.folder / "drawn.nrrd"))
    assert server.save_label(middle, server.folder / "drawn.nrrd").ok
    (seg,) = objects(server.orthanc, "SEG")
    references = seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    assert [str(one.ReferencedSOPInstanceUID) for one in references] == [middle]
    assert np.array_equal(_label(server, middle), drawn)
    reply = server.get("/datastore/label/versions", params={"image": middle})
    assert len(reply.json()["versions"]) == 1

    whole = np.zeros((6, 24, 32), np.uint8)
    whole[2, 3:9, 4:11] = 1
    sitk.WriteImage(sitk.GetImageFromArray(whole), str(server.folder / "whole.nrrd"))
    assert server.save_label(str(slices[3].SOPInstanceUID), server.folder / "whole.nrrd").ok
    assert np.array_equal(_label(server, str(slices[5].SOPInstanceUID)), whole)
    assert "final" in server.images()[volume]["labels"]
    client = server.client()
    for name in (middle, str(slices[2].SOPInstanceUID)):
        file, _ = client.infer(MODEL, name, {"result_extension": ".nrrd"})
        size = sitk.ReadImage(file).GetSize()
        assert size[:2] == ((64, 48) if name == middle else (32, 24))


def test_a_series_of_several_stills_is_refused_and_says_how_to_name_one(server, stills):
    reply = server.get(
        "/datastore/label/versions", params={"image": str(stills[0].SeriesInstanceUID)}
    )
    assert reply.status_code == 404
    assert "holds 3 images" in reply.json()["detail"]
    assert "SOPInstanceUID" in reply.json()["detail"]
    reply = server.get("/datastore/label/versions", params={"image": "1.2.3.4.5.6"})
    assert reply.status_code == 404 and "1.2.3.4.5.6" in reply.json()["detail"]


def test_the_next_sample_tells_the_uids_by_which_a_viewer_opens_it(server, stills, slices):
    known = {str(data.SOPInstanceUID): data for data in (*stills, *slices)}
    for client in "abc":
        sample = server.post("/activelearning/first", json={"client_id": client}).json()
        data = known[sample["SOPInstanceUID"]]
        assert [sample[uid] for uid in UIDS] == [str(data[uid].value) for uid in UIDS]
        assert sample["id"] in (sample["SOPInstanceUID"], sample["SeriesInstanceUID"])
