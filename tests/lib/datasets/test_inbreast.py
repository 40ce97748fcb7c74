"""The INbreast importer, on small files in the layout of the set."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mammogram_samples import stored, write_mg
from PIL import Image as PillowImage

from lib.data.groups import read_groups
from lib.datasets.inbreast import import_inbreast
from lib.errors import InputError
from lib.mammography.exams import list_exams
from lib.mammography.mammogram import read_mammogram

COLUMNS = "Patient ID;Patient age;Laterality;View;Acquisition date;File Name;ACR;Bi-Rads"
NAMES = (("R", "CC"), ("L", "CC"), ("R", "ML"), ("L", "ML"))
ONE, TWO = "6c613a14b80a8591", "0f1e2d3c4b5a6978"


def _write(folder: Path, patients: dict[str, list[tuple[str, str]]], kind: str = "dcm") -> Path:
    """Write exams: by patient a list of date and density, the latter as the table has it."""
    root = folder / "INbreast Release 1.0"
    images = root / ("AllDICOMs" if kind == "dcm" else "AllPNGs")
    images.mkdir(parents=True, exist_ok=True)
    lines, number = [COLUMNS], 20586908
    for patient, exams in patients.items():
        for date, density in exams:
            for index, (side, view) in enumerate(NAMES):
                name = f"{number}_{patient}_MG_{side}_{view}_ANON.{kind}"
                # anonymised: every image its own study, and nobody its patient
                tags = {"StudyInstanceUID": f"1.2.{number}", "PatientID": "removed"}
                if kind == "dcm":
                    write_mg(images / name, index, ViewPosition=view, ViewCodeSequence=None, **tags)
                else:
                    PillowImage.fromarray((stored(index) >> 4).astype("uint8")).save(images / name)
                shown = "MLO" if view == "ML" else view
                lines.append(f"removed;removed;{side};{shown};{date};{number};{density};1")
                number += 26
    (root / "INbreast.csv").write_text("\ufeff" + "\n".join(lines) + "\n\n", encoding="utf-8")
    return folder


@pytest.mark.parametrize("kind", ["dcm", "png"])
def test_the_published_layout_becomes_exams_with_densities(tmp_path, kind):
    source = _write(tmp_path / "in", {ONE: [("201001", " 2 ")], TWO: [("201003", "4")]}, kind)
    report = import_inbreast(source, tmp_path / "out")
    assert (report.figures["exams"], report.figures["patients"], report.images) == (2, 2, 8)
    assert report.figures["classes"] == {"B": 1, "D": 1}
    assert report.figures["incomplete"] == 0 and report.figures["unreadable"] == ()
    two, one = list_exams(tmp_path / "out", labelled=True)
    assert (one.id, one.patient, one.density) == (ONE, ONE, "B")
    assert one.missing == () and one.notes == ()
    assert two.density == "D"
    assert {row.group for row in read_groups(tmp_path / "out")} == {ONE, TWO}
    label = tmp_path / "out" / "labels" / "final" / f"{ONE}_R-MLO.json"
    assert json.loads(label.read_text())["density"] == "B"


def test_ml_in_a_name_is_the_oblique_view(tmp_path):
    import_inbreast(_write(tmp_path / "in", {ONE: [("201001", "2")]}), tmp_path / "out")
    copy = read_mammogram(tmp_path / "out" / f"{ONE}_L-MLO.dcm").pixels
    first = next((tmp_path / "in").rglob("*_MG_L_ML_ANON.dcm"))
    assert (copy == read_mammogram(first).pixels).all()


def test_two_dates_of_a_patient_are_two_exams_of_one_group(tmp_path):
    source = _write(tmp_path / "in", {ONE: [("201001", "2"), ("201102", "1")]})
    assert import_inbreast(source, tmp_path / "out").figures["classes"] == {"A": 1, "B": 1}
    exams = list_exams(tmp_path / "out")
    assert [exam.id for exam in exams] == [f"{ONE}-201001", f"{ONE}-201102"]
    assert {exam.patient for exam in exams} == {ONE}


@pytest.mark.parametrize("blank", ["", "   ", "?"])
def test_exams_without_a_density_are_imported_without_label(tmp_path, blank):
    source = _write(tmp_path / "in", {ONE: [("201001", blank)], TWO: [("201001", "3")]})
    report = import_inbreast(source, tmp_path / "out")
    assert report.figures["classes"] == {"": 1, "C": 1}
    assert [exam.id for exam in list_exams(tmp_path / "out", labelled=True)] == [TWO]
    assert any("ACR" in line for line in report.lines)


def test_images_that_disagree_give_the_commonest_density(tmp_path):
    source = _write(tmp_path / "in", {ONE: [("201001", "2")]})
    table = next(source.rglob("INbreast.csv"))
    table.write_text(table.read_text().replace(";20586908;2", ";20586908;3"))
    report = import_inbreast(source, tmp_path / "out")
    assert report.figures["classes"] == {"B": 1}
    assert any("densities B, C, B is used" in note for note in report.figures["notes"])


def test_damaged_and_missing_images_are_told(tmp_path):
    source = _write(tmp_path / "in", {ONE: [("201001", "2")], TWO: [("201001", "3")]})
    damaged = sorted(source.rglob("*.dcm"))[0]
    damaged.write_bytes(damaged.read_bytes()[:3000])
    sorted(source.rglob("*.dcm"))[-1].unlink()
    report = import_inbreast(source, tmp_path / "out")
    assert (report.images, report.figures["incomplete"]) == (6, 2)
    assert report.figures["unreadable"][0][0] == damaged.name
    assert any(
        "1 images of INbreast.csv are not in the folder" in note for note in report.figures["notes"]
    )


def test_other_folders_are_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        import_inbreast(tmp_path / "no", tmp_path / "out")
    with pytest.raises(InputError, match="not INbreast"):
        import_inbreast(tmp_path, tmp_path / "out")
    source = _write(tmp_path / "in", {ONE: [("201001", "2")]})
    next(source.rglob("INbreast.csv")).write_text("a;b\n1;2\n")
    with pytest.raises(InputError, match="expected File Name and ACR"):
        import_inbreast(source, tmp_path / "out")
