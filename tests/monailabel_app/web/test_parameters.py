"""What parameters of requests may hold."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from lib.errors import InputError, shown
from monailabel_app.studies.names import MOST_BYTES, check_id, check_new_id
from monailabel_app.web.objects import MOST_LEVELS, check_json, read_object
from monailabel_app.web.parameters import BATCH, INFER, TASK, read_parameters, read_task
from monailabel_app.web.uploads import check_session_files, take_name


def _nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def test_objects_as_deep_as_allowed_are_read_and_no_deeper():
    check_json("params", {"a": _nested(MOST_LEVELS - 1)})
    with pytest.raises(InputError, match="params: .* nested more than 32 deep"):
        check_json("params", {"a": _nested(MOST_LEVELS + 1)})
    with pytest.raises(InputError, match="nested"):
        read_object("params", "[" * 100_000)


@pytest.mark.parametrize(
    "value", [float("nan"), float("-inf"), 2**63, "\ud800", "a\0", {"\0": 1}, [{"a": [2**64]}]]
)
def test_what_no_answer_could_hold_is_refused(value):
    with pytest.raises(InputError, match="^params( a)?: "):
        check_json("params", {"a": value})


def test_numbers_of_64_bits_and_texts_of_any_script_are_taken():
    check_json("params", {"a": [-(2**63), 2**63 - 1, 0.5, True, None], "\u0416": "\N{SNOWMAN}"})


def test_the_first_of_a_list_of_choices_is_meant_and_an_empty_value_is_left_out():
    params = {"device": ["cpu", "cuda"], "result": [], "flips": None, "other": [{"a": 1}]}
    assert read_parameters(params, INFER) == {"device": "cpu", "other": [{"a": 1}]}


@pytest.mark.parametrize("name", [name for name in BATCH if name != "label_info"])
def test_no_parameter_takes_an_object(name):
    with pytest.raises(InputError, match=f"^{name}: expected |^label tag"):
        read_parameters({name: {"a": 1}}, BATCH)


@pytest.mark.parametrize("gpus", ["0;id", "0,", "a", 0, "-1", "0" * 500])
def test_gpus_are_named_by_numbers(gpus):
    with pytest.raises(InputError, match="^gpus: expected"):
        read_task({"gpus": gpus}, TASK)
    assert read_task({"gpus": "0,1"}, TASK) == {"gpus": "0,1"}


def test_a_task_imports_nothing_that_a_request_names_and_is_about_what_the_address_names():
    with pytest.raises(InputError, match="bundle_path"):
        read_task({"bundle_path": "/tmp/session"}, TASK)
    with pytest.raises(InputError, match="params name model 'b', the request 'a'"):
        read_task({"model": "b"}, TASK, model="a")


@pytest.mark.parametrize("name", ["a", "x" * MOST_BYTES, "Ж" * 100, "می\u200cخواهم", "a b.c"])
def test_names_of_any_script_can_be_ids(name):
    assert check_new_id(name) == check_id(name) == name


@pytest.mark.parametrize("name", ["", "x" * 201, "Ж" * 101, "a\x7f", "a\u2028b", "\ud800", "a\n"])
def test_names_that_no_file_can_have_are_no_ids(name):
    with pytest.raises(InputError, match="is not a plain name"):
        check_id(name)


def test_a_new_name_has_no_marks_that_turn_its_direction():
    assert check_id("a\u202egnp") == "a\u202egnp"  # in the folder already
    with pytest.raises(InputError, match="do not print"):
        check_new_id("a\u202egnp")


@pytest.mark.parametrize(
    ("sent", "name"),
    [
        ("cell 1.PNG", "cell-1.png"),
        ("a.b.nii.gz", "a-b.nii.gz"),
        ("x/../y\\z.seg.nrrd", "z.seg.nrrd"),
        ("a.exe", "a.exe"),
        ("a." + "x" * 300, None),
        ("", "image"),
        (".png", "image.png"),
        ("\0\n.tif", "-.tif"),
    ],
)
def test_uploaded_files_get_short_plain_names_with_their_suffix(sent, name):
    upload = SimpleNamespace(filename=sent)
    assert take_name(upload, "image") == sent
    assert upload.filename == name or (name is None and len(upload.filename) < 80)
    assert upload.filename.isprintable() and "/" not in upload.filename


def test_files_of_a_session_keep_names_that_differ():
    uploads = [SimpleNamespace(filename=name) for name in ("C:\\scans\\a.dcm", "b.dcm")]
    check_session_files(uploads)
    assert [upload.filename for upload in uploads] == ["a.dcm", "b.dcm"]
    with pytest.raises(InputError, match="taken"):
        check_session_files([*uploads, SimpleNamespace(filename="x/a.dcm")])


def test_what_a_user_gave_is_shown_in_part_and_on_one_line():
    assert shown("a\nb") == "a\\nb"
    assert len(shown("x" * 10_000, 40)) == 40
