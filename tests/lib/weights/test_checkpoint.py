"""Weights come back as they were, and foreign files are refused."""

from __future__ import annotations

import errno
import os
import pickle
import resource
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lib.errors import InputError
from lib.networks import build_network
from lib.tasks.registry import TASKS
from lib.weights.checkpoint import (
    Checkpoint,
    load_checkpoint,
    load_network,
    save_checkpoint,
    save_tensors,
    state_on_cpu,
    transfer_network,
    weights_fingerprint,
)


def _checkpoint(task, **changes) -> Checkpoint:
    weights = state_on_cpu(build_network(task.network))
    plain = Checkpoint(
        task=task.name, spec=task.as_dict(), weights=weights, metrics={"mean_iou": 0.5}
    )
    return replace(plain, **changes)


@pytest.mark.parametrize("name", TASKS)
def test_every_rows_network_answers_the_same_after_a_round_trip(tmp_path, name, light):
    task = light(TASKS[name])
    checkpoint = _checkpoint(task, provenance={"seed": 3})
    path = save_checkpoint(tmp_path / "a.pt", checkpoint)
    found = load_checkpoint(path)
    assert (found.task, found.spec, found.metrics) == (name, task.as_dict(), {"mean_iou": 0.5})
    assert found.provenance == {"seed": 3}
    spec = task.network
    if task.kind != "classification":
        given = [torch.rand(1, spec.in_channels, *(spec.input_size(1),) * spec.spatial_dims)]
    else:
        views = torch.arange(max(1, len(spec.views)))
        given = [torch.rand(len(views), spec.in_channels, 40, 32), views]
    before, after = (load_network(task, c) for c in (checkpoint, found))
    assert not after.training
    with torch.inference_mode():
        torch.testing.assert_close(after(*given), before(*given), rtol=0, atol=0)


def test_weights_of_another_network_are_refused_with_the_difference(task):
    other = TASKS["nuclei_huv"]
    with pytest.raises(InputError, match="differ in .*topology.*; use weights trained for 'nuclei"):
        load_network(other, _checkpoint(task))


def _older(checkpoint: Checkpoint, *lacking: str) -> Checkpoint:
    """Return the checkpoint as it was written before the options in `lacking` were thought of."""
    network = {k: v for k, v in checkpoint.spec["network"].items() if k not in lacking}
    return replace(checkpoint, spec={**checkpoint.spec, "network": network})


def test_weights_from_before_an_option_was_added_still_load(task, tmp_path):
    older = _older(_checkpoint(task), "padding", "decoder_width")
    found = load_checkpoint(save_checkpoint(tmp_path / "a.pt", older))
    assert "padding" not in found.spec["network"]
    loaded = load_network(task, found).state_dict()
    for name, value in older.weights.items():
        torch.testing.assert_close(loaded[name], value, rtol=0, atol=0)


def test_weights_from_before_an_option_do_not_fit_a_row_that_uses_it(task):
    older = _older(_checkpoint(task), "padding", "decoder_width")
    wide = replace(task, network=replace(task.network, decoder_width=2))
    with pytest.raises(InputError, match="the networks differ in decoder_width; use weights"):
        load_network(wide, older)


def test_what_fits_is_taken_from_weights_of_another_task_and_the_rest_stays_fresh(task):
    given = _checkpoint(task)
    other = replace(
        task,
        network=replace(task.network, norm="instance", out_channels=2, pooled_channels=1),
        target=replace(task.target, maps=("foreground", "presence")),
    )
    network, taken, fresh = transfer_network(other, given)
    state = network.state_dict()
    assert "pooled.weight" in fresh
    assert taken == len(state) - len(fresh) > len(fresh) / 2
    for name in set(state) - set(fresh):
        torch.testing.assert_close(state[name], given.weights[name], rtol=0, atol=0)
    _, taken, fresh = transfer_network(task, given)
    assert (taken, fresh) == (len(given.weights), [])


