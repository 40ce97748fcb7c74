"""Uploaded labels: names decide, the foreign is kept aside, odd files are read or refused."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import tifffile
from PIL import Image as PillowImage

from lib.data.labels import matching_items, read_item_label
from lib.data.studies import list_items
from lib.errors import InputError
from lib.io.labels import read_label
from lib.io.layers import label_names
from lib.io.read import read_image
from lib.tasks.registry import get_task
from monailabel_app.studies.datastore import StudiesDatastore

NUCLEI, GLAND = get_task("nuclei_vhllrhe"), get_task("ultrasound3d_structures")
LESION, NERVE = get_task("busi_lesion"), get_task("nerve_vhllrhe")
SHAPE = (6, 12, 10)
TRUTH = np.zeros(SHAPE, np.uint8)  # gland 1, cyst 2, artery 3
TRUTH[1:5, 2:9, 2:8] = 1
TRUTH[2:4, 4:6, 4:6] = 2
TRUTH[0, :, 0] = 3
OURS = np.where(TRUTH == 3, 0, TRUTH)
SLICE = np.where(TRUTH[2] == 3, 0, TRUTH[2])


def _volume(path: Path, pixels: np.ndarray, **metadata: object) -> str:
    image = sitk.GetImageFromArray(pixels, isVector=pixels.ndim == 4)
    image.SetSpacing((0.5, 0.5, 2.0))
    for key, value in metadata.items():
        image.SetMetaData(key, str(value))
    sitk.WriteImage(image, str(path))
    return str(path)


def _info(*names: str) -> dict[str, object]:
    return {"label_info": [{"name": name, "idx": idx} for idx, name in enumerate(names, start=1)]}


def _open(folder: Path, *tasks) -> StudiesDatastore:
    return StudiesDatastore(str(folder), tasks=tasks)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A volume and a picture."""
    folder = tmp_path / "studies"
    folder.mkdir()
    _volume(folder / "scan.nrrd", np.random.default_rng(0).integers(0, 255, SHAPE, np.uint8))
    PillowImage.fromarray(np.arange(120, dtype=np.uint8).reshape(12, 10)).save(folder / "cell.png")
    return folder


def _sent(order: list[str]) -> np.ndarray:
    """Return the truth as Slicer numbers it."""
    numbers = [0, *(order.index(name) + 1 for name in ("gland", "cyst", "artery"))]
    return np.array(numbers, np.uint8)[TRUTH]


def test_segments_in_any_order_are_stored_with_the_tasks_values_and_foreign_ones_aside(
    folder, tmp_path, caplog
):
    store = _open(folder, NUCLEI, GLAND)
    order = ["nuclei", "artery", "cyst", "gland"]
    file = _volume(tmp_path / "up.nrrd", _sent(order))
    with caplog.at_level(logging.WARNING):
        store.save_label("scan", file, "final", _info(*order))
    assert "'artery' is no structure of a served task, and kept aside as" in caplog.text
    for again in (store, _open(folder, NUCLEI, GLAND)):
        stored = Path(again.get_label_uri("scan", "final"))
        np.testing.assert_array_equal(read_label(stored, SHAPE), OURS)
        assert read_image(stored, spatial_dims=3).geometry.spacing == (0.5, 0.5, 2.0)
        assert dict(label_names(stored)) == {"gland": 1, "cyst": 2, "nuclei": 0}
        assert again.kept_aside("scan") == {"final-foreign": ["artery"]}
        aside = Path(again.get_label_uri("scan", "final-foreign"))
        np.testing.assert_array_equal(read_label(aside, SHAPE) > 0, TRUTH == 3)
        assert label_names(aside) == (("artery", 1),)
    assert store.get_label_info("scan", "final")["label_info"][0] == {
        "name": "gland",
        "idx": 1,
        "id": 1,
    }


