"""What Next Sample loads into 3D Slicer, and what is kept of what it submits, by its own code."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage
from server_support import MODEL
from slicer_env import image_id, objects_of, run
from slicer_samples import (
    CYST,
    GLAND,
    PICTURES,
    STRUCTURES,
    VOLUMES,
    cells,
    left_handed,
    picture,
    volume,
)

from lib.data.targets import as_instances


@pytest.mark.parametrize("result", ["mask", "instances"])
def test_originals_that_next_sample_loads_are_shown_whole(slicer, server, client, add, result):
    image = add(".png", picture, cells())
    params = {"images": [image_id(image)], "result": result, "multi_gpu": False}
    reply = server.post(f"/batch/infer/{MODEL}", params={"run_sync": True}, json=params)
    assert reply.ok, reply.text
    info = client.datastore()["objects"][image_id(image)]["labels"]["original"]["info"]
    names = info["params"]["label_names"]
    assert list(names.values()) == list(range(1, len(names) + 1)), "Slicer takes them in this order"
    shown = slicer.show(image, client.download_label(image_id(image), "original"), names)
    if result == "mask":
        assert not shown.faults({"nuclei": shown.bright})
    else:
        assert objects_of(shown) == 9


@pytest.mark.parametrize(
    ("model", "suffix", "write", "pixels"),
    [(MODEL, suffix, write, cells()) for suffix, write in PICTURES]
    + [(STRUCTURES, suffix, write, volume()) for suffix, write in VOLUMES],
    ids=lambda value: getattr(value, "__name__", value if isinstance(value, str) else "pixels"),
)
def test_what_is_submitted_is_kept_by_its_names(
    slicer, client, add, model, suffix, write, pixels, tmp_path
):
    image = add(suffix, write, pixels)
    label, told = run(client, model, image_id(image))
    names, offered = told["label_names"], client.info()["labels"]
    file = tmp_path / "submitted.nii.gz"
    before, info = slicer.submit(image, label, names, offered, file)
    client.save_label(image_id(image), str(file), params={"label_info": info})
    kept = client.download_label(image_id(image), "final")
    values = {int(value) for value in np.unique(sitk.GetArrayFromImage(sitk.ReadImage(kept)))}
    assert values == {0, *names.values()}
    again = slicer.show(image, kept, names)
    assert not again.faults({name: before.segments[name] for name in names})


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".seg.nrrd"])
@pytest.mark.parametrize("first", [["cyst", "gland"], []], ids=str)
def test_the_order_of_segments_does_not_matter(slicer, client, add, first, suffix, tmp_path):
    image = add(".nrrd", left_handed, volume())
    label, told = run(client, STRUCTURES, image_id(image))
    file = tmp_path / f"submitted{suffix}"
    before, info = slicer.submit(image, label, told["label_names"], first, file)
    client.save_label(image_id(image), str(file), params={"label_info": info})
    again = slicer.show(image, client.download_label(image_id(image), "final"), told["label_names"])
    truth = {"gland": again.volume == GLAND, "cyst": again.volume == CYST}
    assert not again.faults(truth)
    assert not before.faults({**{name: before.segments[name] for name in first}, **truth})


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd"])
def test_an_unused_segment_that_comes_first_does_not_matter(slicer, client, add, suffix, tmp_path):
    image = add(".nrrd", left_handed, volume())
    label, told = run(client, STRUCTURES, image_id(image))
    file = tmp_path / f"submitted{suffix}"
    _, info = slicer.submit(image, label, told["label_names"], ["nuclei", "cyst"], file)
    client.save_label(image_id(image), str(file), params={"label_info": info})
    again = slicer.show(image, client.download_label(image_id(image), "final"), told["label_names"])
    assert not again.faults({"gland": again.volume == GLAND, "cyst": again.volume == CYST})


def test_segments_that_slicer_itself_lets_overlap_are_refused(slicer, client, add, tmp_path):
    """Slicer 5.13 resamples segments that share a layer with an unused one as it saves layers."""
    image = add(".nrrd", left_handed, volume())
    label, told = run(client, STRUCTURES, image_id(image))
    file = tmp_path / "submitted.seg.nrrd"
    after, info = slicer.submit(image, label, told["label_names"], ["nuclei", "cyst"], file)
    both = int((after.segments["gland"] & after.segments["cyst"]).sum())
    assert both
    with pytest.raises(Exception, match=f"overlap in {both} pixels"):
        client.save_label(image_id(image), str(file), params={"label_info": info})


@pytest.mark.parametrize("result", ["mask", "instances"])
def test_objects_are_kept_apart_by_submit(slicer, client, add, result, tmp_path):
    image = add(".png", picture, cells())
    label, told = run(client, MODEL, image_id(image), result=result)
    file = tmp_path / "submitted.nii.gz"
    _, info = slicer.submit(image, label, told["label_names"], client.info()["labels"], file)
    client.save_label(image_id(image), str(file), params={"label_info": info})
    kept = sitk.GetArrayFromImage(sitk.ReadImage(client.download_label(image_id(image), "final")))
    objects = as_instances(np.squeeze(kept))
    true, count = ndimage.label(cells() > 128, np.ones((3, 3)))
    assert len(np.unique(objects)) == count + 1
    assert all(len(np.unique(objects[true == number])) == 1 for number in range(1, count + 1))
