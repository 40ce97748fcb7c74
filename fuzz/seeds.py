"""Small valid files of every type that the app reads, made in code."""

from __future__ import annotations

import io
import json
import struct
import tempfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lib.tasks.spec import TaskSpec

Seeds = Callable[[], list[bytes]]
_SHAPE = (12, 10)


def _pixels(dtype: str = "uint8", shape: tuple[int, ...] = _SHAPE) -> np.ndarray:
    top = 200 if np.dtype(dtype).itemsize == 1 else 4000
    return np.random.default_rng(5).integers(0, top, shape).astype(dtype)


def _labels(shape: tuple[int, ...] = _SHAPE) -> np.ndarray:
    label = np.zeros(shape, np.uint8)
    label[..., 2:5, 2:6], label[..., 7:9, 3:8] = 1, 2
    return label


def _written(suffix: str, write: Callable[..., object], *more: Any, **options: Any) -> bytes:
    """Return what `write(file, ...)` puts into a file."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, f"seed{suffix}")
        write(file, *more, **options)
        return file.read_bytes()


def pictures(suffix: str) -> list[bytes]:
    """Return pictures of one type: grey, colour, 16 bit, palette, as far as the type has them."""
    from PIL import Image

    images = [Image.fromarray(_pixels()), Image.fromarray(_pixels(shape=(*_SHAPE, 3)))]
    if suffix in (".png", ".bmp"):
        palette = Image.fromarray(_labels())
        palette = palette.convert("P")
        palette.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0] + [9] * 759)
        images.append(palette)
    if suffix == ".png":
        images += [
            Image.fromarray(_pixels("uint16")),
            Image.fromarray(_pixels(shape=(*_SHAPE, 4))),
            Image.fromarray(_pixels(shape=(*_SHAPE, 2)), "LA"),
        ]
    return [_written(suffix, image.save) for image in images]


def tiffs() -> list[bytes]:
    """Return TIFFs: of Pillow, ImageJ, OME; strips, tiles; compressed; of several pages."""
    import tifffile

    colour, deep = _pixels(shape=(*_SHAPE, 3)), _pixels("uint16")
    made: list[tuple[np.ndarray, dict[str, Any]]] = [
        (_pixels(), {}),
        (colour, {"photometric": "rgb"}),
        (colour, {"photometric": "rgb", "compression": "zlib", "predictor": True}),
        (deep, {"compression": "zlib", "resolution": (300, 300)}),
        (_pixels("float32"), {}),
        (_labels(), {"photometric": "miniswhite"}),
        (_pixels(shape=(48, 64)), {"tile": (16, 16), "compression": "zlib"}),
        (_pixels(shape=(4, *_SHAPE)), {"photometric": "minisblack"}),
        (_pixels("uint16", (3, *_SHAPE)), {"imagej": True, "metadata": {"axes": "CYX"}}),
        (_pixels("uint16", (3, *_SHAPE)), {"ome": True, "metadata": {"axes": "ZYX"}}),
        (_pixels(), {"bigtiff": True}),
    ]
    return [
        *(_written(".tif", tifffile.imwrite, pixels, **options) for pixels, options in made),
        *pictures(".tif"),
    ]


def volumes(suffix: str) -> list[bytes]:
    """Return volumes of one type: 3D, 2D, vectors, real numbers, a labelled one."""
    import SimpleITK as sitk

    images = [
        sitk.GetImageFromArray(_pixels("int16", (4, *_SHAPE))),
        sitk.GetImageFromArray(_pixels("float32", (4, *_SHAPE))),
        sitk.GetImageFromArray(_labels((3, *_SHAPE))),
        sitk.GetImageFromArray(_pixels("uint8", (*_SHAPE, 3)), isVector=True),
        sitk.GetImageFromArray(_pixels()),
    ]
    images[0].SetSpacing((0.5, 0.75, 2.0))
    images[0].SetOrigin((-10.0, 4.0, 100.0))
    return [
        _written(suffix, _write_by_itk, image, compressed)
        for image in images
        for compressed in (False, True)
    ]


def segmentations_of_slicer() -> list[bytes]:
    """Return .seg.nrrd files: names and values of segments in the header; layers."""
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(_labels((3, *_SHAPE)))
    for index, name in enumerate(("nuclei", "ignore")):
        for key, value in (("Name", name), ("LabelValue", str(index + 1)), ("Layer", "0")):
            image.SetMetaData(f"Segment{index}_{key}", value)
    return [_written(".seg.nrrd", _write_by_itk, image, False)]


def _write_by_itk(path: Path, image: Any, compressed: bool) -> None:
    import SimpleITK as sitk

    sitk.WriteImage(image, str(path), compressed)


def dicom_images() -> list[bytes]:
    """Return DICOM images: CT slice, ultrasound frame and loop, mammogram; encodings of pixels."""
    import pydicom
    from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

    from lib.phantoms.dicom_studies import (
        cine_study,
        ct_study,
        frame_study,
        mammogram_study,
        ultrasound_volume_study,
    )

    objects: list[Any] = [
        ct_study(0, (2, 24, 24)).datasets[0],
        frame_study(0, (32, 40)).datasets[0],
        cine_study(0, 3, (32, 32)).datasets[0],
        ultrasound_volume_study(0, (3, 24, 24)).datasets[0],
        mammogram_study(0, 0.03).datasets[0],
    ]
    files = [_dicom(data) for data in objects]
    for syntax in (ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, RLELossless):
        data: Any = pydicom.dcmread(io.BytesIO(files[1]))
        if syntax == RLELossless:
            data.compress(RLELossless)
        else:
            data.file_meta.TransferSyntaxUID = syntax
        files.append(_dicom(data))
    return files


def dicom_slices() -> list[bytes]:
    """Return two slices of one series."""
    from lib.phantoms.dicom_studies import ct_study

    return [_dicom(data) for data in ct_study(0, (2, 24, 24)).datasets[:2]]


def _dicom(data: Any) -> bytes:
    import pydicom

    content = io.BytesIO()
    pydicom.dcmwrite(content, data, enforce_file_format=True)
    return content.getvalue()


def dicom_source() -> bytes:
    """Return the ultrasound frame that `dicom_segmentations` and `dicom_reports` are of."""
    return dicom_images()[1]


def dicom_segmentations() -> list[bytes]:
    """Return DICOM SEG of `dicom_source`."""
    import pydicom

    from lib.dicom.objects import Author
    from lib.dicom.seg.write import make_seg
    from lib.dicom.sources import read_sources

    source = pydicom.dcmread(io.BytesIO(dicom_source()))
    label = _labels((int(source.Rows), int(source.Columns)))
    author = Author("nuclei", "1", "", "0")
    return [_dicom(make_seg(label, read_sources([source]), {"nuclei": 1, "edge": 2}, author))]


def dicom_reports() -> list[bytes]:
    """Return DICOM SR with a density."""
    from lib.dicom.objects import Author
    from lib.mammography.report.write import make_density_report
    from lib.phantoms.dicom_studies import mammogram_study

    images = list(mammogram_study(0, 0.03).datasets)
    author = Author("density_birads", "1", "", "0")
    return [_dicom(make_density_report("C", images, author))]


def texts(*objects: Mapping[str, Any] | list[Any] | str) -> list[bytes]:
    """Return JSON of objects; texts as they are."""
    return [
        (content if isinstance(content, str) else json.dumps(content)).encode()
        for content in objects
    ]


def indexes() -> list[bytes]:
    """Return an index of a studies folder, as the server writes it."""
    told = [{"name": "nuclei", "idx": 1}]
    info = {"label_info": told, "ts": 1700000000, "name": "a.png", "params": {"model": "nuclei"}}
    final = {"ext": ".png", "info": info}
    entry = {
        "image": {"ext": ".png", "info": {"ts": 1, "name": "a.png"}},
        "labels": {"final": final},
    }
    return texts({"name": "x", "description": "", "images_dir": ".", "objects": {"a": entry}})


def users() -> list[bytes]:
    """Return a file of users."""
    anna = {"role": "annotator", "password": f"{'0' * 32}:{'1' * 128}", "tokens": ["2" * 64]}
    return texts({"secret": "s" * 64, "users": {"anna": anna, "ben": {**anna, "role": "admin"}}})


def prompts() -> list[bytes]:
    """Return requests with clicks and a box."""
    return texts(
        {"foreground": [[3, 4]], "background": [[1, 2], [5.4, 6]]},
        {"foreground": "[[3, 4]]", "lesion": [[2, 2]], "roi": [1, 8, 2, 9]},
    )


def small_task() -> TaskSpec:
    """Return a row with a network of a few weights: its file is quickly damaged in many ways."""
    from lib.tasks.registry import get_task

    task = get_task("nuclei_u3clr")
    network = replace(task.encoder_decoder, channels=(2, 2), convolutions=(1, 1))
    return replace(task, network=network)


def checkpoints() -> list[bytes]:
    """Return a checkpoint of a network with a few weights of one row."""
    import torch

    from lib.networks.build import build_network
    from lib.weights.checkpoint import Checkpoint, save_checkpoint

    task = small_task()
    torch.manual_seed(0)
    network = build_network(task.network)
    checkpoint = Checkpoint(
        task=task.name,
        spec=task.as_trained(),
        weights=dict(network.state_dict()),
        metrics={"mean_iou": 0.5},
        provenance={},
    )
    return [_written(".pt", save_checkpoint, checkpoint)]


def png_bombs() -> list[bytes]:
    """Return PNGs that promise more than they hold."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", 4000, 4000, 16, 6, 0, 0, 0)
    data = zlib.compress(bytes(4000))
    return [
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    ]
