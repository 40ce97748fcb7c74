"""The prostate of MR-to-ultrasound pairs is imported with its mask, on the grid of its volume."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest

from lib.data.groups import read_groups
from lib.data.studies import list_items
from lib.datasets.mr_us_prostate import import_mr_us_prostate
from lib.errors import InputError
from lib.io.labels import read_label
from lib.io.read import read_image
from lib.phantoms.ultrasound.studies import gland_volume

SPACING = np.diag([2.0, 2.5, 3.0, 1.0])


def _save(file, array, affine=SPACING):
    file.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, affine), file)


@pytest.fixture
def source(tmp_path):
    root = tmp_path / "mrus"
    for name, seed in (("obs000", 1), ("obs001", 1), ("obs002", 2)):
        phantom = gland_volume(seed, (20, 28, 24), (3.0, 2.5, 2.0))
        image = np.clip(phantom.image + (name == "obs001"), 0, 255).astype(np.uint8).transpose()
        gland = (phantom.label > 0).astype(np.float64).transpose()
        _save(root / "fixed_images" / f"{name}.nii.gz", image)
        masks = np.stack([gland, np.zeros_like(gland)], -1)  # the second is a landmark
        _save(root / "fixed_labels" / f"{name}.nii.gz", masks)
    return root


def test_the_first_mask_is_the_label_and_alike_volumes_are_one_group(source, tmp_path):
    studies = tmp_path / "studies"
    report = import_mr_us_prostate(source, studies)
    assert report.figures == {"labelled": 3, "groups": 2}
    groups = {row.id: row.group for row in read_groups(studies)}
    assert groups["obs000"] == groups["obs001"] != groups["obs002"]
    items = list_items(studies, labelled=True)
    assert [item.id for item in items] == ["obs000", "obs001", "obs002"]
    for item, seed in zip(items, (1, 1, 2), strict=True):
        image = read_image(item.image, spatial_dims=3)
        assert image.geometry.spacing == (2.0, 2.5, 3.0)
        truth = gland_volume(seed, (20, 28, 24), (3.0, 2.5, 2.0)).label > 0
        np.testing.assert_array_equal(read_label(item.label, image), truth)


def test_a_volume_without_a_mask_has_no_label(source, tmp_path):
    (source / "fixed_labels" / "obs002.nii.gz").unlink()
    assert import_mr_us_prostate(source, tmp_path / "studies").figures["labelled"] == 2
    assert len(list_items(tmp_path / "studies", labelled=True)) == 2


def test_other_folders_and_masks_are_refused(source, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="has no volumes fixed_images"):
        import_mr_us_prostate(tmp_path / "empty", tmp_path / "studies")
    (source / "fixed_labels").rename(source / "labels")
    with pytest.raises(InputError, match="no mask fixed_labels/NAME.nii.gz for any of its 3"):
        import_mr_us_prostate(source, tmp_path / "studies")


def _cube(size=(24, 28, 20)):
    mask = np.zeros((*size, 2))
    mask[4:9, 5:9, 6:9, 0] = 1
    return mask


_COLOURS = np.zeros((24, 28, 20), np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]))


@pytest.mark.parametrize(
    ("mask", "affine", "told"),
    [
        (_cube((24, 28, 19)), SPACING, r"24x28x19 voxels at .* expected the grid of its volume"),
        (_cube(), np.eye(4), "expected the grid of its volume, 24x28x20"),
        (_cube(), np.diag([-2.0, 2.5, 3.0, 1.0]), r"\[-2 0 0 0, "),
        (_cube(), SPACING + [[0, 0, 0, 500], [0] * 4, [0] * 4, [0] * 4], r"\[2 0 0 500, "),
        (_cube() * 3, SPACING, "the first mask holds 0.0, 3.0; expected 0, and 1"),
        (_cube() * 0.4, SPACING, "holds 0.0, 0.4; expected"),
        (_cube()[..., ::-1], SPACING, "holds 0.0; expected"),
        (_cube() * np.nan, SPACING, "NaN or infinite"),
        (_COLOURS, SPACING, "holds colours; expected"),
    ],
)
def test_a_mask_that_is_not_of_its_volume_is_refused_by_name(source, tmp_path, mask, affine, told):
    _save(source / "fixed_labels" / "obs001.nii.gz", mask, affine)
    with pytest.raises(InputError, match=f"obs001.nii.gz.*({told})"):
        import_mr_us_prostate(source, tmp_path / "studies")


def test_a_torn_mask_is_refused_by_name(source, tmp_path):
    mask = source / "fixed_labels" / "obs001.nii.gz"
    mask.write_bytes(mask.read_bytes()[:90])
    with pytest.raises(InputError, match=r"obs001.nii.gz: no readable mask"):
        import_mr_us_prostate(source, tmp_path / "studies")


def test_masks_without_a_volume_are_counted(source, tmp_path):
    (source / "fixed_images" / "obs002.nii.gz").unlink()
    report = import_mr_us_prostate(source, tmp_path / "studies")
    assert "masks without a volume: 1" in report.lines[0]
