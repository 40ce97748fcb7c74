"""nnU-Net, COCO and cellpose, in and out."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image as PillowImage

from lib.data.ignore import IGNORE
from lib.data.labels import read_item_label
from lib.data.studies import list_items, read_item
from lib.data.write_item import write_item
from lib.datasets.cellpose import read_masks
from lib.datasets.coco import mask_of
from lib.datasets.exporters import EXPORTERS
from lib.datasets.importers import IMPORTERS
from lib.errors import InputError
from lib.tasks.registry import get_task

NUCLEI = get_task("nuclei")
STRUCTURES = get_task("ultrasound3d_structures")
FLAT_STRUCTURES = replace(
    STRUCTURES,
    dimensions=("2d",),
    network=replace(STRUCTURES.encoder_decoder, spatial_dims=2),
)


def label() -> np.ndarray:
    """Three objects, one with a hole, two that touch."""
    made = np.zeros((40, 50), np.uint16)
    made[5:15, 5:20] = 1
    made[8:11, 9:14] = 0
    made[15:30, 5:20] = 2
    made[20:38, 30:45] = 7
    return made


def picture(path: Path, colour: bool = False) -> Path:
    pixels = np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8)
    PillowImage.fromarray(pixels if colour else pixels[..., 0]).save(path)
    return path


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    """Two nuclei images with labels."""
    folder = tmp_path / "studies"
    folder.mkdir()
    write_item(folder, "one", picture(tmp_path / "one.png"), label())
    write_item(folder, "two", picture(tmp_path / "two.png"), (label() == 2).astype(np.uint8))
    return folder


def labels_of(folder: Path, task=NUCLEI) -> dict[str, np.ndarray]:
    return {
        item.id: read_item_label(item, read_item(item, task), task)
        for item in list_items(folder, labelled=True)
    }


@pytest.mark.parametrize("layout", ["coco", "cellpose"])
def test_numbered_objects_come_back_as_they_were(studies, tmp_path, layout):
    out, again = tmp_path / "out", tmp_path / "again"
    EXPORTERS[layout].run(list_items(studies, labelled=True), NUCLEI, out)
    IMPORTERS[layout].run(out, again)
    before, after = labels_of(studies), labels_of(again)
    assert before.keys() == after.keys() == {"one", "two"}
    for id, expected in before.items():
        found = after[id]
        assert (found > 0).sum() == (expected > 0).sum() > 0
        for number in np.unique(expected[expected > 0]):
            inside = expected == number
            (own,) = np.unique(found[inside])  # one number, which no other object has
            np.testing.assert_array_equal(found == own, inside)


def test_nnunet_has_values_from_one_on_and_comes_back(studies, tmp_path):
    out, again = tmp_path / "Dataset001_nuclei", tmp_path / "again"
    EXPORTERS["nnunet"].run(list_items(studies, labelled=True), NUCLEI, out)
    table = json.loads((out / "dataset.json").read_text())
    assert table == {
        "channel_names": {"0": "grey"},
        "labels": {"background": 0, "nuclei": 1},
        "numTraining": 2,
        "file_ending": ".png",
    }
    stored = np.asarray(PillowImage.open(out / "labelsTr" / "one.png"))
    np.testing.assert_array_equal(stored, label() > 0)
    np.testing.assert_array_equal(
        np.asarray(PillowImage.open(out / "imagesTr" / "one_0000.png")),
        np.asarray(PillowImage.open(studies / "one.png")),
    )
    report = IMPORTERS["nnunet"].run(out, again)
    assert report.images == 2
    np.testing.assert_array_equal(labels_of(again)["one"] > 0, label() > 0)


def test_an_image_in_colour_makes_all_of_nnunet_red_green_and_blue(studies, tmp_path):
    write_item(studies, "three", picture(tmp_path / "three.png", colour=True), label())
    out = tmp_path / "out"
    EXPORTERS["nnunet"].run(list_items(studies, labelled=True), NUCLEI, out)
    table = json.loads((out / "dataset.json").read_text())
    assert list(table["channel_names"].values()) == ["R", "G", "B"]
    for id in ("one", "three"):
        assert np.asarray(PillowImage.open(out / "imagesTr" / f"{id}_0000.png")).shape[-1] == 3
    assert IMPORTERS["nnunet"].run(out, tmp_path / "again").images == 3  # no channel to choose


def volumes(folder: Path, ignore: bool = False) -> Path:
    """Write an nnU-Net set of one volume in two channels, with a gland and a cyst."""
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True)
    values = np.zeros((6, 12, 14), np.uint8)
    values[1:5, 2:9, 3:10] = 2
    values[2:4, 4:6, 5:8] = 1
    if ignore:
        values[0] = 3
    for name, pixels in (
        ("imagesTr/c1_0000", values * 20),
        ("imagesTr/c1_0001", values * 30),
        ("labelsTr/c1", values),
    ):
        image = sitk.GetImageFromArray(pixels)
        image.SetSpacing((0.5, 0.6, 2.0))
        sitk.WriteImage(image, str(folder / f"{name}.nii.gz"))
    labels = {"background": 0, "cyst": 1, "gland": 2, **({"ignore": 3} if ignore else {})}
    table = {"channel_names": {"0": "B-mode", "1": "Doppler"}, "file_ending": ".nii.gz"}
    (folder / "dataset.json").write_text(json.dumps(table | {"labels": labels}))
    return folder


def test_names_decide_on_the_values_of_imported_structures(tmp_path):
    source = volumes(tmp_path / "source", ignore=True)
    IMPORTERS["nnunet"].run(source, tmp_path / "studies", channel="Doppler")
    (item,) = list_items(tmp_path / "studies", labelled=True)
    image = read_item(item, STRUCTURES)
    assert image.pixels.max() == 90  # of the second channel
    assert image.spacing == pytest.approx((0.5, 0.6, 2.0))
    found = read_item_label(item, image, STRUCTURES)
    assert found[3, 5, 6] == STRUCTURES.labels["cyst"] == 2  # 1 in the source
    assert found[1, 3, 4] == STRUCTURES.labels["gland"] == 1
    assert (found[0] == IGNORE).all()
    out = tmp_path / "out"
    EXPORTERS["nnunet"].run([item], STRUCTURES, out)
    table = json.loads((out / "dataset.json").read_text())
    assert table["labels"] == {"background": 0, "gland": 1, "cyst": 2, "ignore": 3}
    stored = sitk.ReadImage(str(out / "labelsTr" / "c1.nii.gz"))
    assert stored.GetSpacing() == pytest.approx((0.5, 0.6, 2.0))
    values = sitk.GetArrayFromImage(stored)
    assert (values[3, 5, 6], values[1, 3, 4], values[0, 0, 0]) == (2, 1, 3)


def test_what_is_no_set_of_nnunet_is_refused(tmp_path):
    source = volumes(tmp_path / "source")
    with pytest.raises(InputError, match="channels B-mode, Doppler.*--channel"):
        IMPORTERS["nnunet"].run(source, tmp_path / "studies")
    with pytest.raises(InputError, match="unknown channel 'CT'"):
        IMPORTERS["nnunet"].run(source, tmp_path / "studies", channel="CT")
    (source / "dataset.json").write_text("{}")
    with pytest.raises(InputError, match="expected dataset.json"):
        IMPORTERS["nnunet"].run(source, tmp_path / "studies")


def test_an_export_leaves_nothing_where_it_fails(studies, tmp_path):
    source = volumes(tmp_path / "source")
    IMPORTERS["nnunet"].run(source, tmp_path / "v", channel="0")
    items = list_items(tmp_path / "v", labelled=True)
    for layout in ("coco", "cellpose"):
        with pytest.raises(InputError, match="no 2D image; export volumes as nnunet"):
            EXPORTERS[layout].run(items, STRUCTURES, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    with pytest.raises(InputError, match="exists already"):
        EXPORTERS["coco"].run(list_items(studies), NUCLEI, tmp_path)


def coco(folder: Path, segmentations: list, categories=("gland",)) -> Path:
    folder.mkdir()
    picture(folder / "a.png")
    content = {
        "images": [{"id": 5, "file_name": "a.png", "width": 50, "height": 40}],
        "annotations": [
            {"id": n, "image_id": 5, "category_id": 10 + n % len(categories), "segmentation": one}
            for n, one in enumerate(segmentations)
        ],
        "categories": [{"id": 10 + n, "name": name} for n, name in enumerate(categories)],
    }
    (folder / "a.json").write_text(json.dumps(content))
    return folder


def test_categories_become_structures_by_their_names(tmp_path):
    square = [[10, 10, 20, 10, 20, 20, 10, 20]]
    inner = [[12, 12, 15, 12, 15, 15, 12, 15]]
    source = coco(tmp_path / "coco", [square, inner], ("gland", "cyst"))
    IMPORTERS["coco"].run(source, tmp_path / "studies")
    found = labels_of(tmp_path / "studies", FLAT_STRUCTURES)["a"]
    assert (found == 1).sum() == 100 - 9 and (found == 2).sum() == 9
    IMPORTERS["coco"].run(source, tmp_path / "cysts", category="cyst")
    assert (labels_of(tmp_path / "cysts")["a"] == 1).sum() == 9


def test_run_lengths_are_read_plain_and_compressed():
    mask = np.zeros((4, 5), bool)
    mask[1:3, 1:4] = True
    counts = [5, 2, 2, 2, 2, 2, 5]
    np.testing.assert_array_equal(mask_of({"size": [4, 5], "counts": counts}, (4, 5)), mask)
    # as pycocotools compresses them: steps from the fourth number on
    np.testing.assert_array_equal(mask_of({"size": [4, 5], "counts": "5220003"}, (4, 5)), mask)
    falling = mask_of({"size": [4, 5], "counts": "532O6"}, (4, 5))  # 5, 3, 2, 2, 8
    np.testing.assert_array_equal(
        falling, mask_of({"size": [4, 5], "counts": [5, 3, 2, 2, 8]}, (4, 5))
    )


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ({"size": [4, 5], "counts": [1, 2]}, "cover 3 pixels"),
        ({"size": [4, 5], "counts": [-20, 40]}, "numbers from 0 on"),
        ({"size": [4, 5], "counts": "\x7f"}, "no sign"),
        ({"size": [9**9, 9**9], "counts": [9**18]}, "expected .4, 5."),
        ([[1, 2, 3]], "three points"),
        ("mask", "expected polygons"),
    ],
)
def test_wrong_segmentations_are_refused(segmentation, message):
    with pytest.raises(InputError, match=message):
        mask_of(segmentation, (4, 5))


def test_coco_names_lead_nowhere_else(tmp_path):
    source = coco(tmp_path / "coco", [])
    text = (source / "a.json").read_text()
    (source / "a.json").write_text(text.replace('"a.png"', '"../one.png"'))
    picture(tmp_path / "one.png")
    with pytest.raises(InputError, match="leads out"):
        IMPORTERS["coco"].run(source, tmp_path / "studies")


class Harmful:
    """Makes a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self):
        return (Path.touch, (self.file,))


