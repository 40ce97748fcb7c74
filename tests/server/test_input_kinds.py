"""Every kind of image comes back with a mask of its own size and geometry, whatever the file type.

The weights answer 1 where a pixel is brighter than half the image's range, so that for drawn discs
the right mask is known.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import tifffile
from PIL import Image
from server_support import MODEL, Server, discs, read_itk, read_png, write_dicom, write_png

ROWS, COLUMNS = 100, 148
SPACING, ORIGIN = (0.25, 0.5), (7.0, -3.0)


def grey(pixels: np.ndarray, file: Path) -> None:
    Image.fromarray(pixels).save(file)


def grey_16_bit(pixels: np.ndarray, file: Path) -> None:
    Image.fromarray(pixels.astype(np.uint16) * 200).save(file)


def colour(pixels: np.ndarray, file: Path) -> None:
    Image.fromarray(np.stack([pixels, pixels // 2, pixels], axis=2)).save(file)


def colour_16_bit(pixels: np.ndarray, file: Path) -> None:
    tifffile.imwrite(file, np.stack([pixels.astype(np.uint16) * 200] * 3, axis=2))


def transparent(pixels: np.ndarray, file: Path) -> None:
    alpha = np.arange(pixels.size, dtype=np.uint8).reshape(pixels.shape)
    Image.fromarray(np.dstack([pixels, pixels, pixels, alpha])).save(file)


def palette(pixels: np.ndarray, file: Path) -> None:
    picture = Image.fromarray((pixels > 100).astype(np.uint8), mode="P")
    picture.putpalette([0, 0, 0, 250, 240, 250])
    picture.save(file)


def itk(pixels: np.ndarray, file: Path) -> None:
    image = sitk.GetImageFromArray(pixels.astype(np.uint16) * 10)
    image.SetSpacing(SPACING)
    image.SetOrigin(ORIGIN)
    image.SetDirection((0, -1, 1, 0))
    sitk.WriteImage(image, str(file))


def itk_slice(pixels: np.ndarray, file: Path) -> None:
    image = sitk.GetImageFromArray(pixels[np.newaxis].astype(np.float32) / 7)
    image.SetSpacing((*SPACING, 2.5))
    image.SetOrigin((*ORIGIN, 11.0))
    image.SetDirection((1, 0, 0, 0, 0, -1, 0, 1, 0))
    sitk.WriteImage(image, str(file))


def dicom(pixels: np.ndarray, file: Path) -> None:
    write_dicom(
        file,
        pixels.astype(np.uint16) * 9,
        PixelSpacing=[SPACING[1], SPACING[0]],
        ImagePositionPatient=[*ORIGIN, 4.0],
        ImageOrientationPatient=[0, 1, 0, 0, 0, -1],
    )


@dataclass(frozen=True)
class Kind:
    write: Callable[[np.ndarray, Path], None]
    extension: str
    lossy: bool = False
    spatial: bool = False

    def __str__(self) -> str:
        return f"{self.write.__name__}{self.extension}"


KINDS = [
    *(Kind(grey, ext) for ext in (".png", ".tif", ".tiff", ".bmp")),
    *(Kind(grey, ext, lossy=True) for ext in (".jpg", ".jpeg")),
    *(Kind(grey_16_bit, ext) for ext in (".png", ".tif")),
    *(Kind(colour, ext) for ext in (".png", ".tif", ".bmp")),
    Kind(colour, ".jpg", lossy=True),
    Kind(colour_16_bit, ".tif"),
    *(Kind(transparent, ext) for ext in (".png", ".tif")),
    *(Kind(palette, ext) for ext in (".png", ".tif", ".bmp")),
    *(Kind(itk, ext, spatial=True) for ext in (".nrrd", ".nii", ".nii.gz", ".mha")),
    *(Kind(itk_slice, ext, spatial=True) for ext in (".nrrd", ".nii.gz")),
    Kind(dicom, ".dcm", spatial=True),
]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_the_mask_has_the_size_and_geometry_of_the_image(
    calm: Server, tmp_path: Path, kind: Kind
) -> None:
    pixels = discs(ROWS, COLUMNS)
    file = tmp_path / f"kind{kind.extension}"
    kind.write(pixels, file)
    image = f"kind_{kind}".replace(".", "_")
    reply = calm.add_image(file, image)
    assert reply.ok, reply.text
    try:
        for extension in (".nrrd", ".nii.gz", ".png"):
            params = {"result": "mask", "result_extension": extension}
            answer = calm.infer(image, json.dumps(params))
            assert answer.ok, answer.text
            mask = read_itk(answer.content, extension)
            values = np.squeeze(sitk.GetArrayFromImage(mask))
            assert values.shape == (ROWS, COLUMNS)
            wrong = (values != (pixels > 100)).mean()
            assert wrong < (0.02 if kind.lossy else 1e-9), f"{wrong:.3%} wrong in {extension}"
            if kind.spatial and extension != ".png":
                assert_same_grid(mask, sitk.ReadImage(str(file)))
    finally:
        calm.delete("/datastore/image", params={"id": image})


def assert_same_grid(mask: sitk.Image, image: sitk.Image) -> None:
    assert mask.GetSize() == image.GetSize()
    assert mask.GetSpacing() == pytest.approx(image.GetSpacing())
    assert mask.GetOrigin() == pytest.approx(image.GetOrigin(), abs=1e-5)
    assert mask.GetDirection() == pytest.approx(image.GetDirection(), abs=1e-5)


@pytest.mark.parametrize(
    ("rows", "columns", "extension"),
    [
        (32, 32, ".nrrd"),
        (32, 32, ".png"),
        (33, 47, ".png"),
        (24, 400, ".nrrd"),
        (1536, 2048, ".png"),
    ],
)
def test_small_odd_and_large_images_keep_their_size(
    calm: Server, tmp_path: Path, rows: int, columns: int, extension: str
) -> None:
    pixels = discs(rows, columns)
    file = write_png(tmp_path / "sized.png", pixels)
    with open(file, "rb") as content:
        answer = calm.post(
            f"/infer/{MODEL}",
            params={"output": "image"},
            data={"params": json.dumps({"result": "mask", "result_extension": extension})},
            files={"file": ("sized.png", content)},
        )
    assert answer.ok, answer.text
    mask = sitk.GetArrayFromImage(read_itk(answer.content, extension))
    assert np.array_equal(np.squeeze(mask), pixels > 100)


@pytest.fixture(scope="module")
def crowd(server: Server) -> Iterator[str]:
    """An image with 400 discs, more than a byte counts."""
    write_png(server.studies / "crowd.png", discs(640, 640, spacing=32))
    server.wait_for_image("crowd")
    yield "crowd"
    (server.studies / "crowd.png").unlink()


@pytest.mark.parametrize("extension", [".nrrd", ".nii.gz", ".png", ".tif"])
def test_more_than_255_instances_come_back_each_with_its_number(
    calm: Server, crowd: str, extension: str
) -> None:
    params = {"result": "instances", "result_extension": extension}
    answer = calm.infer(crowd, json.dumps(params))
    label = np.squeeze(sitk.GetArrayFromImage(read_itk(answer.content, extension)))
    assert np.array_equal(label > 0, discs(640, 640, spacing=32) > 100)
    assert np.array_equal(np.unique(label), np.arange(401))
    assert len(np.unique(label[16::32, 16::32])) == 400, "discs share a number"


def test_an_instance_answer_can_be_saved_and_trained_on_beyond_255(
    calm: Server, crowd: str, tmp_path: Path
) -> None:
    params = json.dumps({"result": "instances", "save_label": True, "label_tag": "original"})
    assert calm.infer(crowd, params).ok
    saved = calm.get("/datastore/label", params={"label": crowd, "tag": "original"})
    assert read_png(saved.content).max() == 400


def test_the_mask_result_holds_zero_and_one_only(calm: Server, crowd: str) -> None:
    answer = calm.infer(crowd, json.dumps({"result": "mask"}))
    assert np.array_equal(np.unique(read_png(answer.content)), [0, 1])


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "int16", "int32"])
def test_the_pixel_type_is_the_one_asked_for(calm: Server, dtype: str) -> None:
    params = {"result": "mask", "result_extension": ".nrrd", "result_dtype": dtype}
    answer = calm.infer("fluorescence_000", json.dumps(params))
    mask = read_itk(answer.content, ".nrrd")
    assert sitk.GetArrayViewFromImage(mask).dtype == np.dtype(dtype)


def test_a_pixel_type_too_narrow_for_the_labels_is_widened(calm: Server, crowd: str) -> None:
    params = {"result": "instances", "result_extension": ".nrrd", "result_dtype": "uint8"}
    answer = calm.infer(crowd, json.dumps(params))
    assert sitk.GetArrayFromImage(read_itk(answer.content, ".nrrd")).max() == 400


def test_the_answer_is_a_file_figures_or_both_as_asked(calm: Server) -> None:
    url, query = f"/infer/{MODEL}", {"image": "fluorescence_000"}
    figures = calm.post(url, params={**query, "output": "json"})
    assert figures.json()["objects"] > 1
    picture = calm.post(url, params={**query, "output": "image"})
    assert picture.headers["content-type"] == "image/png"
    assert read_png(picture.content).shape == (256, 256)
    for output in ({"output": "all"}, {}):
        both = calm.post(url, params={**query, **output})
        assert both.headers["content-type"].startswith("multipart/form-data")
        assert b'name="params"' in both.content and b"\x89PNG" in both.content


def test_answers_leave_no_files_behind(calm: Server) -> None:
    before = set(calm.temporary.iterdir())  # of which those of earlier answers may still go
    for output in ("image", "json", "all"):
        assert calm.infer("fluorescence_000", output=output).ok
    # they are removed after the answer is sent
    calm.wait_for(lambda: set(calm.temporary.iterdir()) <= before, "the removal")
