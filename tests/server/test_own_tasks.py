"""A stranger's row on a real server: in Slicer's client, in OHIF's panel, in a training."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest
from own_tasks_page import write_narrow_example
from server_support import QUICK, discs, write_dicom, write_png

CLIENT = Path("monailabel/plugins/slicer/MONAILabel/MONAILabelLib/client.py")
OWN = "follicles"


@pytest.fixture(scope="module")
def stranger(launch):
    """A server that is told of the file of docs/own_tasks.md; its network is narrower."""

    def prepare(server):
        file = write_narrow_example(server.folder)
        server.conf["tasks"] = str(file)
        del server.conf["models"]
        (server.studies / "labels" / "final").mkdir(parents=True)
        write_dicom(server.studies / "still.dcm", discs(64, 64))
        for index in range(4):
            picture = discs(64, 64)
            write_png(server.studies / f"frame_{index}.png", picture)
            write_png(server.studies / "labels/final" / f"frame_{index}.png", picture // 220)

    server = launch(prepare)
    server.wait_for_image("still")
    return server


@pytest.fixture
def client(stranger, tmp_path):
    """The client of 3D Slicer's plugin."""
    spec = importlib.util.spec_from_file_location("slicer_client", Path(sys.prefix) / CLIENT)
    library = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(library)
    return library.MONAILabelClient(stranger.url, tmpdir=str(tmp_path))


def test_slicer_s_client_gets_to_know_it(client):
    info = client.info()
    assert {"nuclei", OWN, "follicles_wide"} <= set(info["trainers"])
    assert "nuclei" in info["models"] and OWN not in info["models"], "it has no weights yet"


def test_ohif_s_panel_offers_it_for_what_it_is_for(stranger):
    about = stranger.get("/viewer/image", params={"image": "still"}).json()
    assert OWN in about["trainers"] and about["structures"][OWN] == {"follicle": 1}


def test_it_is_trained_in_a_process_of_its_own_and_then_a_model(stranger, client, run_python):
    assert stranger.post(f"/train/{OWN}", json=QUICK).ok
    ended = stranger.wait_for_training("DONE", "ERROR")
    assert ended["status"] == "DONE", ended
    file, models = stranger.conf["tasks"], ["--models", stranger.model_dir]
    words = ["-m", "monailabel_app", "--task-file", file, "models", OWN, *models]
    listed = run_python(*words, "--json", stranger.folder / "models.json")
    assert listed.returncode == 0, listed.stderr
    [version] = json.loads((stranger.folder / "models.json").read_text())[OWN]
    ended = run_python(*words, "--restore", version["id"])  # few steps: it was kept aside
    assert ended.returncode == 0, ended.stderr
    info = client.info()
    assert info["models"][OWN]["labels"] == {"follicle": 1} and "follicle" in info["labels"]
    about = stranger.get("/viewer/image", params={"image": "still"}).json()
    assert OWN in about["models"]