def test_weights_for_luminance_answer_alike_where_colours_are_seen(task):
    given = _checkpoint(task)
    coloured = replace(
        task,
        network=replace(task.network, in_channels=3),
        input=replace(task.input, channels=("red", "green", "blue")),
    )
    network, taken, fresh = transfer_network(coloured, given)
    assert (taken, fresh) == (len(given.weights), [])
    grey = torch.rand(1, 1, 32, 32)
    with torch.no_grad():
        wanted = load_network(task, given)(grey)
        for one in (network, load_network(coloured, given)):  # trained on, and served as they are
            torch.testing.assert_close(one(grey.expand(-1, 3, -1, -1)), wanted)
    in_colour = _checkpoint(coloured, weights=state_on_cpu(network))
    back, taken, fresh = transfer_network(task, in_colour)
    assert (taken, fresh) == (len(given.weights), [])
    with torch.no_grad():
        torch.testing.assert_close(back(grey), wanted)
    with pytest.raises(InputError, match="differ in in_channels"):
        load_network(task, in_colour)


def test_weights_that_hardly_fit_are_not_transferred(task):
    wide = replace(task, network=replace(task.network, channels=(8, 16, 32)))
    with pytest.raises(InputError, match="of [0-9]+ parameters have the same name and shape"):
        transfer_network(wide, _checkpoint(task))


def test_equal_weights_have_equal_prints(task):
    given = _checkpoint(task)
    assert weights_fingerprint(given) == weights_fingerprint(replace(given, task="another"))
    name = next(iter(given.weights))
    changed = {**given.weights, name: given.weights[name] + 1}
    assert weights_fingerprint(replace(given, weights=changed)) != weights_fingerprint(given)


def test_weights_with_a_missing_tensor_are_refused(task):
    checkpoint = _checkpoint(task)
    checkpoint.weights.popitem()
    with pytest.raises(InputError, match="weights of task 'nuclei_vhllrhe' are incomplete"):
        load_network(task, checkpoint)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"^absent\.pt: no such weights file"):
        load_checkpoint(tmp_path / "absent.pt")


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_truncated_file_is_refused(tmp_path, task, share):
    path = save_checkpoint(tmp_path / "a.pt", _checkpoint(task))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(InputError, match=r"^a\.pt: damaged or foreign weights file \("):
        load_checkpoint(path)


class Harmful:
    def __reduce__(self):
        return print, ("code ran",)


@pytest.mark.parametrize("how", ["pickle", "torch"])
def test_code_in_a_file_is_not_run(tmp_path, how, capsys):
    path = tmp_path / "a.pt"
    if how == "pickle":
        path.write_bytes(pickle.dumps(Harmful()))
    else:
        torch.save({"format": 1, "weights": Harmful()}, path)
    with pytest.raises(InputError, match=r"^a\.pt: damaged or foreign"):
        load_checkpoint(path)
    assert "code ran" not in capsys.readouterr().out


def test_other_content_and_newer_formats_are_refused(tmp_path, task):
    torch.save({"state_dict": {}}, tmp_path / "a.pt")
    with pytest.raises(InputError, match=r"^a\.pt: not a checkpoint of this app"):
        load_checkpoint(tmp_path / "a.pt")
    path = save_checkpoint(tmp_path / "b.pt", _checkpoint(task))
    content = torch.load(path, weights_only=True)
    torch.save({**content, "format": 99}, path)
    with pytest.raises(InputError, match="checkpoint format 99, this version reads up to 1"):
        load_checkpoint(path)


def test_a_copied_state_does_not_follow_the_network(task):
    network = build_network(task.network)
    state = state_on_cpu(network)
    before = {name: value.clone() for name, value in state.items()}
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(1)
    for name, value in state.items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def _save_on_a_full_disk(path: Path) -> int:
    """Return 0 where saving is refused as it should be; in a process of its own."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
    try:
        save_tensors(path, {"x": torch.zeros(100_000)})
    except OSError as error:
        return 0 if error.errno == errno.EFBIG else 1
    return 2


def test_a_full_disk_is_an_os_error_and_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.pt"
    path.write_bytes(b"old")
    child = os.fork()
    if child == 0:
        status = 3
        try:
            status = _save_on_a_full_disk(path)
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
