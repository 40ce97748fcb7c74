"""Objects found band by band are those of the whole image, wherever bands end."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from lib.errors import InputError
from lib.image import Geometry, Image
from lib.phantoms.nuclei import nuclei_phantom
from lib.segmentation import bands, large, windows
from lib.segmentation.bands import Separation, masks, separate_in_bands, with_rows_around
from lib.segmentation.instances import depth_inside, foreground_mask, separate
from lib.segmentation.large import LargeAnswer
from lib.segmentation.predictor import Predictor
from lib.tasks.image_spec import OutputSpec, TargetSpec
from lib.tasks.registry import TASKS
from lib.weights.checkpoint import load_checkpoint
from monailabel_app.config import SHIPPED_MODELS

MAPS = TargetSpec(maps=("foreground", "distance"))
SPECS = [
    OutputSpec(instances=True, separation="distance", depth=0.03, seed_threshold=0.2, min_area=24),
    OutputSpec(instances=True, separation="shape", blur=0.7, min_area=9),
    OutputSpec(instances=True, separation="components", min_area=5),
]


def _same(found: np.ndarray, expected: np.ndarray) -> None:
    """Check that two label images hold the same objects under other numbers."""
    np.testing.assert_array_equal(found > 0, expected > 0)
    pairs = np.unique(np.stack((found[found > 0], expected[found > 0])), axis=1)
    assert len(set(pairs[0])) == len(set(pairs[1])) == pairs.shape[1]
    assert set(pairs[0]) == set(range(1, pairs.shape[1] + 1))


def _maps(shape: tuple[int, int], sigma: float = 4.0) -> np.ndarray:
    noise = ndimage.gaussian_filter(np.random.default_rng(0).random(shape), sigma)
    one = ((noise - noise.min()) / np.ptp(noise)).astype(np.float32)
    return np.stack((one, one**2))


def _whole(maps: np.ndarray, spec: OutputSpec) -> np.ndarray:
    return separate(foreground_mask(maps[0], spec), spec, maps[1])


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.separation)
@pytest.mark.parametrize("rows", [1, 17, 64, 1000])
def test_objects_are_those_of_the_whole(spec, rows, monkeypatch):
    monkeypatch.setattr(bands, "COLUMNS", 40)
    maps = _maps((230, 190))
    pieces = [maps[:, start : start + rows] for start in range(0, maps.shape[1], rows)]
    seen = np.zeros(maps.shape[1:], np.int32)

    def found(objects: np.ndarray, row: int, column: int) -> None:
        part = seen[row : row + objects.shape[0], column : column + objects.shape[1]]
        assert not part[objects > 0].any(), "each object once"
        np.copyto(part, objects, where=objects > 0)

    separation = Separation(spec, found)
    answer = np.concatenate(list(separation(masks(pieces, MAPS, spec))))
    expected = _whole(maps, spec)
    assert expected.max() > 10
    _same(answer, expected)
    np.testing.assert_array_equal(answer, seen)
    assert (separation.count, separation.cut) == (expected.max(), 0)
    assert separation.foreground == (expected > 0).sum()


def test_an_object_that_is_too_high_is_cut_and_told():
    maps = np.zeros((2, 300, 60), np.float32)
    maps[0, 10:290, 20:24] = 1
    spec = replace(SPECS[2], min_area=0)
    pieces = [maps[:, start : start + 20] for start in range(0, 300, 20)]
    separation = Separation(spec, most_rows=100)
    answer = np.concatenate(list(separation(masks(pieces, MAPS, spec))))
    np.testing.assert_array_equal(answer > 0, maps[0] > 0)
    assert separation.cut == answer.max() - 1 > 0


def test_in_memory_the_same():
    maps = _maps((260, 120))
    mask = foreground_mask(maps[0], SPECS[0])
    _same(separate_in_bands(mask, SPECS[0], maps[1], 50), separate(mask, SPECS[0], maps[1]))


@pytest.mark.parametrize("reach", [0, 1, 7, 40])
def test_bands_see_the_rows_around_them(reach):
    rows = np.arange(90).reshape(1, 90, 1)
    pieces = np.split(rows, [3, 10, 11, 50, 77], axis=1)
    done = 0
    for held, before, count in with_rows_around(pieces, reach):
        own = held[0, before : before + count, 0]
        np.testing.assert_array_equal(own, np.arange(done, done + count))
        assert held[0, 0, 0] <= max(done - reach, 0)
        done += count
        assert held[0, -1, 0] >= min(done + reach, 90) - 1
        assert len(held[0]) <= count + 2 * reach + 40
    assert done == 90


@dataclass
class _Rows:
    pixels: np.ndarray
    most: int = 0
    colour: bool = False

    @property
    def shape(self) -> tuple[int, int]:
        return self.pixels.shape[:2]

    def read(self, start: int, stop: int) -> np.ndarray:
        self.most = max(self.most, stop - start)
        return self.pixels[start:stop]


@pytest.fixture
def small_tiles(monkeypatch):
    monkeypatch.setitem(windows.WHOLE_PIXELS, 2, 64 * 64)
    monkeypatch.setitem(windows.TILE, 2, 64)
    monkeypatch.setattr(large, "ROWS", 50)


@pytest.mark.parametrize("shown", ["dark", "bright", "stained"])
def test_a_large_answer_is_that_of_the_whole_image(weights, small_tiles, shown):
    task = TASKS["nuclei_vhllrhe"]
    predictor = Predictor.from_checkpoint(task, load_checkpoint(weights), "cpu", "fp32")
    pixels = nuclei_phantom(0, rows=230, columns=170, nuclei=40)[0]
    if shown != "dark":
        pixels = 255 - pixels
    if shown == "stained":
        pixels = np.stack((pixels // 2, pixels // 3, pixels), axis=-1)
    colour = shown == "stained"
    image = Image(pixels, Geometry.flat(*pixels.shape[:2]), Path("a.png"), colour=colour)
    whole = predictor(image)
    rows, shares = _Rows(pixels, colour=colour), []
    answer = LargeAnswer(predictor, rows, progress=shares.append)
    _same(np.concatenate(list(answer.bands())), whole.instances)
    assert answer.separation.count == whole.instances.max() > 5
    assert rows.most <= 64
    assert shares == sorted(shares)
    assert shares[-1] == 1


@pytest.mark.parametrize("shown", ["grey", "fluorescence", "stained"])
def test_a_large_answer_in_colours_is_that_of_the_whole_image(small_tiles, shown):
    weights = load_checkpoint(SHIPPED_MODELS / "pretrained_nuclei.pt")
    predictor = Predictor.from_checkpoint(TASKS["nuclei"], weights, "cpu", "fp32")
    pixels = nuclei_phantom(0, rows=230, columns=170, nuclei=40)[0]
    if shown == "fluorescence":
        pixels = np.stack((pixels // 9, pixels // 3, pixels), axis=-1)
    if shown == "stained":  # brightest in red but where nuclei are
        pixels = np.stack((255 - pixels, 150 - pixels // 3, 200 - pixels // 2), axis=-1)
    colour = shown != "grey"
    image = Image(pixels, Geometry.flat(*pixels.shape[:2]), Path("a.png"), colour=colour)
    whole = predictor(image)
    answer = LargeAnswer(predictor, _Rows(pixels, colour=colour))
    assert len(answer.scales()) == (3 if shown == "stained" else 1)
    _same(np.concatenate(list(answer.bands())), whole.instances)
    assert answer.separation.count == whole.instances.max() > 5


@pytest.mark.parametrize("name", ["busi_lesion", "nerve_vhllrhe", "ultrasound3d_vnet"])
def test_tasks_that_need_the_whole_image_are_refused(name):
    with pytest.raises(InputError, match="larger than memory holds"):
        bands.check_bands(TASKS[name])


def test_depth_by_columns_is_that_of_the_whole(monkeypatch):
    monkeypatch.setattr(bands, "COLUMNS", 32)
    monkeypatch.setattr(bands, "DEEPEST", 12)
    mask = ndimage.gaussian_filter(np.random.default_rng(3).normal(size=(90, 150)), 5) > -0.05
    mask[20:80, 40:110] = True
    expected = np.minimum(depth_inside(mask), 12)
    np.testing.assert_allclose(bands.capped_depth(mask), expected, rtol=1e-6)
    assert expected.max() == 12
