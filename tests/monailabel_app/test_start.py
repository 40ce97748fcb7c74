"""Folders that cannot be used are refused at the start, by name."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from lib import leftovers
from lib.errors import InputError
from monailabel_app.start import check_folder, check_models, check_studies


@pytest.fixture
def read_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """No file can be made anywhere; a mode would not hold back an administrator."""

    def refuse(folder: Path, prefix: str, suffix: str) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(folder))

    monkeypatch.setattr(leftovers, "new_file", refuse)


def test_a_missing_folder_is_made(tmp_path):
    check_studies(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    assert check_models(tmp_path / "models")
    assert not list((tmp_path / "models").iterdir())


@pytest.mark.parametrize("check", [check_studies, check_models])
def test_a_file_is_no_folder(check, tmp_path):
    (tmp_path / "a").touch()
    (tmp_path / "link").symlink_to(tmp_path / "none")
    for name in ("a", "link"):
        with pytest.raises(InputError, match="is a file, or a link to nothing"):
            check(tmp_path / name)
    with pytest.raises(InputError, match=r"cannot be made \(Not a directory\)"):
        check(tmp_path / "a" / "b")


def test_studies_that_cannot_be_written_to_are_refused(tmp_path, read_only):
    with pytest.raises(InputError, match=r"cannot be written to \(Read-only file system\)"):
        check_studies(tmp_path)


def test_weights_that_cannot_be_replaced_are_served(tmp_path, read_only, caplog):
    assert not check_models(tmp_path)
    assert "its weights are served" in caplog.text
    with pytest.raises(InputError, match="cannot be written to"):
        check_models(tmp_path / "new")


@pytest.mark.parametrize("name", ["labels", "labels/final"])
def test_labels_that_lie_elsewhere_are_refused(name, tmp_path):
    studies, elsewhere = tmp_path / "studies", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (studies / name).parent.mkdir(parents=True)
    (studies / name).symlink_to(elsewhere)
    with pytest.raises(InputError, match=f"'{name}' of studies folder .* leads out of it"):
        check_studies(studies)
    assert not list(elsewhere.iterdir())


def test_a_folder_that_is_checked_stays_as_it_was(tmp_path):
    check_folder("cache", tmp_path)
    assert not list(tmp_path.iterdir())
