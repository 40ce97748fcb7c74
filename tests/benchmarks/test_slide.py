"""The benchmark of one image that is larger than memory, at a size that takes seconds."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile
import torch

from benchmarks.speed import slide
from lib.errors import InputError
from lib.networks import build_network
from lib.tasks.registry import TASKS
from lib.tasks.yaml_rows import read_rows
from lib.weights.checkpoint import Checkpoint, save_checkpoint
from lib.weights.store import ModelStore

COLUMNS, ROWS = 1024, (4096, 16384)
LABEL = 4  # bytes of a pixel of the label image
ROW = """
tasks:
  - name: small_slides
    extends: nuclei_vhllrhe
    description: A narrow network that reads images of a million pixels by rows
    network: {channels: [4, 8], convolutions: [1, 1]}
    input: {max_pixels: 1000000}
"""


@pytest.fixture
def narrow(tmp_path):
    """Return a file with a task, and weights that call bright pixels foreground."""
    file = tmp_path / "rows.yaml"
    file.write_text(ROW)
    (spec,) = read_rows(file, TASKS)
    network = build_network(spec.network)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        network.encoder[0].projection.weight[0, 0] = 1
        network.decoder[-1].projection.weight[0, 0] = 1
        network.output.weight[0, 0] = 20
        network.output.bias[0] = -8
    weights = Checkpoint(task=spec.name, spec=spec.as_dict(), weights=network.state_dict())
    return file, save_checkpoint(tmp_path / "narrow.pt", weights)


def test_memory_does_not_grow_with_the_rows_of_the_image(tmp_path, narrow):
    file, weights = narrow
    peaks = []
    for rows in ROWS:
        folder = tmp_path / str(rows)
        folder.mkdir()
        image = folder / "slide.tif"
        drawn = slide.write_slide(image, rows, COLUMNS)
        words = ["small_slides", "--weights", weights, "--device", "cpu", "--precision", "fp32"]
        words += ["--backend", "torch"]
        before = ["--task-file", str(file)]
        found = slide.answer(image, folder, [str(word) for word in words], before)
        peaks.append(found["peak_memory_mib"] * 2**20)
        assert 0.6 * drawn < found["objects"] <= 1.2 * drawn
    few, many = ROWS
    assert peaks[1] - peaks[0] < (many - few) * COLUMNS * LABEL, "the label image alone takes more"
    with tifffile.TiffFile(folder / "out" / "slide.tif") as answered:
        levels = answered.series[0].levels
        assert [level.shape for level in levels][:2] == [(many, COLUMNS), (many // 2, COLUMNS // 2)]
        assert levels[0].asarray().max() == found["objects"]
    features = json.loads((folder / "outlines.geojson").read_text())["features"]
    assert len(features) == found["objects"]


def test_an_image_is_the_same_each_time(tmp_path):
    first, second = tmp_path / "a.tif", tmp_path / "b.tif"
    assert slide.write_slide(first, 1024, 512) == slide.write_slide(second, 1024, 512) > 20
    assert first.read_bytes() == second.read_bytes()
    assert np.ptp(tifffile.imread(first)) > 100


def test_a_size_that_is_read_whole_is_refused(tmp_path):
    with pytest.raises(InputError, match="8192 x 8192 pixels: expected multiples of 512, and more"):
        slide.run(ModelStore(tmp_path, tmp_path), lambda: None, 8192)
