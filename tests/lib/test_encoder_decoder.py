"""Every row's network: shape, gradients, size, initial weights; and the family's other knobs."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from lib.networks import build_network
from lib.networks.encoder_decoder import LEAKY_SLOPE, EncoderDecoder, Stage
from lib.tasks import TASKS, EncoderDecoderSpec

PARAMETERS = {
    "nuclei_vhllrhe": 2_259_665,
    "nuclei_u3clr": 485_673,
    "nuclei_u5hllr": 1_270_185,
    "nuclei_huv": 1_585_945,
    "nuclei_vcr": 2_259_665,
    "nuclei_vhlr": 2_259_665,
    "nuclei_vclr": 2_259_665,
    "nuclei_vdlrhe": 2_259_665,
}
SMALL = EncoderDecoderSpec(channels=(4, 8, 16), convolutions=(1, 2, 2))
VNET = replace(SMALL, topology="vnet", downsampling="conv", activation="leaky_relu")
EVERY_ROW = pytest.mark.parametrize("name", TASKS)


@EVERY_ROW
def test_the_output_has_the_inputs_size_and_gradients_are_finite(name):
    torch.manual_seed(0)
    network = build_network(TASKS[name].network)
    output = network(torch.rand(2, 1, 32, 48))
    assert output.shape == (2, 1, 32, 48)
    output.square().mean().backward()
    for parameter in network.parameters():
        assert parameter.grad is not None
        assert torch.isfinite(parameter.grad).all()


@EVERY_ROW
def test_the_number_of_parameters_stays(name):
    network = build_network(TASKS[name].network)
    assert sum(parameter.numel() for parameter in network.parameters()) == PARAMETERS[name]


def test_every_row_has_its_number_of_parameters_here():
    assert PARAMETERS.keys() == TASKS.keys()


@EVERY_ROW
def test_one_seed_gives_one_set_of_weights(name):
    networks = []
    for _ in range(2):
        torch.manual_seed(3)
        networks.append(build_network(TASKS[name].network).state_dict())
    for key, value in networks[0].items():
        torch.testing.assert_close(networks[1][key], value, rtol=0, atol=0)


@EVERY_ROW
def test_a_3d_variant_of_every_row_works(name):
    spec = replace(TASKS[name].network, spatial_dims=3, channels=(2, 4, 8), convolutions=(1, 1, 1))
    output = build_network(spec)(torch.rand(1, 1, 8, 4, 12))
    assert output.shape == (1, 1, 8, 4, 12)
    output.mean().backward()


def _stage(in_channels: int, out_channels: int) -> Stage:
    stage = Stage(VNET, in_channels, out_channels, 2)
    for module in stage.convolutions.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)
    return stage


def test_a_residual_stage_without_convolutions_is_the_identity():
    x = torch.randn(1, 4, 8, 8)
    torch.testing.assert_close(_stage(4, 4)(x), x, rtol=0, atol=0)


def test_a_residual_stage_of_other_width_adds_the_projected_input():
    x, stage = torch.randn(1, 3, 8, 8), _stage(3, 5)
    torch.testing.assert_close(stage(x), stage.projection(x), rtol=0, atol=0)
    assert stage.projection.kernel_size == (1, 1)


def test_a_plain_stage_adds_nothing():
    stage = Stage(SMALL, 4, 4, 2)
    x = torch.randn(1, 4, 8, 8)
    torch.testing.assert_close(stage(x), stage.convolutions(x), rtol=0, atol=0)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("activation", ["relu", "leaky_relu"])
@pytest.mark.parametrize("initialization", ["he", "xavier"])
def test_initial_weights_have_the_spread_of_their_scheme(initialization, activation, dims):
    torch.manual_seed(0)
    spec = EncoderDecoderSpec(
        spatial_dims=dims,
        downsampling="conv",
        initialization=initialization,
        activation=activation,
        channels=(16, 32, 64),
        convolutions=(1, 1, 1),
    )
    slope = LEAKY_SLOPE if activation == "leaky_relu" else 0.0
    checked = {"conv": 0, "transposed": 0}
    for module in build_network(spec).modules():
        if not isinstance(module, (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)):
            continue
        assert not module.bias.any()
        kernel = math.prod(module.kernel_size)
        transposed = isinstance(module, (nn.ConvTranspose2d, nn.ConvTranspose3d))
        if initialization == "xavier":
            wanted = math.sqrt(2 / (kernel * (module.in_channels + module.out_channels)))
        else:  # kernel = stride 2: each output pixel of a transposed convolution sees one input
            fan_in = module.in_channels * (1 if transposed else kernel)
            wanted = math.sqrt(2 / ((1 + slope**2) * fan_in))
        if module.weight.numel() > 2000:
            assert float(module.weight.std()) == pytest.approx(wanted, rel=0.08)
            assert abs(float(module.weight.mean())) < wanted / 10
            checked["transposed" if transposed else "conv"] += 1
    assert min(checked.values()) >= 1, "both kinds were seen"


@pytest.mark.parametrize("size", [(30, 32), (32, 8), (31, 31)])
def test_sizes_that_do_not_divide_are_refused(size):
    network = build_network(TASKS["nuclei_vhllrhe"].network)
    with pytest.raises(ValueError, match=r"multiples of 16 \(4 down-samplings\), found .*pad the"):
        network(torch.zeros(1, 1, *size))


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize(
    "knob", [{"activation": "prelu"}, {"norm": "batch"}, {"norm": "instance"}, {"in_channels": 3}]
)
def test_other_activations_norms_and_channels_work(knob, dims):
    spec = replace(VNET, spatial_dims=dims, out_channels=2, **knob)
    network = build_network(spec)
    x = torch.rand(2, spec.in_channels, *(8,) * dims)
    output = network(x)
    assert output.shape == (2, 2, *(8,) * dims)
    output.square().mean().backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters())
    kinds = {"prelu": nn.PReLU, "batch": (nn.BatchNorm2d, nn.BatchNorm3d)}
    wanted = kinds.get(next(iter(knob.values())))
    if wanted:
        assert any(isinstance(module, wanted) for module in network.modules())


def test_max_pooling_has_no_weights_and_strided_convolution_has():
    pool, conv = (EncoderDecoder(replace(SMALL, downsampling=d)).down for d in ("max_pool", "conv"))
    assert not list(pool.parameters())
    assert [step[0].stride for step in conv] == [(2, 2), (2, 2)]


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"kernel_size": 4}, "kernel_size must be odd"),
        ({"channels": (8, 16)}, "one entry per level, found 2 and 3"),
        ({"channels": (), "convolutions": ()}, "one entry per level"),
        ({"convolutions": (1, 0, 1)}, "convolutions positive"),
        ({"topology": "wnet"}, "unknown topology 'wnet': did you mean"),
        ({"norm": "bach"}, "unknown norm 'bach': did you mean 'batch'"),
        ({"activation": "leaky"}, "unknown activation 'leaky': did you mean 'leaky_relu'"),
    ],
)
def test_specs_that_describe_no_network_are_refused(knobs, message):
    with pytest.raises(ValueError, match=message):
        replace(SMALL, **knobs)
