"""`import dicom`: series of slices become volumes with their geometry, other images are copied."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_label_samples import OBLIQUE, decimals, enhanced, item, positions, write

from lib.data.groups import read_groups
from lib.data.studies import list_items
from lib.datasets.importers import IMPORTERS
from lib.errors import InputError
from lib.io.read import read_image
from lib.phantoms.dicom_studies import DemoStudy, cine_study, frame_study, volume_study


def _export(folder: Path, study: DemoStudy, name: str = "IM{:03}") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for index, data in enumerate(study.datasets):
        data.save_as(folder / name.format(index), enforce_file_format=True)
    return folder


def _import(source: Path, studies: Path):
    return IMPORTERS["dicom"].run(source, studies)


def test_slices_become_the_volume_that_itk_reads(tmp_path):
    study = volume_study(3, (6, 16, 20))
    folder = _export(tmp_path / "export" / "PAT1" / "T1", study)
    report = _import(tmp_path / "export", tmp_path / "studies")
    assert report.images == 1 and "1 images of 1 series" in report.lines[0]
    (item,) = list_items(tmp_path / "studies")
    assert item.id == "T1" and item.group == str(study.datasets[0].PatientID)
    got = sitk.ReadImage(str(item.image))
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    true = reader.Execute()
    for ask in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
        assert getattr(got, ask)() == pytest.approx(getattr(true, ask)(), abs=1e-6)
    assert np.array_equal(sitk.GetArrayFromImage(got), sitk.GetArrayFromImage(true))


def test_frames_and_loops_are_copied_and_series_of_one_folder_told_apart(tmp_path):
    export = tmp_path / "export"
    _export(export / "US", frame_study(1, (48, 64)), "frame.dcm")
    _export(export / "US", cine_study(2, 4, (48, 64)), "loop.dcm")
    _export(export / "MR", volume_study(3, (4, 16, 16)), "a{:03}.dcm")
    _export(export / "MR", volume_study(4, (5, 16, 16)), "b{:03}.dcm")
    report = _import(export, tmp_path / "studies")
    assert report.images == 4
    shapes = sorted(
        read_image(item.image, spatial_dims=None).shape for item in list_items(tmp_path / "studies")
    )
    assert shapes == [(4, 16, 16), (4, 48, 64), (5, 16, 16), (48, 64)]
    assert len(read_groups(tmp_path / "studies")) == 4


def test_a_bad_series_is_left_out_with_its_reason_and_the_others_come(tmp_path):
    study = volume_study(3, (6, 16, 16))
    _export(tmp_path / "export" / "good", study)
    broken = _export(tmp_path / "export" / "gap", volume_study(4, (6, 16, 16)))
    by_position = sorted(broken.iterdir(), key=lambda file: sitk.ReadImage(str(file)).GetOrigin())
    by_position[2].unlink()
    (tmp_path / "export" / "gap" / "README.dcm").write_text("no DICOM")
    report = _import(tmp_path / "export", tmp_path / "studies")
    assert [item.id for item in list_items(tmp_path / "studies")] == ["good"]
    reasons = " ".join(report.figures["left_out"])
    assert "README.dcm" in reasons and "gap" in reasons and "missing" in reasons


def test_the_times_of_a_series_become_a_volume_each(tmp_path):
    studies = [volume_study(3, (4, 16, 16)) for _ in range(2)]
    for time, study in enumerate(studies, start=1):
        for data in study.datasets:
            data.SeriesInstanceUID = studies[0].datasets[0].SeriesInstanceUID
            data.SOPInstanceUID = f"{data.SOPInstanceUID}.{time}"
            data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
            data.TemporalPositionIdentifier = time
        _export(tmp_path / "export" / "DCE", study, f"{time}_{{}}")
    assert _import(tmp_path / "export", tmp_path / "studies").images == 2
    ids = [item.id for item in list_items(tmp_path / "studies")]
    assert ids == ["DCE_time-1", "DCE_time-2"]
    shapes = {read_image(tmp_path / "studies" / f"{id}.nrrd", spatial_dims=3).shape for id in ids}
    assert shapes == {(4, 16, 16)}


def test_the_stacks_of_a_file_become_a_volume_each(tmp_path):
    data = enhanced(5, OBLIQUE)
    data.PerFrameFunctionalGroupsSequence = [
        item(
            PlanePositionSequence=[item(ImagePositionPatient=decimals(place))],
            FrameContentSequence=[item(StackID="A" if index < 3 else "B")],
        )
        for index, place in enumerate(positions(5, OBLIQUE))
    ]
    (tmp_path / "export" / "MR").mkdir(parents=True)
    write(data, tmp_path / "export" / "MR" / "IM1")
    assert _import(tmp_path / "export", tmp_path / "studies").images == 2
    items = list_items(tmp_path / "studies")
    found = {one.id: read_image(one.image, spatial_dims=3) for one in items}
    assert {id: image.shape[0] for id, image in found.items()} == {
        "MR_IM1_stack-A": 3,
        "MR_IM1_stack-B": 2,
    }


def test_a_second_import_into_the_same_folder_adds_nothing_and_keeps_what_is_there(tmp_path):
    studies = tmp_path / "studies"
    _export(studies / "CT", volume_study(3, (4, 16, 16)))
    _export(studies, frame_study(1, (48, 64)), "top.dcm")
    for _ in range(2):
        _import(studies, studies)
        assert {item.id for item in list_items(studies)} == {"CT", "top"}


@pytest.mark.parametrize("content", ["", "no DICOM"])
def test_a_folder_without_dicom_images_is_refused(tmp_path, content):
    folder = tmp_path / "export"
    folder.mkdir()
    if content:
        (folder / "a.dcm").write_text(content)
    with pytest.raises(InputError, match="no images in .*expected series of DICOM images"):
        _import(folder, tmp_path / "studies")
