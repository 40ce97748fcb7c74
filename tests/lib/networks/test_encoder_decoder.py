"""Every row's network: shape, gradients, size, initial weights; and the family's other knobs."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from lib.networks import build_network
from lib.networks.efficientnet import backbones
from lib.networks.encoder_decoder import LEAKY_SLOPE, EncoderDecoder, InstanceNorm, Stage
from lib.tasks.network_spec import EncoderDecoderSpec
from lib.tasks.registry import TASKS

PARAMETERS = {
    "nuclei_click": 3_047_423,
    "busi_click": 9_050_210,
    "ultrasound3d_click": 5_693_989,
    "nuclei_vhllrhe": 2_259_665,
    "nuclei_u3clr": 485_673,
    "nuclei_u5hllr": 1_270_185,
    "nuclei_huv": 1_585_945,
    "nuclei_vcr": 2_259_665,
    "nuclei_vhlr": 2_259_665,
    "nuclei_vclr": 2_259_665,
    "nuclei_vdlrhe": 2_259_665,
    "nuclei_unet2015": 31_030_593,
    "ultrasound3d_vnet2016": 65_175_313,
    "nerve_vhllrhe": 2_262_722,
    "fetal_head": 1_976_545,
    "nerve_click": 1_983_241,
    "nerve": 3_537_555,
    "nuclei": 3_036_623,
    "nuclei_lite": 3_537_843,
    "nerve_lite": 3_538_162,
    "busi_lite": 3_538_162,
    "busi_lesion": 9_041_282,
    "ultrasound3d_vnet": 5_673_901,
    "volume_vnet": 5_673_901,
    "volume_click": 5_693_989,
    "ultrasound3d_structures": 5_673_927,
    "ultrasound2d_vnet": 1_978_645,
    "nerve_cine": 5_673_901,
}
SMALL = EncoderDecoderSpec(channels=(4, 8, 16), convolutions=(1, 2, 2))
VNET = replace(SMALL, topology="vnet", downsampling="conv", activation="leaky_relu")
SEGMENTING = [name for name, task in TASKS.items() if task.kind != "classification"]
EVERY_ROW = pytest.mark.parametrize("name", SEGMENTING)
OF_STAGES = [name for name in SEGMENTING if TASKS[name].network.encoder == "stages"]


VALID = replace(SMALL, padding="valid", initialization="he")
CONVOLUTIONS = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def _on_meta(spec: EncoderDecoderSpec) -> nn.Module:
    """Return the network without its weights: shapes and sizes cost nothing."""
    with torch.device("meta"):
        return build_network(spec)


def _sizes(spec: EncoderDecoderSpec) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return small unequal sides of an input and those of its answer."""
    first = spec.input_size(1)
    second = spec.input_size(spec.output_size(first) + 1)
    sides = (first,) * (spec.spatial_dims - 1) + (second,)
    return sides, tuple(spec.output_size(side) for side in sides)


@EVERY_ROW
def test_the_output_has_the_size_that_the_spec_says(name):
    spec = TASKS[name].network
    sides, answered = _sizes(spec)
    output = _on_meta(spec)(torch.zeros(2, spec.in_channels, *sides, device="meta"))
    assert output.shape == (2, spec.out_channels, *answered)
    assert (answered == sides) == (spec.padding == "same")


@EVERY_ROW
def test_answers_and_gradients_are_finite_and_reach_every_weight(name, light):
    torch.manual_seed(0)
    spec = light(TASKS[name]).network
    sides, answered = _sizes(spec)
    network = build_network(spec)
    guidance = [torch.rand(2, spec.guidance_channels, *sides)] if spec.guidance_channels else []
    output = network(torch.rand(2, spec.in_channels, *sides), *guidance)
    assert output.shape == (2, spec.out_channels, *answered)
    assert torch.isfinite(output).all()
    output.square().mean().backward()
    for parameter in network.parameters():
        assert parameter.grad is not None
        assert torch.isfinite(parameter.grad).all()
        assert parameter.grad.any() or parameter.ndim == 1


@EVERY_ROW
def test_the_number_of_parameters_stays(name):
    network = _on_meta(TASKS[name].network)
    assert sum(parameter.numel() for parameter in network.parameters()) == PARAMETERS[name]


def test_every_row_has_its_number_of_parameters_here():
    assert PARAMETERS.keys() == set(SEGMENTING)


@EVERY_ROW
def test_one_seed_gives_one_set_of_weights(name, light):
    networks = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        networks.append(build_network(light(TASKS[name]).network).state_dict())
    for key, value in networks[0].items():
        torch.testing.assert_close(networks[1][key], value, rtol=0, atol=0)
    assert any(not torch.equal(networks[2][key], value) for key, value in networks[0].items())


