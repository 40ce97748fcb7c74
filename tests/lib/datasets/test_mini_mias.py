"""The mini-MIAS importer, on small files in both layouts, and on the films where they are here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mammogram_samples import stored
from PIL import Image as PillowImage

from lib.datasets.mini_mias import import_mini_mias
from lib.errors import InputError
from lib.mammography.exams import list_exams
from lib.mammography.mammogram import read_mammogram
from lib.mammography.views import View

DATA = Path(__file__).resolve().parents[4] / "shared" / "data" / "mini_mias"
INFO = """
1st column: MIAS database reference number.
2nd column: Character of background tissue: F Fatty G Fatty-glandular D Dense-glandular

mdb001 G CIRC B 535 425 197
mdb002 G CIRC B 522 280 69
mdb003 D NORM
mdb004 D NORM
mdb005 F CIRC B 477 133 30
mdb005 F CIRC B 500 168 26
mdb006 F CALC M *NOTE 3*
"""


def _film(number: int) -> PillowImage.Image:
    """An oblique view, chest wall at the right of odd numbers; on film its air is grey."""
    pixels = (stored(2 if number % 2 else 3) >> 4).astype(np.float32)
    return PillowImage.fromarray((20 + 0.9 * pixels).astype(np.uint8))


def _published(folder: Path, films: range = range(1, 7)) -> Path:
    folder.mkdir()
    (folder / "Info.txt").write_text(INFO)
    for number in films:
        _film(number).save(folder / f"mdb{number:03d}.pgm")
    return folder


def _prepared(folder: Path, side: str = "R") -> Path:
    (folder / "images").mkdir(parents=True)
    other = {"R": "L", "L": "R"}[side]
    lines = ["file,patient,side,view,density_FGD"]
    for number, tissue in ((1, "G"), (2, "G"), (3, "D"), (4, "D")):
        _film(number).save(folder / "images" / f"mdb{number:03d}.png")
        patient, shown = (number + 1) // 2, side if number % 2 else other
        lines.append(f"mdb{number:03d}.png,{patient},{shown},MLO,{tissue}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_the_published_layout_becomes_pairs_with_their_tissue(tmp_path):
    report = import_mini_mias(_published(tmp_path / "in"), tmp_path / "out")
    assert (report.figures["exams"], report.figures["patients"], report.images) == (3, 3, 6)
    assert report.figures["classes"] == {"G": 1, "D": 1, "F": 1}
    assert report.figures["incomplete"] == 0
    exams = list_exams(tmp_path / "out", labelled=True)
    assert [(exam.id, exam.density, exam.scale) for exam in exams] == [
        ("mdb001-002", "G", "mias"),
        ("mdb003-004", "D", "mias"),
        ("mdb005-006", "F", "mias"),
    ]
    assert set(exams[0].views) == {View("R", "MLO"), View("L", "MLO")}


def test_odd_films_are_right_breasts_and_keep_their_pixels(tmp_path):
    import_mini_mias(_published(tmp_path / "in"), tmp_path / "out")
    found = read_mammogram(tmp_path / "out" / "mdb003-004_R-MLO.png")
    np.testing.assert_allclose(found.pixels, np.asarray(_film(3)) / 255, atol=1e-6)


@pytest.mark.parametrize("side", ["R", "L"])
def test_the_prepared_layout_gives_the_same_sides_and_tells_where_its_table_differs(tmp_path, side):
    report = import_mini_mias(_prepared(tmp_path / "in", side), tmp_path / "out")
    assert report.figures["classes"] == {"G": 1, "D": 1}
    odd = read_mammogram(tmp_path / "out" / "mdb001-002_R-MLO.png")
    np.testing.assert_allclose(odd.pixels, np.asarray(_film(1)) / 255, atol=1e-6)
    assert bool(report.figures["notes"]) == (side == "L")


def test_a_film_without_its_pair_is_told(tmp_path):
    report = import_mini_mias(_published(tmp_path / "in", range(2, 7)), tmp_path / "out")
    assert (report.images, report.figures["incomplete"]) == (5, 1)
    assert "1 films of the table are not in the folder" in report.figures["notes"]


def test_other_folders_are_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        import_mini_mias(tmp_path / "no", tmp_path / "out")
    with pytest.raises(InputError, match="not mini-MIAS"):
        import_mini_mias(tmp_path, tmp_path / "out")
    source = _published(tmp_path / "in")
    _film(9).save(source / "mdb009.pgm")
    with pytest.raises(InputError, match="no tissue in the table, the first is mdb009"):
        import_mini_mias(source, tmp_path / "out")
    (source / "Info.txt").write_text("nothing\n")
    with pytest.raises(InputError, match="no line such as"):
        import_mini_mias(source, tmp_path / "out")


@pytest.mark.skipif(not DATA.is_dir(), reason="shared data are not here")
def test_the_real_films_are_97_pairs(tmp_path):
    from lib.datasets.mini_mias import find_films

    films, notes = find_films(DATA)
    assert len(films) == 194 and len({film.exam for film in films}) == 97
    assert len(notes) == 1  # its table has the sides the other way
