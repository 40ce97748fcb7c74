"""Several structures by label value: a map for each, their values in the mask, figures of each."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from drawing_samples import draw_patch

from lib.data.studies import Item
from lib.data.targets import make_target
from lib.image import Geometry, Image
from lib.io.labels import read_label
from lib.segmentation.evaluation import evaluate
from lib.segmentation.losses import dice, get_loss
from lib.segmentation.predictor import Prediction, Predictor
from lib.tasks.image_spec import InputSpec, OutputSpec, TargetSpec
from lib.tasks.registry import TASKS
from lib.training.batches import PreparedCases
from lib.training.loop import fit
from lib.training.options import FitOptions
from lib.weights.backends import Backend
from lib.weights.checkpoint import load_checkpoint

MAPS = ("foreground", "label_1", "label_7")
LABELS = {"gland": 1, "cyst": 7}


@pytest.fixture(scope="module")
def several(task):
    """A row of two structures with a small network."""
    return replace(
        task,
        labels=LABELS,
        network=replace(task.network, channels=(6, 12), convolutions=(1, 1), out_channels=3),
        input=InputSpec(dark_background=False, percentiles=(0, 100)),
        target=TargetSpec(maps=MAPS),
        output=OutputSpec(),
    )


# --- the row -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("maps", "labels", "message"),
    [
        (MAPS, {"gland": 1, "cyst": 2}, r"a map for every label, or none, found \[1, 7\] for"),
        (MAPS, {"gland": 1}, r"a map for every label"),
        (MAPS, {**LABELS, "stone": 3}, r"a map for every label"),
        (MAPS[:2], LABELS, "number of answered target maps, foreground first, found 3 and"),
        (("label_1", "foreground", "label_7"), LABELS, "foreground first"),
        (("foreground", "label_1", "presence"), {"gland": 1}, "pooled_channels must answer the ta"),
    ],
)
def test_rows_whose_maps_and_labels_do_not_fit_are_refused(several, maps, labels, message):
    with pytest.raises(ValueError, match=f"task '{several.name}': .*{message}"):
        replace(several, target=TargetSpec(maps=maps), labels=labels)


@pytest.mark.parametrize(
    ("maps", "pooled"),
    [
        (MAPS, 1),
        (("foreground", "presence", "border"), 1),
        (("foreground", "border", "presence"), 2),
        (("foreground", "border", "presence"), 0),
    ],
)
def test_a_pooled_head_that_does_not_answer_presence_is_refused(several, maps, pooled):
    network = replace(several.network, pooled_channels=pooled)
    with pytest.raises(ValueError, match=f"presence, the last, found {pooled} and"):
        replace(several, target=TargetSpec(maps=maps), network=network, labels=LABELS)


def test_structures_and_presence_go_together(several):
    row = replace(
        several,
        network=replace(several.network, out_channels=4, pooled_channels=1),
        target=TargetSpec(maps=(*MAPS, "presence")),
    )
    assert row.target.structures == {"label_1": 1, "label_7": 7}


def test_a_task_of_one_structure_has_no_maps_for_values():
    assert TASKS["ultrasound3d_vnet"].target.structures == {}
    assert TASKS["ultrasound3d_structures"].target.structures == {"label_1": 1, "label_2": 2}


# --- the target ----------------------------------------------------------------------------------


def _drawing(shape: tuple[int, ...] = (24, 40)) -> np.ndarray:
    """Return a gland with a cyst in it, `(*shape)`, drawn in the last two axes."""
    label = np.zeros(shape, np.int32)
    label[..., 4:20, 4:30] = 1
    label[..., 8:14, 10:20] = 7
    return label


@pytest.mark.parametrize("shape", [(24, 40), (3, 24, 40)])
def test_every_structure_has_its_map_and_foreground_is_all_of_them(shape):
    label = _drawing(shape)
    target = make_target(label, TargetSpec(maps=MAPS))
    assert target.dtype == np.uint8
    for found, wanted in zip(target, (label > 0, label == 1, label == 7), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_maps_of_structures_stay_binary_in_bent_patches_and_part_the_foreground():
    label = _drawing((60, 60))
    target = make_target(label, TargetSpec(maps=MAPS))
    spec = replace(TASKS["ultrasound3d_structures"].augment, rotate=30.0, noise=0.0)
    for seed in range(10):
        rng = np.random.default_rng(seed)
        _, truth = draw_patch(np.zeros((1, 60, 60)), target, 32, spec, rng, MAPS, 1.0)
        assert set(np.unique(truth)) <= {0, 1}
        assert not (truth[1] * truth[2]).sum() > 0.02 * truth[0].sum(), "halves of a pixel at most"
        assert ((truth[1] + truth[2] > 0) <= (truth[0] > 0)).all()


def test_dice_is_the_mean_over_foreground_and_each_structure():
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 8, 8)
    target = torch.from_numpy(make_target(_drawing(), TargetSpec(maps=MAPS))).float()
    target = target[:, 4:12, 8:16].expand(2, -1, -1, -1)
    parts = [dice(logits[:, n : n + 1], target[:, n : n + 1]) for n in range(3)]
    torch.testing.assert_close(get_loss("dice", MAPS)(logits, target), sum(parts) / 3)


# --- the answer ----------------------------------------------------------------------------------


class _Painted(torch.nn.Module):
    """Answers by the brightness: from 0.2 on foreground, gland below 0.7 and cyst above."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat((50 * (x - 0.2), 20 * (0.7 - x), 20 * (x - 0.7)), dim=1)


