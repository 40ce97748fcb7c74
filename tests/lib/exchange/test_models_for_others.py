"""Models as MONAI Bundle and as ONNX answer as they do in the app."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from PIL import Image as PillowImage

from lib.errors import InputError
from lib.exchange.about import About
from lib.exchange.bundle import write_bundle
from lib.exchange.onnx_model import write_onnx
from lib.exchange.source import write_scripts
from lib.kinds import kind_of
from lib.mammography.exams import group_exams
from lib.networks import build_network
from lib.phantoms.mammograms.exams import exam_phantom
from lib.tasks.registry import get_task
from lib.tasks.spec import TaskSpec
from lib.weights.checkpoint import Checkpoint, load_checkpoint, state_on_cpu

SHIPPED = Path(__file__).parents[3] / "monailabel_app" / "model"
ABOUT = About(version="1", software="0", licence="a licence")
TASKS = ("nuclei", "busi_lesion", "ultrasound3d_vnet", "density_a_vs_d")
# runs the bundles whose folders it is given, where nothing of the app can be imported
ALONE = """
import sys, numpy as np
from importlib.util import find_spec
from monai.bundle import ConfigWorkflow, verify_net_in_out
assert find_spec("lib") is None and find_spec("monailabel_app") is None
for folder in sys.argv[1:]:
    for name in [name for name in sys.modules if name.split(".")[0] == "scripts"]:
        del sys.modules[name]
    flow = ConfigWorkflow(f"{folder}/configs/inference.json", workflow_type="infer",
                          bundle_root=folder, device="cpu")
    sys.path[:] = [path for path in sys.path if "bundles" not in path]
    flow.initialize()
    flow.run()
    assert not flow.check_properties()
    last = flow.evaluator.state.output[0]
    kept = {key: np.asarray(last[key]) for key in ("pred", "mask", "objects") if key in last}
    np.savez(f"{folder}/answer.npz", **kept)
    verify_net_in_out("network_def", f"{folder}/configs/metadata.json",
                      f"{folder}/configs/inference.json", device="cpu", n=2)
