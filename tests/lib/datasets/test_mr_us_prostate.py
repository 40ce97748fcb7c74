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
    mask = source / "fixed_labels" / "obs001.nii.gz"
    _save(mask, np.zeros((24, 28, 19, 2)))
    with pytest.raises(InputError, match=r"obs001.nii.gz: \(24, 28, 19\) voxels .* expected"):
        import_mr_us_prostate(source, tmp_path / "studies")
    _save(mask, np.zeros((24, 28, 20, 2)), np.eye(4))
    with pytest.raises(InputError, match="expected the grid of its image"):
        import_mr_us_prostate(source, tmp_path / "studies")
    mask.write_bytes(mask.read_bytes()[:90])
    with pytest.raises(InputError, match=r"obs001.nii.gz: no readable mask"):
        import_mr_us_prostate(source, tmp_path / "studies")
