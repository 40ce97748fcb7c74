"""Classifiers: the convolutions that are counted, any input size, one network for each view."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from lib.errors import NotFoundError
from lib.networks import build_network
from lib.networks.classifiers import Bottleneck
from lib.tasks.network_spec import ClassifierSpec, EncoderDecoderSpec
from lib.tasks.registry import TASKS

ROWS = [name for name, task in TASKS.items() if task.kind == "classification"]
PARAMETERS = {
    "density_a_vs_d_vgg": 99_300,
    "density_a_vs_d_vgg_wide": 279_428,
    "density_dense": 2_504_452,
    "density_birads": 2_506_504,
    "density_birads_shared": 1_253_252,
    "density_dense_lite": 2_959_714,
    "density_birads_greys": 240,
}
SMALL = ClassifierSpec(channels=(4, 6), depths=(1, 2), out_channels=3, views=("CC", "R-MLO"))
VGG = replace(SMALL, architecture="vgg", hidden=(10, 8))
BOTH = pytest.mark.parametrize("spec", [SMALL, VGG], ids=["resnet", "vgg"])


def _on_meta(spec) -> nn.Module:
    with torch.device("meta"):
        return build_network(spec)


def _count(network: nn.Module, kind: type) -> int:
    return sum(isinstance(module, kind) for module in network.modules())


@pytest.mark.parametrize("name", ["density_dense", "density_birads", "density_birads_shared"])
def test_the_residual_networks_have_41_convolutions_in_12_blocks(name):
    spec = TASKS[name].network
    for network in _on_meta(spec).networks:
        blocks = [module for module in network.modules() if isinstance(module, Bottleneck)]
        projections = sum(_count(block.projection, nn.Conv2d) for block in blocks)
        inner = sum(_count(block.residual, nn.Conv2d) for block in blocks)
        assert (len(blocks), inner, projections) == (12, 12 * 3, 4)
        assert _count(network, nn.Conv2d) == 1 + 12 * 3 + 4 == 41 == spec.convolutions
        assert _count(network, nn.Linear) == 1


@pytest.mark.parametrize(
    ("name", "widths"),
    [("density_a_vs_d_vgg", {8, 16}), ("density_a_vs_d_vgg_wide", {16, 32})],
)
def test_the_vgg_networks_have_19_layers_three_of_them_fully_connected(name, widths):
    spec = TASKS[name].network
    for network in _on_meta(spec).networks:
        convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
        assert len(convolutions) == 16 == spec.convolutions
        assert _count(network, nn.Linear) == 3
        assert {layer.out_channels for layer in convolutions} == widths
        assert {layer.kernel_size for layer in convolutions} == {(3, 3)}
        assert _count(network, nn.ReLU) == 0, "leaky ReLU throughout"


@pytest.mark.parametrize("name", ROWS)
def test_every_rows_network_has_its_views_and_its_number_of_parameters(name):
    spec = TASKS[name].network
    network = _on_meta(spec)
    count = 1 if name.endswith(("_shared", "_lite")) else 4 if name.endswith("_slides") else 2
    assert len(network.networks) == count == max(1, len(spec.views))
    assert spec.activation == "leaky_relu"
    wanted = PARAMETERS.get(name)
    assert wanted in (None, sum(weight.numel() for weight in network.parameters()))


@pytest.mark.parametrize("name", ["density_a_vs_d_vgg", "density_dense"])
@pytest.mark.parametrize("size", [(250, 250), (350, 251), (417, 650), (850, 849), (1050, 1050)])
def test_any_input_size_of_the_slides_passes(name, size):
    network = _on_meta(TASKS[name].network).networks[0]
    assert network(torch.zeros(2, 2, *size, device="meta")).shape == (2, 2)


@BOTH
@pytest.mark.parametrize("size", [(32, 32), (45, 61)])
def test_answers_and_gradients_are_finite_and_reach_every_weight(spec, size):
    torch.manual_seed(0)
    network = build_network(spec)
    for module in network.modules():  # a block begins as what it adds to
        if isinstance(module, Bottleneck):
            nn.init.ones_(module.residual[-1].weight)
    answer = network(torch.rand(4, 1, *size), torch.tensor([0, 1, 0, 1]))
    assert answer.shape == (4, 3)
    assert torch.isfinite(answer).all()
    answer.square().sum().backward()
    for name, weight in network.named_parameters():
        assert weight.grad is not None and torch.isfinite(weight.grad).all(), name
        assert weight.grad.any(), name


def test_a_block_begins_as_what_it_adds_to():
    torch.manual_seed(0)
    block = _first_block(build_network(SMALL), project=False)
    x = torch.rand(2, 24, 5, 5)
    torch.testing.assert_close(block(x.clone()), x)


def _first_block(network: nn.Module, project: bool) -> Bottleneck:
    blocks = [m for m in network.networks[0].modules() if isinstance(m, Bottleneck)]
    return next(b for b in blocks if isinstance(b.projection, nn.Identity) != project)


@BOTH
def test_each_view_is_answered_by_its_own_network(spec):
    torch.manual_seed(0)
    network = build_network(spec).eval()
    images = torch.rand(5, 1, 40, 32)
    views = torch.tensor([1, 0, 1, 0, 0])
    with torch.inference_mode():
        together = network(images, views)
        for place, view in enumerate(views):
            alone = network.networks[view](images[place : place + 1])
            torch.testing.assert_close(together[place : place + 1], alone)
    assert not torch.allclose(network.networks[0](images), network.networks[1](images))


def _by_mask(network, x, views):
    """Answer as it was done by what the device knows of the views."""
    used = [int(index) for index in views.unique()]
    outputs = {index: network.networks[index].with_maps(x[views == index]) for index in used}
    if len(used) == 1:
        return outputs[used[0]]
    first = outputs[used[0]]
    answers = [one.new_zeros((len(x), *one.shape[1:])) for one in first]
    for index, found in outputs.items():
        answers = [a.index_put((views == index,), b) for a, b in zip(answers, found, strict=True)]
    return answers


@pytest.mark.parametrize("views", [[1, 0, 1, 0, 0], [1, 1, 1, 1, 1]])
def test_views_read_on_the_host_give_the_answers_and_gradients_of_a_mask_bit_by_bit(views):
    torch.manual_seed(0)
    network, chosen = build_network(SMALL).train(), torch.tensor(views)
    images, found = torch.rand(5, 1, 40, 32), []
    for way in (network.with_maps, lambda *inputs: _by_mask(network, *inputs)):
        network.zero_grad()
        logits, maps = way(images, chosen)
        (logits.square().sum() + maps.sum()).backward()
        gradients = [weight.grad for weight in network.parameters()]
        found.append([logits, maps, *(g.clone() for g in gradients if g is not None)])
    assert len(found[0]) == len(found[1]) > 2
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


@pytest.mark.parametrize("views", [[1, 0, 1], [1, 1, 1]])
def test_the_device_is_asked_nothing(views):
    """The device *meta* has no values: whatever would read one fails."""
    images = torch.zeros(3, 1, 40, 32, device="meta")
    logits, _ = _on_meta(SMALL).with_maps(images, torch.tensor(views))
    assert logits.shape == (3, 3)


def test_a_step_on_one_view_leaves_the_other_networks_as_they_are():
    torch.manual_seed(0)
    network = build_network(SMALL)
    network(torch.rand(4, 1, 32, 32), torch.ones(4, dtype=torch.int64)).sum().backward()
    assert all(weight.grad is None for weight in network.networks[0].parameters())
    assert all(weight.grad is not None for weight in network.networks[1].parameters())


def test_one_network_for_all_views_answers_whatever_the_view():
    network = build_network(replace(SMALL, views=())).eval()
    images = torch.rand(2, 1, 32, 32)
    with torch.inference_mode():
        answer = network(images, torch.zeros(2, dtype=torch.int64))
        torch.testing.assert_close(answer, network.networks[0](images))


def test_a_view_without_a_network_is_refused():
    with pytest.raises(ValueError, match=r"views must lie in 0\.\.1, found \[2\]"):
        build_network(SMALL)(torch.rand(1, 1, 32, 32), torch.tensor([2]))


def test_views_are_found_by_name_or_by_projection():
    assert [SMALL.network_of(view) for view in ("R-CC", "L-CC", "R-MLO", "L-MLO")] == [
        *(0, 0, 1, None)
    ]
    assert replace(SMALL, views=()).network_of("L-ML") == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"depths": (1,)}, "one entry per stage, found 2 and 1"),
        ({"channels": (0, 4)}, r"must be positive, .* found \(0, 4\)"),
        ({"dropout": 1.0}, r"dropout in 0\.\.1"),
        ({"views": ("CC", "CC")}, "views different"),
    ],
)
def test_specs_of_no_network_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(SMALL, **changes)


def test_a_misspelt_knob_is_refused_with_the_nearest_one():
    with pytest.raises(NotFoundError, match="unknown architecture 'vg': did you mean 'vgg'"):
        replace(SMALL, architecture="vg")


def test_the_network_is_chosen_by_the_type_of_the_spec():
    assert type(build_network(EncoderDecoderSpec())).__name__ == "EncoderDecoder"
    with pytest.raises(TypeError, match="from a dict, only from EncoderDecoderSpec, Classifier"):
        build_network({})


def test_maps_are_averaged_over_the_breast_whatever_its_share_of_the_image():
    """The same breast beside twice as much background: the same mean of what is in it."""
    torch.manual_seed(0)
    spec = replace(SMALL, views=(), pooling="breast", norm="none")
    network = build_network(spec).eval().networks[0]
    network.features = nn.AvgPool2d(4)
    network.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    breast = torch.rand(1, 1, 32, 32) + 0.1
    beside = torch.cat([torch.zeros(1, 1, 32, 96), breast], dim=3)
    torch.testing.assert_close(network(beside), network(breast))
    torch.testing.assert_close(network(breast)[0, 0], breast.mean())
    assert network(torch.zeros(1, 1, 32, 32)).isfinite().all(), "an image without a breast"


def test_pooling_over_the_breast_is_of_residual_networks():
    with pytest.raises(ValueError, match="needs the architecture resnet, found vgg"):
        replace(VGG, pooling="breast")
