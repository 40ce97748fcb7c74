"""The verbs of an archive: who may use the server, and what is missing for a demo."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from monailabel_app.archive import orthanc
from monailabel_app.cli import main
from monailabel_app.web.users import Users


def test_user_adds_changes_and_removes_with_a_token_that_works(tmp_path, capsys):
    file = tmp_path / "users.json"
    main(["user", "anna", "--file", str(file), "--password", "long enough", "--token"])
    told = capsys.readouterr().out.splitlines()
    assert told[0] == f"anna is annotator in {file}"
    assert Users.read(file).by_token(told[1]) == "anna"
    main(["user", "anna", "--file", str(file), "--password", "another one", "--role", "admin"])
    users = Users.read(file)
    assert "monailabel-admin" in users.roles("anna")
    assert users.by_password("anna", "another one") == "anna"
    assert users.by_token(told[1]) is None  # it ended with the password
    main(["user", "anna", "--file", str(file), "--remove"])
    assert Users.read(file).rows == {}


def test_user_lists_and_revokes_tokens_and_changes_a_role_without_a_password(tmp_path, capsys):
    file = tmp_path / "users.json"
    start = ["user", "anna", "--file", str(file)]
    main([*start, "--password", "long enough", "--token", "--days", "30"])
    first = capsys.readouterr().out.splitlines()[1]
    main([*start, "--role", "reviewer", "--token"])
    second = capsys.readouterr().out.splitlines()[1]
    main(["user", "--file", str(file), "--list"])
    listed = capsys.readouterr().out.splitlines()
    ends = datetime.now(timezone.utc) + timedelta(days=30)
    assert listed[0] == "anna  reviewer" and len(listed) == 3
    assert f"ends {ends:%Y-%m-%d}" in listed[1] and first not in "".join(listed)
    main([*start, "--revoke", listed[1].split()[1]])
    users = Users.read(file)
    assert users.by_token(first) is None and users.by_token(second) == "anna"
    assert file.stat().st_mode & 0o777 == 0o600
    with pytest.raises(SystemExit, match="2"):
        main(["user", "--file", str(file)])
    assert "give a NAME, or --list" in capsys.readouterr().err


def test_a_wrong_user_ends_with_one_line(tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["user", "anna", "--file", str(tmp_path / "u.json"), "--password", "short"])
    assert capsys.readouterr().err == "Error: a password needs at least 8 characters\n"
    assert not (tmp_path / "u.json").exists()


def test_serve_dicom_says_what_to_install_where_orthanc_is_missing(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(orthanc, "_PROGRAMS", ("no-such-program",))
    with pytest.raises(SystemExit, match="2"):
        main(["serve-dicom", str(tmp_path / "archive")])
    assert "apt-get install orthanc orthanc-dicomweb" in capsys.readouterr().err
    assert not (tmp_path / "archive").exists()
