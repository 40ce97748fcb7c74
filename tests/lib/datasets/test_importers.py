"""The table of importers: rows are alike, and one row is all that a new data set needs."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path
from pkgutil import resolve_name

import pytest
from click.testing import CliRunner, Result

from lib.data.studies import list_items
from lib.data.write_item import write_item
from lib.datasets.importers import IMPORTERS, Importer, ImportOption
from lib.datasets.importing import ImportReport, OnItem, check_folder, counted
from lib.errors import InputError
from lib.phantoms.nuclei import write_nuclei_studies


def import_letters(
    source: Path, studies: Path, on_item: OnItem | None = None, *, copies: int = 1
) -> ImportReport:
    """Import a data set that no other file knows: PNG files, each `copies` times."""
    check_folder(source)
    files = [file for file in sorted(source.glob("*.png")) for _ in range(copies)]
    for number, file in enumerate(counted(files, on_item)):
        write_item(studies, f"letter_{number}", file)
    return ImportReport(images=len(files), lines=(f"{len(files)} letters imported",))


@pytest.fixture
def letters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Add a data set by one row; the command line reads the table when it loads the verb."""
    row = Importer(
        title="letters",
        layout="LETTER.png",
        function=f"{__name__}:import_letters",
        options=(ImportOption(name="copies", help="of each file.", values=("N",), type=int),),
    )
    monkeypatch.setitem(IMPORTERS, "letters", row)
    monkeypatch.delitem(sys.modules, "monailabel_app.cli.data", raising=False)


def _run(*words: object) -> Result:
    from monailabel_app.cli import cli

    return CliRunner().invoke(cli, [str(word) for word in ("import", *words)])


@pytest.mark.parametrize("name", IMPORTERS)
def test_every_importer_has_the_same_signature(name):
    row = IMPORTERS[name]
    signature = inspect.signature(resolve_name(row.function), eval_str=True)
    source, studies, on_item, *rest = signature.parameters.values()
    assert (source.name, studies.name, on_item.name) == ("source", "studies", "on_item")
    assert (source.annotation, studies.annotation) == (Path, Path)
    assert on_item.annotation == OnItem | None and on_item.default is None
    assert signature.return_annotation is ImportReport
    assert all(parameter.kind is parameter.KEYWORD_ONLY for parameter in rest)
    required = {option.name: option.required for option in row.options}
    assert {one.name: one.default is one.empty for one in rest} == required


@pytest.mark.parametrize("name", IMPORTERS)
def test_every_importer_is_offered_with_its_layout_and_refuses_a_folder_that_is_not_there(
    name, tmp_path
):
    shown = " ".join(_run("--help").output.split())
    assert f"{name}: {IMPORTERS[name].title}: {IMPORTERS[name].layout}." in shown
    spacing = {"spacing": (1.0, 1.0, 1.0)} if name == "stack" else {}
    with pytest.raises(InputError, match="does not exist; give"):
        IMPORTERS[name].run(tmp_path / "absent", tmp_path / "studies", **spacing)


def test_a_new_data_set_needs_one_row(letters, tmp_path):
    write_nuclei_studies(tmp_path / "in", 2, 0)
    shown = " ".join(_run("--help").output.split())
    assert "letters: letters: LETTER.png." in shown
    assert "--copies N letters: of each file." in shown
    ended = _run("letters", tmp_path / "in", tmp_path / "out", "--copies", 2)
    assert ended.output == "4 letters imported\n"
    assert len(list_items(tmp_path / "out")) == 4
    ended = _run("busi", tmp_path / "in", tmp_path / "out", "--copies", 2)
    assert "--copies is for `import letters`, not for busi; leave it out" in ended.output


def test_loading_the_table_loads_no_importer():
    code = "import lib.datasets.importers, sys; print('numpy' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.stdout == "False\n"
