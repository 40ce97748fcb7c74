"""A finished image in 3D Slicer again: its accepted label is shown, corrected and kept."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from server_support import MODEL
from slicer_env import image_id, objects_of, run
from slicer_samples import PICTURES, STRUCTURES, cells, oblique, volume


def _reopen(client, image):
    """Ask for the finished image, and do as the module does with its label."""
    sample = client.next_sample("finished", {"id": image_id(image)})
    assert (sample["id"], sample["label_tag"]) == (image_id(image), "final")
    info = client.datastore()["objects"][image_id(image)]["labels"]["original"]["info"]
    return client.download_label(image_id(image), "original"), info["params"]["label_names"]


@pytest.mark.parametrize("result", ["mask", "instances"])
def test_nuclei_are_shown_as_they_were_accepted(slicer, client, add, result, tmp_path):
    suffix, write = PICTURES[0]
    image = add(suffix, write, cells())
    label, told = run(client, MODEL, image_id(image), result=result)
    file, names = tmp_path / "submitted.nii.gz", told["label_names"]
    _, info = slicer.submit(image, label, names, client.info()["labels"], file)
    client.save_label(image_id(image), str(file), params={"label_info": info})
    label, names = _reopen(client, image)
    shown = slicer.show(image, label, names)
    if result == "mask":
        assert not shown.faults({"nuclei": shown.bright})
    else:
        assert objects_of(shown) == 9
    _, info = slicer.submit(image, label, names, client.info()["labels"], file)
    client.save_label(image_id(image), str(file), params={"label_info": info})
    assert "original" not in client.datastore()["objects"][image_id(image)]["labels"], "it is done"
    label, names = _reopen(client, image)
    again = slicer.show(image, label, names)
    assert not again.faults(dict(shown.segments))


def test_structures_are_shown_by_their_names(slicer, client, add, tmp_path):
    image = add(".nrrd", oblique, volume())
    label, told = run(client, STRUCTURES, image_id(image))
    file = tmp_path / "submitted.nii.gz"
    # the cyst alone: its value is 2, and Slicer shows the first name as value 1
    before = slicer.show(image, label, told["label_names"])
    alone = sitk.ReadImage(label)
    sitk.WriteImage(alone == 2, str(file))
    client.save_label(
        image_id(image), str(file), params={"label_info": [{"name": "cyst", "idx": 1, "id": 1}]}
    )
    sample = client.next_sample("finished", {"id": image_id(image), "model": STRUCTURES})
    assert sample["model"] == STRUCTURES
    shown_file, names = _reopen(client, image)
    shown = slicer.show(image, shown_file, names)
    assert np.array_equal(shown.segments["cyst"], before.segments["cyst"])
