"""The breast found in a mammogram, cropped and turned, and the dense tissue in it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mammogram_samples import exam, write_mg
from scipy import ndimage

from lib.errors import InputError
from lib.mammography.breast import prepare_breast
from lib.mammography.dense_tissue import dense_mask
from lib.mammography.mammogram import read_mammogram
from lib.mammography.outline import find_breast

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"

# --- the breast ----------------------------------------------------------------------------------


@pytest.mark.parametrize("view", range(4))
def test_the_breast_is_found_cropped_and_turned(tmp_path, view):
    phantom = exam().views[view]
    prepared = prepare_breast(read_mammogram(write_mg(tmp_path / "a.dcm", view)), 160)
    left = phantom.view.laterality == "L"
    assert prepared.mirrored == left
    assert prepared.notes == ()
    assert prepared.breast[:, -2].sum() > 0.6 * prepared.breast.sum(0).max()
    assert prepared.pixels[~prepared.breast].max() == 0
    true = phantom.pixels > 0
    true[: true.shape[0] // 15, : true.shape[1] // 5] = False  # the letters
    true[: true.shape[0] // 15, -(true.shape[1] // 5) :] &= phantom.view.projection == "MLO"
    found = prepared.undo(prepared.breast) > 0
    overlap = 2 * (found & true).sum() / (found.sum() + true.sum())
    assert overlap > 0.95


def test_aspect_is_kept_and_the_rest_padded(tmp_path):
    mammogram = read_mammogram(write_mg(tmp_path / "a.dcm", 2))
    square, tall = prepare_breast(mammogram, 200), prepare_breast(mammogram, (200, 60))
    for prepared in (square, tall):
        top, left, bottom, right = prepared.box
        place = prepared.inner_box
        assert (place[3] - place[1]) / (place[2] - place[0]) == pytest.approx(
            (right - left) / (bottom - top), rel=0.03
        )
        assert prepared.spacing[0] == pytest.approx(prepared.spacing[1], rel=0.03)
    assert square.inner_box[2] - square.inner_box[0] == 200
    assert tall.pixels.shape == (200, 60) and tall.inner_box[1] == 0


def test_grey_values_do_not_depend_on_exposure_or_bits(tmp_path):
    mammogram = read_mammogram(write_mg(tmp_path / "a.dcm"))
    dim = replace(mammogram, pixels=mammogram.pixels * np.float32(0.4))
    one, two = (prepare_breast(m, 128) for m in (mammogram, dim))
    np.testing.assert_allclose(one.pixels[two.breast], two.pixels[two.breast], atol=0.02)
    inside = one.pixels[one.breast]
    assert inside.min() == 0 and inside.max() == 1
    both = one.breast & two.breast
    ratio = two.original_grey()[both].mean() / one.original_grey()[both].mean()
    assert ratio == pytest.approx(0.4, rel=0.02)
    assert one.original_grey().max() <= mammogram.pixels.max()


def test_letters_tape_and_film_edges_are_left_out():
    y, x = np.mgrid[:400, :300]
    breast = ((x - 299) / 190) ** 2 + ((y - 200) / 170) ** 2 < 1
    rng = np.random.default_rng(1)
    film = 0.12 + 0.02 * rng.standard_normal((400, 300)) + 0.05 * y / 400
    fading = ndimage.gaussian_filter(breast.astype(float), 8)
    film = np.where(breast, 0.2 + 0.5 * fading, film)
    film[20:50, 10:80] = 0.9  # a label
    film[:, :5] = 1.0  # the edge of the film
    film[392:, :] = 0.95
    found = find_breast(film.clip(0, 1).astype(np.float32))
    grid = ndimage.zoom(found.mask.astype(float), np.divide((400, 300), found.mask.shape), order=0)
    overlap = 2 * ((grid > 0.5) & breast).sum() / ((grid > 0.5).sum() + breast.sum())
    assert overlap > 0.97
    assert found.chest_wall == "right"


def test_fat_at_the_chest_wall_may_be_as_dark_as_the_background():
    y, x = np.mgrid[:400, :300]
    breast = ((x - 299) / 280) ** 2 + ((y - 200) / 195) ** 2 < 1
    depth = ndimage.distance_transform_edt(np.pad(breast, ((0, 0), (0, 300)), mode="edge"))[:, :300]
    view = np.where(depth < 30, 0.4, np.where(x < 180, 0.7, 0.001)) * breast
    found = find_breast(ndimage.gaussian_filter(view, 1).astype(np.float32))
    assert found.mask.mean() > 0.95 * breast.mean()
    assert (found.chest_wall, found.doubts) == ("right", ())


def test_the_image_decides_the_side_and_a_wrong_tag_is_told(tmp_path):
    mammogram = read_mammogram(write_mg(tmp_path / "a.dcm", 0))
    mirrored = replace(mammogram, pixels=np.ascontiguousarray(mammogram.pixels[:, ::-1]))
    right, turned = prepare_breast(mammogram, 128), prepare_breast(mirrored, 128)
    assert not right.mirrored and turned.mirrored
    np.testing.assert_allclose(right.pixels, turned.pixels, atol=0.1)
    assert any("mirrored" in note for note in turned.notes)


@pytest.mark.parametrize("view", [0, 3])
def test_undo_lays_a_mask_over_the_full_image(tmp_path, view):
    mammogram = read_mammogram(write_mg(tmp_path / "a.dcm", view))
    prepared = prepare_breast(mammogram, 200)
    full = prepared.undo(prepared.pixels, smooth=True)
    assert full.shape == mammogram.pixels.shape
    inside = prepared.undo(prepared.breast)
    assert np.corrcoef(full[inside], mammogram.pixels[inside])[0, 1] > 0.97
    assert full[~inside].max() < 0.3
    with pytest.raises(ValueError, match="expected"):
        prepared.undo(np.zeros((3, 3), bool))


def test_too_small_a_size_is_refused(tmp_path):
    with pytest.raises(InputError, match="too small"):
        prepare_breast(read_mammogram(write_mg(tmp_path / "a.dcm")), 8)


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="Linux tells peak memory")
def test_a_full_size_view_needs_little_memory(run_python, tmp_path):
    side = np.linspace(-1, 1, 4096)[:, None] ** 2 + np.linspace(0, 1.2, 3328)[None] ** 2
    path = write_mg(tmp_path / "a.dcm", pixels=np.where(side < 0.8, 3000 - 1500 * side, 0))
    ended = run_python(
        "-c",
        "import pathlib, sys\n"
        "from lib.mammography.mammogram import read_mammogram\n"
        "from lib.mammography.breast import prepare_breast\n"
        "from lib.mammography.dense_tissue import dense_mask\n"
        "prepared = prepare_breast(read_mammogram(sys.argv[1]), 650)\n"
        "prepared.undo(dense_mask(prepared).mask)\n"
        "status = pathlib.Path('/proc/self/status').read_text()\n"
        "print(status.split('VmHWM:')[1].split()[0])",
        str(path),
    )
    assert ended.returncode == 0, ended.stderr
    assert int(ended.stdout.split()[-1]) < 1024 * 1024  # KiB


# --- dense tissue --------------------------------------------------------------------------------


def test_percent_density_follows_the_true_share(tmp_path):
    true, found = [], []
    for number, density in enumerate("AABCCD"):
        for view in exam(number, density).views[::3]:
            top = 2**view.detector.bits - 1
            mammogram = replace(
                read_mammogram(write_mg(tmp_path / "a.dcm")),
                pixels=(view.pixels / top).astype(np.float32),
                view=view.view,
            )
            found.append(dense_mask(prepare_breast(mammogram, 192)).percent_density)
            true.append(100 * view.fraction)
    assert np.corrcoef(true, found)[0, 1] > 0.85
    assert np.abs(np.subtract(true, found)).mean() < 16


def test_the_dense_mask_covers_the_dense_tissue(tmp_path):
    view = exam().views[0]
    prepared = prepare_breast(read_mammogram(write_mg(tmp_path / "a.dcm")), 256)
    dense = dense_mask(prepared)
    found = prepared.undo(dense.mask)
    assert 2 * (found & view.dense).sum() / (found.sum() + view.dense.sum()) > 0.7
    assert not (dense.mask & ~prepared.breast).any()


@pytest.mark.parametrize(("rim", "joined"), [(0.2, True), (0.5, False)])
def test_strands_on_film_are_one_outline_and_digital_ones_stay_apart(tmp_path, rim, joined):
    prepared = prepare_breast(read_mammogram(write_mg(tmp_path / "a.dcm")), 256)
    rows, columns = (int(place.mean()) for place in np.nonzero(prepared.breast))
    pixels = np.where(prepared.breast, 0.3, 0).astype(np.float32)
    strands = np.zeros(pixels.shape, bool)
    for row in (rows - 9, rows, rows + 9):  # five pixels of fat between them
        strands[row - 2 : row + 2, columns - 20 : columns + 20] = True
    pixels[strands] = 0.9
    mask = dense_mask(replace(prepared, pixels=pixels, rim=rim)).mask
    assert mask[strands].mean() > 0.9
    between = mask[rows - 9 : rows + 9, columns - 10 : columns + 10].all()
    assert between == joined
    assert not mask[rows + 40 :].any() and not mask[: rows - 40].any()


def test_the_pectoral_muscle_is_no_dense_tissue(tmp_path):
    for view in (2, 3):
        phantom = exam().views[view]
        prepared = prepare_breast(read_mammogram(write_mg(tmp_path / "a.dcm", view)), 256)
        dense = dense_mask(prepared)
        muscle = (phantom.pixels > 0) & ~phantom.breast
        found = prepared.undo(dense.muscle)
        assert (found & muscle).sum() / (found | muscle).sum() > 0.6
        assert not (dense.mask & dense.muscle).any()
    assert not dense_mask(
        prepare_breast(read_mammogram(write_mg(tmp_path / "a.dcm", 0)), 256)
    ).muscle.any()


@pytest.mark.skipif(not (DATA / "mini_mias").is_dir(), reason="shared data are not here")
def test_films_have_their_chest_wall_at_the_side_of_their_number():
    for file in sorted((DATA / "mini_mias" / "images").glob("*.png"))[::12]:
        found = find_breast(read_mammogram(file).pixels, file.name)
        right = int(file.stem[3:]) % 2 == 1
        assert found.chest_wall == ("right" if right else "left"), file.name
        assert 0.1 < found.mask.mean() < 0.92