def test_a_correction_drops_nothing_that_was_kept_aside(folder, tmp_path):
    store = _open(folder, GLAND)
    names = ["gland", "cyst", "artery"]
    first = _volume(tmp_path / "first.nrrd", _sent(names))
    moved = np.where(TRUTH == 3, 0, TRUTH)
    moved[5, :, 9] = 3
    for file in (first, first, _volume(tmp_path / "none.nrrd", OURS)):
        store.save_label("scan", file, "final", _info(*names))
        assert store.kept_aside("scan") == {"final-foreign": ["artery"]}
    store.save_label("scan", _volume(tmp_path / "moved.nrrd", moved), "final", _info(*names))
    assert set(store.kept_aside("scan")) == {"final-foreign", "final-foreign-2"}
    for tag, truth in (("final-foreign", TRUTH == 3), ("final-foreign-2", moved == 3)):
        np.testing.assert_array_equal(read_label(store.get_label_uri("scan", tag), SHAPE), truth)


def test_a_label_of_foreign_structures_alone_is_no_label_of_the_image(folder, tmp_path):
    store = _open(folder, GLAND)
    file = _volume(tmp_path / "up.nrrd", (TRUTH == 1).astype(np.uint8))
    assert store.save_label("scan", file, "final", _info("Segment_1")) == ""
    assert store.kept_aside("scan") == {"final-foreign": ["Segment_1"]}
    assert store.get_labeled_images() == []
    empty = _volume(tmp_path / "up.nrrd", np.zeros(SHAPE, np.uint8))
    store.save_label("scan", empty, "final", _info("Segment_1"))
    assert store.get_labeled_images() == ["scan"]


def test_the_names_in_a_segmentation_file_count_before_those_of_the_client(folder, tmp_path):
    store = _open(folder, GLAND)
    layers = np.stack([TRUTH == 2, TRUTH == 1], -1).astype(np.uint8)
    metadata = {"Segment0_Name": "cyst", "Segment0_LabelValue": 1, "Segment0_Layer": 0}
    metadata |= {"Segment1_Name": "gland", "Segment1_LabelValue": 1, "Segment1_Layer": 1}
    for info in ({}, _info("gland", "cyst")):
        store.save_label(
            "scan", _volume(tmp_path / "a.seg.nrrd", layers, **metadata), "final", info
        )
        stored = store.get_label_uri("scan", "final")
        assert Path(stored).name == "scan.nrrd"
        np.testing.assert_array_equal(read_label(stored, SHAPE), OURS)


def test_training_reads_each_task_its_own_structures(folder, tmp_path):
    store = _open(folder, LESION, NERVE)
    pixels = np.where(SLICE == 1, 2, np.where(SLICE == 2, 1, 0)).astype(np.uint8)
    PillowImage.fromarray(pixels).save(tmp_path / "up.png")
    store.save_label("cell", str(tmp_path / "up.png"), "final", _info("nerve", "lesion"))
    (item,) = list_items(folder, labelled=True)
    image = read_image(item.image)
    np.testing.assert_array_equal(read_item_label(item, image, LESION) > 0, SLICE == 1)
    np.testing.assert_array_equal(read_item_label(item, image, NERVE) > 0, SLICE == 2)
    with pytest.raises(InputError, match="none of 1 labels is of 'nuclei_vhllrhe', .* of lesion"):
        matching_items([item], NUCLEI)


def test_labels_of_other_structures_are_left_out_of_a_training_and_named(folder, tmp_path):
    store = _open(folder)
    for image in "abc":
        _volume(folder / f"{image}.nrrd", TRUTH)
    store.refresh()
    store.save_label("a", _volume(tmp_path / "a.nrrd", OURS), "final", {})
    store.save_label("b", _volume(tmp_path / "b.nrrd", TRUTH), "final", {})
    store.save_label("c", _volume(tmp_path / "c.nrrd", OURS), "final", _info("liver", "spleen"))
    store.save_label("scan", _volume(tmp_path / "d.nrrd", OURS), "final", _info("cyst", "gland"))
    items = list_items(folder, labelled=True)
    kept, left_out = matching_items(items, GLAND)
    assert [item.id for item in kept] == ["a", "scan"] and set(left_out) == {"b", "c"}
    assert "holds the values 3, and no names" in left_out["b"]
    assert "is a label of liver, spleen" in left_out["c"]
    image = read_image(folder / "scan.nrrd", spatial_dims=3)
    swapped = np.array([0, 2, 1])[OURS]
    np.testing.assert_array_equal(read_item_label(kept[1], image, GLAND), swapped)


