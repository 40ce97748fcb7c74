"""`infer` of images that are larger than memory: the answer of the whole, in bounded memory."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import tifffile

from lib.phantoms.nuclei import nuclei_phantom
from lib.segmentation import windows
from lib.tasks.registry import TASKS

TASK = "nuclei_vhllrhe"


@pytest.fixture
def infer(cli, weights, tmp_path, monkeypatch):
    """Return a function that segments a file, which counts as large from `most` pixels on."""
    monkeypatch.setitem(windows.WHOLE_PIXELS, 2, 64 * 64)
    monkeypatch.setitem(windows.TILE, 2, 64)

    def run(file, out, most, *words):
        task = TASKS[TASK]
        with monkeypatch.context() as patched:
            patched.setitem(TASKS, TASK, replace(task, input=replace(task.input, max_pixels=most)))
            common = ("--weights", weights, "--precision", "fp32", "--backend", "torch")
            return cli("infer", TASK, file, "--out", tmp_path / out, *common, *words)

    return run


@pytest.fixture
def image(tmp_path):
    file = tmp_path / "cells.tif"
    pixels = nuclei_phantom(0, rows=200, columns=170, nuclei=40)[0]
    tifffile.imwrite(file, pixels, tile=(32, 32), compression="zlib")
    return file


def test_a_large_image_has_the_answer_of_the_whole(infer, image, tmp_path):
    whole = tmp_path / "whole.json"
    assert infer(image, "whole", 10**6, "--json", whole).status == 0
    large, outlines = tmp_path / "large.json", tmp_path / "large.geojson"
    ended = infer(image, "large", 1000, "--json", large, "--geojson", outlines)
    assert ended.status == 0, ended.err
    found, expected = (
        tifffile.imread(tmp_path / name / "cells.tif") for name in ("large", "whole")
    )
    np.testing.assert_array_equal(found > 0, expected > 0)
    pairs = np.unique(np.stack((found[found > 0], expected[found > 0])), axis=1)
    assert pairs.shape[1] == expected.max() == found.max() > 5
    rows = [json.loads(path.read_text())["images"][0] for path in (large, whole)]
    assert rows[0]["objects"] == rows[1]["objects"] == expected.max()
    assert rows[0]["counts"] == rows[1]["counts"]
    features = json.loads(outlines.read_text())["features"]
    assert len(features) == expected.max()
    areas = {int(one["properties"]["name"].split()[-1]): one for one in features}
    for number, one in areas.items():
        assert one["properties"]["measurements"]["area_px"] == (found == number).sum()
        xs, ys = np.array(one["geometry"]["coordinates"][0]).reshape(-1, 2).T
        at = np.nonzero(found == number)
        assert (xs.min(), ys.min()) == (at[1].min(), at[0].min())


def test_a_mask_is_that_of_the_whole(infer, image, tmp_path):
    for name, most in (("whole", 10**6), ("large", 1000)):
        assert infer(image, name, most, "--result", "mask").status == 0
    found, expected = (
        tifffile.imread(tmp_path / name / "cells.tif") for name in ("large", "whole")
    )
    np.testing.assert_array_equal(found, expected)
    assert set(np.unique(found)) == {0, 1}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ("--result", "probabilities", "--format", ".nrrd"),
            "--result probabilities is not for images of this size",
        ),
        (("--format", ".png"), "written as TIFF only"),
        (("--table", "t.csv"), "--table is not for images of this size"),
    ],
)
def test_what_is_not_written_at_that_size_is_refused(infer, image, monkeypatch, words, told):
    monkeypatch.chdir(image.parent)
    ended = infer(image, "out", 1000, *words)
    assert ended.status == 2
    assert told in ended.err
    assert not list((image.parent / "out").iterdir())


SCRIPT = """
import resource, sys
from dataclasses import replace
from pathlib import Path
import numpy as np, tifffile, torch
from lib.io.label_pyramid import write_label_pyramid
from lib.io.rows import large_image
from lib.networks import build_network
from lib.segmentation import windows
from lib.segmentation.large import LargeAnswer
from lib.segmentation.predictor import Predictor
from lib.tasks.registry import TASKS

torch.set_num_threads(1)
windows.TILE[2] = 256
row = TASKS["nuclei_vhllrhe"]
task = replace(row, network=replace(row.network, channels=(4,), convolutions=(1,)))
answering = Predictor(task, build_network(task.network).eval(), "cpu", "fp32")
answering._logits = lambda images: 20 * images - 10
square = np.pad(np.full((16, 16), 255, np.uint8), 8)
folder, peaks = Path(sys.argv[1]), []
for rows in (2048, 16384):
    file = folder / f"{rows}.tif"
    tiles = (np.tile(square, (4, 4)) for _ in range(rows // 16))
    tifffile.imwrite(file, tiles, shape=(rows, 1024), dtype=np.uint8, tile=(128, 128))
    answer = LargeAnswer(answering, large_image(file, 1000))
    write_label_pyramid(folder / f"{rows}_out.tif", answer.bands(), (rows, 1024))
    assert answer.separation.count == rows, answer.separation.count  # 16 in each tile
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
print(*peaks)
"""


def test_memory_does_not_grow_with_the_rows(tmp_path):
    made = subprocess.run(
        [sys.executable, "-c", SCRIPT, tmp_path], capture_output=True, text=True, timeout=300
    )
    assert made.returncode == 0, made.stderr
    few, many = (int(kib) * 1024 for kib in made.stdout.split())
    assert many - few < 14336 * 1024 * 4, "less than the label image alone would take more"
