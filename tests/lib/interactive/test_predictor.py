"""A network that follows clicks: what it answers, what is kept between clicks, how it learns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as PillowImage
from training_samples import assert_same_weights, fit_options, with_recipe

from lib.data.studies import Item
from lib.data.transforms import prepare_image
from lib.errors import InputError
from lib.image import Geometry, Image
from lib.interactive import predictor as interactive
from lib.interactive.click_evaluation import evaluate_clicks
from lib.interactive.clicks import Clicks
from lib.interactive.predictor import ClickPredictor
from lib.networks import build_network
from lib.segmentation.predictor import Predictor
from lib.tasks.click_spec import ClickSpec
from lib.tasks.registry import TASKS
from lib.tasks.spec import TaskSpec
from lib.training.loop import fit
from lib.weights.checkpoint import Checkpoint, load_checkpoint, state_on_cpu, transfer_network

CLICKING = [name for name, task in TASKS.items() if task.kind == "interactive"]


def _small(name: str, **changes) -> TaskSpec:
    row = TASKS[name]
    levels = len(row.encoder_decoder.channels)
    network = replace(row.encoder_decoder, channels=(4, 6, 8, 8, 8)[:levels])
    return replace(row, network=network, **changes)


def _predictor(task: TaskSpec, seed: int = 0, guided: bool = True) -> ClickPredictor:
    torch.manual_seed(seed)
    network = build_network(task.network)
    if guided:  # as training would leave it; it begins at zero
        for weight in network.guide.parameters():
            torch.nn.init.normal_(weight, std=0.5)
    return ClickPredictor(task, network, "cpu", "fp32")


def _image(*shape: int, seed: int = 0, over_time: bool = False) -> Image:
    pixels = np.random.default_rng(seed).integers(0, 255, shape, dtype=np.uint8)
    if len(shape) == 2:
        return Image(pixels, Geometry.flat(*shape), Path("a.png"))
    geometry = Geometry(shape[::-1], (1.0,) * 3, (0.0,) * 3, tuple(np.eye(3).ravel()))
    return Image(pixels, geometry, Path("a.nrrd"), over_time=over_time)


@pytest.mark.parametrize("name", CLICKING)
def test_a_network_begins_as_the_one_without_clicks(name):
    task = _small(name)
    plain = replace(
        task,
        kind="segmentation",
        clicks=None,
        network=replace(task.encoder_decoder, guidance_channels=0),
    )
    torch.manual_seed(3)
    network = build_network(plain.network).eval()
    checkpoint = Checkpoint(task=plain.name, spec=plain.as_dict(), weights=state_on_cpu(network))
    clicking, _, fresh = transfer_network(task, checkpoint)
    assert fresh
    assert all(part.startswith("guide.") for part in fresh)
    side = task.encoder_decoder.input_size(16)
    x = torch.rand(1, 1, *(side,) * task.network.spatial_dims)
    maps = torch.ones(1, 2, *x.shape[2:])
    with torch.inference_mode():
        torch.testing.assert_close(clicking(x, maps), network(x), rtol=0, atol=0)


@pytest.mark.parametrize("size", [(64, 64), (50, 77)])
def test_what_is_kept_between_clicks_changes_no_answer(size):
    predictor = _predictor(_small("nuclei_click"))
    shown = predictor.look_at(_image(*size))
    prepared = prepare_image(shown.image, predictor.task.input)
    clicks = Clicks()
    for point, positive in (((10, 12), True), ((30, 40), False), ((44, 20), True)):
        clicks = clicks.with_one(point, positive)
        kept = shown.session._whole(clicks)
        anew = predictor.probabilities(prepared, clicks=clicks)
        np.testing.assert_allclose(kept, anew, atol=2e-5)
    without = Predictor(predictor.task, predictor.network, "cpu", "fp32")
    np.testing.assert_allclose(
        shown.session._whole(Clicks()), without.probabilities(prepared), atol=2e-5
    )


def test_a_click_changes_the_answer_near_it():
    predictor = _predictor(_small("nuclei_click"))
    shown = predictor.look_at(_image(96, 96))
    before, after = (
        shown.session._whole(clicks)[0] for clicks in (Clicks(), Clicks().with_one((48, 48), True))
    )
    assert np.abs(after - before)[44:53, 44:53].max() > 1e-3


def test_large_images_are_answered_in_tiles(monkeypatch):
    predictor = _predictor(_small("nuclei_click"))
    shown = predictor.look_at(_image(96, 160))
    clicks = Clicks().with_one((20, 130), True)
    whole = shown.session.probabilities(clicks)
    monkeypatch.setattr(interactive, "WHOLE_PIXELS", {2: 64 * 64})
    np.testing.assert_allclose(shown.session.probabilities(clicks), whole, atol=1e-4)


@pytest.mark.parametrize("name", CLICKING)
@pytest.mark.parametrize("seed", range(3))
def test_even_an_untrained_network_follows_every_click(name, seed):
    task = _small(name, output=replace(TASKS[name].output, min_area=0))
    predictor = _predictor(task, seed)
    shape = (24, 40, 40) if task.image_dims == 3 else (90, 70)
    shown = predictor.look_at(_image(*shape, seed=seed))
    rng = np.random.default_rng(seed)
    clicks = Clicks()
    for number in range(6):  # far from each other
        at = (
            12 if len(shape) == 3 else 8 + 14 * number,
            6 + (5 if len(shape) == 3 else 10) * number,
        )
        point = (*at, int(rng.integers(40))) if len(shape) == 3 else at
        clicks = clicks.with_one(point, bool(number % 2))
    mask = shown(clicks).mask > 0
    assert all(mask[tuple(point)] for point in clicks.positive)
    assert not any(mask[tuple(point)] for point in clicks.negative)


@pytest.mark.parametrize("point", [(0, 0), (63, 63), (0, 30)])
def test_a_click_at_the_border_is_in_an_object_however_small(point, monkeypatch):
    predictor = _predictor(_small("nuclei_click"))
    shown = predictor.look_at(_image(64, 64))
    monkeypatch.setattr(
        shown.session, "_whole", lambda clicks: np.zeros((3, 64, 64), dtype=np.float32)
    )
    answer = shown(Clicks().with_one(point, True))
    assert answer.mask[point]
    assert answer.instances[point]


def test_a_loop_is_answered_anew_only_where_it_was_clicked():
    predictor = _predictor(_small("busi_click"))
    shown = predictor.look_at(_image(5, 64, 64, over_time=True))
    before = shown(Clicks()).probabilities
    after = shown(Clicks().with_one((2, 30, 30), True))
    changed = np.abs(after.probabilities - before).max(axis=(0, 2, 3)) > 1e-6
    assert changed.tolist() == [False, False, True, False, False]
    assert after.mask[2, 30, 30]


def test_a_click_beside_the_ultrasound_picture_is_refused_or_needs_no_answer():
    predictor = _predictor(_small("busi_click"))
    image = replace(_image(80, 90), region=(slice(10, 70), slice(20, 90)))
    shown = predictor.look_at(image)
    with pytest.raises(InputError, match=r"\(5, 30\).*columns 20 to 89 and rows 10 to 69"):
        shown(Clicks().with_one((30, 5), True))
    beside = shown(Clicks().with_one((30, 5), False)).probabilities
    np.testing.assert_array_equal(beside, shown(Clicks()).probabilities)


def test_two_clicks_in_one_object_part_it(monkeypatch):
    predictor = _predictor(_small("nuclei_click"))
    shown = predictor.look_at(_image(64, 64))
    full = np.ones((3, 64, 64), np.float32)
    monkeypatch.setattr(shown.session, "_whole", lambda clicks: full.copy())
    one = shown(Clicks().with_one((30, 30), True)).instances
    two = shown(Clicks().with_one((30, 10), True).with_one((30, 50), True)).instances
    assert one.max() == 1
    assert two.max() == 2
    assert two[30, 10] != two[30, 50]
    assert (two > 0).all()


def test_one_click_off_the_middle_of_an_answered_object_parts_what_is_around_it(monkeypatch):
    predictor = _predictor(_small("nuclei_click"))
    shown = predictor.look_at(_image(64, 64))
    rows, columns = np.ogrid[:64, :64]
    small = (rows - 32) ** 2 + (columns - 15) ** 2 <= 8**2
    large = (rows - 32) ** 2 + (columns - 38) ** 2 <= 17**2
    maps = np.stack([np.float32(small | large)] * 3)  # of the same depth everywhere: no neck
    monkeypatch.setattr(shown.session, "_whole", lambda clicks: maps.copy())
    assert shown(Clicks()).instances.max() == 1
    clicked = shown(Clicks().with_one((32, 15), True)).instances
    own = clicked == clicked[32, 15]
    assert (own & small).sum() > 0.9 * small.sum()
    assert own.sum() < 1.3 * small.sum()
    assert clicked[32, 45] not in (0, clicked[32, 15])


def _either_of_two(folder: Path, count: int) -> list[Item]:
    """Write images of two equal discs, of which one is the structure: only a click can tell."""
    items = []
    rng = np.random.default_rng(0)
    rows, columns = np.ogrid[:48, :48]
    for number in range(count):
        discs = [
            (rows - int(rng.integers(12, 36))) ** 2 + (columns - middle) ** 2 <= 49
            for middle in (12, 35)
        ]
        image = np.where(discs[0] | discs[1], 180, 40) + rng.integers(0, 20, (48, 48))
        paths = [folder / f"{number}.png", folder / f"{number}_label.png"]
        for path, pixels in zip(paths, (image, discs[number % 2] * 255), strict=True):
            PillowImage.fromarray(pixels.astype(np.uint8)).save(path)
        items.append(Item(str(number), *paths))
    return items


@pytest.fixture(scope="module")
def either(tmp_path_factory) -> list[Item]:
    return _either_of_two(tmp_path_factory.mktemp("either"), 24)


@pytest.fixture(scope="module")
def clicking() -> TaskSpec:
    row = TASKS["busi_click"]
    task = replace(
        row,
        network=replace(
            row.encoder_decoder,
            kernel_size=3,
            channels=(8, 12, 16),
            convolutions=(1, 1, 1),
        ),
        input=replace(row.input, longest_side=48),
        augment=replace(row.augment, rotate=0.0, elastic=0.0, zoom=(1.0, 1.0)),
        clicks=ClickSpec(automatic=0.1),
    )
    return with_recipe(
        task,
        steps=160,
        val_interval=80,
        batch_size=4,
        patch_size=48,
        learning_rate=5e-3,
        averaging=0.9,
    )


def test_a_network_learns_to_follow_clicks(either, clicking, tmp_path):
    result = fit(clicking, either, fit_options(tmp_path, seed=1))
    scores = result.history[-1]
    assert scores["dice_3_clicks"] > 0.85
    assert scores["dice_3_clicks"] > scores["dice_0_clicks"] + 0.1
    steps = [scores[f"dice_{count}_clicks"] for count in range(4)]
    assert scores["click_dice"] == pytest.approx(np.mean(steps))

    predictor = ClickPredictor.from_checkpoint(clicking, load_checkpoint(result.weights), "cpu")
    report = evaluate_clicks(predictor, either, most=5)
    assert report["images"] == len(report["rows"]) == len(either)
    assert report["clicks_to_90"]["median"] <= 3
    assert report["mean_dice"][-1] > report["mean_dice"][0]


def test_an_interrupted_training_goes_on_with_the_same_clicks(either, clicking, tmp_path):
    task = with_recipe(clicking, steps=8, val_interval=4)
    whole = fit(task, either[:6], fit_options(tmp_path / "whole"))

    class Stopped(Exception):
        pass

    def stop(predictor, cases, done=[0]):  # noqa: B006
        done[0] += 1
        if done[0] > 2:
            raise Stopped
        return scores(predictor, cases)

    from lib.training import validation as training

    scores = training.score_cases
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "score_cases", stop)
        with pytest.raises(Stopped):
            fit(task, either[:6], fit_options(tmp_path / "parts"))
    parts = fit(task, either[:6], fit_options(tmp_path / "parts"))
    assert parts.steps == whole.steps == 8
    assert_same_weights(parts.weights, whole.weights)
