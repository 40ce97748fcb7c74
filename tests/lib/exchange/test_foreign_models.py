"""Bundles and state dicts that other software made become tasks that answer as they did."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from monai.bundle import ConfigParser
from monai.networks import nets
from PIL import Image as PillowImage
from safetensors.torch import save_file

from lib.errors import InputError
from lib.exchange.about import About
from lib.exchange.bundle import write_bundle
from lib.exchange.foreign.model import Imported, Wanted, read_model
from lib.exchange.foreign.preparation import Asked
from lib.io.read import read_image
from lib.kinds import kind_of
from lib.networks.monai_network import as_maps, maps_of
from lib.segmentation.predictor import Prediction
from lib.tasks.registry import TASKS, get_task
from lib.tasks.write_row import add_row
from lib.tasks.yaml_rows import read_rows
from lib.weights.checkpoint import Checkpoint, load_checkpoint, state_on_cpu

SHIPPED = Path(__file__).parents[3] / "monailabel_app" / "model"
UNET = {
    "_target_": "UNet",
    "spatial_dims": "@dims",
    "in_channels": 1,
    "out_channels": 2,
    "channels": [4, 8, 8],
    "strides": [2, 2],
    "num_res_units": 1,
    "norm": ["batch", {"eps": 1e-4}],
}
SCALES: dict[int, list[dict[str, Any]]] = {
    2: [{"_target_": "ScaleIntensityd", "keys": "@image_key"}],
    3: [
        {"_target_": "monai.transforms.Orientationd", "keys": "@image_key", "axcodes": "RAS"},
        {
            "_target_": "ScaleIntensityRanged",
            "keys": "@image_key",
            "a_min": -40,
            "a_max": 160.5,
            "b_min": -1,
            "b_max": 1,
            "clip": True,
        },
    ],
}


def network_of(arguments: dict[str, Any], dims: int) -> torch.nn.Module:
    """Return the network of a configuration with random weights that answer different values."""
    torch.manual_seed(dims)
    given = {key: value for key, value in arguments.items() if key != "_target_"}
    network = getattr(nets, arguments["_target_"])(**{**given, "spatial_dims": dims})
    for weight in network.parameters():
        if weight.ndim > 1:
            torch.nn.init.kaiming_normal_(weight)
    return network.eval()


def write_monai_bundle(folder: Path, dims: int, **changes: Any) -> Path:
    """Write a bundle of MONAI's own parts, and an image of its kind."""
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    (folder / "images").mkdir()
    inference: dict[str, Any] = {
        "imports": ["$import glob"],
        "bundle_root": str(folder),
        "image_key": "image",
        "dims": dims,
        "device": "$torch.device('cpu')",
        "datalist": "$[{'image': f} for f in glob.glob(@bundle_root + '/images/*')]",
        "network_def": UNET,
        "network": "$@network_def.to(@device)",
        "preprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "LoadImaged", "keys": "@image_key"},
                {"_target_": "EnsureChannelFirstd", "keys": "@image_key"},
                *SCALES[dims],
                {"_target_": "EnsureTyped", "keys": "@image_key"},
            ],
        },
        "dataset": {"_target_": "Dataset", "data": "@datalist", "transform": "@preprocessing"},
        "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "num_workers": 0},
        "inferer": {"_target_": "SimpleInferer"},
        "postprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "Activationsd", "keys": "pred", "softmax": True},
                {
                    "_target_": "Invertd",
                    "keys": "pred",
                    "transform": "@preprocessing",
                    "orig_keys": "@image_key",
                    "nearest_interp": False,
                },
            ],
        },
        "handlers": [
            {
                "_target_": "CheckpointLoader",
                "load_path": "$@bundle_root + '/models/model.pt'",
                "load_dict": {"model": "@network"},
            }
        ],
        "evaluator": {
            "_target_": "SupervisedEvaluator",
            "device": "@device",
            "val_data_loader": "@dataloader",
            "network": "@network",
            "inferer": "@inferer",
            "postprocessing": "@postprocessing",
            "val_handlers": "@handlers",
        },
        **changes,
    }
    metadata = {
        "task": "Spleen of a phantom",
        "copyright": "nobody",
        "network_data_format": {
            "inputs": {"image": {"modality": "CT" if dims == 3 else "microscopy"}},
            "outputs": {"pred": {"channel_def": {"0": "background", "1": "spleen"}}},
        },
    }
    (folder / "configs" / "inference.json").write_text(json.dumps(inference))
    (folder / "configs" / "metadata.json").write_text(json.dumps(metadata))
    torch.save(network_of(UNET, dims).state_dict(), folder / "models" / "model.pt")
    rng = np.random.default_rng(4)
    if dims == 2:
        grey = rng.integers(9, 240, (44, 60), np.uint8)
        PillowImage.fromarray(grey).save(folder / "images" / "a.png")
    else:
        values = (rng.random((16, 24, 20), np.float32) * 300 - 100).astype(np.float32)
        image = sitk.GetImageFromArray(values)
        image.SetSpacing((0.7, 0.9, 1.5))
        image.SetDirection((0, 0, 1, 1, 0, 0, 0, -1, 0))  # sagittal slices, as MR has them
        sitk.WriteImage(image, str(folder / "images" / "a.nii.gz"))
    return folder