@pytest.mark.parametrize("lost", [True, False])
def test_names_of_a_volume_outlive_the_index(folder, tmp_path, lost):
    store = _open(folder, LESION, NERVE)
    file = _volume(tmp_path / "up.nrrd", OURS)
    store.save_label("scan", file, "final", _info("nerve", "lesion"))
    if lost:
        (folder / "datastore_v2.json").unlink()
    (item,) = list_items(folder, labelled=True)
    image = read_image(item.image, spatial_dims=3)
    np.testing.assert_array_equal(read_item_label(item, image, LESION) > 0, OURS == 2)


@pytest.mark.parametrize(
    ("tasks", "values", "fits"),
    [
        ((GLAND,), (1, 2), True),
        ((GLAND,), (1, 3), False),
        ((GLAND,), (255,), False),
        ((GLAND, NUCLEI), (1, 3), True),
        ((NUCLEI,), (4, 70_000), True),
        ((), (9,), True),
    ],
)
def test_values_without_names_are_those_of_a_task(folder, tmp_path, tasks, values, fits):
    pixels = np.zeros(SHAPE, np.int32)
    pixels[0, 0, : len(values)] = values
    file = _volume(tmp_path / "up.nrrd", pixels)
    store = _open(folder, *tasks)
    if fits:
        store.save_label("scan", file, "final", {})
        np.testing.assert_array_equal(
            read_label(store.get_label_uri("scan", "final"), SHAPE), pixels
        )
    else:
        with pytest.raises(InputError, match="without names, expected 1 'gland', 2 'cyst'; send"):
            store.save_label("scan", file, "final", {})
        assert store.get_labeled_images() == []


def test_a_task_on_volumes_says_nothing_on_the_values_of_a_picture(folder, tmp_path):
    PillowImage.fromarray(SLICE * 9).save(tmp_path / "up.png")
    _open(folder, GLAND).save_label("cell", str(tmp_path / "up.png"), "final", {})


def test_an_answer_of_a_model_is_stored_as_it_is(folder, tmp_path):
    store = _open(folder, NUCLEI)
    PillowImage.fromarray(SLICE).save(tmp_path / "up.png")
    for names in ({"nuclei": 1}, {"new": 2}):
        info = {"model": "m", "params": {"label_names": names}}
        store.save_label("cell", str(tmp_path / "up.png"), "original", info)
        stored = store.get_label_uri("cell", "original")
        np.testing.assert_array_equal(read_label(stored, SLICE.shape), SLICE)
    assert store.kept_aside("cell") == {}


@pytest.mark.parametrize("mode", ["palette", "rgb", "float", "few bits"])
def test_what_other_programs_would_read_differently_is_stored_plainly(folder, tmp_path, mode):
    store, file = _open(folder, NUCLEI), tmp_path / "up.png"
    picture = PillowImage.fromarray(SLICE)
    if mode == "palette":
        picture.putpalette(np.random.default_rng(0).integers(0, 255, 768).astype("u1").tobytes())
        picture.save(file)
    elif mode == "rgb":
        picture.convert("RGB").save(file)
    elif mode == "few bits":
        picture.putpalette(bytes(range(12)))
        picture.save(file, bits=2)
    else:
        file = tmp_path / "up.tif"
        PillowImage.fromarray(SLICE.astype(np.float32)).save(file)
    store.save_label("cell", str(file), "final", {})
    stored = PillowImage.open(store.get_label_uri("cell", "final"))
    assert stored.mode == "L"
    np.testing.assert_array_equal(np.asarray(stored), SLICE)


