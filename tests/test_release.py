"""The places that state the version agree, so that a commit can be tagged."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from monailabel_app import __version__

REPOSITORY = Path(__file__).resolve().parents[1]


def test_the_version_is_the_same_everywhere():
    stated = re.findall(r"^## \[(.+?)\] - (.+)$", (REPOSITORY / "CHANGELOG.md").read_text(), re.M)
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())
    assert re.fullmatch(r"\d+\.\d+\.\d+", __version__)
    assert stated[0][0] == str(citation["version"]) == __version__


def test_the_changelog_dates_what_was_released():
    stated = re.findall(r"^## (.+)$", (REPOSITORY / "CHANGELOG.md").read_text(), re.M)
    newest, *released = stated
    dated = r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d"
    assert re.fullmatch(rf"{dated}|\[\d+\.\d+\.\d+\] - unreleased", newest)
    assert all(re.fullmatch(dated, heading) for heading in released)


def test_pages_that_name_a_file_of_a_version_name_this_one():
    for page in (REPOSITORY / "docs").glob("*.md"):
        for version in re.findall(r"(?:unetvnet-|unet-vnet:)(\d+\.\d+\.\d+)", page.read_text()):
            assert version == __version__, page.name
