"""What 3D Slicer's module is told beyond MONAI Label's answers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
from PIL import Image

from lib.tasks.registry import get_task
from monailabel_app.studies.datastore import StudiesDatastore
from monailabel_app.web.slicer import as_listed


def test_a_label_that_was_damaged_by_hand_hides_no_other_from_the_list(tmp_path, caplog):
    label = np.zeros((12, 10), np.uint8)
    label[2:6, 2:6] = 1
    for name in "ab":
        Image.fromarray(label + 7).save(tmp_path / f"{name}.png")
    Image.fromarray(label).save(tmp_path / ".label.png")
    store = StudiesDatastore(str(tmp_path))
    for name in "ab":
        store.save_label(name, str(tmp_path / ".label.png"), "final", {})
    (tmp_path / "labels" / "final" / "a.png").write_bytes(b"no picture")
    app = SimpleNamespace(datastore=lambda: store, reopened_for=lambda _: get_task("nuclei"))
    listed = as_listed(cast(Any, app), store.json())["objects"]
    assert set(listed["a"]["labels"]) == {"final"} and "a.png" in caplog.text
    assert listed["b"]["labels"]["original"]["info"]["params"] == {"label_names": {"nuclei": 1}}