def _answer(several, label: np.ndarray, **output) -> Prediction:
    row = replace(several, output=replace(several.output, **output))
    row = replace(row, network=replace(row.network, spatial_dims=label.ndim))
    grey = np.where(label == 1, 100, np.where(label == 7, 200, 0)).astype(np.uint8)
    image = Image(grey, Geometry.flat(*grey.shape), Path("a.nrrd"))
    return Predictor(row, _Painted(), "cpu", "fp32")(image)


@pytest.mark.parametrize("shape", [(24, 40), (3, 24, 40)])
def test_the_mask_holds_the_values_of_the_label_table(several, shape):
    label = _drawing(shape)
    answer = _answer(several, label)
    assert answer.mask.dtype == np.uint8
    np.testing.assert_array_equal(answer.mask, label)
    assert answer.probabilities.shape == (3, *shape)


def test_where_there_is_no_foreground_no_structure_is_likeliest(several):
    assert not _answer(several, np.zeros((24, 40), np.int32)).mask.any()


def test_one_structure_has_the_value_of_its_label(task):
    row = replace(
        task,
        labels={"nerve": 3},
        input=InputSpec(dark_background=False, percentiles=(0, 100)),
        output=OutputSpec(),
    )

    class Bright(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 50 * (x - 0.2)

    pixels = np.where(_drawing() > 0, 200, 0).astype(np.uint8)
    image = Image(pixels, Geometry.flat(*pixels.shape), Path("a.png"))
    mask = Predictor(row, Bright(), "cpu", "fp32")(image).mask
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, 3 * (_drawing() > 0))


def test_the_largest_of_each_structure_is_kept_also_where_they_do_not_touch(several):
    label = np.zeros((40, 60), np.int32)
    label[2:20, 2:20] = 1  # the gland
    label[30:36, 2:8] = 1
    label[4:10, 40:50] = 7  # its cyst, apart
    label[30:33, 40:44] = 7
    wanted = label.copy()
    wanted[30:] = 0
    np.testing.assert_array_equal(_answer(several, label).mask, label)
    np.testing.assert_array_equal(_answer(several, label, keep="largest").mask, wanted)


def test_a_speck_of_one_structure_inside_another_goes_where_the_largest_is_kept(several):
    label = _drawing()
    label[17, 27] = 7
    mask = _answer(several, label, keep="largest").mask
    assert mask[17, 27] == 0
    label[17, 27] = 0
    np.testing.assert_array_equal(mask, label)


# --- figures and training ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def glands(tmp_path_factory) -> list[Item]:
    """Six noisy volumes of a gland with a cyst in it; one has no cyst."""
    folder = tmp_path_factory.mktemp("glands")
    items = []
    for index in range(6):
        rng = np.random.default_rng(index)
        label = np.roll(_drawing((6, 24, 40)), rng.integers(-2, 3, 2), (1, 2)).astype(np.uint8)
        if index == 0:
            label[label == 7] = 1
        grey = np.select((label == 1, label == 7), (120, 220), 30)
        voxels = (grey + rng.normal(0, 8, label.shape)).clip(0, 255).astype(np.uint8)
        names = folder / f"gland_{index}.nrrd", folder / f"gland_{index}_label.nrrd"
        for path, array in zip(names, (voxels, label), strict=True):
            sitk.WriteImage(sitk.GetImageFromArray(array), str(path))
        items.append(Item(f"gland_{index}", *names))
    return items


class _Shifted:
    """Answers every volume with its label, the gland lacking its lowest rows."""

    device, dtype, flips, backend = "cpu", "torch.float32", False, Backend()

    def __init__(self, task, items):
        self.task = task
        self.labels = {item.image: read_label(item.label, (6, 24, 40)) for item in items}

    def __call__(self, image):
        mask = self.labels[image.path].astype(np.uint8)
        mask[:, 15:][mask[:, 15:] == 1] = 0
        return Prediction(probabilities=np.zeros((3, *mask.shape), np.float32), mask=mask)


def test_evaluation_tells_the_dice_of_each_structure(several, glands):
    predictor = _Shifted(several, glands)
    report = evaluate(predictor, glands)
    for row, item in zip(report.images, glands, strict=True):
        truth = predictor.labels[item.image]
        gland, left = truth == 1, (truth == 1)[:, :15]
        assert row["dice_cyst"] == 1, "also of the volume without one"
        assert row["dice_gland"] == pytest.approx(2 * left.sum() / (left.sum() + gland.sum()))
        assert row["dice_gland"] < 1


def test_evaluation_of_one_structure_does_not_name_it_twice(task, glands):
    class Empty(_Shifted):
        def __call__(self, image):
            mask = np.zeros(image.shape, np.uint8)
            return Prediction(probabilities=np.zeros((1, *mask.shape), np.float32), mask=mask)

    report = evaluate(Empty(replace(task, output=OutputSpec()), glands), glands)
    assert not [name for name in report.images[0] if name.startswith("dice_")]


def test_two_structures_are_learned(several, glands, tmp_path):
    row = replace(
        several,
        network=replace(several.network, spatial_dims=3),
        training=replace(
            several.training,
            steps=80,
            val_interval=80,
            batch_size=4,
            patch_size=(6, 16, 16),
            learning_rate=2e-2,
            foreground_share=0.5,
        ),
    )
    options = FitOptions(out=tmp_path, device="cpu", precision="fp32", progress=False)
    result = fit(row, glands, replace(options, tensorboard=False))
    predictor = Predictor.from_checkpoint(row, load_checkpoint(result.weights), "cpu", "fp32")
    report = evaluate(predictor, [item for item in glands if item.id != "gland_0"])
    assert np.mean([case["dice_gland"] for case in report.images]) > 0.85
    assert np.mean([case["dice_cyst"] for case in report.images]) > 0.7
    assert len(PreparedCases(glands, row)[0][1]) == 3
