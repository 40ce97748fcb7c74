"""Greys and texture of phantoms, whose greys are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from lib.networks.build import build_network
from lib.networks.classifiers import MultiViewClassifier, ViewNetwork
from lib.networks.grey_measures import (
    BINS,
    CELL,
    OCTAVES,
    SHARES,
    GreyMaps,
    Measures,
    maps_of,
    measures_of,
)
from lib.tasks.network_spec import ClassifierSpec
from lib.tasks.registry import TASKS

SPEC = TASKS["density_birads_greys"].classifier


def breast(greys: np.ndarray, left: int = 0, size: int = 256) -> torch.Tensor:
    """Return a half disc of greys, `(1, 1, size, size)`, `left` pixels from the right edge."""
    rows, columns = np.mgrid[:size, :size]
    inside = (rows - size / 2) ** 2 + (columns - size + left) ** 2 < (0.4 * size) ** 2
    inside &= columns < size - left
    return torch.from_numpy(np.where(inside, greys, 0).astype(np.float32))[None, None]


def measured(image: torch.Tensor) -> np.ndarray:
    """Return what the head sees of an image with one channel, before it is standardised."""
    network = ViewNetwork(
        ClassifierSpec(architecture="greys", channels=(), depths=(), pooling="breast")
    ).eval()
    return network.head[0](network.with_maps(image)[1])[0].numpy()


def grey_noise(blur: float, seed: int = 0) -> np.ndarray:
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(256, 256)), blur)
    return np.clip(0.5 + 0.12 * noise / noise.std(), 0.01, 1)


def test_the_first_measures_are_the_quantiles_of_the_greys_of_the_breast() -> None:
    greys = np.random.default_rng(1).beta(2, 4, (16, 16)).repeat(16, 0).repeat(16, 1)
    image = breast(greys)
    inside = image[image > 0].numpy()
    expected = np.quantile(inside, SHARES)
    assert np.abs(measured(image)[: len(SHARES)] - expected).max() < 0.06  # the ends are soft


def test_what_lies_around_the_breast_is_not_measured() -> None:
    greys = grey_noise(3)
    whole, moved = measured(breast(greys)), measured(breast(np.roll(greys, -32, 1), left=32))
    assert np.allclose(whole, moved, atol=1e-4)
    assert whole[-1] == pytest.approx(float((breast(greys) > 0).float().mean()))


@pytest.mark.parametrize(("blur", "octave"), [(0.3, 0), (4.0, 3)])
def test_texture_is_told_by_the_octave_of_its_size(blur: float, octave: int) -> None:
    image = breast(grey_noise(blur))
    texture = measured(image)[len(SHARES) : -1].reshape(OCTAVES, 2).mean(1)
    assert abs(int(texture.argmax()) - octave) <= 1


def test_bright_spots_and_dark_ones_differ() -> None:
    rng = np.random.default_rng(2)
    spots = ndimage.gaussian_filter((rng.random((256, 256)) < 0.002).astype(float), 2)
    spots = 0.3 * spots / spots.max()
    bright, dark = (measured(breast(0.5 + sign * spots)) for sign in (1, -1))
    fine = slice(len(SHARES) + 6, len(SHARES) + 8)  # brighter and darker, at some 8 pixels
    assert np.allclose(bright[fine], dark[fine][::-1], atol=0.05)
    assert not np.allclose(bright[fine], bright[fine][::-1], atol=0.1)


@pytest.mark.parametrize("size", [(256, 256), (250, 131)])
def test_the_maps_cover_an_image_of_any_size(size: tuple[int, int]) -> None:
    maps = GreyMaps()(torch.rand(2, 2, *size))
    assert maps.shape == (2, maps_of(2), -(-size[0] // CELL), -(-size[1] // CELL))
    assert maps_of(2) == 2 * BINS + 2 * OCTAVES + 1
    assert torch.isfinite(maps).all()
    assert Measures(2)(maps).shape == (2, measures_of(2))


def test_an_image_without_a_breast_has_finite_measures() -> None:
    assert np.isfinite(measured(torch.zeros(1, 1, 64, 64))).all()


def test_half_precision_around_does_not_change_the_measures() -> None:
    image = breast(grey_noise(1))
    exact = GreyMaps()(image)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(GreyMaps()(image), exact)


def test_a_batch_of_one_is_trained_on() -> None:
    network = build_network(SPEC)
    assert isinstance(network, MultiViewClassifier)
    network.train()
    logits = network(torch.rand(1, 2, 64, 64), torch.zeros(1, dtype=torch.long))
    logits.sum().backward()
    assert all(torch.isfinite(value.grad).all() for value in network.networks[0].parameters())


def test_the_answer_begins_without_an_opinion() -> None:
    network = build_network(SPEC).eval()
    logits = network(torch.rand(3, 2, 64, 64), torch.tensor([0, 1, 0]))
    assert torch.equal(logits, torch.zeros(3, 4))


def test_dense_phantoms_are_learned_from_twenty() -> None:
    """Bright tissue covers a fifth or a half of each phantom, which the head tells apart."""
    network = ViewNetwork(
        ClassifierSpec(architecture="greys", channels=(), depths=(), pooling="breast")
    )
    rng = np.random.default_rng(3)

    def phantom(share: float) -> torch.Tensor:
        field = ndimage.gaussian_filter(rng.normal(size=(128, 128)), 3)
        dense = field > np.quantile(field, 1 - share)
        greys = 0.3 + 0.4 * dense + 0.05 * rng.normal(size=(128, 128))
        return breast(np.clip(greys, 0.01, 1), size=128)

    def batch() -> tuple[torch.Tensor, torch.Tensor]:
        truth = torch.arange(20) % 2
        return torch.cat([phantom((0.2, 0.5)[int(one)]) for one in truth]), truth

    images, truth = batch()
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.03)
    for _ in range(30):
        loss = torch.nn.functional.cross_entropy(network(images), truth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    unseen, answer = batch()
    assert (network.eval()(unseen).argmax(1) == answer).float().mean() >= 0.95


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": (4,), "depths": (1,), "pooling": "breast"}, "greys have no stages"),
        ({"channels": (), "depths": (), "pooling": "image"}, "pooling must be breast"),
        ({"architecture": "resnet", "channels": (), "depths": ()}, "one entry per stage"),
    ],
)
def test_specs_that_describe_no_such_network_are_refused(
    options: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        ClassifierSpec(**{"architecture": "greys", **options})  # type: ignore[arg-type]