def answer_of(found: Imported, file: Path) -> Prediction:
    """Return what an imported task answers, in float32."""
    predictor = kind_of(found.row).predictor.from_checkpoint(
        found.row, found.checkpoint, "cpu", "fp32"
    )
    answer: Prediction = predictor(read_image(file, spatial_dims=found.row.image_dims))
    return answer


@pytest.mark.parametrize("dims", [2, 3])
def test_a_bundle_of_monai_answers_as_its_own_inference(dims, tmp_path):
    folder = write_monai_bundle(tmp_path / "bundle", dims)
    parser = ConfigParser()
    parser.read_config(str(folder / "configs" / "inference.json"))
    evaluator = parser.get_parsed_content("evaluator")
    evaluator.run()
    expected = np.asarray(evaluator.state.output[0]["pred"])  # (2, x, y[, z])
    expected = expected.transpose(0, *range(expected.ndim - 1, 0, -1))
    found = read_model(folder, Wanted(name="spleen"))
    (file,) = (folder / "images").iterdir()
    answer = answer_of(found, file)
    assert answer.probabilities.std() > 0.05  # not an answer that anything would agree with
    np.testing.assert_allclose(answer.probabilities[0], expected[1], atol=1e-5)
    np.testing.assert_array_equal(answer.mask, expected.argmax(0))
    assert found.row.labels == {"spleen": 1} and found.row.description == "Spleen of a phantom"
    assert found.row.modalities == (("CT",) if dims == 3 else ())


def test_the_row_is_added_to_a_file_and_read_again(tmp_path):
    file = tmp_path / "tasks.yaml"
    for number, dims in enumerate((3, 2)):
        folder = write_monai_bundle(tmp_path / f"b{dims}", dims)
        found = read_model(folder, Wanted(name=f"spleen_{dims}"))
        add_row(file, found.row, found.base, TASKS)
        rows = read_rows(file, TASKS)
        assert len(rows) == number + 1 and rows[-1].as_dict() == found.row.as_dict()
    own = tmp_path / "own.yaml"
    own.write_text("# mine\ntasks:\n- name: own\n  extends: nuclei\n  description: Own\n")
    add_row(own, found.row, found.base, TASKS)
    assert [row.name for row in read_rows(own, TASKS)] == ["own", "spleen_2"]
    assert own.read_text().startswith("# mine\n")
    own.write_text("tasks: []\n")
    with pytest.raises(InputError, match="own.yaml"):
        add_row(own, found.row, found.base, TASKS)
    assert own.read_text() == "tasks: []\n"


def test_a_zip_in_a_folder_of_its_own_is_read_as_the_folder(tmp_path):
    folder = write_monai_bundle(tmp_path / "bundle", 2)
    packed = tmp_path / "bundle.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in folder.rglob("*.*"):
            archive.write(file, Path("spleen_v1") / file.relative_to(folder))
    found, expected = (read_model(one, Wanted(name="spleen")) for one in (packed, folder))
    assert found.row == expected.row
    assert all(
        bool((value == expected.checkpoint.weights[name]).all())
        for name, value in found.checkpoint.weights.items()
    )


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("channels", [1, 2, 4])
def test_maps_are_the_probabilities_of_the_channels(activation, channels):
    logits = torch.randn(2, channels, 5, 6, generator=torch.Generator().manual_seed(1)) * 3
    if (activation, channels) == ("softmax", 1):
        return
    maps = torch.sigmoid(as_maps(logits, activation))
    assert maps.shape[1] == maps_of(channels, activation)
    each = logits.softmax(1)[:, 1:] if activation == "softmax" else logits.sigmoid()
    torch.testing.assert_close(maps[:, -each.shape[1] :], each, atol=1e-6, rtol=0)
    foreground = logits.argmax(1) > 0 if activation == "softmax" else (each >= 0.5).any(1)
    assert bool(((maps[:, 0] >= 0.5) == foreground).all())


