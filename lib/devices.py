"""Which device, number format and memory format to compute in."""

from __future__ import annotations

import contextlib
import ctypes
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from pathlib import Path
from typing import Literal

import torch

from lib.errors import InputError, choose

Precision = Literal["auto", "fp32", "bf16", "fp16"]
WIDE = 32  # output channels of a layer
KEPT_BYTES = 2**30
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def resolve_device(name: str | None = None) -> torch.device:
    """Return the device called `name`; None or "auto" is CUDA where present, else the CPU.

    A CUDA device asked for where there is none becomes the CPU when the name is plain "cuda", as
    viewers send it by default; a numbered one is refused.

    Raises:
        InputError: there is no such device.
    """
    available = torch.cuda.is_available()
    if not name or name == "auto":
        return torch.device("cuda" if available else "cpu")
    if name == "cuda" and not available:
        return torch.device("cpu")
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError):
        raise InputError(f"unknown device '{name}': expected cpu, cuda or cuda:N") from None
    if device.type not in ("cpu", "cuda"):
        raise InputError(f"unsupported device '{name}': expected cpu, cuda or cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(
            f"device '{name}' is not here: {torch.cuda.device_count()} CUDA devices found; use cpu"
        )
    return device


@lru_cache(maxsize=1)
def cpu_bf16() -> Literal["amx", "avx512", "none"]:
    """Return which instructions this CPU multiplies bfloat16 with: AMX, AVX-512 or none."""
    try:
        flags = Path("/proc/cpuinfo").read_text(errors="ignore")
    except OSError:
        return "none"
    if "amx_bf16" in flags:
        return "amx"
    return "avx512" if "avx512_bf16" in flags else "none"


def cpu_has_bf16_units() -> bool:
    """Tell whether this CPU multiplies bfloat16 in hardware (AMX or AVX-512 BF16).

    Without such units bfloat16 is emulated and slower than float32.
    """
    return cpu_bf16() != "none"


def resolve_precision(
    device: torch.device, precision: str = "auto", trained_dims: int = 0
) -> torch.dtype:
    """Return the dtype to autocast to; "auto" picks the fastest that is safe on the hardware.

    CUDA: bfloat16 where supported, else float16. CPU: bfloat16 where it has instructions for it,
    but float32 to train in 3D: with torch 2.15 on a CPU with AVX512-BF16, a full-width V-Net in
    bfloat16 had gradients that are not finite within three steps; in float32 it had none. The
    answers of such a network are finite, and take half the time.

    Args:
        trained_dims: spatial dimensions of a network that is to be trained; 0 for inference.

    Raises:
        NotFoundError: unknown precision.
    """
    if precision != "auto":
        return choose("precision", precision, _DTYPES)
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    return torch.bfloat16 if trained_dims < 3 and cpu_has_bf16_units() else torch.float32


def autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[object]:
    """Return a context that computes in `dtype` on `device`; none for float32."""
    if dtype == torch.float32:
        return nullcontext()
    return torch.autocast(device.type, dtype=dtype)


def memory_format(device: torch.device, dtype: torch.dtype, channels: int) -> torch.memory_format:
    """Return the fastest memory format for 2D layers with so many output channels.

    That is channels_last in all cases but one: for float32 on CPUs with AVX2 and no AVX-512,
    oneDNN's kernels for 32 channels and more are a sixth to a third faster on contiguous tensors
    (5x5, Zen 3), and those for 16 and fewer up to twice as fast on channels_last.
    """
    avx2 = device.type == "cpu" and torch.backends.cpu.get_cpu_capability() == "AVX2"
    if avx2 and dtype == torch.float32 and channels >= WIDE:
        return torch.contiguous_format
    return torch.channels_last


@lru_cache(maxsize=1)
def keep_freed_memory() -> bool:
    """Let the C library keep up to 1 GiB of freed memory for the next forward pass.

    By default glibc returns the memory of each large feature map to the kernel at once, and the
    next pass has to request every page again. That costs about a tenth of the time on the CPU, and
    a third for the feature maps of volumes (100 MiB each).

    From then on all threads share one heap; if each had its own, each would keep 1 GiB.

    Returns:
        Whether the C library accepted the settings; False where it is not glibc.
    """
    try:
        set_option = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    # M_MMAP_MAX (no block of its own mapping), M_TRIM_THRESHOLD, M_TOP_PAD, M_ARENA_MAX of malloc.h
    options = ((-4, 0), (-1, KEPT_BYTES), (-2, 64 * 2**20), (-8, 1))
    return all([set_option(*option) for option in options])


def give_back_memory() -> None:
    """Give the memory that is free in the C library's heap back to the kernel; glibc alone can.

    With `keep_freed_memory` all arrays lie in one heap, and small objects that are kept among
    large arrays that are not make it grow; where images are answered part by part this is called
    after each of them.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
