"""In an archive too, names decide which structure a segment is, and the foreign is kept aside."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from archive import archive_of, objects, stow

from lib.data.labels import matching_items, read_item_label
from lib.data.studies import list_items
from lib.dicom.objects import Author
from lib.dicom.seg.write import make_seg
from lib.errors import InputError
from lib.io.labels import read_label
from lib.io.masks import write_mask
from lib.io.read import read_image
from lib.phantoms.dicom_studies import DemoStudy, demo_studies
from lib.tasks.registry import get_task
from monailabel_app.archive.datastore import ArchiveDatastore

LESION, NERVE, GLAND = map(get_task, ("busi_lesion", "nerve_vhllrhe", "ultrasound3d_structures"))
READER = Author(person="Reader^One")


@pytest.fixture(scope="module")
def study() -> DemoStudy:
    (found,) = [one for one in demo_studies(seed=3, scale=0.04) if one.kind == "volume"]
    return found


@pytest.fixture
def truth(study: DemoStudy) -> np.ndarray:
    """Gland 1, cyst 2, artery 3."""
    label = (study.truth[study.series[0]] > 0).astype(np.uint8)
    label[0, 0, :3], label[0, 1, :4] = 2, 3
    return label


@pytest.fixture
def open_archive(new_orthanc, study, tmp_path):
    """Return a function that opens one archive, each time with a cache of its own."""
    orthanc = new_orthanc()
    stow(orthanc, study.datasets)

    def open_it() -> ArchiveDatastore:
        folder = tmp_path / str(time.monotonic_ns())
        return ArchiveDatastore(archive_of(orthanc), folder, 10**9, (LESION, NERVE, GLAND))

    open_it.orthanc = orthanc
    return open_it


def _item(store: ArchiveDatastore):
    (item,) = list_items(store.training_folder("mask"), labelled=True)
    return item, read_image(item.image, spatial_dims=3)


def test_slicers_segments_are_stored_by_name_and_foreign_ones_apart(
    open_archive, study, truth, tmp_path
):
    store = open_archive()
    (image,) = study.series
    geometry = read_image(store.get_image_uri(image), spatial_dims=3).geometry
    sent = np.array([0, 3, 2, 1], np.uint8)[truth]
    file = write_mask(tmp_path / "up.nrrd", sent, geometry)
    names = ("artery", "Cyst", "GLAND")
    info = {"label_info": [{"name": name, "idx": idx + 2} for idx, name in enumerate(names)]}
    store.save_label(image, str(file), "final", info)
    named = {
        tuple(segment.SegmentLabel for segment in seg.SegmentSequence)
        for seg in objects(open_archive.orthanc, "SEG")
    }
    assert named == {("gland", "cyst"), ("artery",)}
    ours = np.where(truth == 3, 0, truth)
    for again in (store, open_archive()):
        assert again.kept_aside(image) == {"final-foreign": ["artery"]}
        kept = read_label(again.get_label_uri(image, "final-foreign"), truth.shape)
        np.testing.assert_array_equal(kept > 0, truth == 3)
        np.testing.assert_array_equal(
            read_label(again.get_label_uri(image, "final"), truth.shape), ours
        )
        item, pixels = _item(again)
        np.testing.assert_array_equal(read_item_label(item, pixels, GLAND), ours)
        with pytest.raises(InputError, match=r"none of 1 labels is of 'busi_lesion'"):
            matching_items([item], LESION)


def test_two_tasks_that_give_one_value_do_not_replace_each_others_structures(
    open_archive, study, truth
):
    store = open_archive()
    drawn = np.where(truth < 3, truth, 0)
    seg = make_seg(drawn, store.sources(study.series[0]), {"Nerve": 1, "lesion 1": 2}, READER)
    seg.Manufacturer = "Another"
    stow(open_archive.orthanc, [seg])
    store.refresh()
    item, pixels = _item(store)
    np.testing.assert_array_equal(read_item_label(item, pixels, NERVE) > 0, drawn == 1)
    np.testing.assert_array_equal(read_item_label(item, pixels, LESION) > 0, drawn == 2)


@pytest.mark.parametrize(("names", "labelled"), [(("artery", "vein"), 0), (("Segment 1",), 1)])
def test_numbers_count_only_where_nobody_named_the_segments(
    open_archive, study, truth, names, labelled
):
    store = open_archive()
    drawn = np.where(truth <= len(names), truth, 0)
    labels = {name: number for number, name in enumerate(names, start=1)}
    seg = make_seg(drawn, store.sources(study.series[0]), labels, READER)
    for segment in seg.SegmentSequence:
        segment.pop("SegmentDescription", None)
    stow(open_archive.orthanc, [seg])
    store.refresh()
    assert len(store.datalist()) == labelled


def test_what_no_task_has_alone_is_no_label_of_the_image(open_archive, study, truth, tmp_path):
    store = open_archive()
    (image,) = study.series
    geometry = read_image(store.get_image_uri(image), spatial_dims=3).geometry
    file = write_mask(Path(tmp_path / "up.nrrd"), (truth == 3).astype(np.uint8), geometry)
    store.save_label(image, str(file), "final", {"label_info": [{"name": "vein", "idx": 1}]})
    assert open_archive().get_labeled_images() == []
    assert open_archive().kept_aside(image) == {"final-foreign": ["vein"]}


def test_objects_that_another_program_numbers_stay_apart_where_they_touch(open_archive, study):
    store = open_archive()
    drawn = np.zeros(study.truth[study.series[0]].shape, np.uint8)
    drawn[0, :4, :4], drawn[0, :4, 4:8], drawn[0, 10:12, :4] = 1, 2, 3
    names = {"Lesion 1": 1, "lesion 2": 2, "nerve": 3}
    seg = make_seg(drawn, store.sources(study.series[0]), names, READER)
    seg.Manufacturer = "Another"
    stow(open_archive.orthanc, [seg])
    store.refresh()
    item, pixels = _item(store)
    np.testing.assert_array_equal(
        read_item_label(item, pixels, LESION), np.where(drawn == 3, 0, drawn)
    )
    np.testing.assert_array_equal(read_item_label(item, pixels, NERVE) > 0, drawn == 3)