@pytest.mark.parametrize(
    ("name", "why"),
    [("up.jpg", "JPEG changes label values"), ("up_seg.npy", "pickled objects")],
)
def test_files_that_hold_no_label_are_refused_with_the_reason(folder, tmp_path, name, why):
    file = tmp_path / name
    if name.endswith(".npy"):
        np.save(file, {"masks": SLICE})
    else:
        PillowImage.fromarray(SLICE).save(file)
    with pytest.raises(InputError, match=f"label for 'cell.png' refused: .*{why}"):
        _open(folder, NUCLEI).save_label("cell", str(file), "final", {})


def test_a_label_in_which_everything_is_ignored_is_refused(folder, tmp_path):
    sent = _volume(tmp_path / "sent.nrrd", np.ones(SHAPE, np.uint8))
    store = _open(folder, GLAND)
    with pytest.raises(InputError, match=r"'scan\.nrrd' refused: everything is marked 'ignore'"):
        store.save_label("scan", sent, "final", _info("ignore", "gland"))
    assert not (folder / "labels" / "final" / "scan.nrrd").exists()


@pytest.mark.parametrize(
    ("pixels", "options"),
    [
        (np.stack([SLICE == 1, SLICE == 2]).astype(np.uint8), {"metadata": {"axes": "CYX"}}),
        (
            np.stack([SLICE == 1, SLICE == 2], -1).astype(np.uint8),
            {"photometric": "minisblack", "extrasamples": ["unspecified"]},
        ),
        (SLICE, {"extratags": [(274, 3, 1, 3, True)]}),
        (SLICE > 0, {"photometric": "minisblack"}),
    ],
    ids=["pages", "samples", "turned", "one bit"],
)
def test_a_tiff_that_itk_reads_differently_is_stored_plainly(folder, tmp_path, pixels, options):
    file = tmp_path / ("up.ome.tif" if "metadata" in options else "up.tif")
    tifffile.imwrite(file, pixels, **options)
    sent = read_label(file, SLICE.shape)
    store = _open(folder)
    store.save_label("cell", str(file), "final", {})
    stored = sitk.ReadImage(store.get_label_uri("cell", "final"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(stored), sent)


@pytest.mark.parametrize("kind", [".png", ".nrrd", "turned.nrrd", ".seg.nrrd"])
def test_objects_beside_a_structure_that_was_not_drawn_are_trained_on_and_restored(tmp_path, kind):
    pixels = np.arange(120, dtype=np.uint8).reshape(12, 10)
    PillowImage.fromarray(pixels).save(tmp_path / "p.png")
    store = _open(tmp_path, NUCLEI, LESION)
    names = ["nuclei 1", "nuclei 2", "nuclei 3", "lesion"]
    label = np.zeros((12, 10), np.uint8)
    for value in (1, 2, 3):
        label[3 * value - 3 : 3 * value - 1, 2:8] = value
    file = tmp_path / f"sent{kind}"
    if kind == ".png":
        PillowImage.fromarray(label).save(file)
    else:
        image = sitk.GetImageFromArray(label)
        if kind == "turned.nrrd":
            image = sitk.Flip(image, [True, False])
        if kind == ".seg.nrrd":
            for number, name in enumerate(names):
                image.SetMetaData(f"Segment{number}_Name", name)
                image.SetMetaData(f"Segment{number}_LabelValue", str(number + 1))
        sitk.WriteImage(image, str(file))
    for reader in ("anna", "bert"):
        store.save_label("p", str(file), "final", {**_info(*names), "client_id": reader})
    store.restore_label("p", 1, "cleo")
    items = list_items(tmp_path, labelled=True)
    kept, left_out = matching_items(items, NUCLEI)
    assert kept and not left_out
    read = read_item_label(kept[0], read_image(kept[0].image), NUCLEI)
    assert read.tolist() == label.tolist()
