"""Where a network looks: in the right corner, on the grid of the image, without disturbing it."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from PIL import Image as PillowImage
from torch import nn
from volume_samples import same_grid

from lib.classification.cases import list_task_exams
from lib.classification.files import save_layer, save_overlay, save_scalar, view_geometry
from lib.classification.overlays import LONGEST, grey_picture, overlay
from lib.classification.predictor import ExamPredictor
from lib.classification.saliency import METHODS, saliency
from lib.errors import InputError
from lib.io.read import read_image
from lib.mammography.mammogram import read_mammogram
from lib.mammography.views import STANDARD_VIEWS
from lib.networks import build_network
from lib.weights.checkpoint import load_checkpoint

CORNER = (slice(24, 40), slice(24, 40))  # rows and columns of the 48 x 48 that networks see


class Corner(nn.Module):
    """Blanks all but a corner of the image."""

    def forward(self, x):
        kept = torch.zeros_like(x)
        kept[..., CORNER[0], CORNER[1]] = 1
        return x * kept


def _looks_into_the_corner(task) -> nn.Module:
    """Return the task's networks; each says class B the surer, the brighter its corner is."""
    network = build_network(task.network)
    for view in network.networks:
        conv = nn.Conv2d(task.network.in_channels, 4, 3, 2, 1, bias=False)
        last = nn.Linear(4, task.network.out_channels)
        nn.init.constant_(conv.weight, 0.1)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        nn.init.constant_(last.weight[1], 5.0)
        view.features = nn.Sequential(Corner(), conv, nn.LeakyReLU())
        view.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), last)
    return network


@pytest.fixture(scope="module")
def exam(exam_studies, exam_task):
    return list_task_exams(exam_studies, exam_task, labelled=True)[0]


@pytest.fixture(scope="module")
def predictor(exam_task, exam_weights) -> ExamPredictor:
    return ExamPredictor.from_checkpoint(exam_task, load_checkpoint(exam_weights), "cpu", "fp32")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("method", METHODS)
def test_an_answer_from_one_corner_is_explained_there(exam_task, exam, method, precision):
    predictor = ExamPredictor(exam_task, _looks_into_the_corner(exam_task), "cpu", precision)
    answer = predictor(exam, tissue=False)
    assert answer.label == "B"
    for name, view in answer.views.items():
        corner = np.zeros((48, 48), np.float32)
        # a row or two more: the convolution, and the map's upsampling
        corner[CORNER[0].start - 2 : CORNER[0].stop + 2, CORNER[1].start - 2 :][:, :20] = 1
        there = view.prepared.undo(corner) > 0
        assert 0 < there.mean() < 0.5
        found = saliency(predictor, answer, name, method)
        assert found.dtype == np.float32 and found.shape == view.prepared.full_shape
        assert (found.min(), found.max()) == (0, 1)
        assert found[there].sum() > 0.95 * found.sum(), name


@pytest.mark.parametrize("method", METHODS)
def test_a_mirrored_left_breast_is_explained_where_the_image_has_it(exam_task, exam, method):
    right, left, *_ = STANDARD_VIEWS
    predictor = ExamPredictor(exam_task, _looks_into_the_corner(exam_task), "cpu", "fp32")
    answer = predictor(replace(exam, views={v: exam.views[v] for v in (right, left)}), False)
    centres = {}
    for name, view in answer.views.items():
        found = saliency(predictor, answer, name, method)
        top, edge, bottom, other = view.prepared.box
        centres[name] = (found.sum(0) @ np.arange(found.shape[1]) / found.sum() - edge) / (
            other - edge
        )
    assert answer.views["L-CC"].prepared.mirrored and not answer.views["R-CC"].prepared.mirrored
    assert centres["R-CC"] == pytest.approx(1 - centres["L-CC"], abs=0.06)
    assert abs(centres["R-CC"] - 0.5) > 0.05


@pytest.mark.parametrize("architecture", ["resnet", "vgg"])
@pytest.mark.parametrize("method", METHODS)
def test_both_kinds_of_networks_are_explained_the_same_each_time(
    exam_task, exam, architecture, method
):
    torch.manual_seed(3)
    network = replace(exam_task.network, architecture=architecture, pooling="image")
    task = replace(exam_task, network=network)
    predictor = ExamPredictor(task, build_network(network), "cpu", "fp32")
    answer = predictor(exam, tissue=False)
    once, again = (saliency(predictor, answer, "L-MLO", method) for _ in range(2))
    np.testing.assert_array_equal(once, again)
    assert np.isfinite(once).all() and once.min() >= 0 and once.max() in (0, 1)


