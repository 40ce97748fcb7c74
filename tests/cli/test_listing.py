"""`list` and `models`: what there is, without loading torch."""

from __future__ import annotations

import json

from lib.tasks.registry import TASKS
from lib.weights.store import ModelStore
from lib.weights.versions import TrainedOn

TASK = "nuclei_vhllrhe"
LIST = """
import sys
from monailabel_app.cli import main
try:
    main(["list"])
except SystemExit as end:
    assert not end.code
print(sorted({"torch", "monai", "monailabel", "numpy", "ignite"} & set(sys.modules)))
"""


def test_list_answers_without_importing_torch(run_python):
    ended = run_python("-c", LIST)
    assert ended.returncode == 0, ended.stderr
    lines = ended.stdout.splitlines()
    assert lines[-1] == "[]"
    assert [line.split()[0] for line in lines[1:-1]] == list(TASKS)


def test_list_tells_which_tasks_have_weights(cli, models, tmp_path):
    (models / f"{TASK}.pt").touch()
    ended = cli("list", "--models", models, "--json", tmp_path / "list.json")
    assert ended.status == 0
    rows = json.loads((tmp_path / "list.json").read_text())
    assert set(rows) == set(TASKS)
    assert rows[TASK]["weights"] == "trained"
    assert rows["nuclei_huv"] == {
        "kind": "segmentation",
        "weights": "none",
        "description": TASKS["nuclei_huv"].description,
    }


def _two_versions(models, tmp_path, one: bytes = b"one") -> list[str]:
    store = ModelStore(models, tmp_path / "nothing_shipped")
    ids = []
    for content, score in ((one, 0.5), (b"two", 0.75)):
        (tmp_path / "candidate.pt").write_bytes(content)
        data = TrainedOn({"data": "0123456789abcdef", "training_cases": 7}, {"image": "print"})
        decision = store.submit(
            *(TASK, tmp_path / "candidate.pt", {"mean_iou": score}, "mean_iou"),
            *(ids and 0.5 or None, data),
        )
        ids.append(decision.version)
    return ids


def test_models_lists_versions_and_marks_the_live_one(cli, models, tmp_path):
    first, second = _two_versions(models, tmp_path)
    ended = cli("models", TASK, "--models", models, "--json", tmp_path / "models.json")
    assert ended.status == 0
    lines = {line[2:].split()[1]: line for line in ended.out.splitlines() if TASK in line}
    assert lines[first].startswith("  ")
    assert lines[second].startswith("* ")
    assert "mean_iou 0.7500" in lines[second]
    assert "7 cases (0123456789abcdef)" in lines[second]
    rows = json.loads((tmp_path / "models.json").read_text())[TASK]
    assert {row["id"]: row["live"] for row in rows} == {first: False, second: True}
    assert rows[1]["training"] == {"data": "0123456789abcdef", "training_cases": 7}


def test_models_puts_a_version_back(cli, models, tmp_path, weights):
    first, _ = _two_versions(models, tmp_path, weights.read_bytes())
    ended = cli("models", TASK, "--models", models, "--restore", first)
    assert ended.status == 0
    assert f"{TASK}: version {first} is served" in ended.out
    assert (models / f"{TASK}.pt").read_bytes() == weights.read_bytes()


def test_models_without_weights_says_so(cli, models):
    ended = cli("models", TASK, "--models", models)
    assert (ended.status, ended.out) == (0, f"{TASK}: no weights yet; train it first\n")


def test_wrong_versions_and_tasks_are_refused(cli, models, tmp_path):
    first, _ = _two_versions(models, tmp_path)
    near = first[:-1] + ("0" if first[-1] != "0" else "1")
    cli("models", TASK, "--models", models, "--restore", near).assert_refused(
        "unknown version", f"did you mean '{first}'"
    )
    cli("models", "--models", models, "--restore", first).assert_refused("--restore needs a task")
    cli("models", "nuclei_vhlrhe").assert_refused("unknown task", "did you mean 'nuclei_v")


def test_an_unknown_verb_is_refused_with_the_nearest_one(cli):
    cli("trian").assert_refused("unknown command 'trian': did you mean 'train'?")


def test_wrong_options_are_refused_in_one_line(cli):
    cli("list", "--jsn", "x").assert_refused("No such option", "--json")
    cli("demo-data").assert_refused("Missing argument 'FOLDER'")
    cli("import", "dsb2019", "a", "b").assert_refused("dsb2019", "dsb2018")


def test_help_names_every_verb_and_each_verb_has_its_own(cli):
    from monailabel_app.cli import VERBS

    ended = cli("--help")
    assert ended.status == 0
    for verb in VERBS:
        assert verb in ended.out
        own = cli(verb, "--help")
        assert own.status == 0
        assert own.out.startswith(f"Usage: python -m monailabel_app {verb}")


def test_without_words_the_help_is_shown(cli):
    ended = cli()
    assert ended.status == 2
    assert "Usage: python -m monailabel_app" in ended.out + ended.err


def test_a_json_file_in_a_missing_folder_is_refused_before_the_work(cli, tmp_path):
    target = tmp_path / "absent" / "list.json"
    cli("demo-data", tmp_path / "x", "--json", target).assert_refused("No such option")
    ended = cli("list", "--json", target)
    ended.assert_refused("folder '", "absent' for --json does not exist; make it first")
    assert ended.out == ""


def test_models_that_were_all_kept_aside_are_not_said_to_be_served(cli, models, tmp_path):
    file = tmp_path / "aside.pt"
    file.write_bytes(b"aside")
    ModelStore(models, models).add(TASK, file, {"mean_iou": 0.1}, published=False, reason="worse")
    ended = cli("models", TASK, "--models", models)
    assert "kept aside" in ended.out and "none of them is served" in ended.out
    assert "* is served now" not in ended.out
