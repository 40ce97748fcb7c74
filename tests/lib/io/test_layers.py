"""Label files as people have them: read as what they say, or refused with the reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import tifffile
from PIL import Image as PillowImage

from lib.errors import InputError
from lib.io.labels import read_label
from lib.io.layers import is_plain, label_names, read_label_file

LABEL = np.kron(np.arange(12).reshape(3, 4), np.ones((5, 6), int)).astype(np.uint8)
VOLUME = np.stack([LABEL, LABEL[::-1]])
STRUCTURES = np.stack([VOLUME == 3, VOLUME == 7], -1).astype(np.uint8)


def _palette(mode: str = "P") -> PillowImage.Image:
    picture = PillowImage.fromarray(LABEL)
    picture.putpalette(np.random.default_rng(0).integers(0, 255, 768).astype(np.uint8).tobytes())
    return picture if mode == "P" else picture.convert("PA")


def _write(path: Path, pixels: np.ndarray, vector: bool = False, **metadata: object) -> Path:
    image = sitk.GetImageFromArray(pixels, isVector=vector)
    for key, value in metadata.items():
        image.SetMetaData(key, str(value))
    sitk.WriteImage(image, str(path))
    return path


def _layered(path: Path, layers: np.ndarray, *segments: tuple[str, int, int]) -> Path:
    """Write a .seg.nrrd as 3D Slicer does; segments are (name, layer, value)."""
    metadata: dict[str, object] = {}
    for number, (name, layer, value) in enumerate(segments):
        metadata |= {f"Segment{number}_Name": name, f"Segment{number}_Layer": layer}
        metadata |= {
            f"Segment{number}_LabelValue": value,
            f"Segment{number}_ID": f"Segment_{number}",
        }
    return _write(path, layers, True, **metadata)


@pytest.mark.parametrize("name", ["m.png", "m.tif", "m.bmp"])
def test_the_indices_of_a_palette_are_the_labels(tmp_path, name):
    _palette().save(tmp_path / name)
    np.testing.assert_array_equal(read_label(tmp_path / name, LABEL.shape), LABEL)
    assert not is_plain(tmp_path / name)


def test_a_palette_of_few_colours_is_packed_in_bits_and_read_all_the_same(tmp_path):
    picture = PillowImage.fromarray((LABEL > 5).astype(np.uint8))
    picture.putpalette([0, 0, 0, 200, 10, 10])
    picture.save(tmp_path / "m.png", bits=1)
    np.testing.assert_array_equal(read_label(tmp_path / "m.png"), LABEL > 5)


def test_pages_with_palettes_are_a_volume(tmp_path):
    other = PillowImage.fromarray(LABEL[::-1].copy())
    other.putpalette(_palette().getpalette())
    _palette().save(tmp_path / "m.tif", save_all=True, append_images=[other])
    np.testing.assert_array_equal(read_label(tmp_path / "m.tif", VOLUME.shape), VOLUME)


@pytest.mark.parametrize(("bits", "top"), [(1, 1), (2, 3), (4, 11)])
def test_values_of_few_bits_are_those_in_the_file(tmp_path, bits, top):
    label = np.minimum(LABEL, top)
    # a PNG of grey with so few bits, which Pillow writes for palettes only
    picture = PillowImage.fromarray(label)
    picture.putpalette(bytes(range(48)))
    picture.save(tmp_path / "p.png", bits=bits)
    content = bytearray((tmp_path / "p.png").read_bytes())
    assert content[24:26] == bytes((bits, 3))
    import zlib

    content[25] = 0
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    start = content.index(b"PLTE") - 4
    length = int.from_bytes(content[start : start + 4], "big")
    del content[start : start + 12 + length]
    (tmp_path / "m.png").write_bytes(content)
    np.testing.assert_array_equal(read_label(tmp_path / "m.png"), label)


def test_colours_are_refused_with_their_number(tmp_path):
    _palette().convert("RGB").save(tmp_path / "m.png")
    with pytest.raises(InputError, match=r"found 12 colours, which two objects may share"):
        read_label(tmp_path / "m.png")


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_a_drawing_in_the_transparency_alone_is_refused(tmp_path, mode):
    white = PillowImage.new("L", LABEL.shape[::-1], 255).convert(mode)
    white.putalpha(PillowImage.fromarray(((LABEL > 3) * 255).astype(np.uint8)))
    white.save(tmp_path / "m.png")
    with pytest.raises(InputError, match="120 pixels with a label are fully transparent"):
        read_label(tmp_path / "m.png")
    grey = PillowImage.fromarray(LABEL).convert(mode)
    grey.putalpha(PillowImage.fromarray(((LABEL > 0) * 255).astype(np.uint8)))
    grey.save(tmp_path / "m.png")
    np.testing.assert_array_equal(read_label(tmp_path / "m.png"), LABEL)


def test_probabilities_and_values_below_zero_are_refused_with_what_to_do(tmp_path):
    tifffile.imwrite(tmp_path / "m.tif", LABEL * np.float32(0.7))
    with pytest.raises(InputError, match=r"found fractions such as 0\.7; threshold probabilities"):
        read_label(tmp_path / "m.tif")
    tifffile.imwrite(tmp_path / "m.tif", np.where(LABEL > 0, LABEL.astype(np.int16), -1))
    with pytest.raises(InputError, match=r"found -1\.\.11; save background as 0"):
        read_label(tmp_path / "m.tif")


@pytest.mark.parametrize("dtype", [np.uint32, np.uint64, np.int64, np.float64])
def test_big_numbers_stay_apart(tmp_path, dtype):
    tifffile.imwrite(tmp_path / "m.tif", (LABEL.astype(np.int64) * 100_000_003).astype(dtype))
    np.testing.assert_array_equal(read_label(tmp_path / "m.tif"), LABEL.astype(int) * 100_000_003)


@pytest.mark.parametrize("name", ["a_seg.npy", "a_seg.npz"])
def test_the_arrays_of_cellpose_are_never_opened(tmp_path, name):
    np.save(tmp_path / "a.npy", {"masks": LABEL})
    (tmp_path / "a.npy").rename(tmp_path / name)
    with pytest.raises(InputError, match="pickled objects, which may run code.* PNG or TIFF"):
        read_label(tmp_path / name)


@pytest.mark.parametrize("suffix", [".nrrd", ".nii.gz", ".mha"])
@pytest.mark.parametrize("axis", ["vector", "fourth"])
@pytest.mark.parametrize("top", [1, 255])
def test_one_hot_channels_are_numbered(tmp_path, suffix, axis, top):
    layers = STRUCTURES * np.uint8(top)
    vector = axis == "vector"
    pixels = layers if vector else np.moveaxis(layers, -1, 0)
    path = _write(tmp_path / f"m{suffix}", pixels, vector)
    expected = np.where(VOLUME == 3, 1, np.where(VOLUME == 7, 2, 0))
    np.testing.assert_array_equal(read_label(path, VOLUME.shape), expected)


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_one_hot_channels_of_an_image_are_numbered_and_a_first_one_may_be_background(
    tmp_path, count
):
    layers = np.stack([LABEL == value for value in range(1, count + 1)], -1).astype(np.uint8)
    expected = np.where(LABEL <= count, LABEL, 0)
    path = _write(tmp_path / "m.nrrd", layers, True)
    np.testing.assert_array_equal(read_label(path, LABEL.shape), expected)
    background = (expected == 0)[..., np.newaxis].astype(np.uint8)
    _write(path, np.concatenate([background, layers], -1), True)
    np.testing.assert_array_equal(read_label(path, LABEL.shape), expected)


@pytest.mark.parametrize("samples", [True, False])
def test_one_hot_channels_of_a_tiff_are_numbered(tmp_path, samples):
    layers = np.stack([LABEL == value for value in range(1, 5)]).astype(np.uint8)
    layout = {"planarconfig": "separate"} if samples else {"metadata": {"axes": "CYX"}}
    tifffile.imwrite(tmp_path / "m.tif", layers, photometric="minisblack", **layout)
    expected = np.where(LABEL <= 4, LABEL, 0)
    np.testing.assert_array_equal(read_label(tmp_path / "m.tif", LABEL.shape), expected)


def test_layers_that_overlap_are_refused_with_both_names(tmp_path):
    layers = STRUCTURES.copy()
    layers[0, 0, :5] = 1
    path = _write(tmp_path / "m.nrrd", layers, True)
    with pytest.raises(InputError, match="'layer 1' and 'layer 2' overlap in 5 pixels"):
        read_label(path, VOLUME.shape)
    path = _layered(tmp_path / "s.seg.nrrd", layers, ("gland", 0, 1), ("cyst", 1, 1))
    with pytest.raises(InputError, match="'gland' and 'cyst' overlap in 5 pixels"):
        read_label(path, VOLUME.shape)


def test_layers_of_several_values_without_names_are_refused_where_they_mean_two_things(tmp_path):
    layers = np.stack([np.minimum(VOLUME, 2), np.minimum(VOLUME[::-1], 2)], -1)
    path = _write(tmp_path / "m.nrrd", layers, True)
    with pytest.raises(InputError, match="2 layers hold the same values and no names"):
        read_label(path, VOLUME.shape)


def test_segments_of_layers_keep_their_names_and_none_is_dropped(tmp_path):
    layers = np.stack([np.where(VOLUME == 3, 1, np.where(VOLUME == 5, 2, 0)), VOLUME == 7], -1)
    segments = ("gland", 0, 1), ("duct", 0, 2), ("cyst", 1, 1)
    path = _layered(tmp_path / "s.seg.nrrd", layers.astype(np.uint8), *segments)
    names = dict(label_names(path))
    label = read_label(path, VOLUME.shape)
    for name, value in (("gland", 3), ("duct", 5), ("cyst", 7)):
        np.testing.assert_array_equal(label == names[name], VOLUME == value)
    assert len(set(names.values())) == 3


def test_layers_of_the_old_slicer_have_one_segment_each(tmp_path):
    path = _write(
        tmp_path / "s.seg.nrrd", STRUCTURES, True, Segment0_Name="gland", Segment1_Name="cyst"
    )
    assert label_names(path) == (("gland", 1), ("cyst", 2))
    expected = np.where(VOLUME == 3, 1, np.where(VOLUME == 7, 2, 0))
    np.testing.assert_array_equal(read_label(path, VOLUME.shape), expected)


def test_the_scribbles_of_slicer_are_no_structures(tmp_path):
    segments = ("background", 0, 1), ("gland", 1, 1)
    path = _layered(tmp_path / "s.seg.nrrd", STRUCTURES, *segments)
    np.testing.assert_array_equal(read_label(path, VOLUME.shape) > 0, VOLUME == 7)
    one = np.minimum(VOLUME, 2)
    metadata = {"Segment0_Name": "gland", "Segment0_LabelValue": 2}
    metadata |= {"Segment1_Name": "Background", "Segment1_LabelValue": 1}
    _write(path, one, **metadata)
    assert dict(label_names(path)) == {"gland": 2, "Background": 0}
    np.testing.assert_array_equal(read_label(path, VOLUME.shape), np.where(one == 2, 2, 0))


@pytest.mark.parametrize("layer", [5, "x"])
def test_a_damaged_description_of_segments_is_refused(tmp_path, layer):
    path = _layered(tmp_path / "s.seg.nrrd", STRUCTURES, ("gland", layer, 1), ("cyst", 1, 1))
    with pytest.raises(InputError, match=r"s\.seg\.nrrd: .* export it again"):
        read_label(path, VOLUME.shape)


def test_a_value_of_a_layer_that_no_segment_has_is_refused(tmp_path):
    path = _layered(tmp_path / "s.seg.nrrd", STRUCTURES * np.uint8(4), ("gland", 0, 4))
    with pytest.raises(InputError, match="layer 1 holds the values 4, which no segment"):
        read_label(path, VOLUME.shape)


def test_a_segmentation_of_one_slice_is_the_label_of_an_image(tmp_path):
    path = _write(tmp_path / "s.seg.nrrd", LABEL[np.newaxis], Segment0_Name="nuclei")
    np.testing.assert_array_equal(read_label(path, LABEL.shape), LABEL)


def test_two_segments_of_one_value_are_refused_with_both_names(tmp_path):
    file = tmp_path / "a.seg.nrrd"
    image = sitk.GetImageFromArray(np.ones((2, 3, 4), np.uint8))
    for number, name in enumerate(("gland", "cyst")):
        image.SetMetaData(f"Segment{number}_Name", name)
        image.SetMetaData(f"Segment{number}_LabelValue", "1")
    sitk.WriteImage(image, str(file))
    with pytest.raises(InputError, match="'gland' and 'cyst' are both said to be value 1"):
        label_names(file)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numbers_that_single_precision_does_not_tell_apart_are_refused(tmp_path, dtype):
    values = np.array([[2**24, 2**24 + 1]], np.float64)
    tifffile.imwrite(tmp_path / "a.tif", np.tile(values, (8, 4)).astype(dtype))
    if dtype == np.float64:
        found = read_label_file(tmp_path / "a.tif", 2).pixels
        assert set(np.unique(found)) == {2**24, 2**24 + 1}
    else:
        with pytest.raises(InputError, match="tells no neighbours apart from 16777216 on"):
            read_label_file(tmp_path / "a.tif", 2)


@pytest.mark.parametrize("dtype", [bool, np.uint8])
def test_a_picture_that_counts_down_from_white_is_refused(tmp_path, dtype):
    tifffile.imwrite(tmp_path / "a.tif", np.eye(8).astype(dtype), photometric="miniswhite")
    with pytest.raises(InputError, match="MinIsWhite"):
        read_label_file(tmp_path / "a.tif", 2)


def test_a_segment_of_a_number_without_end_is_none(tmp_path):
    path = _write(tmp_path / "s.seg.nrrd", LABEL, **{f"Segment{'9' * 5000}_Name": "nuclei"})
    np.testing.assert_array_equal(read_label(path, LABEL.shape), LABEL)
    assert label_names(path) == ()
