"""The importer of a folder or DICOM tree with a table of densities."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mammogram_samples import exam, stored, write_mg
from PIL import Image as PillowImage

from lib.datasets.density_folder import import_density_folder
from lib.datasets.importing import read_table
from lib.errors import InputError
from lib.mammography.exams import list_exams
from lib.mammography.views import STANDARD_VIEWS, View
from lib.phantoms.mammograms.dicom import mammogram_dataset


def _picture(path: Path, view: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PillowImage.fromarray((stored(view) >> 4).astype(np.uint8)).save(path)


def _pictures(folder: Path, exams: tuple[str, ...] = ("e1", "e2")) -> Path:
    for name in exams:
        for index, view in enumerate(STANDARD_VIEWS):
            _picture(folder / f"{name}_{view.name}.png", index)
    return folder


def _tree(folder: Path) -> Path:
    for number in (0, 1):
        for view in range(4):
            path = folder / f"patient{number}" / f"IM{view}"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_mg(path, view, number)
    return folder


def test_pictures_get_the_density_of_their_exam(tmp_path):
    source = _pictures(tmp_path / "in")
    (source / "list.csv").write_text("exam,density,patient\ne1,b,Anna\ne2,4,Anna\n")
    report = import_density_folder(source, tmp_path / "out")
    assert report.figures["classes"] == {"B": 1, "D": 1} and report.figures["patients"] == 1
    one, two = list_exams(tmp_path / "out", labelled=True)
    assert (one.density, two.density) == ("B", "D")
    assert one.patient == two.patient == "Anna"
    assert one.missing == ()


@pytest.mark.parametrize("key", ["StudyInstanceUID", "PatientID"])
def test_a_dicom_tree_gets_the_density_of_its_study_or_patient(tmp_path, key):
    source = _tree(tmp_path / "in")
    keys = [str(mammogram_dataset(exam(n).views[0], 1, n, 0)[key].value) for n in (0, 1)]
    (tmp_path / "t.csv").write_text(f"{key};Density\n{keys[0]};A\n{keys[1]};C\n")
    report = import_density_folder(source, tmp_path / "out", table=tmp_path / "t.csv")
    assert report.figures["classes"] == {"A": 1, "C": 1}
    assert (report.figures["exams"], report.images, report.figures["incomplete"]) == (2, 8, 0)
    assert sorted(e.density for e in list_exams(tmp_path / "out", labelled=True)) == ["A", "C"]


def test_a_table_tells_the_view_of_files_that_do_not(tmp_path):
    source = tmp_path / "in"
    lines = ["file,exam,side,view,birads_density"]
    for index, view in enumerate(STANDARD_VIEWS):
        _picture(source / "img" / f"{index}.png", index)
        lines.append(f"img/{index}.png,x7,{view.laterality},{view.projection},C")
    _picture(source / "img" / "spare.png")
    (source / "t.csv").write_text("\n".join(lines))
    report = import_density_folder(source, tmp_path / "out")
    (found,) = list_exams(tmp_path / "out")
    assert (found.id, found.density, found.missing) == ("x7", "C", ())
    assert any("spare.png" in note for note in report.figures["notes"])


def test_files_left_out_and_rows_that_fit_nothing_are_told(tmp_path):
    source = _pictures(tmp_path / "in", ("e1",))
    _picture(source / "e1_R-CC_MAG.png")
    (source / "t.csv").write_text("exam\tdensity\ne1\tA\nghost\tB\nempty\t\n")
    report = import_density_folder(source, tmp_path / "out")
    assert report.images == 4
    assert any("magnified" in note for note in report.figures["notes"])
    assert any("ghost" in note for note in report.figures["notes"])


def test_a_path_with_folders_and_a_progress_are_understood(tmp_path):
    source = tmp_path / "in"
    _picture(source / "a" / "R-CC.png")
    _picture(source / "b" / "R-CC.png")
    (source / "t.csv").write_text("file,density\na\\R-CC.png,A\nb/R-CC.png,D\n")
    seen = []
    import_density_folder(source, tmp_path / "out", lambda *done: seen.append(done))
    assert seen == [(1, 2), (2, 2)]
    found = {exam.id: exam for exam in list_exams(tmp_path / "out")}
    assert {name: exam.density for name, exam in found.items()} == {"a": "A", "b": "D"}
    assert list(found["a"].views) == [View("R", "CC")]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("exam,density\ne1,X\n", "line 2: density 'X'"),
        ("exam,density\nother,A\n", "none of its rows fits"),
        ("exam,weight\ne1,3\n", "tables with a column of density.*none"),
        ("density,weight\nA,3\n", "expected density and one of"),
    ],
)
def test_tables_that_do_not_fit_are_refused(tmp_path, table, message):
    source = _pictures(tmp_path / "in", ("e1",))
    (source / "t.csv").write_text(table)
    with pytest.raises(InputError, match=message):
        import_density_folder(source, tmp_path / "out")


def test_folders_without_mammograms_are_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        import_density_folder(tmp_path / "no", tmp_path / "out")
    (tmp_path / "t.csv").write_text("exam,density\ne1,A\n")
    with pytest.raises(InputError, match="no mammograms with a known view"):
        import_density_folder(tmp_path, tmp_path / "out")


def test_tables_are_read_with_any_delimiter_mark_and_encoding(tmp_path):
    path = tmp_path / "t.csv"
    for content in ("Exam;ACR\n é1 ; 2 \n;\n".encode(), "Exam,ACR\né1,2\n".encode("latin-1")):
        path.write_bytes(content)
        assert read_table(path) == [{"exam": "é1", "acr": "2"}]
    path.write_bytes(b"\xef\xbb\xbfExam\tACR\nx\t2\n")
    assert read_table(path) == [{"exam": "x", "acr": "2"}]
    for content in (b"", b"one\n1\n", b"\x89PNG\0,\0\n1,2\n"):
        path.write_bytes(content)
        with pytest.raises(InputError, match="no table"):
            read_table(path)
