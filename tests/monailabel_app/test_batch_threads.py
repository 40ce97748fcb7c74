"""`batch-infer` works on several images at once, and answers as if on one after the other."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest

from lib import threads
from lib.segmentation.predictor import Predictor
from lib.threads import BESIDE, MOST_BESIDE, do_beside, images_beside
from monailabel_app import batch as batches
from monailabel_app.batch import Batch, answer_share

TASK = "nuclei_vhllrhe"


def test_three_items_are_worked_on_at_once_and_begin_in_order():
    together, begun = threading.Barrier(3, timeout=20), []

    def work(item: str) -> None:
        begun.append(item)
        together.wait()  # goes on only if three are here at once

    do_beside(work, (str(number) for number in range(6)), 3)
    assert sorted(begun) == [str(number) for number in range(6)]
    assert set(begun[:3]) == {"0", "1", "2"}


def test_items_are_asked_for_only_so_far_ahead():
    done: list[str] = []

    def items():
        for number in range(9):
            assert number - len(done) < 3
            yield str(number)

    do_beside(done.append, items(), 3)
    assert len(done) == 9


def test_an_error_ends_the_work():
    begun = []

    def work(item: str) -> None:
        begun.append(item)
        if item == "2":
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        do_beside(work, (str(number) for number in range(99)), 3)
    assert len(begun) < 9


def test_answers_are_those_of_one_after_the_other(studies, weights, tmp_path, monkeypatch):
    models = tmp_path / "models"
    models.mkdir()
    shutil.copyfile(weights, models / f"{TASK}.pt")
    found = []
    for beside in (1, 3, 8):
        monkeypatch.setattr(batches, "images_beside", lambda gpu, beside=beside: beside)
        folder = tmp_path / str(beside)
        folder.mkdir()
        for image in Path(studies).glob("*.png"):
            shutil.copy(image, folder)
        (folder / "bad.png").write_text("not a picture")
        answers = answer_share(
            Batch(task=TASK, folder=folder, models=models, device="cpu", precision="fp32")
        )
        labels = {file.name: file.read_bytes() for file in (folder / "labels").rglob("*.png")}
        rows = [(row["image"], row["label"]) for row in answers.written]
        found.append((rows, list(answers.failed), labels))
    assert found[0] == found[1] == found[2]
    assert [name for name, _ in found[1][0]] == [f"nucleus_{number}" for number in range(8)]
    assert found[1][1] == ["bad"] and len(found[1][2]) == 8


@pytest.mark.parametrize(("cores", "beside"), [(1, BESIDE), (5, 5), (64, MOST_BESIDE)])
def test_a_gpu_is_given_images_by_as_many_threads_as_there_are_cores(monkeypatch, cores, beside):
    monkeypatch.setattr(threads.os, "sched_getaffinity", lambda _: set(range(cores)))
    assert images_beside(gpu=True) == beside
    assert images_beside(gpu=False) == BESIDE


@pytest.fixture
def batch(studies, weights, tmp_path) -> Batch:
    """A batch on eight images."""
    models = tmp_path / "models"
    models.mkdir()
    shutil.copyfile(weights, models / f"{TASK}.pt")
    shutil.copytree(studies, tmp_path / "batch", ignore=shutil.ignore_patterns("labels"))
    return Batch(
        task=TASK, folder=tmp_path / "batch", models=models, device="cpu", precision="fp32"
    )


def _failing_on(monkeypatch, images, error):
    """Let the network fail on some images."""
    plain, lock = Predictor.finished, threading.Lock()

    def finished(self, image, probabilities, instances):
        with lock:
            if image.path.stem in images:
                raise error
        return plain(self, image, probabilities, instances)

    monkeypatch.setattr(Predictor, "finished", finished)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RuntimeError("CUDA out of memory.\nTried 2 GiB"), "RuntimeError: CUDA out of memory."),
        (MemoryError(), "MemoryError: "),
        (ValueError("operands"), "ValueError: operands"),
    ],
)
def test_what_fails_on_one_image_is_named_and_the_others_are_answered(
    batch, monkeypatch, error, reason, capsys
):
    _failing_on(monkeypatch, ("nucleus_2", "nucleus_5"), error)
    answers = answer_share(batch)
    assert list(answers.failed) == ["nucleus_2", "nucleus_5"]
    assert all(told.startswith(reason) for told in answers.failed.values())
    assert len(answers.written) == 6
    assert "Error: nucleus_2: " in capsys.readouterr().err


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_full_disk_or_a_user_ends_it_and_nothing_is_left_half_done(batch, monkeypatch, error):
    _failing_on(monkeypatch, ("nucleus_1",), error)
    before = set(threading.enumerate())
    with pytest.raises(type(error)):
        answer_share(batch)
    assert set(threading.enumerate()) <= before, "no thread works on"
    written = {file.stem for file in batch.folder.glob("labels/original/*.png")}
    assert "nucleus_1" not in written and len(written) < 7
    monkeypatch.undo()
    answers = answer_share(batch)  # goes on
    assert answers.skipped == len(written)
    assert len(answers.written) == 8 - len(written)