@pytest.mark.parametrize("name", OF_STAGES)
@pytest.mark.parametrize("dims", [2, 3])
def test_every_row_works_in_2d_and_3d(name, dims):
    spec = replace(
        TASKS[name].network, spatial_dims=dims, channels=(2, 4, 8), convolutions=(1, 1, 1)
    )
    sides, answered = _sizes(spec)
    output = build_network(spec)(torch.rand(1, spec.in_channels, *sides))
    assert output.shape == (1, spec.out_channels, *answered)
    output.mean().backward()


def test_unet_2015_maps_572_to_388():
    spec = TASKS["nuclei_unet2015"].network
    assert spec.output_size(572) == 388
    output = _on_meta(spec)(torch.zeros(1, 1, 572, 572, device="meta"))
    assert output.shape == (1, 1, 388, 388)
    widths = [stage.convolutions[0][0].out_channels for stage in _on_meta(spec).encoder]
    assert widths == [64, 128, 256, 512, 1024]


def test_the_stages_of_vnet_2016_have_the_maps_of_the_paper():
    network = _on_meta(TASKS["ultrasound3d_vnet2016"].network)
    seen: list[int] = []
    for stage in (*network.encoder, *network.decoder):
        stage.register_forward_hook(lambda module, args, output: seen.append(output.shape[1]))
    network(torch.zeros(1, 1, 32, 64, 64, device="meta"))
    assert seen == [16, 32, 64, 128, 256, 256, 128, 64, 32]
    convolutions = [len(stage.convolutions) for stage in (*network.encoder, *network.decoder)]
    assert convolutions == [1, 2, 3, 3, 3, 3, 3, 2, 1]
    assert all(isinstance(stage.projection, nn.Identity) for stage in network.decoder)


@pytest.mark.parametrize("kernel_size", [1, 3, 5])
@pytest.mark.parametrize("convolutions", [(2,), (1, 2), (2, 2, 2), (1, 2, 3)])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_a_forward_pass_has_the_predicted_size_or_is_refused(padding, convolutions, kernel_size):
    spec = replace(
        SMALL,
        padding=padding,
        kernel_size=kernel_size,
        convolutions=convolutions,
        channels=(1,) * len(convolutions),
    )
    network = _on_meta(spec)
    answers = {size: spec.output_size(size) for size in range(1, 120)}
    for size, answered in answers.items():
        x = torch.zeros(1, 1, size, size, device="meta")
        if answered is None:
            with pytest.raises(ValueError, match="spatial sizes must be .*; pad the input"):
                network(x)
        else:
            assert network(x).shape == (1, 1, answered, answered)
    accepted = {size for size, answered in answers.items() if answered is not None}
    if padding == "same":
        assert accepted == set(range(spec.divisor, 120, spec.divisor))
        assert all(answers[size] == size for size in accepted)
    for wanted in (1, 2, 7, 16, 17):
        least = min(size for size in accepted if answers[size] >= wanted)
        assert spec.input_size(wanted) == least