def own_bundle(folder: Path, name: str) -> Path:
    """Write the bundle of a task of this app: shipped weights, or random ones."""
    from lib.networks import build_network

    task = get_task(name)
    shipped = SHIPPED / f"pretrained_{name}.pt"
    torch.manual_seed(0)
    checkpoint = (
        load_checkpoint(shipped)
        if shipped.is_file()
        else Checkpoint(
            task=name,
            spec=task.as_dict(),
            weights=state_on_cpu(build_network(task.network)),
            answer={"temperature": 1.7, "views": ["R-CC", "L-CC"]},
        )
    )
    task, _ = kind_of(task).predictor.as_trained(task, checkpoint)
    return write_bundle(folder, task, checkpoint, About(version="1", software="0"))


def test_our_own_bundle_of_nuclei_answers_as_before(tmp_path):
    found = read_model(own_bundle(tmp_path / "b", "nuclei"), Wanted(name="nuclei_again"))
    rng = np.random.default_rng(3)
    file = tmp_path / "cells.png"
    coarse = PillowImage.fromarray(rng.integers(0, 255, (12, 10), np.uint8))
    coarse.resize((90, 75), PillowImage.Resampling.BICUBIC).save(file)
    task = get_task("nuclei")
    expected = kind_of(task).predictor.from_checkpoint(
        task, load_checkpoint(SHIPPED / "pretrained_nuclei.pt"), "cpu", "fp32"
    )(read_image(file))
    answer = answer_of(found, file)
    assert expected.probabilities.std() > 0.05
    np.testing.assert_allclose(answer.probabilities, expected.probabilities, atol=1e-5)
    np.testing.assert_array_equal(answer.instances, expected.instances)


def test_our_own_bundle_of_a_classifier_keeps_its_exam_and_temperature(tmp_path):
    found = read_model(own_bundle(tmp_path / "b", "density_a_vs_d"), Wanted(name="again"))
    assert found.row.exam == get_task("density_a_vs_d").exam
    assert found.checkpoint.answer == {"temperature": 1.7, "views": ["R-CC", "L-CC"]}


BASIC = {"_target_": "BasicUNet", "spatial_dims": 2, "features": [4, 4, 8, 8, 8, 4]}
VNET = {"_target_": "VNet", "spatial_dims": 3}
SEGRESNET = {"_target_": "SegResNet", "spatial_dims": 2, "init_filters": 8, "out_channels": 3}


@pytest.mark.parametrize("network", [BASIC, VNET, SEGRESNET])
def test_a_state_dict_is_imported_where_its_network_is_told(network, tmp_path):
    dims = network["spatial_dims"]
    state = network_of(network, dims).state_dict()
    file = tmp_path / "last.pth"
    wrapped = {f"module.{name}": value for name, value in state.items()}
    torch.save({"epoch": 3, "state_dict": wrapped, "optimizer": {"m": torch.ones(3)}}, file)
    tensors = tmp_path / "last.safetensors"
    save_file({name: value.contiguous() for name, value in state.items()}, tensors)
    asked = Asked(percentiles=(1, 99), activation="" if dims == 3 else "softmax")
    wanted = Wanted(name="own", network=network, asked=asked)
    found, again = read_model(file, wanted), read_model(tensors, wanted)
    assert found.row == again.row and found.row.input.percentiles == (1, 99)
    assert len(found.row.labels) == (2 if network is SEGRESNET else 1)
    for name, value in state.items():
        torch.testing.assert_close(found.checkpoint.weights[f"network.{name}"], value)
    with pytest.raises(InputError, match="--percentiles"):
        read_model(file, Wanted(name="own", network=network))
    with pytest.raises(InputError, match="--network"):
        read_model(file, Wanted(name="own", asked=asked))


def test_weights_that_do_not_fit_are_listed(tmp_path):
    state = network_of(BASIC, 2).state_dict()
    state["extra.weight"] = torch.ones(2)
    state["final_conv.bias"] = torch.ones(7)
    del state["conv_0.conv_0.conv.bias"]
    torch.save(state, tmp_path / "a.pt")
    asked = Asked(window=(0, 255), activation="softmax")
    with pytest.raises(InputError) as refused:
        read_model(tmp_path / "a.pt", Wanted(name="own", network=BASIC, asked=asked))
    for part in ("missing conv_0.conv_0.conv.bias", "final_conv.bias (7,)", "extra.weight"):
        assert part in str(refused.value)


