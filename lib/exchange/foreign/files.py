"""The parts of a MONAI Bundle, a folder or a zip file, each read within bounds."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch import Tensor

from lib.errors import InputError, shown
from lib.weights.contents import check_archive, check_tensors

METADATA, INFERENCE = "configs/metadata.json", "configs/inference.json"
MODEL = "models/model.pt"
_CONFIG_BYTES = 1 << 20
_MODEL_BYTES = 2 << 30
_ENTRIES = 10_000  # of a zip file
_TENSORS = 20_000
_NAMES = ("state_dict", "model_state_dict", "model", "network", "net", "weights")


@dataclass(frozen=True)
class Bundle:
    """What was read of a bundle.

    Attributes:
        metadata, inference: the two configurations; None where there is none.
        model: its weights, in a file that lies there as long as the bundle is open.
    """

    metadata: dict[str, Any] | None
    inference: dict[str, Any] | None
    model: Path


def is_bundle(source: Path) -> bool:
    """Tell whether a path is a folder, or a zip file other than one of torch's."""
    if source.is_dir():
        return True
    with contextlib.suppress(OSError, ValueError, zipfile.BadZipFile), zipfile.ZipFile(source) as z:
        return not any(name.endswith(("data.pkl", "/version")) for name in z.namelist()[:_ENTRIES])
    return False


@contextlib.contextmanager
def open_bundle(source: Path) -> Iterator[Bundle]:
    """Yield what is in a bundle.

    Raises:
        InputError: a part is missing, too large, or cannot be read.
    """
    if source.is_dir():
        parts = ((name, _of_folder(source, name)) for name in (METADATA, INFERENCE))
        metadata, inference = (_parse(source, name, content) for name, content in parts)
        if not (source / MODEL).is_file():
            raise _no_model(source)
        yield Bundle(metadata, inference, source / MODEL)
        return
    with tempfile.TemporaryDirectory(prefix="bundle-") as folder:
        file = Path(folder) / "model.pt"
        try:
            with zipfile.ZipFile(source) as archive:
                root = _root(source, archive)
                parts = ((name, _of_zip(archive, root, name)) for name in (METADATA, INFERENCE))
                metadata, inference = (_parse(source, name, content) for name, content in parts)
                _unpack(source, archive, f"{root}{MODEL}", file)
        except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
            cause = str(error)[:100]
            raise InputError(
                f"{source.name}: damaged zip file, or one that cannot be read ({cause})"
            ) from None
        yield Bundle(metadata, inference, file)


def read_state(file: Path) -> dict[str, Tensor]:
    """Return the weights of a plain state dict, by name.

    Args:
        file: what `torch.save` wrote, of tensors and plain data only, with the state dict itself or
            one under a usual name such as ``state_dict``; or a .safetensors file.

    Raises:
        InputError: it is no such file; a TorchScript program is none.
    """
    if file.suffix.lower() == ".safetensors":
        return _safetensors(file)
    check_archive(file)
    with contextlib.suppress(OSError, zipfile.BadZipFile), zipfile.ZipFile(file) as archive:
        if any(name.endswith("constants.pkl") for name in archive.namelist()[:_ENTRIES]):
            raise InputError(
                f"{file.name}: a TorchScript program, which would be run; give the state dict "
                f"(models/model.pt of the bundle)"
            )
    try:
        content = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # a foreign file fails in many ways
        cause = next(iter(str(error).strip().splitlines()), "unreadable")[:160]
        raise InputError(
            f"{file.name}: not tensors and plain data alone ({cause}); save its state dict"
        ) from None
    tensors = _tensors(file, content)
    check_tensors(file, tensors)
    state = content
    while isinstance(state, dict) and not _is_state(state):
        inner = [state[name] for name in _NAMES if isinstance(state.get(name), dict)]
        if not inner:
            break
        state = inner[0]
    if not isinstance(state, dict) or not _is_state(state):
        found = ", ".join(map(str, state))[:80] if isinstance(state, dict) else type(state).__name__
        raise InputError(
            f"{file.name}: expected a state dict, or one under {', '.join(_NAMES)}, found {found}"
        )
    return {name: value.clone() for name, value in state.items()}


