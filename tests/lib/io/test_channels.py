"""Channels are chosen by name or number, by who asks or by channels.csv of the folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import tifffile
from PIL import Image as PillowImage

from lib.data.studies import fingerprint_of, list_items
from lib.errors import InputError
from lib.image import MAX_VOXELS
from lib.io.channels import SeveralChannelsError, choose_channel
from lib.io.read import default_channel, image_size, read_image

PIXELS = np.random.default_rng(0).integers(0, 250, (4, 20, 30)).astype(np.uint16)


def _write(path: Path, names: tuple[str, ...] = ()) -> Path:
    metadata = {"axes": "CYX", **({"Channel": {"Name": list(names)}} if names else {})}
    tifffile.imwrite(path, PIXELS, photometric="minisblack", metadata=metadata)
    return path


# --- the choice ----------------------------------------------------------------------------------


def test_a_name_counts_before_a_number():
    assert choose_channel("a", ("488", "1", "405"), "1") == 1
    assert choose_channel("a", ("488", "1", "405"), "3") == 2
    assert choose_channel("a", ("488", "1", "405"), "405") == 2


@pytest.mark.parametrize("asked", ["0", "4", "-1", "1.0", "green", "9" * 80, "9" * 5000])
def test_what_is_no_channel_is_refused(asked):
    with pytest.raises(
        InputError, match=rf"no channel '{asked[:80]}', it has 3 channels without names"
    ):
        choose_channel("a.tif", ("", "", ""), asked)


def test_a_name_of_several_channels_is_refused_and_their_numbers_told():
    with pytest.raises(
        InputError, match="channels 1 and 3 are all named 'dapi'; choose one by its"
    ):
        choose_channel("a.tif", ("DAPI", "GFP", "DAPI"), "dapi")


@pytest.mark.parametrize("stain", ["DAPI", "Hoechst 33342", "DRAQ5", "H2B-mCherry", "Nuclei"])
def test_the_one_nuclear_stain_is_suggested_but_not_taken(stain):
    with pytest.raises(SeveralChannelsError, match=f"for nuclei probably '{stain}'$"):
        choose_channel("a.tif", ("GFP", stain), "")
    with pytest.raises(SeveralChannelsError, match="in its folder$"):
        choose_channel("a.tif", ("DAPI", stain, "DAPI"), "")


# --- channels.csv --------------------------------------------------------------------------------


def test_the_folder_chooses_for_its_images_the_very_id_first(tmp_path):
    (tmp_path / "channels.csv").write_text("id,channel\n*,DAPI\na,GFP\n")
    for name in ("a", "b"):
        _write(tmp_path / f"{name}.tif", ("GFP", "DAPI", "Cy3", "Cy5"))
    assert read_image(tmp_path / "a.tif").channel == "GFP"
    assert read_image(tmp_path / "b.tif").channel == "DAPI"
    assert read_image(tmp_path / "b.tif", channel="Cy5").channel == "Cy5"


@pytest.mark.parametrize(
    "text", ["b.tif,2", "id,channel\r\nb*,2\r\n", "\ufeffid,channel\n[ab],2\n\n"]
)
def test_rows_are_ids_names_or_patterns(tmp_path, text):
    (tmp_path / "channels.csv").write_text(text, encoding="utf-8")
    assert default_channel(tmp_path / "b.tif") == "2"
    assert default_channel(tmp_path / "x.tif") == ""


def test_the_table_stands_above_images_where_labels_lie_beside_them(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "channels.csv").write_text("*,3\n")
    path = _write(tmp_path / "images" / "a.tif")
    np.testing.assert_array_equal(read_image(path).pixels, PIXELS[2])


def test_a_changed_table_counts_at_once(tmp_path):
    path = _write(tmp_path / "a.tif")
    for number in ("1", "4", "10"):
        (tmp_path / "channels.csv").write_text(f"*,{number}\n")
        assert default_channel(path) == number


def test_a_line_that_is_no_row_is_named(tmp_path):
    (tmp_path / "channels.csv").write_text("id,channel\na.tif;DAPI\n")
    with pytest.raises(InputError, match=r"^channels\.csv: found the line 'a\.tif;DAPI', expected"):
        read_image(_write(tmp_path / "a.tif"))


def test_a_folder_choice_leaves_images_of_one_channel_as_they_are(tmp_path):
    grey, colour = PIXELS[0].astype(np.uint8), np.moveaxis(PIXELS[:3], 0, -1).astype(np.uint8)
    PillowImage.fromarray(grey).save(tmp_path / "grey.png")
    PillowImage.fromarray(colour).save(tmp_path / "colour.png")
    (tmp_path / "channels.csv").write_text("*,DAPI\n")
    assert read_image(tmp_path / "grey.png").facts == {}
    assert read_image(tmp_path / "colour.png").colour
    (tmp_path / "channels.csv").write_text("*,blue\n")
    np.testing.assert_array_equal(read_image(tmp_path / "colour.png").pixels, colour[..., 2])
    assert read_image(tmp_path / "grey.png").facts == {}


@pytest.mark.parametrize("kind", [".png", ".bmp", ".nrrd"])
def test_a_channel_that_was_asked_for_and_is_not_there_is_refused(tmp_path, kind):
    grey = PIXELS[0].astype(np.uint8)
    sitk.WriteImage(sitk.GetImageFromArray(grey), str(tmp_path / f"a{kind}"))
    np.testing.assert_array_equal(read_image(tmp_path / f"a{kind}", channel="1").pixels, grey)
    for asked in ("2", "DAPI"):
        with pytest.raises(InputError, match=f"no channel '{asked}', it has one channel without a"):
            read_image(tmp_path / f"a{kind}", channel=asked)


def test_another_channel_is_other_data(tmp_path):
    _write(tmp_path / "a.tif")
    before = fingerprint_of(list_items(tmp_path))
    (tmp_path / "channels.csv").write_text("*,2\n")
    after = fingerprint_of(list_items(tmp_path))
    (tmp_path / "channels.csv").write_text("*,3\n")
    assert len({before, after, fingerprint_of(list_items(tmp_path))}) == 3


# --- NRRD, NIfTI, MetaImage ----------------------------------------------------------------------


@pytest.mark.parametrize("kind", [".nrrd", ".nii.gz", ".mha"])
@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("count", [2, 4, 5])
def test_components_of_a_voxel_are_channels(tmp_path, kind, axes, count):
    shape = (5, 20, 30, count)[3 - axes :]
    voxels = np.random.default_rng(1).integers(0, 250, shape).astype(np.uint16)
    path = tmp_path / f"a{kind}"
    sitk.WriteImage(sitk.GetImageFromArray(voxels, isVector=True), str(path))
    with pytest.raises(SeveralChannelsError, match=f"has {count} channels without names"):
        read_image(path, MAX_VOXELS, None)
    image = read_image(path, MAX_VOXELS, None, "2")
    np.testing.assert_array_equal(image.pixels, voxels[..., 1])
    assert image.channel == "2"
    assert image_size(path) == shape[-2::-1]


@pytest.mark.parametrize("kind", [".nrrd", ".nii.gz", ".mha"])
def test_three_real_components_are_no_colour(tmp_path, kind):
    voxels = np.random.default_rng(1).normal(size=(20, 30, 3)).astype(np.float32)
    sitk.WriteImage(sitk.GetImageFromArray(voxels, isVector=True), str(tmp_path / f"a{kind}"))
    with pytest.raises(SeveralChannelsError, match="has 3 channels"):
        read_image(tmp_path / f"a{kind}")
    found = read_image(tmp_path / f"a{kind}", channel="3").pixels
    np.testing.assert_array_equal(found, voxels[..., 2])


def test_alpha_of_a_nrrd_is_dropped_where_its_kind_says_alpha(tmp_path):
    colours = np.random.default_rng(1).integers(0, 250, (20, 30, 4)).astype(np.uint8)
    header = "NRRD0004\ntype: uint8\ndimension: 3\nsizes: 4 30 20\nkinds: {} domain domain\n"
    for name in ("RGBA-color", "vector"):
        content = header.format(name).encode() + b"encoding: raw\n\n" + colours.tobytes()
        (tmp_path / f"{name}.nrrd").write_bytes(content)
    np.testing.assert_array_equal(read_image(tmp_path / "RGBA-color.nrrd").pixels, colours[..., :3])
    with pytest.raises(SeveralChannelsError):
        read_image(tmp_path / "vector.nrrd")


@pytest.mark.parametrize("kind", [".nrrd", ".nii.gz", ".mha"])
def test_a_volume_of_a_series_is_read_if_asked_for_by_number(tmp_path, kind):
    voxels = np.random.default_rng(1).integers(0, 250, (3, 5, 20, 30)).astype(np.uint16)
    path = tmp_path / f"a{kind}"
    sitk.WriteImage(sitk.GetImageFromArray(voxels, isVector=False), str(path))
    image = read_image(path, MAX_VOXELS, 3, "2")
    np.testing.assert_array_equal(image.pixels, voxels[1])
    assert image.channel == "2"
    assert image_size(path, "2") == (30, 20, 5)
    with pytest.raises(InputError, match="a series of 30 x 20 x 5 x 3, expected one volume"):
        read_image(path, MAX_VOXELS, 3)
