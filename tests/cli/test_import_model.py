"""`import-model` from the command line: a bundle of MONAI's becomes a task that works."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from lib.phantoms.nuclei import write_nuclei_studies
from lib.tasks import outside
from lib.tasks.registry import TASKS
from monailabel_app.config import AppConfig

pytestmark = pytest.mark.usefixtures("own_tasks")
_FILE = Path(__file__).parents[1] / "lib" / "exchange" / "test_foreign_models.py"


def write_monai_bundle(folder: Path, dims: int) -> Path:
    """Write the bundle that the tests of the library have."""
    spec = importlib.util.spec_from_file_location("foreign_models", _FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["foreign_models"] = module
    spec.loader.exec_module(module)
    return Path(module.write_monai_bundle(folder, dims))


@pytest.fixture(autouse=True)
def none_shipped(tmp_path, monkeypatch):
    monkeypatch.setattr("monailabel_app.config.SHIPPED_MODELS", tmp_path / "none")


def test_an_imported_bundle_is_listed_answers_is_trained_and_served(cli, models, tmp_path):
    folder, tasks = write_monai_bundle(tmp_path / "bundle", 2), tmp_path / "tasks.yaml"
    words = ("--tasks", tasks, "--models", models)
    ended = cli("import-model", folder, "spleen", *words, "--labels", "nucleus=1")
    assert ended.status == 0 and "nucleus = 1" in ended.out and "infer spleen" in ended.out
    given = ("--task-file", tasks, "--models", models)
    ended = cli("list", *given)
    assert any(line.startswith("spleen") and "trained" in line for line in ended.out.splitlines())
    ended = cli("models", "spleen", *given)
    assert "* spleen" in ended.out and "imported from bundle" in ended.out
    studies = tmp_path / "studies"
    write_nuclei_studies(studies, 4, 4, 0)
    images = sorted(studies.glob("*.png"))[:2]
    ended = cli("infer", "spleen", *images, *given, "--out", tmp_path / "out", "--device", "cpu")
    assert ended.status == 0 and "2 of 2 images" in ended.out, ended.err
    ended = cli(
        *("train", "spleen", *given, "--studies", studies, "--out", tmp_path / "run"),
        *("--init-from", models / "spleen.pt", "--device", "cpu", "--steps", "2"),
        *("--val-interval", "2", "--batch-size", "2", "--patch-size", "32"),
    )
    assert ended.status == 0 and (tmp_path / "run" / "best.pt").is_file(), ended.err
    ended = cli("score", "spleen", *given, "--studies", studies, "--device", "cpu")
    assert ended.status == 0, ended.err
    assert "spleen" in AppConfig.from_conf({"tasks": str(tasks)}).models
    cli("import-model", folder, "spleen", *words).assert_refused("already")


def test_an_imported_bundle_is_exported_again(cli, models, tmp_path):
    folder, tasks = write_monai_bundle(tmp_path / "bundle", 2), tmp_path / "tasks.yaml"
    words = ("--tasks", tasks, "--models", models)
    assert cli("import-model", folder, "spleen", *words).status == 0
    out = tmp_path / "again"
    given = ("--task-file", tasks, "--models", models)
    ended = cli("export-model", "spleen", *given, "--format", "bundle", "--out", out)
    assert ended.status == 0, ended.err
    ended = cli("import-model", out, "spleen_2", *words, "--task-file", tasks)
    assert ended.status == 0 and "spleen_2" in tasks.read_text(), ended.err


def test_wrong_words_are_refused(cli, models, tmp_path):
    words = ("--models", models, "--tasks", tmp_path / "tasks.yaml")
    cli("import-model", tmp_path / "none", "own", *words).assert_refused("does not exist")
    cli("import-model", tmp_path, "nuclei", *words).assert_refused("'nuclei' already")
    cli("import-model", tmp_path, "own", "--tasks", tmp_path / "a.py").assert_refused(".yaml")
    cli("import-model", tmp_path, "own", *words, "--labels", "a").assert_refused("--labels")
    cli("import-model", tmp_path, "own", *words, "--network", "{").assert_refused("not JSON")
    assert outside.names() == () and "own" not in TASKS