def _is_state(value: dict[Any, Any]) -> bool:
    return bool(value) and all(
        isinstance(name, str) and isinstance(one, Tensor) for name, one in value.items()
    )


def _tensors(file: Path, content: Any) -> dict[str, Tensor]:
    """Return all tensors of a file, optimizer states too, with names of their own."""
    found: dict[str, Tensor] = {}
    left, seen = [content], 0
    while left:
        value = left.pop()
        seen += 1
        if seen + len(left) > 50 * _TENSORS or len(found) > _TENSORS:
            raise InputError(f"{file.name}: more than {_TENSORS} tensors; save its state dict")
        if isinstance(value, Tensor):
            found[str(len(found))] = value
        elif isinstance(value, dict):
            left += value.values()
        elif isinstance(value, (list, tuple)):
            left += value
    return found


def _safetensors(file: Path) -> dict[str, Tensor]:
    try:
        from safetensors.torch import load_file
    except ImportError:
        raise InputError(
            f"{file.name}: needs the package safetensors; pip install safetensors, or save the "
            f"weights as .pt"
        ) from None
    try:
        state: dict[str, Tensor] = load_file(file)
    except Exception as error:  # its errors are Rust's
        raise InputError(f"{file.name}: damaged safetensors file ({str(error)[:100]})") from None
    return state


def _no_model(source: Path) -> InputError:
    return InputError(
        f"{source.name}: no {MODEL}, which holds a bundle's weights; download them into it, or "
        f"give a bundle that has them"
    )


def _of_folder(source: Path, name: str) -> bytes | None:
    file = source / name
    if not file.is_file():
        return None
    with file.open("rb") as stream:
        return stream.read(_CONFIG_BYTES + 1)


def _root(source: Path, archive: zipfile.ZipFile) -> str:
    """Return the folder in which the bundle lies, with a slash at its end."""
    names = archive.namelist()
    if len(names) > _ENTRIES:
        raise InputError(f"{source.name}: {len(names)} files, at most {_ENTRIES} are read")
    found = [name[: -len(INFERENCE)] for name in names if name.endswith(INFERENCE)]
    found += [name[: -len(METADATA)] for name in names if name.endswith(METADATA)]
    roots = [root for root in found if not root or root.endswith("/")]
    return min(roots, key=lambda root: len(PurePosixPath(root).parts), default="")


def _of_zip(archive: zipfile.ZipFile, root: str, name: str) -> bytes | None:
    if f"{root}{name}" not in archive.namelist():
        return None
    with archive.open(f"{root}{name}") as stream:
        return stream.read(_CONFIG_BYTES + 1)


def _parse(source: Path, name: str, content: bytes | None) -> dict[str, Any] | None:
    if content is None:
        return None
    if len(content) > _CONFIG_BYTES:
        raise InputError(f"{source.name}: {name} is longer than {_CONFIG_BYTES} bytes")
    try:
        parsed = json.loads(content)
    except (ValueError, RecursionError) as error:
        cause = shown(error)
        raise InputError(f"{source.name}: {name} is not JSON ({cause})") from None
    if not isinstance(parsed, dict):
        raise InputError(f"{source.name}: {name}: expected names and values, found {shown(parsed)}")
    return parsed


def _unpack(source: Path, archive: zipfile.ZipFile, name: str, file: Path) -> None:
    """Write an entry to a file, at most `_MODEL_BYTES` whatever its header says."""
    if name not in archive.namelist():
        raise _no_model(source)
    size = archive.getinfo(name).file_size
    if size > min(_MODEL_BYTES, shutil.disk_usage(file.parent).free):
        raise InputError(
            f"{source.name}: its weights are {size / 1e6:.0f} MB, at most {_MODEL_BYTES / 1e6:.0f} "
            f"MB are read, and the disk must have room for them"
        )
    with archive.open(name) as stream, file.open("wb") as out:
        left = size
        while part := stream.read(min(1 << 20, left + 1)):
            left -= len(part)
            if left < 0:
                raise zipfile.BadZipFile("more data than its header says")
            out.write(part)
