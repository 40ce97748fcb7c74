"""NuInsSeg is imported from both layouts; nuclei that touch in a mask are parted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from lib.data.groups import read_groups
from lib.data.studies import group_of, list_items
from lib.datasets.nuinsseg import BLOCK, import_nuinsseg
from lib.errors import InputError
from lib.io.labels import read_label

SHAPE = (48, 64)


def _save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PillowImage.fromarray(pixels).save(path)


def _discs(*centres: tuple[int, int], radius: int = 9) -> np.ndarray:
    """Return numbered discs, uint8 `SHAPE`; a later one covers an earlier one."""
    rows, columns = np.ogrid[: SHAPE[0], : SHAPE[1]]
    label = np.zeros(SHAPE, np.uint8)
    for number, (row, column) in enumerate(centres, start=1):
        label[(rows - row) ** 2 + (columns - column) ** 2 <= radius**2] = number
    return label


def _flat(source: Path, labels: dict[str, np.ndarray]) -> None:
    for name, label in labels.items():
        _save(source / "images" / f"{name}.png", np.full((*SHAPE, 3), 200, np.uint8))
        _save(source / "masks" / f"{name}.png", (label > 0).astype(np.uint8) * 255)


def test_nuclei_that_touch_in_a_mask_are_parted_where_it_is_narrow(tmp_path):
    pair, single = _discs((24, 20), (24, 36)), _discs((20, 30))
    _flat(tmp_path / "in", {"001": pair, "002": single, "003": single * 0})
    report = import_nuinsseg(tmp_path / "in", tmp_path / "out")
    assert dict(report.figures) == {"nuclei": 3, "components": 2}
    items = list_items(tmp_path / "out", labelled=True)
    assert [item.id for item in items] == [f"nuinsseg_00{number}" for number in (1, 2, 3)]
    found = read_label(items[0].label)
    assert ((found > 0) == (pair > 0)).all()
    shared = max((found[pair == 1] == number).mean() for number in (1, 2))
    assert shared > 0.95
    assert found[24, 20] != found[24, 36]
    assert len(np.unique(read_label(items[1].label))) == 2
    assert not read_label(items[2].label).any()


def test_the_published_layout_keeps_the_numbers_of_its_nuclei(tmp_path):
    organs = {"human bladder": _discs((24, 20), (24, 36)), "mouse liver": _discs((20, 30))}
    for organ, label in organs.items():
        name = organ.replace(" ", "_") + "_01"
        folder = tmp_path / "in" / organ
        _save(folder / "tissue images" / f"{name}.png", np.full((*SHAPE, 3), 200, np.uint8))
        _save(folder / "label masks" / f"{name}.tif", label)
    assert import_nuinsseg(tmp_path / "in", tmp_path / "out").images == 2
    first, second = list_items(tmp_path / "out", labelled=True)
    assert (first.id, first.group) == ("nuinsseg_human_bladder_01", "nuinsseg_human bladder")
    assert second.group == "nuinsseg_mouse liver"
    np.testing.assert_array_equal(read_label(first.label), organs["human bladder"])


def test_neighbours_are_a_group_and_groups_of_other_sets_stay(tmp_path):
    names = [f"{number:03d}" for number in (1, BLOCK, BLOCK + 1)]
    _flat(tmp_path / "in", {name: _discs((20, 30)) for name in names})
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "groups.csv").write_text("id,group,class\nother,a,\n")
    import_nuinsseg(tmp_path / "in", tmp_path / "out")
    groups = group_of(tmp_path / "out")
    assert [groups[f"nuinsseg_{name}"][-2:] for name in names] == ["_0", "_0", "_1"]
    assert len(read_groups(tmp_path / "out")) == 4


def test_a_mask_of_another_size_and_another_folder_are_refused(tmp_path):
    _flat(tmp_path / "in", {"001": _discs((20, 30))})
    _save(tmp_path / "in" / "masks" / "001.png", np.zeros((9, 9), np.uint8))
    with pytest.raises(InputError, match=r"001\.png: label has 9 rows"):
        import_nuinsseg(tmp_path / "in", tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="is not NuInsSeg: expected ORGAN/tissue images"):
        import_nuinsseg(tmp_path / "empty", tmp_path / "out")