@pytest.mark.parametrize("protocol", [2, 4])
def test_nothing_of_a_file_of_cellpose_is_run(tmp_path, protocol):
    for masks in (Harmful(tmp_path / "ran"), {"masks": Harmful(tmp_path / "ran")}):
        file = tmp_path / "a_seg.npy"
        header = np.array(0, dtype=object)
        with file.open("wb") as stream:
            np.lib.format.write_array_header_1_0(
                stream, {"descr": "|O", "fortran_order": False, "shape": ()}
            )
            stream.write(pickle.dumps(masks, protocol))
        assert header.dtype == object
        with pytest.raises(InputError, match="which is not read"):
            read_masks(file)
        assert not (tmp_path / "ran").exists()
    np.save(file, {"masks": label()}, allow_pickle=True)
    np.testing.assert_array_equal(read_masks(file), label())


@pytest.mark.parametrize(
    "content",
    [
        {"masks": np.array([object()], dtype=object)},
        {"masks": np.zeros((4, 4), np.float32)},
        {"masks": -np.ones((4, 4), np.int16)},
        {"other": 1},
        [1],
    ],
)
def test_files_without_masks_are_refused(tmp_path, content):
    file = tmp_path / "a_seg.npy"
    np.save(file, content, allow_pickle=True)
    with pytest.raises(InputError, match="a_seg.npy"):
        read_masks(file)
    file.write_bytes(b"\x93NUMPY")
    with pytest.raises(InputError, match="no labels of cellpose"):
        read_masks(file)


def test_masks_of_other_protocols_orders_and_types_are_read(tmp_path):
    for masks in (label().astype(">i4"), np.asfortranarray(label()), label().astype(np.int64)):
        file = tmp_path / "a_seg.npy"
        with file.open("wb") as stream:
            np.lib.format.write_array_header_1_0(
                stream, {"descr": "|O", "fortran_order": False, "shape": ()}
            )
            held = np.empty((), object)
            held[()] = {"masks": masks, "diameter": np.float64(3), "flows": [masks, [1, None]]}
            stream.write(pickle.dumps(held, 2))
        np.testing.assert_array_equal(read_masks(file), masks)
