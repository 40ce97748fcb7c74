"""Devices and number formats are chosen by name, wrong names refused."""

from __future__ import annotations

import pytest
import torch

from lib.devices import autocast, resolve_device, resolve_precision
from lib.errors import InputError, NotFoundError

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)


@pytest.mark.parametrize("name", [None, "", "auto", "cpu", "cuda"])
def test_without_a_gpu_everything_usual_is_the_cpu(name):
    assert resolve_device(name).type == "cpu"


def test_a_numbered_gpu_that_is_not_there_is_refused():
    with pytest.raises(InputError, match="device 'cuda:1' is not here: 0 CUDA devices found"):
        resolve_device("cuda:1")


@pytest.mark.parametrize("name", ["gpu", "mps", "cuda:x"])
def test_unknown_devices_are_refused(name):
    with pytest.raises(InputError, match=rf"device '{name}': expected cpu, cuda or cuda:N"):
        resolve_device(name)


@pytest.mark.parametrize("units", [True, False])
def test_automatic_precision_on_a_cpu_follows_its_matrix_units(monkeypatch, units):
    monkeypatch.setattr("lib.devices.cpu_has_bf16_units", lambda: units)
    assert resolve_precision(CPU) == (torch.bfloat16 if units else torch.float32)
    assert resolve_precision(CPU, trained_dims=2) == resolve_precision(CPU)
    assert resolve_precision(CPU, trained_dims=3) == torch.float32, "to train in 3D"


def test_precision_by_name_wins_and_unknown_ones_are_refused():
    assert resolve_precision(CPU, "fp32") == torch.float32
    assert resolve_precision(CPU, "bf16") == torch.bfloat16
    with pytest.raises(NotFoundError, match="unknown precision 'bf61': did you mean 'bf16'"):
        resolve_precision(CPU, "bf61")


def test_autocast_computes_in_the_asked_format():
    a = torch.ones(4, 4)
    with autocast(CPU, torch.bfloat16):
        assert (a @ a).dtype == torch.bfloat16
    with autocast(CPU, torch.float32):
        assert (a @ a).dtype == torch.float32
