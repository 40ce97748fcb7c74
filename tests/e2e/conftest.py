"""Fresh archives for each module; without Orthanc these tests are skipped with the reason.

With E2E_REQUIRED=1 they fail instead."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
from archive import store_all
from server_support import ROOT
from viewer import CHROMIUM, FLAGS, PATIENCE_MS, Viewer

from lib.phantoms.dicom_studies import DemoStudy, demo_studies
from monailabel_app.archive.orthanc import Orthanc, missing

PICTURES = Path(os.environ.get("E2E_PICTURES", ROOT / ".cache" / "e2e"))


@pytest.fixture(scope="session")
def absent() -> Callable[[str], NoReturn]:
    """What to do about a program that is missing: skip, or fail where all are required."""
    return pytest.fail if os.environ.get("E2E_REQUIRED") == "1" else pytest.skip


@pytest.fixture(scope="module")
def new_orthanc(absent, tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    """A function that starts an empty archive of its own, stopped at the end of the module."""
    if lacking := missing():
        absent(f"needs an archive: {lacking}")
    running: list[Orthanc] = []

    def start(**arguments) -> Orthanc:
        folder = tmp_path_factory.mktemp("orthanc")
        running.append(Orthanc(folder, dicom_port=0, sync=False, **arguments))
        return running[-1].start()

    yield start
    for orthanc in running:  # all at once: each takes a while to end
        if orthanc.process is not None:
            orthanc.process.terminate()
    for orthanc in running:
        orthanc.stop()


@pytest.fixture(scope="module")
def orthanc(new_orthanc) -> Orthanc:
    """The archive of the studies of `demo`, stored by STOW and C-STORE."""
    return new_orthanc()


@pytest.fixture(scope="module")
def demo(orthanc: Orthanc) -> dict[str, DemoStudy]:
    """A small study of each kind, in the archive, by kind."""
    studies = demo_studies(seed=1, scale=0.04)
    store_all(orthanc, studies)
    return {study.kind: study for study in studies}


@pytest.fixture(scope="module")
def new_profile(absent) -> Iterator[Callable[..., Any]]:
    """A function that opens a profile of a headless Chromium, with a person's login or without."""
    if CHROMIUM is None:
        absent("needs a browser: on Debian and Ubuntu run `sudo apt-get install chromium`")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=FLAGS, headless=True, timeout=PATIENCE_MS
        )

        def start(**arguments: Any) -> Any:
            profile = browser.new_context(
                **{"viewport": {"width": 1280, "height": 800}, **arguments}
            )
            profile.set_default_timeout(PATIENCE_MS)
            return profile

        yield start
        browser.close()


@pytest.fixture
def new_viewer(request: pytest.FixtureRequest) -> Iterator[Callable[[Any, str], Viewer]]:
    """A function that opens a page in a profile on a server; it fails where the page has faults."""
    failed = request.session.testsfailed
    PICTURES.mkdir(parents=True, exist_ok=True)
    opened: list[Viewer] = []

    def start(profile: Any, server: str) -> Viewer:
        opened.append(Viewer(profile.new_page(), server, PICTURES))
        return opened[-1]

    yield start
    for number, viewer in enumerate(opened):
        if request.session.testsfailed > failed:
            viewer.picture(f"failed_{request.node.name}_{number}")
            print("\n".join(viewer.log[-40:]))
        viewer.page.close()
    assert not [viewer.faults for viewer in opened if viewer.faults]
    assert not [viewer.outside for viewer in opened if viewer.outside], "all works offline"
