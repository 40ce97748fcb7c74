"""Rows of YAML files, Python files and packages; messages that name file, task and field."""

from __future__ import annotations

import os
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from lib.errors import InputError
from lib.segmentation.losses import LOSSES
from lib.tasks import outside
from lib.tasks.changes import changed
from lib.tasks.registry import TASKS, get_task
from lib.tasks.yaml_rows import read_rows

ROW = """
tasks:
  - name: follicles
    extends: nerve_vhllrhe
    description: Follicles
"""


pytestmark = pytest.mark.usefixtures("own_tasks")


def _file(folder: Path, text: str, name: str = "my_tasks.yaml") -> Path:
    file = folder / name
    file.write_text(text)
    return file


def _rows(folder: Path, fields: str) -> list:
    return read_rows(_file(folder, f"{ROW}    {fields}\n"), TASKS)


def test_a_row_differs_from_what_it_extends_in_the_fields_that_it_states(tmp_path):
    [row] = _rows(
        tmp_path,
        "labels: {follicle: 3}\n"
        "    dimensions: [2d]\n"
        "    network: {channels: [4, 8], convolutions: [1, 2]}\n"
        "    training: {learning_rate: 1e-3, patch_size: 64}",
    )
    base = get_task("nerve_vhllrhe")
    assert (row.name, row.description, dict(row.labels)) == (
        "follicles",
        "Follicles",
        {"follicle": 3},
    )
    assert (row.network.channels, row.network.convolutions) == ((4, 8), (1, 2))
    assert (row.training.learning_rate, row.training.patch_size) == (1e-3, 64)
    assert row.dimensions == ("2d",)
    assert row.network.kernel_size == base.network.kernel_size == 5
    assert (row.target, row.augment, row.modalities) == (base.target, base.augment, base.modalities)
    assert row.training.weight_decay == base.training.weight_decay


def test_a_row_has_no_weights_to_pass_on(tmp_path):
    text = ROW.replace("nerve_vhllrhe", "nuclei")
    [row] = read_rows(_file(tmp_path, text), TASKS)
    assert get_task("nuclei").weights_licence and not row.weights_licence


def test_a_row_may_extend_one_above_it(tmp_path):
    text = f"{ROW}    labels: {{follicle: 1}}\n" + ROW.replace("\ntasks:\n", "").replace(
        "name: follicles", "name: wide"
    ).replace("nerve_vhllrhe", "follicles")
    rows = read_rows(_file(tmp_path, text), TASKS)
    assert [row.name for row in rows] == ["follicles", "wide"]
    assert dict(rows[1].labels) == {"follicle": 1}


def test_parts_that_the_other_row_lacks_are_made_of_what_is_stated(tmp_path):
    [row] = _rows(
        tmp_path,
        "kind: interactive\n    network: {guidance_channels: 2}\n    clicks: {radius: 5.0}",
    )
    assert row.clicks is not None and (row.clicks.radius, row.clicks.corrections) == (5.0, 3)
    text = ROW.replace("nerve_vhllrhe", "density_dense") + (
        "    labels: {low: 1, high: 2}\n"
        "    exam: {classes: [{name: low, birads: [A]}, {name: high, birads: [D]}]}\n"
    )
    [row] = read_rows(_file(tmp_path, text), TASKS)
    assert row.exam is not None and row.exam.names == ("low", "high")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("netwerk: {}", "unknown field of a task 'netwerk': did you mean 'network'"),
        ("network: {chanels: [1]}", "unknown field of network 'chanels': did you mean 'channels'"),
        ("network: 3", "network: expected fields and values, found 3"),
        ("network: {channels: 8}", "network.channels: expected a list of whole numbers, found 8"),
        ("network: {topology: wnet}", "network.topology: expected one of unet, vnet, found wnet"),
        ("network: {kernel_size: 4}", "network: kernel_size must be odd"),
        ("training: {steps: '12'}", "training.steps: expected a whole number, found 12"),
        ("training: {steps: true}", "training.steps: expected a whole number, found True"),
        ("training: {learning_rate: .nan}", "learning_rate: expected a number, found nan"),
        ("training: {patch_size: x}", "a whole number or a list of whole numbers, found x"),
        ("augment: {zoom: [1.0]}", "augment.zoom: expected a list of 2 numbers, found"),
        ("augment: {flips: 1}", "augment.flips: expected true or false, found 1"),
        ("strict: 2026-01-01", "strict: expected true or false, found 2026-01-01"),
        ("dimensions: [4d]", "dimensions: expected a list of values, each one of 2d, loop, 3d"),
        ("labels: {a: 0}", "labels: expected names, each with a number of its own from 1 on"),
        ("labels: {a: 1, b: 1}", "labels: expected names, each with a number of its own"),
        ("labels: [a]", "labels: expected names, each with a whole number, found"),
        ("labels: {no: 1}", "write the name False in quotes"),
        ("description: again", "'description' is there twice"),
        ("target: {maps: [foreground]}", "the network's out_channels must be the number of"),
        ("clicks: {radius: 2.0}", "interactive segmentation needs a ClickSpec and a network"),
        ("exam: {rule: mean}", "exam: add classes"),
        ("exam: {classes: [{nam: a}]}", "field of exam.classes[0] 'nam': did you mean 'name"),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named_with_what_was_found_and_what_is_allowed(fields, message, tmp_path):
    with pytest.raises(InputError) as refused:
        _rows(tmp_path, fields)
    assert str(refused.value).startswith("my_tasks.yaml")
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("name: follicles", "name: Follicles/1", "name: expected up to 64 of a to z"),
        ("name: follicles", "name: nuclei", "name: there is such a task already"),
        ("name: follicles", "nome: follicles", "task 1: name: expected a text, found None"),
        ("extends: nerve_vhllrhe", "extends: nerves", "unknown extends 'nerves': did you mean"),
        ("    extends: nerve_vhllrhe\n", "", "extends: expected a text, found None"),
        ("description: Follicles", "description: ''", "description: expected a text"),
        ("tasks:", "rows:", "expected a list under 'tasks' and no more, found rows"),
        (ROW, "tasks: 5", "tasks: expected a list, found 5"),
        (ROW, "", "expected a list under 'tasks' and no more, found None"),
        (ROW, "tasks: [", "not YAML as it is read here"),
        (ROW, "tasks: [!!python/object/apply:os.getcwd []]", "not YAML as it is read here"),
        (ROW, "\x00", "not YAML as it is read here"),
    ],
)
def test_a_file_that_is_no_list_of_rows_is_refused(before, after, message, tmp_path):
    assert before in ROW
    with pytest.raises(InputError, match="^my_tasks.yaml") as refused:
        read_rows(_file(tmp_path, ROW.replace(before, after)), TASKS)
    assert message in str(refused.value)


