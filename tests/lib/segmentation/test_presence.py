"""Whether a structure is there at all: learned per patch, answered once, obeyed by the mask."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from drawing_samples import draw_patch
from PIL import Image as PillowImage

from lib.data.studies import Item
from lib.image import Geometry, Image
from lib.io.read import read_image
from lib.kinds import score_cases
from lib.networks import build_network
from lib.segmentation.evaluation import evaluate
from lib.segmentation.losses import bce, get_loss
from lib.segmentation.predictor import Predictor
from lib.tasks.image_spec import AugmentSpec, InputSpec, OutputSpec, TargetSpec
from lib.tasks.network_spec import EncoderDecoderSpec
from lib.tasks.registry import TASKS
from lib.training.batches import PreparedCases
from lib.training.loop import fit
from lib.training.options import FitOptions
from lib.weights.checkpoint import load_checkpoint

MAPS = ("foreground", "presence")
BENT = AugmentSpec(rotate=20.0, zoom=(0.7, 1.4), elastic=2.0, rotate90=True, dilate=0.5)


@pytest.fixture(scope="module")
def gated(task):
    """A row that answers foreground and presence, with a small network."""
    network = replace(task.network, channels=(4, 8, 16), norm="instance", out_channels=2)
    return replace(
        task,
        network=replace(network, pooled_channels=1),
        input=InputSpec(dark_background=False, percentiles=(0, 100)),
        target=TargetSpec(maps=MAPS),
        output=OutputSpec(presence_threshold=0.5),
        key_metric="dice_kaggle",
    )


# --- the target ----------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", [AugmentSpec(), BENT], ids=["plain", "bent"])
@pytest.mark.parametrize("whole", [0, 1])
def test_presence_is_that_of_the_patch_not_of_the_image(spec, whole):
    target = np.zeros((2, 60, 60), np.uint8)
    target[0, :14, :20] = 1
    target[1] = whole  # what the case says of the whole image
    image = target[:1].astype(np.float32)
    seen = set()
    for seed in range(40):
        _, truth = draw_patch(image, target, 24, spec, np.random.default_rng(seed), MAPS)
        assert truth[1].min() == truth[1].max() == truth[0].max()
        seen.add(float(truth[1, 0, 0]))
    assert seen == {0.0, 1.0}


def test_presence_is_found_by_its_name_wherever_it_stands():
    target = np.zeros((3, 40, 40), np.float16)
    target[0, 10:30, 10:30] = 1
    target[2] = 0.25
    maps = ("foreground", "presence", "border_weight")
    rng = np.random.default_rng(0)
    _, truth = draw_patch(
        np.zeros((1, 40, 40)), target, 32, AugmentSpec(), rng, maps, foreground_share=1.0
    )
    assert (truth[1] == 1).all()
    assert (truth[2] == 0.25).all()


# --- the network ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("topology", ["unet", "vnet"])
def test_the_answered_presence_is_one_number_for_an_image(dims, topology):
    spec = EncoderDecoderSpec(
        spatial_dims=dims,
        topology=topology,
        channels=(4, 8),
        convolutions=(1, 1),
        out_channels=3,
        pooled_channels=1,
    )
    torch.manual_seed(0)
    logits = build_network(spec)(torch.rand(2, 1, *(8, 12, 16)[-dims:]))
    assert logits.shape == (2, 3, *(8, 12, 16)[-dims:])
    spread = logits.flatten(2).amax(2) - logits.flatten(2).amin(2)
    assert (spread[:, 2] == 0).all()
    assert (spread[:, :2] > 0).all()
    assert logits[0, 2].flatten()[0] != logits[1, 2].flatten()[0], "of each image its own"


def test_the_largest_and_the_mean_of_the_coarsest_maps_decide():
    spec = EncoderDecoderSpec(
        channels=(4, 8), convolutions=(1, 1), out_channels=2, pooled_channels=1
    )
    torch.manual_seed(0)
    network = build_network(spec)
    coarsest: list[torch.Tensor] = []
    network.encoder[-1].register_forward_hook(lambda *given: coarsest.append(given[2]))
    answered = network(torch.rand(3, 1, 16, 16))[:, 1, 0, 0]
    maps = coarsest[0].flatten(2)
    both = torch.cat((maps.mean(2), maps.max(2).values), 1)
    wanted = both @ network.pooled.weight[0] + network.pooled.bias
    torch.testing.assert_close(answered, wanted)


@pytest.mark.parametrize(("pooled", "channels"), [(1, 1), (2, 2), (-1, 2)])
def test_a_network_that_answers_presence_alone_is_refused(pooled, channels):
    with pytest.raises(ValueError, match=f"fewer than out_channels, found {pooled} of {channels}"):
        EncoderDecoderSpec(out_channels=channels, pooled_channels=pooled)


# --- the loss ------------------------------------------------------------------------------------


def _answers() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    target = (torch.rand(2, 2, 8, 8) > 0.6).float()
    logits = torch.randn(2, 2, 8, 8)
    logits[:, 1], target[:, 1] = torch.tensor([2.0, -1.0]).view(2, 1, 1), 1.0
    return logits, target


def test_dice_ignores_presence():
    logits, target = _answers()
    loss = get_loss("dice", MAPS)(logits, target)
    torch.testing.assert_close(loss, get_loss("dice")(logits[:, :1], target[:, :1]))


def test_cross_entropy_of_presence_is_that_of_one_number_for_each_image():
    logits, target = _answers()
    found = get_loss("bce", MAPS)(logits, target) - bce(logits[:, :1], target[:, :1])
    wanted = (math.log1p(math.exp(-2)) + math.log1p(math.exp(1))) / 2
    assert float(found) == pytest.approx(wanted, rel=1e-5)


# --- the answer ----------------------------------------------------------------------------------


class _Sure(torch.nn.Module):
    """Answers foreground where it is bright, and presence by the mean of each image.

    An image with a mean of 0.25 is undecided, a brighter one has the structure.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        presence = 40 * (x.flatten(2).mean(2).view(-1, 1, *(1,) * (x.ndim - 2)) - 0.25)
        return torch.cat((40 * (x - 0.5), presence.expand_as(x)), dim=1)