def marker(tmp_path: Path) -> str:
    """Return an expression that would write a file."""
    return f"$open({str(tmp_path / 'ran')!r}, 'w').close()"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"network_def": {"_target_": "subprocess.run", "args": "x"}}, "subprocess.run"),
        ({"network_def": {**UNET, "_target_": "scripts.nets.UNet"}}, "code of the bundle"),
        ({"network_def": {**UNET, "_target_": "SwinUNETR"}}, "unknown network"),
        ({"network_def": {**UNET, "act": "MARKER"}}, "nothing in a bundle is run"),
        ({"network_def": {**UNET, "act": {"_target_": "os.system"}}}, "expected a value"),
        ({"network_def": {**UNET, "channels": [4, 8, 10**9]}}, "at most 2048"),
        ({"network_def": {**UNET, "num_res_units": 10**6}}, "at most 64"),
        ({"network_def": {**UNET, "strides": [64, 64]}}, "divisor"),
        ({"network_def": {**UNET, "channels": [2048] * 60, "strides": [1] * 59}}, "million"),
        ({"network_def": {**UNET, "in_channels": 3}}, "takes 3 channels"),
        ({"network_def": {**UNET, "colour": 3}}, "unknown argument of UNet"),
        ({"network_def": {**UNET, "channels": "@a"}, "a": "@b", "b": "@a"}, "never end"),
        ({"preprocessing": {"transforms": [{"_target_": "os.system", "x": 1}]}}, "no system"),
        ({"preprocessing": {"transforms": [{"_target_": "CropForegroundd"}]}}, "CropForeground"),
        ({"preprocessing": {"transforms": [{"_target_": "NormalizeIntensityd"}]}}, "Normalize"),
        ({"preprocessing": {"transforms": []}}, "how greys are scaled"),
        ({"preprocessing": {"transforms": ["MARKER"]}}, "expected a transform"),
        ({"postprocessing": {"transforms": []}}, "--activation"),
    ],
)
def test_what_is_hostile_or_unknown_is_refused_by_name(changes, message, tmp_path):
    text = json.dumps(changes).replace("MARKER", marker(tmp_path))
    folder = write_monai_bundle(tmp_path / "bundle", 2, **json.loads(text))
    with pytest.raises(InputError, match=message):
        read_model(folder, Wanted(name="spleen"))
    assert not (tmp_path / "ran").exists()


def test_expressions_elsewhere_in_a_bundle_are_not_run(tmp_path):
    more = {"imports": [marker(tmp_path)], "network": marker(tmp_path)}
    folder = write_monai_bundle(tmp_path / "bundle", 2, **more)
    read_model(folder, Wanted(name="spleen"))
    assert not (tmp_path / "ran").exists()


def test_transforms_may_be_left_out_and_scales_be_given(tmp_path):
    transforms = [{"_target_": "CropForegroundd"}, {"_target_": "NormalizeIntensityd"}]
    folder = write_monai_bundle(tmp_path / "b", 2, preprocessing={"transforms": transforms})
    asked = Asked(window=(0, 255), without=("CropForegroundd",))
    found = read_model(folder, Wanted(name="spleen", asked=asked))
    assert found.row.input.window == (0, 255) and "CropForegroundd is left out" in found.notes


class Runs:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.path), "w")


def test_weights_that_would_run_code_are_refused(tmp_path):
    folder = write_monai_bundle(tmp_path / "bundle", 2)
    torch.save({"state_dict": Runs(tmp_path / "ran")}, folder / "models" / "model.pt")
    with pytest.raises(InputError, match="tensors and plain data alone"):
        read_model(folder, Wanted(name="spleen"))
    program = torch.jit.script(torch.nn.Conv2d(1, 1, 1))
    torch.jit.save(program, str(folder / "models" / "model.pt"))
    with pytest.raises(InputError, match="model.pt"):
        read_model(folder, Wanted(name="spleen"))
    (folder / "models" / "model.pt").unlink()
    with pytest.raises(InputError, match="no models/model.pt"):
        read_model(folder, Wanted(name="spleen"))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [b"{", b"[1]", b"[" * 100_000, b" " * (1 << 21)])
def test_a_configuration_that_is_none_is_refused(content, tmp_path):
    folder = write_monai_bundle(tmp_path / "bundle", 2)
    (folder / "configs" / "inference.json").write_bytes(content)
    with pytest.raises(InputError, match=r"configs/inference.json"):
        read_model(folder, Wanted(name="spleen"))