def test_nothing_in_yaml_is_run(tmp_path):
    made = tmp_path / "made"
    text = f"tasks: !!python/object/apply:os.mkdir ['{made}']"
    with pytest.raises(InputError):
        outside.load([_file(tmp_path, text)])
    assert not made.exists()


def test_a_wrong_row_leaves_the_table_as_it_was(tmp_path):
    second = ROW.replace("\ntasks:\n", "").replace("follicles", "others") + "    kind: 3\n"
    with pytest.raises(InputError, match="task 'others': kind: expected a text"):
        outside.load([_file(tmp_path, ROW + second)])
    assert "follicles" not in TASKS and outside.names() == ()


def test_every_row_of_the_table_can_be_written_as_changes():
    for task in TASKS.values():
        assert changed(task, task.as_dict() | {"labels": dict(task.labels)}) == task


def test_a_file_is_loaded_once_and_named_to_processes_that_are_started(tmp_path):
    file = _file(tmp_path, ROW)
    outside.load([file])
    outside.load([file, Path(os.path.relpath(file))])
    assert outside.names() == ("follicles",)
    assert os.environ[outside.VARIABLE] == str(file)
    more = _file(tmp_path, ROW.replace("follicles", "more"), "more.yml")
    outside.load([more])
    assert os.environ[outside.VARIABLE].split(os.pathsep) == [str(file), str(more)]


def test_the_variable_names_files(tmp_path, monkeypatch):
    monkeypatch.setenv(outside.VARIABLE, str(_file(tmp_path, ROW)))
    outside.load_given()
    assert outside.names() == ("follicles",)


@pytest.mark.parametrize(
    ("name", "message"),
    [("absent.yaml", "does not exist; give a .yaml or .py file"), ("a.json", "neither .yaml nor")],
)
def test_other_files_are_refused(name, message, tmp_path):
    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(InputError, match=message):
        outside.load([tmp_path / name])


def test_a_python_file_adds_to_any_table(tmp_path):
    text = (
        "from dataclasses import replace\n"
        "from lib.segmentation.losses import LOSSES\n"
        "from lib.tasks.registry import get_task, register\n"
        "LOSSES['own'] = lambda logits, target, maps: logits.sum()\n"
        "register(replace(get_task('nuclei'), name='own', description='Own'))\n"
    )
    outside.load([_file(tmp_path, text, "my_tasks.py")])
    assert outside.names() == ("own",) and "own" in LOSSES


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import os\n1 / 0\n", "my_tasks.py, line 2: ZeroDivisionError: division by zero"),
        ("def f(:\n", "my_tasks.py, line 1: SyntaxError"),
        (
            "from lib.tasks.registry import get_task\nget_task('nuclej')\n",
            "my_tasks.py, line 2: unknown task 'nuclej': did you mean 'nuclei'",
        ),
    ],
)
def test_what_a_python_file_raises_is_said_with_its_line(code, message, tmp_path):
    with pytest.raises(InputError) as refused:
        outside.load([_file(tmp_path, code, "my_tasks.py")])
    assert str(refused.value).startswith(message)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package that declares its tasks; the test writes the function."""

    def install(code: str) -> None:
        (tmp_path / "ovary_tasks.py").write_text(code)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "ovary_tasks", raising=False)
        point = EntryPoint("ovary", "ovary_tasks:task_file", outside.GROUP)
        monkeypatch.setattr(
            outside, "entry_points", lambda group: [point] if group == outside.GROUP else []
        )

    return install


def test_a_package_brings_its_file_along(tmp_path, package):
    package(f"def task_file():\n    return {str(_file(tmp_path, ROW))!r}\n")
    outside.load_given()
    outside.load_given()
    assert outside.names() == ("follicles",)


def test_a_package_that_fails_is_named(package):
    package("def task_file():\n    raise OSError('no disk')\n")
    with pytest.raises(InputError, match="ovary_tasks:task_file.*OSError: no disk; mend or unin"):
        outside.load_given()