def test_explaining_leaves_the_network_and_the_random_numbers_as_they_were(predictor, exam):
    before = {name: value.clone() for name, value in predictor.network.state_dict().items()}
    answer = predictor(exam, tissue=False)
    state = torch.random.get_rng_state()
    for method in METHODS:
        saliency(predictor, answer, "R-CC", method)
    assert torch.equal(state, torch.random.get_rng_state())
    for name, value in predictor.network.state_dict().items():
        assert torch.equal(before[name], value)
    for weight in predictor.network.parameters():
        assert weight.requires_grad and weight.grad is None
    assert not any(part._forward_hooks or part._backward_hooks for part in _parts(predictor))


def _parts(predictor: ExamPredictor) -> list[nn.Module]:
    return list(predictor.network.modules())


def test_answers_of_other_threads_stay_the_same_meanwhile(predictor, exam):
    answer = predictor(exam, tissue=False)
    found = []
    asking = threading.Thread(
        target=lambda: found.extend(predictor(exam, tissue=False) for _ in range(4))
    )
    asking.start()
    for method in METHODS:
        saliency(predictor, answer, "R-CC", method)
    asking.join()
    assert len(found) == 4
    for other in found:
        np.testing.assert_allclose(other.probabilities, answer.probabilities, atol=1e-6)


def test_an_unknown_method_or_view_is_refused_by_name(predictor, exam):
    answer = predictor(exam, tissue=False)
    with pytest.raises(InputError, match="unknown method 'gradcan': did you mean 'gradcam'"):
        saliency(predictor, answer, "R-CC", "gradcan")
    with pytest.raises(InputError, match="unknown view 'R-XX'"):
        saliency(predictor, answer, "R-XX")


def test_an_overlay_has_the_images_size_and_colour_only_where_it_is_salient(exam, tmp_path):
    path = exam.views[STANDARD_VIEWS[1]]
    shape = read_mammogram(path).pixels.shape
    values = np.zeros(shape, np.float32)
    values[: shape[0] // 4] = 0.7
    grey = grey_picture(read_mammogram(path).pixels)
    target = save_overlay(tmp_path / "o.png", values, grey, "L-CC: B 0.71")
    picture = np.asarray(PillowImage.open(target)).astype(int)
    assert picture.shape == (*shape, 3)
    coloured = np.ptp(picture, axis=-1) > 8
    assert coloured[: shape[0] // 4].mean() > 0.9
    assert not coloured[shape[0] // 4 :].any()
    plain = np.asarray(overlay(grey, values, "")).astype(int)
    written = (picture != plain).any(-1)
    assert written.any() and not written[: shape[0] // 2].any()
    assert [file.name for file in tmp_path.iterdir()] == ["o.png"]
    with pytest.raises(ValueError, match="on a picture of"):
        save_overlay(tmp_path / "o.png", values[:-1], grey, "")


def test_an_overlay_of_a_large_image_is_reduced_with_its_aspect_kept():
    pixels = np.random.default_rng(1).random((2 * LONGEST, LONGEST), np.float32)
    assert overlay(grey_picture(pixels), pixels, "R-CC").size == (LONGEST // 2, LONGEST)


def test_a_scalar_image_lies_on_its_mammogram(exam, tmp_path):
    path = exam.views[STANDARD_VIEWS[1]]
    image = read_image(path)
    values = np.random.default_rng(1).random(image.pixels.shape, np.float32)
    for kind in (".nrrd", ".nii.gz"):
        target = save_scalar(tmp_path / f"scalar{kind}", values, path)
        again = read_image(target)
        assert same_grid(again.geometry, image.geometry)
        np.testing.assert_allclose(again.pixels, values)
    assert sitk.ReadImage(str(tmp_path / "scalar.nrrd")).GetSpacing()[0] != 1


def test_pictures_and_volumes_give_the_geometry_that_they_have(tmp_path):
    picture = tmp_path / "a_R-CC.pgm"
    PillowImage.fromarray(np.zeros((6, 4), np.uint8)).save(picture)
    assert view_geometry(picture, (6, 4)).spacing == (1.0, 1.0)
    volume = sitk.Image(4, 6, sitk.sitkUInt8)
    volume.SetSpacing((0.1, 0.2))
    sitk.WriteImage(volume, str(tmp_path / "a_R-CC.nrrd"))
    assert view_geometry(tmp_path / "a_R-CC.nrrd", (6, 4)).spacing == (0.1, 0.2)


def test_a_layer_has_the_grid_of_the_image_and_is_clear_where_nothing_is_salient(tmp_path):
    values = np.linspace(0, 1, 6 * 256, dtype=np.float32).reshape(6, 256)
    target = save_layer(tmp_path / "layer.png", values)
    with PillowImage.open(target) as picture:
        assert picture.size == (256, 6) and picture.mode == "P"
        assert np.array_equal(np.asarray(picture), np.rint(values * 255))
        shown = np.asarray(picture.convert("RGBA")).astype(int)
    assert np.array_equal(shown[..., 3], np.rint(values * 255)), "as opaque as it is salient"
    lightness = shown[..., :3].sum(-1).ravel()
    assert lightness[0] < 30 and lightness[-1] > 600 and (np.diff(lightness) >= -12).all()