def _keep_only_the_finest_path(network: nn.Module) -> None:
    """Make the network hand its input through the finest skip connection."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        for stage in (network.encoder[0], network.decoder[-1]):
            for unit in stage.convolutions:
                unit[0].weight[0, 0, unit[0].kernel_size[0] // 2, unit[0].kernel_size[1] // 2] = 1
        network.output.weight[0, 0] = 1


@pytest.mark.parametrize("spec", [SMALL, VALID], ids=["same", "valid"])
def test_the_answer_lies_over_the_middle_of_the_input(spec):
    network = build_network(spec)
    _keep_only_the_finest_path(network)
    rows, columns = spec.input_size(20), spec.input_size(31)
    x = torch.rand(1, 1, rows, columns)
    output = network(x)
    top, left = ((side - spec.output_size(side)) // 2 for side in (rows, columns))
    middle = x[..., top : top + output.shape[2], left : left + output.shape[3]]
    torch.testing.assert_close(output, middle, rtol=0, atol=0)


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


def _wanted_spread(module: nn.Module, spec: EncoderDecoderSpec) -> float:
    """Return the standard deviation of He 2015, eq. 14, or of Glorot 2010, eq. 12 (as a normal)."""
    kernel = math.prod(module.kernel_size)
    if spec.initialization == "xavier":
        return math.sqrt(2 / (kernel * (module.in_channels + module.out_channels)))
    slope = LEAKY_SLOPE if spec.activation == "leaky_relu" else 0.0
    # kernel = stride: each output pixel of a transposed convolution sees one input pixel
    fan_in = module.in_channels * (kernel if isinstance(module, (nn.Conv2d, nn.Conv3d)) else 1)
    return math.sqrt(2 / ((1 + slope**2) * fan_in))


def _assert_spread(network: nn.Module, spec: EncoderDecoderSpec) -> set[bool]:
    """Check every convolution with enough weights to tell; return the kinds seen."""
    seen = set()
    known = {module for backbone in backbones(network) for module in backbone.modules()}
    for module in network.modules():
        if not isinstance(module, CONVOLUTIONS) or module in known:
            continue
        if module.bias is None:  # of clicks: begins at zero
            assert not module.weight.any()
            continue
        assert not module.bias.any()
        weight, wanted = module.weight.detach(), _wanted_spread(module, spec)
        if weight.numel() >= 200:  # five standard errors of the sample
            share = 5 / math.sqrt(2 * weight.numel())
            assert float(weight.std()) == pytest.approx(wanted, rel=share)
            assert abs(float(weight.mean())) < 5 * wanted / math.sqrt(weight.numel())
            seen.add(isinstance(module, (nn.Conv2d, nn.Conv3d)))
    return seen


@EVERY_ROW
def test_the_initial_weights_of_every_row_have_the_spread_of_its_scheme(name, light):
    torch.manual_seed(0)
    spec = light(TASKS[name]).network
    assert _assert_spread(build_network(spec), spec) == {True, False}, "both kinds were seen"


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
    assert _assert_spread(build_network(spec), spec) == {True, False}


@pytest.mark.parametrize("size", [(30, 32), (32, 8), (31, 31)])
def test_sizes_that_do_not_divide_are_refused(size):
    network = build_network(TASKS["nuclei_vhllrhe"].network)
    with pytest.raises(ValueError, match=r"multiples of 16 \(4 down-samplings\), found .*pad the"):
        network(torch.zeros(1, 1, *size))


def test_sizes_that_an_unpadded_network_cannot_take_are_refused_with_one_it_can():
    network = build_network(replace(VALID, channels=(2, 4, 8)))
    with pytest.raises(
        ValueError, match=r"must be such as \(\d+, \d+\), found \(50, 51\); pad the"
    ):
        network(torch.zeros(1, 1, 50, 51))


@pytest.mark.parametrize("topology", ["unet", "vnet"])
@pytest.mark.parametrize("width", [1, 2, 3])
def test_decoder_stages_are_as_wide_as_asked_for(topology, width):
    spec = replace(SMALL, topology=topology, decoder_width=width)
    network = build_network(spec)
    widths = [stage.convolutions[-1][0].out_channels for stage in network.decoder]
    assert widths == [8 * width, 4 * width]
    assert network(torch.rand(1, 1, 8, 12)).shape == (1, 1, 8, 12)


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
        ({"convolutions": (1, 0, 1)}, "channels, convolutions and decoder_width positive"),
        ({"channels": (8, 16, 0)}, "channels, convolutions and decoder_width positive"),
        ({"decoder_width": 0}, r"decoder_width positive, found 3, .*, 0$"),
        ({"padding": "vald"}, "unknown padding 'vald': did you mean 'valid'"),
        ({"topology": "vnet", "padding": "valid"}, "adds its input .* so padding must be same"),
        ({"topology": "wnet"}, "unknown topology 'wnet': did you mean"),
        ({"norm": "bach"}, "unknown norm 'bach': did you mean 'batch'"),
        ({"activation": "leaky"}, "unknown activation 'leaky': did you mean 'leaky_relu'"),
    ],
)
def test_specs_that_describe_no_network_are_refused(knobs, message):
    with pytest.raises(ValueError, match=message):
        replace(SMALL, **knobs)


@pytest.mark.parametrize("axes", [2, 3])
def test_instance_normalisation_answers_without_gradients_what_it_does_with_them(axes):
    torch.manual_seed(0)
    norm = InstanceNorm(3, 3)
    for weight in norm.parameters():
        torch.nn.init.normal_(weight)
    images = torch.randn(2, 3, *(6, 7, 8)[:axes])
    expected = norm(images)
    assert expected.requires_grad
    scaled = torch.nn.functional.instance_norm(images, weight=norm.weight, bias=norm.bias)
    torch.testing.assert_close(expected, scaled)
    with torch.inference_mode():
        torch.testing.assert_close(norm(images), expected.detach(), atol=1e-5, rtol=1e-4)
