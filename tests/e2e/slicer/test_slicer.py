"""What 3D Slicer shows of answers, and what is kept of what it submits, by its own code.

The image as Slicer loads it says what is true: the weights call bright pixels the structure.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage
from server_support import MODEL, Server
from slicer_env import Shown
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
    Write,
    cells,
    frames,
    left_handed,
    oblique,
    picture,
    volume,
)
from test_clients import slicer_library

from lib.phantoms.mammograms.exams import write_exams


@pytest.fixture(scope="module")
def client(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """3D Slicer's client library, connected."""
    folder = tmp_path_factory.mktemp("slicer_client")
    return slicer_library().MONAILabelClient(server.url, tmpdir=str(folder), client_id="slicer")


Add = Callable[[str, Write, np.ndarray], Path]


@pytest.fixture
def add(server: Server, client: Any, tmp_path: Path) -> Iterator[Add]:
    """A function that puts an image into the studies, gone after the test."""
    added: list[str] = []

    def put(suffix: str, write: Write, pixels: np.ndarray) -> Path:
        file = tmp_path / f"sample_{write.__name__}{suffix}"
        write(file, pixels)
        name = file.name.split(".")[0]
        client.upload_image(str(file), name)
        added.append(name)
        return file

    yield put
    for name in added:
        server.delete("/datastore/image", params={"id": name})


def _id(file: Path) -> str:
    return file.name.split(".")[0]


def _run(client: Any, model: str, image: str, **more: Any) -> tuple[str, dict[str, Any]]:
    """Ask as the module does on Run: the first of every list of the model's config."""
    config = client.info()["models"][model]["config"]
    params = {k: v[0] if isinstance(v, list) else v for k, v in config.items()} | more
    params |= {"result_extension": ".nrrd", "result_dtype": "uint8"}
    return client.infer(model, image, params)


def _ids(samples: tuple[tuple[str, Write], ...]) -> list[str]:
    return [f"{write.__name__}{suffix}" for suffix, write in samples]


def _objects(shown: Shown) -> int:
    """Check that the segments are the bright objects of the image, one each, and count them."""
    true, count = ndimage.label(shown.bright, np.ones((3, 3, 3)))
    parts = [true == number for number in range(1, count + 1)]
    truth = {}
    for name, segment in shown.segments.items():
        truth[name] = parts[int(true[segment].max(initial=1)) - 1]
    assert len(truth) == count and not shown.faults(truth)
    assert np.array_equal(np.logical_or.reduce(list(truth.values())), shown.bright)
    return count


# --- Run ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("suffix", "write"), PICTURES, ids=_ids(PICTURES))
def test_a_mask_is_shown_whole_where_the_image_lies(slicer, client, add, suffix, write):
    image = add(suffix, write, cells())
    label, told = _run(client, MODEL, _id(image))
    shown = slicer.show(image, label, told["label_names"])
    assert not shown.faults({"nuclei": shown.bright}) and shown.bright.any()


@pytest.mark.parametrize(("suffix", "write"), PICTURES, ids=_ids(PICTURES))
def test_objects_are_shown_as_segments_of_their_own(slicer, client, add, suffix, write):
    image = add(suffix, write, cells())
    label, told = _run(client, MODEL, _id(image), result="instances")
    assert _objects(slicer.show(image, label, told["label_names"])) == told["objects"] == 9


@pytest.mark.parametrize("result", ["mask", "instances"])
@pytest.mark.parametrize(("suffix", "write"), VOLUMES, ids=_ids(VOLUMES))
def test_a_model_for_images_answers_slices_and_frames(slicer, client, add, suffix, write, result):
    image = add(suffix, write, frames())
    label, told = _run(client, MODEL, _id(image), result=result)
    shown = slicer.show(image, label, told["label_names"])
    if result == "mask":
        assert not shown.faults({"nuclei": shown.bright})
        return
    union = np.logical_or.reduce(list(shown.segments.values()))
    assert not shown.faults(shown.segments) and np.array_equal(union, shown.bright)
    assert len(shown.segments) == told["objects"] == len(told["label_names"]) > 1


@pytest.mark.parametrize("model", [VOLUME, STRUCTURES])
@pytest.mark.parametrize(("suffix", "write"), VOLUMES, ids=_ids(VOLUMES))
def test_structures_of_a_volume_are_shown_by_their_names(slicer, client, add, suffix, write, model):
    image = add(suffix, write, volume())
    label, told = _run(client, model, _id(image))
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
    label, _ = _run(client, model, _id(image), label="part", **points)
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
    label, told = client.infer("scribbles", _id(image), params, str(file))
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
    label, told = _run(client, DENSITY, images[0].stem)
    tissue = np.atleast_3d(sitk.GetArrayFromImage(sitk.ReadImage(label)).T).T > 0
    shown = slicer.show(images[0], label, told["label_names"])
    none = np.zeros_like(tissue)
    assert told["class"] == "C" and tissue.any()
    assert not shown.faults({"A": none, "B": none, "C": tissue, "D": none})


# --- Next Sample and Submit -----------------------------------------------------------------------


@pytest.mark.parametrize("result", ["mask", "instances"])
def test_originals_that_next_sample_loads_are_shown_whole(slicer, server, client, add, result):
    image = add(".png", picture, cells())
    params = {"images": [_id(image)], "result": result, "multi_gpu": False}
    reply = server.post(f"/batch/infer/{MODEL}", params={"run_sync": True}, json=params)
    assert reply.ok, reply.text
    info = client.datastore()["objects"][_id(image)]["labels"]["original"]["info"]
    names = info["params"]["label_names"]
    assert list(names.values()) == list(range(1, len(names) + 1)), "Slicer takes them in this order"
    shown = slicer.show(image, client.download_label(_id(image), "original"), names)
    if result == "mask":
        assert not shown.faults({"nuclei": shown.bright})
    else:
        assert _objects(shown) == 9


@pytest.mark.parametrize(
    ("model", "suffix", "write", "pixels"),
    [(MODEL, suffix, write, cells()) for suffix, write in PICTURES],
    ids=lambda value: getattr(value, "__name__", value if isinstance(value, str) else "pixels"),
)
def test_what_is_submitted_is_kept_by_its_names(
    slicer, client, add, model, suffix, write, pixels, tmp_path
):
    image = add(suffix, write, pixels)
    label, told = _run(client, model, _id(image))
    names, offered = told["label_names"], client.info()["labels"]
    file = tmp_path / "submitted.nii.gz"
    before, info = slicer.submit(image, label, names, offered, file)
    client.save_label(_id(image), str(file), params={"label_info": info})
    kept = client.download_label(_id(image), "final")
    values = {int(value) for value in np.unique(sitk.GetArrayFromImage(sitk.ReadImage(kept)))}
    assert values == {0, *names.values()}
    again = slicer.show(image, kept, names)
    assert not again.faults({name: before.segments[name] for name in names})


# --- planted faults -------------------------------------------------------------------------------


@pytest.fixture
def answered(client, add) -> tuple[Path, str, dict[str, int]]:
    """A volume, the answer of the model of two structures, and its names."""
    image = add(".nrrd", oblique, volume())
    label, told = _run(client, STRUCTURES, _id(image))
    return image, label, told["label_names"]


def test_numbered_objects_under_the_names_of_a_mask_are_noticed(slicer, client, add):
    image = add(".png", picture, cells())
    objects, _ = _run(client, MODEL, _id(image), result="instances")
    shown = slicer.show(image, objects, {"nuclei": 1})
    assert "nuclei: 1" in shown.faults({"nuclei": shown.bright})
    mask, _ = _run(client, MODEL, _id(image))
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
