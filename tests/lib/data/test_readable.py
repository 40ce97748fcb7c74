"""What can be read, and by which task; what lies beside the images of a folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from lib.data.passed_over import find_passed_over
from lib.data.readable import Look, look_at, unfit, unfit_for_all
from lib.phantoms.dicom_studies import frame_study, volume_study
from lib.tasks.registry import get_task

FLAT, VOLUME, EXAM = (get_task(name) for name in ("nuclei", "ultrasound3d_vnet", "density_birads"))


def _png(path: Path, rows: int = 16, columns: int = 20) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 255, (rows, columns), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def test_the_header_tells_the_size_and_the_end_of_the_file_whether_it_is_cut(tmp_path):
    path = _png(tmp_path / "a.png", 64, 64)
    path.write_bytes(path.read_bytes()[:2000])
    assert look_at(path, whole=False) == Look((64, 64))
    found = look_at(path, whole=True)
    assert found.whole and "a.png" in found.error and "truncated" in found.error


@pytest.mark.parametrize(
    ("shape", "word"), [((2, 3, 16, 16), "four.nii"), ((3, 16, 16), "")], ids=["4D", "3D"]
)
def test_a_series_of_volumes_is_no_sample(tmp_path, shape, word):
    path = tmp_path / "four.nii.gz"
    image = sitk.GetImageFromArray(np.zeros(shape, np.uint8), isVector=False)
    sitk.WriteImage(image, str(path))
    assert word in look_at(path, whole=False).error


def test_a_folder_that_is_named_as_an_image_has_a_reason(tmp_path):
    (tmp_path / "a.png").mkdir()
    assert "no such file" in look_at(tmp_path / "a.png", whole=True).error


@pytest.mark.parametrize(
    ("size", "task", "words"),
    [
        ((20, 16), FLAT, ()),
        ((20, 16, 5), FLAT, ()),
        ((20, 16, 5), VOLUME, ()),
        ((20, 16), VOLUME, ("2D image of 20 x 16", "answers volumes", "serve a 2D task")),
        ((20, 16), EXAM, ()),
        ((20, 16, 5), EXAM, ("20 x 16 x 5", "mammograms")),
        ((20, 7), FLAT, ("20 x 7", "at least 8")),
        ((9000, 9000), FLAT, ("9000 x 9000", "at most")),
    ],
)
def test_a_task_names_what_it_cannot_answer(size, task, words):
    reason = unfit(Look(size), "a.png", task)
    assert bool(reason) == bool(words)
    assert all(word in reason for word in ("a.png", *words) if words)


def test_an_image_that_one_of_the_tasks_answers_is_a_sample():
    flat = Look((20, 16))
    assert unfit_for_all(flat, "a.png", (VOLUME,))
    assert not unfit_for_all(flat, "a.png", (VOLUME, FLAT))
    assert not unfit_for_all(flat, "a.png", ())
    assert unfit_for_all(Look(error="cut"), "a.png", (VOLUME, FLAT)) == "cut"


def test_what_lies_in_subfolders_is_told_with_the_way_to_include_it(tmp_path):
    _png(tmp_path / "a.png")
    _png(tmp_path / "labels" / "final" / "a.png")
    _png(tmp_path / ".scores" / "b.png")
    assert find_passed_over(tmp_path).sentences == []
    _png(tmp_path / "more" / "b.png")
    for index, data in enumerate(volume_study(1, (6, 16, 16)).datasets):
        for name in ("CT_1/deep", "CT_2"):
            folder = tmp_path / name
            folder.mkdir(parents=True, exist_ok=True)
            data.save_as(folder / f"IM{index:03}", enforce_file_format=True)
    found = find_passed_over(tmp_path)
    assert found.files == 13 and found.images == {"more": 1}
    assert found.series == {"CT_1/deep": 6, "CT_2": 6}
    series, images = found.sentences
    for word in ("12 DICOM files in 2 subfolders", "CT_1/deep (6)", f"import dicom {tmp_path}"):
        assert word in series
    assert "1 image in 1 subfolder (more (1))" in images and "move them" in images


def test_slices_and_files_without_an_extension_at_the_top_are_told(tmp_path):
    for index, data in enumerate(volume_study(1, (4, 16, 16)).datasets):
        data.save_as(tmp_path / f"{index}.dcm", enforce_file_format=True)
    (frame,) = frame_study(1, (16, 16)).datasets
    frame.save_as(tmp_path / "IM0001", enforce_file_format=True)
    (tmp_path / "notes").write_text("no image")
    loose, slices = find_passed_over(tmp_path).sentences
    assert "1 DICOM file without an extension, such as IM0001" in loose
    assert "4 DICOM files at the top are slices of 1 series" in slices and "import dicom" in slices


def test_labels_and_images_side_by_side_are_no_subfolders(tmp_path):
    _png(tmp_path / "images" / "a.png")
    _png(tmp_path / "labels" / "a.png")
    assert find_passed_over(tmp_path).files == 0
