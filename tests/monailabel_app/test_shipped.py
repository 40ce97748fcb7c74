"""The weights that ship are small, and there is something to try each of them on.

What ships is what the folder of weights holds: whoever adds a file need change nothing here.
"""

from __future__ import annotations

import pytest
import torch

from lib.phantoms.demo_archive import demo_archive
from lib.tasks.fits import misfit
from lib.tasks.image_kind import ImageKind
from lib.tasks.registry import TASKS, get_task
from lib.weights.store import SHIPPED_PREFIX
from monailabel_app.cli.serve_dicom import TASKS as DEMO_TASKS
from monailabel_app.config import DEFAULT_MODELS, SHIPPED_MODELS, parse_models, shipped_models

MOST = 40_000_000  # bytes of all that ship


def test_all_weights_that_ship_stay_below_40_mb():
    sizes = {file.name: file.stat().st_size for file in SHIPPED_MODELS.glob("*.pt")}
    assert 0 < sum(sizes.values()) < MOST, sizes


@pytest.mark.parametrize("task", shipped_models())
def test_weights_ship_in_half_precision(task):
    stored = torch.load(SHIPPED_MODELS / f"{SHIPPED_PREFIX}{task}.pt", weights_only=True)
    kinds = {tensor.dtype for tensor in stored["weights"].values() if tensor.is_floating_point()}
    assert kinds == {torch.float16}


def test_what_is_in_the_folder_is_served(tmp_path):
    assert shipped_models() == DEFAULT_MODELS == parse_models("")
    assert DEFAULT_MODELS[0] == "nuclei"
    names = {file.stem.removeprefix(SHIPPED_PREFIX) for file in SHIPPED_MODELS.glob("pre*.pt")}
    assert names == set(DEFAULT_MODELS), "each file belongs to a task"
    for name in ("busi_lesion", "no_such_task", "nuclei"):
        (tmp_path / f"{SHIPPED_PREFIX}{name}.pt").touch()
    assert shipped_models(tmp_path) == ("nuclei", "busi_lesion")


def test_the_demo_archive_has_a_study_for_each_model_that_ships_or_is_served_on_it():
    dimensions = {"MG": "mammogram", "MR": "3d", "CT": "3d", "GM": "2d"}
    kinds = {
        ImageKind(data.Modality, dimensions.get(data.Modality) or _of_ultrasound(data))
        for study in demo_archive(0)
        for data in study.datasets
    }
    for name in (*DEFAULT_MODELS, *DEMO_TASKS):
        assert name in TASKS
        assert not all(misfit(get_task(name), kind) for kind in kinds), name


def _of_ultrasound(data) -> str:
    if "Volume" in data.SOPClassUID.name:
        return "3d"
    return "loop" if int(data.get("NumberOfFrames", 1)) > 1 else "2d"
