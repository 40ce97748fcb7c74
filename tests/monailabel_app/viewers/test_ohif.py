"""OHIF as it is served: its own files, those in folders too, and this app's scripts after them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from monailabel.endpoints import ohif as upstream

from lib.errors import InputError, NotFoundError
from monailabel_app.viewers import ohif
from monailabel_app.viewers.ohif_patches import PATCHES, patched


def test_files_in_folders_are_served_and_upstream_still_does_not():
    assert Path(ohif.serve("assets/favicon.ico").path).name == "favicon.ico"
    assert Path(upstream.get_ohif("assets/favicon.ico").path).name == "index.html"


@pytest.mark.parametrize("path", ["", "monai-label", "viewer", "../../../config.py", "assets"])
def test_pages_of_ohif_and_paths_that_lead_out_get_the_start_page(path):
    response = ohif.serve(path)
    assert response.media_type == "text/html" and b"<title>OHIF Viewer" in response.body
    assert response.headers["cache-control"] == "no-cache"


def test_a_file_that_is_not_there_is_said_to_be_missing():
    with pytest.raises(NotFoundError, match=r"OHIF has no file 'gone\.js'"):
        ohif.serve("gone.js")


def test_every_script_is_appended_once_to_the_configuration_of_the_wheel():
    text = ohif.serve("app-config.js").body.decode()
    assert text.startswith((ohif.root() / "app-config.js").read_text())
    scripts = Path(ohif.__file__).with_name("ohif").glob("*.js")
    assert {script.stem for script in scripts} == set(ohif.SCRIPTS)
    assert text.count("window.config.modes.push") == 1


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node to parse JavaScript")
def test_the_configuration_is_javascript(tmp_path):
    file = tmp_path / "app-config.js"
    file.write_text(ohif.config())
    checked = subprocess.run(["node", "--check", file], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("name", sorted({patch.file for patch in PATCHES}))
def test_a_script_is_served_with_its_patches_and_never_without(name):
    shipped = (ohif.root() / name).read_text("utf-8")
    response = ohif.serve(name)
    text = response.body.decode()
    for patch in PATCHES:
        if patch.file == name:
            assert shipped.count(patch.original) == 1 == text.count(patch.replacement)
            text = text.replace(patch.replacement, patch.original)
    assert text == shipped, "nothing else is changed"
    assert response.headers["cache-control"] == "no-cache"
    types = {".js": "text/javascript", ".css": "text/css", ".html": "text/html"}
    assert response.media_type == types[Path(name).suffix]


def test_a_script_that_the_patches_are_not_for_is_refused(tmp_path):
    other = tmp_path / PATCHES[0].file
    other.write_text("another build")
    with pytest.raises(InputError, match="occurs 0 times, expected once"):
        patched(other)
    (tmp_path / "other.js").write_text("another script")
    assert patched(tmp_path / "other.js") is None


def test_scripts_named_by_their_content_are_kept_by_browsers_and_no_others():
    for script in ohif.root().glob("*.bundle.*[0-9a-f].js"):
        kept = "immutable" in ohif.serve(script.name).headers.get("cache-control", "")
        assert kept == (script.name not in {patch.file for patch in PATCHES})
    for path in ("", "app-config.js", "app.bundle.css"):
        assert "immutable" not in ohif.serve(path).headers.get("cache-control", "")


def test_the_list_offers_to_store_files_in_an_archive_alone():
    off = "dicomUploadEnabled = false"
    assert off in ohif.serve("app-config.js", uploads=False).body.decode()
    assert off not in ohif.serve("app-config.js").body.decode()
