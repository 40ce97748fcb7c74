"""Which label file counts for an image, and what is said of those that count for nothing."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from lib.data.passed_over import find_passed_over
from lib.data.studies import INDEX, list_items
from lib.errors import InputError
from lib.io.read import default_channel
from monailabel_app.studies.datastore import StudiesDatastore


def _studies(folder: Path, *labels: str, compact: bool = False) -> Path:
    images = folder / "images" if compact else folder
    final = folder / ("labels" if compact else "labels/final")
    images.mkdir(parents=True, exist_ok=True)
    final.mkdir(parents=True)
    PillowImage.fromarray(np.zeros((8, 8), np.uint8)).save(images / "cell.png")
    for name in labels:
        if name.endswith((".png", ".tif", ".PNG")):
            PillowImage.fromarray(np.eye(8, dtype=np.uint8)).save(final / name)
        else:
            (final / name).write_bytes(b"x")
    return folder


@pytest.mark.parametrize("compact", [True, False])
def test_of_several_labels_the_first_counts_and_the_others_are_named(tmp_path, compact):
    studies = _studies(tmp_path, "cell.tif", "cell.png", compact=compact)
    (item,) = list_items(studies)
    assert item.label is not None and item.label.name == "cell.png"
    (said,) = find_passed_over(studies).sentences
    assert "cell.png (not cell.tif) count" in said


def test_server_and_command_line_take_the_same_of_several_labels(tmp_path):
    studies = _studies(tmp_path, "cell.tif")
    StudiesDatastore(str(studies))
    PillowImage.fromarray(np.eye(8, dtype=np.uint8)).save(studies / "labels/final/cell.png")
    server = StudiesDatastore(str(studies)).get_label_uri("cell", "final")
    assert Path(server).name == "cell.tif" == list_items(studies)[0].label.name
    (studies / INDEX).unlink()
    server = StudiesDatastore(str(studies)).get_label_uri("cell", "final")
    assert Path(server).name == "cell.png" == list_items(studies)[0].label.name


def test_a_damaged_index_names_no_label(tmp_path):
    studies = _studies(tmp_path, "cell.png")
    for labels in (None, [], {"final": None}, {"final": {"ext": 3}}):
        (studies / INDEX).write_text(json.dumps({"objects": {"cell": {"labels": labels}}}))
        assert list_items(studies)[0].label.name == "cell.png"


def test_labels_that_count_for_nothing_are_named(tmp_path):
    names = ["cell.png", "Cell.png", "lost.tif", "cell_seg.npy", "notes.txt", "cell.json", ".x"]
    orphans, strange = find_passed_over(_studies(tmp_path, *names)).sentences
    assert "of no image: Cell.png, lost.tif;" in orphans and "same capitals" in orphans
    assert "no label images: cell_seg.npy, notes.txt;" in strange


def test_a_folder_whose_labels_all_count_for_nothing_says_so(tmp_path):
    with pytest.raises(InputError, match=r"no labelled images .* of no image: CELL.png"):
        list_items(_studies(tmp_path, "CELL.png"), labelled=True)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
def test_pipes_in_a_folder_are_no_files(tmp_path):
    """Whoever opens one waits until somebody writes into it."""
    studies = _studies(tmp_path, "cell.png")
    for name in ("IM0001", "channels.csv", "groups.csv", "labels/final/a.png"):
        os.mkfifo(studies / name)

    def looks() -> tuple[object, ...]:
        items = list_items(studies)
        return [item.image.name for item in items], find_passed_over(studies).sentences

    found: list[object] = []
    look = threading.Thread(
        target=lambda: found.extend((looks(), default_channel(studies / "cell.png"))), daemon=True
    )
    look.start()
    look.join(60)
    assert found == [(["cell.png"], []), ""]
