"""usgra-seg is imported with its structures, and frames that look alike are grouped."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image as PillowImage

from lib.data.groups import read_groups
from lib.data.labels import read_item_label
from lib.data.studies import list_items
from lib.datasets.duplicates import read_signature, similar_pairs
from lib.datasets.usgra_nerve import import_usgra_nerve
from lib.errors import InputError
from lib.io.labels import read_label
from lib.io.read import read_image
from lib.phantoms.ultrasound.studies import nerve_frame
from lib.tasks.registry import get_task


@pytest.fixture
def source(tmp_path):
    root = tmp_path / "usgra"
    frames = [nerve_frame(seed, (96, 128)) for seed in (1, 2)]
    moved = np.roll(frames[0].image, 2, axis=1)
    for name, image in zip("abc", (frames[0].image, frames[1].image, moved), strict=True):
        label = frames[0].label.copy()
        label[:4, :4] = 2 * (name == "b")
        for folder, pixels in (("images", image), ("labels", label)):
            (root / folder).mkdir(parents=True, exist_ok=True)
            PillowImage.fromarray(pixels).save(root / folder / f"train_{name}.png")
    return root


def test_structures_and_groups(source, tmp_path):
    report = import_usgra_nerve(source, tmp_path / "studies")
    assert report.figures == {"frames_with": {"nerve": 3, "vessel": 1}, "groups": 2}
    groups = {row.id: row.group for row in read_groups(tmp_path / "studies")}
    assert groups["train_a"] == groups["train_c"] != groups["train_b"]
    items = {item.id: item for item in list_items(tmp_path / "studies", labelled=True)}
    label = read_label(items["train_b"].label, read_image(items["train_b"].image))
    assert set(np.unique(label)) == {0, 1, 2}


def test_a_task_of_one_structure_takes_its_own_alone(source, tmp_path):
    import_usgra_nerve(source, tmp_path / "studies")
    item = {item.id: item for item in list_items(tmp_path / "studies", labelled=True)}["train_b"]
    image = read_image(item.image)
    both = read_item_label(item, image, get_task("nerve"))
    nerve = read_item_label(item, image, get_task("nerve_vhllrhe"))
    assert set(np.unique(both)) == {0, 1, 2}
    assert np.array_equal(nerve, np.where(both == 1, 1, 0))


def test_a_dark_margin_does_not_make_frames_alike(tmp_path):
    files = []
    for seed in (3, 4):
        framed = np.zeros((200, 200), np.uint8)
        framed[20:110, 5:195] = nerve_frame(seed, (90, 190)).image
        files.append(tmp_path / f"{seed}.png")
        PillowImage.fromarray(framed).save(files[-1])
    as_it_is, cropped = (
        similar_pairs([read_signature(file, cropped=cut) for file in files], threshold=-1)
        for cut in (False, True)
    )
    assert cropped[0].correlation < as_it_is[0].correlation - 0.1
    assert np.isfinite(read_signature(_black(tmp_path), cropped=True)).all()


def _black(folder):
    PillowImage.fromarray(np.zeros((40, 40), np.uint8)).save(folder / "black.png")
    return folder / "black.png"


def test_other_folders_and_labels_are_refused(source, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="is not usgra-seg"):
        import_usgra_nerve(tmp_path / "empty", tmp_path / "studies")
    PillowImage.fromarray(np.full((96, 128), 7, np.uint8)).save(source / "labels" / "train_a.png")
    with pytest.raises(InputError, match=r"train_a.png: values \[7\], expected 0 background"):
        import_usgra_nerve(source, tmp_path / "studies")
