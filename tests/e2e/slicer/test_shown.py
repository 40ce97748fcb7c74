"""What 3D Slicer shows of answers, by its own code.

The image as Slicer loads it says what is true: the weights call bright pixels the structure.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage
from server_support import MODEL
from slicer_env import image_id, objects_of, run
from slicer_samples import (
    CLICKED,
    CYST,
    DENSITY,
    GLAND,
    PICTURES,
    STRUCTURES,
    VOLUME,
    VOLUME_CLICKED,
    VOLUMES,
    cells,
    enhanced,
    frames,
    left_handed,
    names_of,
    oblique,
    picture,
    volume,
)

from lib.phantoms.mammograms.exams import write_exams

SLICED = (*VOLUMES, (".dcm", enhanced))


@pytest.mark.parametrize(("suffix", "write"), PICTURES, ids=names_of(PICTURES))
def test_a_mask_is_shown_whole_where_the_image_lies(slicer, client, add, suffix, write):
    image = add(suffix, write, cells())
    label, told = run(client, MODEL, image_id(image))
    shown = slicer.show(image, label, told["label_names"])
    assert not shown.faults({"nuclei": shown.bright}) and shown.bright.any()


@pytest.mark.parametrize(("suffix", "write"), PICTURES, ids=names_of(PICTURES))
def test_objects_are_shown_as_segments_of_their_own(slicer, client, add, suffix, write):
    image = add(suffix, write, cells())
    label, told = run(client, MODEL, image_id(image), result="instances")
    assert objects_of(slicer.show(image, label, told["label_names"])) == told["objects"] == 9


@pytest.mark.parametrize("result", ["mask", "instances"])
@pytest.mark.parametrize(("suffix", "write"), SLICED, ids=names_of(SLICED))
def test_a_model_for_images_answers_slices_and_frames(slicer, client, add, suffix, write, result):
    image = add(suffix, write, frames())
    label, told = run(client, MODEL, image_id(image), result=result)
    shown = slicer.show(image, label, told["label_names"])
    if result == "mask":
        assert not shown.faults({"nuclei": shown.bright})
        return
    union = np.logical_or.reduce(list(shown.segments.values()))
    assert not shown.faults(shown.segments) and np.array_equal(union, shown.bright)
    assert len(shown.segments) == told["objects"] == len(told["label_names"]) > 1


@pytest.mark.parametrize("model", [VOLUME, STRUCTURES])
@pytest.mark.parametrize(("suffix", "write"), VOLUMES, ids=names_of(VOLUMES))
def test_structures_of_a_volume_are_shown_by_their_names(slicer, client, add, suffix, write, model):
    image = add(suffix, write, volume())
    label, told = run(client, model, image_id(image))
    shown = slicer.show(image, label, told["label_names"])
    truth = {"structure": shown.bright}
    if model == STRUCTURES:
        truth = {"gland": shown.volume == GLAND, "cyst": shown.volume == CYST}
    assert not shown.faults(truth)


@pytest.mark.parametrize(
    ("model", "suffix", "write", "pixels"),
    [
        (CLICKED, ".png", picture, cells()),
        (CLICKED, ".nrrd", oblique, cells()),
        (CLICKED, ".nrrd", left_handed, frames()),
        (VOLUME_CLICKED, ".nrrd", oblique, volume()),
        (VOLUME_CLICKED, ".nii.gz", left_handed, volume()),
        ("region_click", ".png", picture, cells()),
        ("region_click", ".nrrd", left_handed, frames()),
    ],
    ids=lambda value: getattr(value, "__name__", value if isinstance(value, str) else "pixels"),
)
def test_a_click_is_answered_where_it_was_made(slicer, client, add, model, suffix, write, pixels):
    image = add(suffix, write, pixels)
    loaded = slicer.load(image)
    bright = ndimage.binary_erosion(loaded.bright, np.ones((1, 5, 5)))
    unlike = bright & ~loaded.bright[::-1] if len(bright) > 1 else bright
    inside = np.argwhere(unlike)[0]  # in a volume, where the slices in reverse have nothing
    points = {"foreground": [inside[::-1].tolist()], "background": []}
    away = np.argwhere(~ndimage.binary_dilation(loaded.bright, np.ones((1, 9, 9))))[0]
    if model != "region_click":  # which cannot add a place where nothing stands out
        points["foreground"].append(away[::-1].tolist())
    label, _ = run(client, model, image_id(image), label="part", **points)
    shown = slicer.show(image, label, {"part": 1})
    assert not shown.faults({"part": shown.segments["part"]})
    part = shown.segments["part"]
    assert part[tuple(inside)]
    if model != "region_click":
        assert part[tuple(away)]
        near = np.zeros_like(part)
        near[tuple(away)] = near[tuple(inside)] = True
        near = ndimage.binary_dilation(near, np.ones((3, 11, 11)))
        assert np.array_equal(part & ~near, shown.bright & ~near)
    else:
        own, _ = ndimage.label(shown.bright)
        assert (part & (own == own[tuple(inside)])).sum() > part.sum() / 2


@pytest.mark.parametrize(("suffix", "write"), [(".png", picture), (".nii.gz", left_handed)])
def test_scribbles_are_followed_where_they_were_drawn(slicer, client, add, suffix, write, tmp_path):
    image = add(suffix, write, cells() if suffix == ".png" else volume())
    bright = slicer.load(image).bright
    inner = ndimage.binary_erosion(bright, np.ones((1, 9, 9)))
    drawn = {
        "part": np.zeros_like(bright),
        "background_scribbles": ~ndimage.binary_dilation(bright, np.ones((3, 9, 9))),
        "foreground_scribbles": inner,
    }
    file = tmp_path / "scribbles.nii.gz"
    sent = slicer.draw(image, drawn, file)
    info = [{"name": one["name"], "id": one["idx"]} for one in sent]
    asked = {"roi": [], "label_info": info, "selected_label_name": "part"}
    params = {**asked, "result_extension": ".nrrd", "result_dtype": "uint8"}
    label, told = client.infer("scribbles", image_id(image), params, str(file))
    assert told["label_names"] == {"part": 1}
    shown = slicer.show(image, label, {"part": 1})
    part = shown.segments["part"]
    assert not shown.faults({"part": part})
    assert part[inner].all() and not (part & drawn["background_scribbles"]).any()
    assert (part & bright).sum() > 0.8 * bright.sum()


def test_the_dense_tissue_of_a_mammogram_is_shown_as_its_class(slicer, server, client, tmp_path):
    images = write_exams(tmp_path, seed=3, exams=1, scale=0.04)
    for file in images:
        shutil.copy(file, server.studies)
    server.wait_for_image(images[0].stem)
    label, told = run(client, DENSITY, images[0].stem)
    tissue = np.atleast_3d(sitk.GetArrayFromImage(sitk.ReadImage(label)).T).T > 0
    shown = slicer.show(images[0], label, told["label_names"])
    none = np.zeros_like(tissue)
    assert told["class"] == "C" and tissue.any()
    assert not shown.faults({"A": none, "B": none, "C": tissue, "D": none})


# --- planted faults -------------------------------------------------------------------------------


@pytest.fixture
def answered(client, add) -> tuple[Path, str, dict[str, int]]:
    """A volume, the answer of the model of two structures, and its names."""
    image = add(".nrrd", oblique, volume())
    label, told = run(client, STRUCTURES, image_id(image))
    return image, label, told["label_names"]


def test_numbered_objects_under_the_names_of_a_mask_are_noticed(slicer, client, add):
    image = add(".png", picture, cells())
    objects, _ = run(client, MODEL, image_id(image), result="instances")
    shown = slicer.show(image, objects, {"nuclei": 1})
    assert "nuclei: 1" in shown.faults({"nuclei": shown.bright})
    mask, _ = run(client, MODEL, image_id(image))
    shown = slicer.show(image, mask, {"nuclei 1": 1, "nuclei 2": 2})
    assert "segments" in shown.faults({"nuclei": shown.bright})


@pytest.mark.parametrize("fault", ["spacing", "origin", "mirrored", "values", "names"])
def test_a_planted_fault_is_noticed(slicer, answered, fault, tmp_path):
    image, label, names = answered
    wrong = sitk.ReadImage(label)
    if fault == "spacing":
        wrong.SetSpacing((0.5, 0.5, 0.6))
    elif fault == "origin":
        wrong.SetOrigin((7.0, -3.0, 11.5))
    elif fault == "mirrored":
        turned = sitk.GetImageFromArray(sitk.GetArrayFromImage(wrong)[:, :, ::-1])
        turned.CopyInformation(wrong)
        wrong = turned
    elif fault == "values":
        wrong = sitk.ChangeLabel(wrong, {1: 2, 2: 1})
    else:
        names = {"cyst": 1, "gland": 2}
    sitk.WriteImage(wrong, str(tmp_path / "wrong.nrrd"))

    def faults(file: Path | str, names: dict[str, int]) -> str:
        shown = slicer.show(image, file, names)
        return shown.faults({"gland": shown.volume == GLAND, "cyst": shown.volume == CYST})

    assert not faults(label, answered[2])
    assert faults(tmp_path / "wrong.nrrd", names)