"""


def checkpoint_of(task: TaskSpec) -> Checkpoint:
    """Return the shipped weights, or random ones that answer different values."""
    shipped = SHIPPED / f"pretrained_{task.name}.pt"
    if shipped.is_file():
        return load_checkpoint(shipped)
    torch.manual_seed(0)
    network = build_network(task.network)
    for name, weight in network.named_parameters():
        if weight.ndim > 1 and name.startswith(("output", "pooled")):
            torch.nn.init.normal_(weight)
    answer = {"temperature": 1.7} if task.exam else {}
    return Checkpoint(
        task=task.name, spec=task.as_dict(), weights=state_on_cpu(network), answer=answer
    )


def picture(path: Path, *shape: int) -> Path:
    """Write smooth noise, in colour where the last axis is 3."""
    rng = np.random.default_rng(1)
    coarse = PillowImage.fromarray(rng.integers(0, 255, (9, 7), np.uint8))
    grey = np.asarray(coarse.resize(shape[1::-1], PillowImage.Resampling.BICUBIC))
    pixels = grey if len(shape) == 2 else np.stack([grey, 255 - grey, grey // 2], -1)
    PillowImage.fromarray(pixels).save(path)
    return path


def volume(path: Path) -> Path:
    """Write smooth noise with slices farther apart than pixels, first axis slices."""
    rng = np.random.default_rng(2)
    values = sitk.GetImageFromArray(rng.random((11, 30, 26), np.float32) * 255)
    image = sitk.DiscreteGaussian(values, 2.0)
    image.SetSpacing((0.7, 0.8, 1.1))
    image.SetOrigin((3, -4, 5))
    sitk.WriteImage(image, str(path))
    return path


def mammograms(folder: Path) -> None:
    """Write two views of a phantom exam as 8-bit pictures."""
    phantom = exam_phantom(3, 1, density="C")
    for view in ("R-CC", "L-MLO"):
        pixels = next(one.pixels for one in phantom.views if one.view.name == view)
        grey = np.round(255.0 * pixels / pixels.max()).astype(np.uint8)
        PillowImage.fromarray(grey).save(folder / f"e1_{view}.png")


IMAGES: dict[str, Callable[[Path], object]] = {
    "nuclei": lambda folder: picture(folder / "a.png", 90, 75, 3),
    "busi_lesion": lambda folder: picture(folder / "a.png", 190, 233),
    "ultrasound3d_vnet": lambda folder: volume(folder / "a.nii.gz"),
    "density_a_vs_d": mammograms,
}


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bundles of four tasks that another process has run without the app."""
    root = tmp_path_factory.mktemp("exchange") / "bundles"
    folders = []
    for name in TASKS:
        task = get_task(name)
        checkpoint = checkpoint_of(task)
        task, _ = kind_of(task).predictor.as_trained(task, checkpoint)
        folders.append(write_bundle(root / name, task, checkpoint, ABOUT))
        (folders[-1] / "images").mkdir()
        IMAGES[name](folders[-1] / "images")
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    ran = subprocess.run(
        [sys.executable, "-P", "-c", ALONE, *map(str, folders)],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    return root


@pytest.mark.parametrize("name", TASKS[:3])
def test_a_bundle_answers_without_the_app_as_the_app_does(bundles, name):
    from lib.io.read import read_image

    task, (file,) = get_task(name), (bundles / name / "images").iterdir()
    predictor = kind_of(task).predictor.from_checkpoint(task, checkpoint_of(task), "cpu", "fp32")
    expected = predictor(read_image(file, spatial_dims=task.image_dims))
    found = np.load(bundles / name / "answer.npz")
    maps = found["pred"].transpose(0, *range(found["pred"].ndim - 1, 0, -1))
    np.testing.assert_allclose(maps, expected.probabilities, atol=1e-3)
    assert maps[0].std() > 0.01  # not an answer that anything would agree with
    assert (found["mask"][0].T != expected.mask).mean() < 1e-3
    if expected.instances is not None:
        assert found["objects"].max() == expected.instances.max()


@pytest.mark.parametrize("name", TASKS[:3])
def test_a_bundle_writes_its_mask_on_the_grid_of_the_image(bundles, name):
    folder = bundles / name
    found = np.load(folder / "answer.npz")["mask"][0]
    written = sitk.ReadImage(str(folder / "eval" / "a_mask.nii.gz"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(written).squeeze(), found.T)
    if name == "ultrasound3d_vnet":
        image = sitk.ReadImage(str(folder / "images" / "a.nii.gz"))
        for part in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
            np.testing.assert_allclose(getattr(written, part)(), getattr(image, part)(), atol=1e-4)


def test_a_bundle_answers_on_exams_as_the_app_does(bundles):
    folder = bundles / "density_a_vs_d"
    answer = json.loads((folder / "eval" / "exams.json").read_text())["e1"]
    task = get_task("density_a_vs_d")
    checkpoint = checkpoint_of(task)
    predictor = kind_of(task).predictor.from_checkpoint(task, checkpoint, "cpu", "fp32")
    (exam,) = group_exams(sorted((folder / "images").iterdir()))
    expected = predictor(exam, tissue=False)
    assert answer["views"].keys() == expected.views.keys() == {"R-CC", "L-MLO"}
    for view, row in expected.views.items():
        found = list(answer["views"][view]["probabilities"].values())
        np.testing.assert_allclose(found, row.probabilities, atol=1e-3)
    found = list(answer["probabilities"].values())
    np.testing.assert_allclose(found, expected.probabilities, atol=1e-3)
    assert answer["class"] == expected.label


def test_scripts_are_the_code_of_the_app_but_for_their_imports(tmp_path):
    names = write_scripts(tmp_path, "lib.exchange.segmentation_parts")
    assert {"lib.networks.encoder_decoder", "lib.segmentation.instances"} <= set(names)
    for name in names:
        parts = name.split(".")[1:]
        copied = (tmp_path / "scripts" / Path(*parts)).with_suffix(".py").read_text()
        own = (Path(__file__).parents[3] / "lib" / Path(*parts)).with_suffix(".py").read_text()
        assert copied.replace("from scripts.", "from lib.") == own
        assert "from lib." not in copied
    with pytest.raises(ValueError, match="is no module"):
        write_scripts(tmp_path, "lib.networks")


def test_a_bundle_is_refused_where_it_cannot_be_or_exists(tmp_path):
    task = get_task("nuclei_click")
    with pytest.raises(InputError, match="follows clicks"):
        write_bundle(tmp_path / "new", task, checkpoint_of(task), ABOUT)
    with pytest.raises(InputError, match="exists already"):
        write_bundle(tmp_path, get_task("nuclei"), checkpoint_of(get_task("nuclei")), ABOUT)
    assert not list(tmp_path.iterdir())


def narrow(name: str) -> TaskSpec:
    """Return a task with a narrower and shallower network, which converts in seconds."""
    task = get_task(name)
    if task.exam is not None:
        network = replace(task.classifier, channels=(4, 4), depths=(1, 1))
        return replace(task, network=network, input=replace(task.input, size=64))
    network = replace(task.encoder_decoder, channels=(4, 4, 8), convolutions=(1, 1, 2))
    return replace(task, name=f"narrow_{name}", network=network)


@pytest.mark.parametrize("name", [*TASKS, "nuclei_click"])
def test_onnx_answers_as_the_network_does(tmp_path, name):
    import onnx
    import onnxruntime

    task = narrow(name)
    checkpoint = checkpoint_of(task)
    file = tmp_path / "model.onnx"
    assert write_onnx(file, task, checkpoint, ABOUT) < 1e-3
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    network = build_network(task.network).eval()
    network.load_state_dict(checkpoint.weights)
    rng = torch.Generator().manual_seed(5)
    if task.exam is not None:
        images = torch.rand(3, 2, 64, 64, generator=rng)
        views = torch.tensor([1, 0, 1])
        with torch.no_grad():
            expected = torch.softmax(network(images, views) / 1.7, 1)
        given = {"image": images.numpy(), "view": views.numpy()}
    else:
        dims = task.network.spatial_dims
        sides = (80, 48, 64)[:dims]
        images = torch.rand(1, task.network.in_channels, *sides, generator=rng)
        clicks = [torch.rand(1, 2, *sides, generator=rng)] if task.clicks else []
        with torch.no_grad():
            expected = torch.sigmoid(network(images, *clicks))
        given = {"image": images.numpy(), **({"guidance": clicks[0].numpy()} if clicks else {})}
    (found,) = session.run(None, given)
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-3)
    told = {entry.key: entry.value for entry in onnx.load(str(file)).metadata_props}
    assert told["task"] == task.name and "percentile" in told["preprocessing"]


def test_onnx_that_answers_otherwise_is_not_written(tmp_path, monkeypatch):
    task = narrow("ultrasound2d_vnet")
    real = torch.onnx.export

    def wrong(module, *rest, **options):
        other = copy.deepcopy(module)  # a program shares its weights with the module
        torch.nn.init.constant_(other.network.output.bias, 1.0)
        return real(other, *rest, **options)

    monkeypatch.setattr(torch.onnx, "export", wrong)
    with pytest.raises(InputError, match="answers otherwise"):
        write_onnx(tmp_path / "model.onnx", task, checkpoint_of(task), ABOUT)
    assert not list(tmp_path.iterdir())