def _halved(*bright: int) -> np.ndarray:
    """Return frames of 20 x 20 pixels of which so many columns are bright, `(frames, 20, 20)`."""
    return np.stack([np.where(np.arange(20) < n, 200, 0)[np.newaxis].repeat(20, 0) for n in bright])


def _image(pixels: np.ndarray, **more) -> Image:
    return Image(pixels.astype(np.uint8), Geometry.flat(*pixels.shape), Path("a.nrrd"), **more)


def test_an_absent_structure_has_an_empty_mask_and_its_probabilities_stay(gated):
    predictor = Predictor(gated, _Sure(), "cpu", "fp32")
    found, absent = (predictor(_image(_halved(n)[0])) for n in (8, 3))
    assert (found.mask > 0).sum() == 8 * 20
    assert found.presence == pytest.approx(1 / (1 + math.exp(-40 * 0.15)), abs=1e-5)
    assert not absent.mask.any()
    assert absent.presence == pytest.approx(1 / (1 + math.exp(40 * 0.1)), abs=1e-5)
    assert (absent.probabilities[0] >= 0.5).sum() == 3 * 20
    assert absent.probabilities.shape == (2, 20, 20)


def test_the_presence_threshold_decides_and_0_is_off(gated):
    image = _image(_halved(3)[0])
    for threshold, empty in ((0.0, False), (0.01, False), (0.03, True)):
        row = replace(gated, output=replace(gated.output, presence_threshold=threshold))
        assert Predictor(row, _Sure(), "cpu", "fp32")(image).mask.any() != empty


@pytest.mark.parametrize("over_time", [True, False], ids=["loop", "volume"])
def test_each_frame_or_slice_has_a_presence_of_its_own(gated, over_time):
    answer = Predictor(gated, _Sure(), "cpu", "fp32")(
        _image(_halved(8, 3, 0, 12, 4), over_time=over_time)
    )
    assert (answer.mask > 0).sum((1, 2)).tolist() == [160, 0, 0, 240, 0]
    assert answer.presence == pytest.approx(float(answer.probabilities[1, 3, 0, 0]))
    assert np.ptp(answer.probabilities[1], axis=(1, 2)).max() == 0


def test_beyond_the_region_there_is_neither_structure_nor_presence(gated):
    pixels = np.full((40, 50), 255)
    pixels[10:30, 20:40] = _halved(8)[0]
    image = _image(pixels, region=(slice(10, 30), slice(20, 40)))
    answer = Predictor(gated, _Sure(), "cpu", "fp32")(image)
    assert answer.presence > 0.99
    assert (answer.mask > 0).sum() == 8 * 20
    assert answer.mask[10:30, 20:28].all()


def test_a_task_without_the_map_answers_no_presence(task):
    network = build_network(task.network)
    assert Predictor(task, network, "cpu", "fp32")(_image(_halved(8)[0])).presence is None


