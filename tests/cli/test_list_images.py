"""`list-images`: what of a folder can be labelled; `import dicom` includes what was passed over."""

from __future__ import annotations

import json

import numpy as np
from PIL import Image

from lib.phantoms.dicom_studies import volume_study


def _png(path, cut=False):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 255, (32, 32), np.uint8)
    Image.fromarray(pixels).save(path)
    if cut:
        path.write_bytes(path.read_bytes()[:500])


def test_images_are_listed_with_their_state_and_series_can_be_included(cli, tmp_path):
    studies = tmp_path / "studies"
    for name in ("a.png", "b.png", "labels/final/b.png"):
        _png(studies / name)
    _png(studies / "cut.png", cut=True)
    for index, data in enumerate(volume_study(1, (6, 16, 16)).datasets):
        (studies / "CT_1").mkdir(exist_ok=True)
        data.save_as(studies / "CT_1" / f"IM{index}", enforce_file_format=True)
    ended = cli("list-images", studies, "--json", tmp_path / "list.json")
    assert ended.status == 0
    lines = ended.out.splitlines()
    assert lines[:2] == ["a  32 x 32, unlabelled", "b  32 x 32, labelled"]
    assert lines[2].startswith("cut  unreadable: cut.png") and "truncated" in lines[2]
    assert "3 images" in lines[3] and "2 readable, 1 of them labelled; 1 unreadable" in lines[3]
    assert "passed over 6 DICOM files in 1 subfolder (CT_1 (6))" in lines[4]
    report = json.loads((tmp_path / "list.json").read_text())
    assert (report["total"], report["completed"], report["unreadable"]) == (2, 1, 1)

    assert "1 images of 1 series imported" in cli("import", "dicom", studies, studies).out
    assert "CT_1  16 x 16 x 6, unlabelled" in cli("list-images", studies).out
    only_volumes = cli("list-images", studies, "--tasks", "ultrasound3d_vnet").out
    assert "1 readable" in only_volumes and "answers volumes" in only_volumes


def test_folders_without_images_and_unknown_tasks_are_refused(cli, tmp_path):
    cli("list-images", tmp_path / "none").assert_refused("does not exist")
    _png(tmp_path / "inside" / "a.png")
    cli("list-images", tmp_path).assert_refused("no images", "passed over 1 image in 1 subfolder")
    _png(tmp_path / "a.png")
    cli("list-images", tmp_path, "--tasks", "nuclej").assert_refused("nuclej", "nuclei")