# --- figures and training ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def discs(tmp_path_factory) -> list[Item]:
    """Sixteen noisy images, half of them with a bright disc."""
    folder = tmp_path_factory.mktemp("discs")
    y, x = np.mgrid[:32, :32]
    items = []
    for index in range(16):
        rng = np.random.default_rng(index)
        row, column = rng.integers(9, 23, 2)
        label = (np.hypot(y - row, x - column) < 6).astype(np.uint8) * (index % 2)
        pixels = (rng.normal(90, 15, label.shape) + 90 * label).clip(0, 255).astype(np.uint8)
        names = folder / f"disc_{index}.png", folder / f"disc_{index}_label.png"
        PillowImage.fromarray(pixels).save(names[0])
        PillowImage.fromarray(label).save(names[1])
        items.append(Item(f"disc_{index}", *names))
    return items


class _Says(torch.nn.Module):
    """Answers one logit of foreground everywhere, and presence by whether anything is bright."""

    def __init__(self, foreground: float) -> None:
        super().__init__()
        self.foreground = foreground

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        bright = (x.flatten(2).mean(2) > 0.5).float().view(-1, 1, 1, 1)
        return torch.cat((torch.full_like(x, self.foreground), (8 * bright - 4).expand_as(x)), 1)


def test_the_figures_of_training_obey_presence(gated, tmp_path):
    """Four images of 400 pixels: with 100 and 40 of a structure, with none, with none and marks."""
    items = []
    for index, (drawn, bright) in enumerate(((100, True), (40, False), (0, False), (0, True))):
        label = np.zeros(400, np.uint8)
        label[:drawn] = 1
        pixels = np.full(400, 200 if bright else 20, np.uint8)
        pixels[:40] = 0 if bright else 255
        names = tmp_path / f"{index}.png", tmp_path / f"{index}_label.png"
        for path, array in zip(names, (pixels, label), strict=True):
            PillowImage.fromarray(array.reshape(20, 20)).save(path)
        items.append(Item(str(index), *names))

    def figures(foreground: float, threshold: float) -> dict[str, float]:
        row = replace(gated, output=OutputSpec(presence_threshold=threshold))
        predictor = Predictor(row, _Says(foreground), "cpu", "fp32")
        return score_cases(predictor, PreparedCases(items, row))

    gated_ones = figures(9, 0.5)  # the whole of the first image, and of the last
    assert gated_ones["dice_kaggle"] == pytest.approx((200 / 500 + 0 + 1 + 0) / 4)
    assert gated_ones["dice_positive"] == pytest.approx((200 / 500 + 0) / 2)
    assert gated_ones["found"] == 0.5
    assert gated_ones["presence_auc"] == 0.5  # one of each kind is bright
    assert gated_ones["recall"] == pytest.approx(100 / 140)
    open_ones = figures(9, 0.0)
    assert open_ones["dice_kaggle"] == pytest.approx((200 / 500 + 80 / 440) / 4)
    assert open_ones["found"] == 1
    empty = figures(-9, 0.5)
    assert (empty["dice_kaggle"], empty["dice_positive"], empty["found"]) == (0.5, 0, 0)


def test_presence_is_learned_beside_the_mask(gated, discs, tmp_path):
    recipe = replace(
        gated.training,
        steps=80,
        val_interval=80,
        batch_size=8,
        patch_size=32,
        learning_rate=1e-2,
        val_split=0.4,
    )
    options = FitOptions(out=tmp_path, device="cpu", precision="fp32", progress=False, seed=1)
    row = replace(gated, training=recipe)
    result = fit(row, discs, replace(options, tensorboard=False))
    assert result.metrics["presence_auc"] == 1
    assert result.metrics["dice_kaggle"] > 0.8
    held = [item for item in discs if item.id in result.validation_ids]
    predictor = Predictor.from_checkpoint(row, load_checkpoint(result.weights), "cpu", "fp32")
    answers = {item.id: predictor(read_image(item.image)) for item in held}
    for name, answer in answers.items():
        present = int(name.rsplit("_", 1)[1]) % 2
        assert (answer.presence > 0.5) == bool(present)
    report = evaluate(predictor, held)
    assert report.presence["dice_kaggle"] == pytest.approx(result.metrics["dice_kaggle"], abs=0.02)
    assert report.presence["images_with"] + report.presence["images_without"] == len(held)


def test_the_rows_for_structures_that_are_often_absent_answer_presence():
    for name in ("nerve_vhllrhe", "busi_lesion"):
        row = TASKS[name]
        assert row.target.answered == MAPS
        assert row.network.pooled_channels == 1
        assert 0 < row.output.presence_threshold < 1
        assert row.key_metric == "dice_kaggle"
        assert not row.augment.flip_depth
