"""Files of microscopes, written in code: CZI and OME-Zarr by their libraries, ND2 and LIF by hand.

Pixels are `(channels, slices, rows, columns)`, sizes of a pixel x, y, z in micrometres.
"""

from __future__ import annotations

import json
import struct
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

NAMES = ("DAPI", "GFP")
SIZE = (0.5, 0.25, 2.0)


def write_czi(
    path: Path,
    scenes: Sequence[np.ndarray],
    names: Sequence[str] = NAMES,
    size: Sequence[float] = SIZE,
    times: bool = False,
) -> Path:
    """Write scenes beside each other; `times` for frames instead of slices."""
    from pylibCZIrw import czi

    with czi.create_czi(str(path)) as file:
        left = 7
        for number, pixels in enumerate(scenes):
            for channel, stack in enumerate(pixels):
                for index, plane in enumerate(stack):
                    at = {"C": channel, "T": index if times else 0, "Z": 0 if times else index}
                    colour = plane.ndim == 3
                    data = np.ascontiguousarray(plane[..., ::-1] if colour else plane[..., None])
                    file.write(data, plane=at, location=(left, 9), scene=number)
            left += scenes[0].shape[3] + 5
        x, y, z = (one * 1e-6 for one in size)
        told = dict(enumerate(names))
        file.write_metadata("a", channel_names=told, scale_x=x, scale_y=y, scale_z=z)
    return path


def write_ome_zarr(
    path: Path,
    pixels: np.ndarray,
    names: Sequence[str] = NAMES,
    size: Sequence[float] = SIZE,
    version: int = 2,
    axes: str = "czyx",
) -> Path:
    """Write an image with one level, as NGFF 0.4 (Zarr 2) or 0.5 (Zarr 3); a zip by its name."""
    import zarr

    folder = path if path.suffix == ".zarr" else path.with_suffix(".folder")
    chunks = (1,) * (pixels.ndim - 2) + (16, 16)
    about = {"shape": pixels.shape, "chunks": chunks, "dtype": pixels.dtype}
    if zarr.__version__ < "3":  # with Python 3.10
        group, version = zarr.open_group(str(folder), mode="w"), 2
        array = group.create_dataset("0", dimension_separator="/", **about)
    else:
        group = zarr.open_group(str(folder), mode="w", zarr_format=version)
        array = group.create_array("0", **about)
    array[...] = pixels
    space = dict(zip("xyz", size, strict=True))
    kinds = {"c": "channel", "t": "time"}
    told = [
        {"name": axis, "type": kinds.get(axis, "space")}
        | ({"unit": "micrometer"} if axis in space else {})
        for axis in axes
    ]
    scale = [{"type": "scale", "scale": [space.get(axis, 1.0) for axis in axes]}]
    image = {
        "multiscales": [
            {
                "version": "0.4",
                "axes": told,
                "datasets": [{"path": "0", "coordinateTransformations": scale}],
            }
        ],
        "omero": {"channels": [{"label": name} for name in names]},
    }
    group.attrs.update(image if version == 2 else {"ome": {"version": "0.5", **image}})
    if folder != path:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as packed:
            for file in sorted(folder.rglob("*")):
                if file.is_file():
                    packed.write(file, file.relative_to(folder).as_posix())
    return path


def change_json(file: Path, **changes: Any) -> None:
    """Replace fields of an object of JSON."""
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def write_lif(
    path: Path,
    images: Sequence[np.ndarray],
    names: Sequence[str] = NAMES,
    size: Sequence[float] = SIZE,
) -> Path:
    """Write images that hold channel after channel in each slice."""
    root = ElementTree.Element("LMSDataContainerHeader", Version="2")
    top = ElementTree.SubElement(root, "Element", Name=path.stem)
    children = ElementTree.SubElement(top, "Children")
    blocks = []
    for number, pixels in enumerate(images, start=1):
        count, depth, rows, columns = pixels.shape
        each = pixels.itemsize
        element = ElementTree.SubElement(children, "Element", Name=f"Series{number:03}")
        data = ElementTree.SubElement(ElementTree.SubElement(element, "Data"), "Image")
        about = ElementTree.SubElement(data, "ImageDescription")
        channels = ElementTree.SubElement(about, "Channels")
        for index, name in enumerate(names[:count]):
            told = {"DataType": 0, "ChannelTag": 0, "Resolution": 8 * each, "Min": 0, "Max": 1}
            told |= {"NameOfMeasuredQuantity": "", "Unit": "", "LUTName": "Gray"}
            told |= {"IsLUTInverted": 0, "BytesInc": index * rows * columns * each, "BitInc": 0}
            words = {key: str(value) for key, value in told.items()}
            channel = ElementTree.SubElement(channels, "ChannelDescription", words)
            dye = ElementTree.SubElement(channel, "ChannelProperty")
            ElementTree.SubElement(dye, "Key").text = "DyeName"
            ElementTree.SubElement(dye, "Value").text = name
        dimensions = ElementTree.SubElement(about, "Dimensions")
        plane = rows * columns * each
        strides = [each, each * columns, plane * count]
        sides = [columns, rows, depth]
        for axis, (side, stride, step) in enumerate(zip(sides, strides, size, strict=True), 1):
            told = {"DimID": axis, "NumberOfElements": side, "Origin": 0, "Unit": "m"}
            told |= {"Length": step * 1e-6 * (side - 1), "BytesInc": stride, "BitInc": 0}
            words = {key: str(value) for key, value in told.items()}
            if axis < 3 or side > 1:
                ElementTree.SubElement(dimensions, "DimensionDescription", words)
        stored = np.ascontiguousarray(pixels.swapaxes(0, 1)).tobytes()
        block = f"MemBlock_{number}"
        memory = {"Size": str(len(stored)), "MemoryBlockID": block}
        ElementTree.SubElement(element, "Memory", memory)
        blocks.append((block, stored))
    header = ElementTree.tostring(root, encoding="unicode").encode("utf-16-le")
    content = struct.pack("<IIBI", 0x70, 5 + len(header), 0x2A, len(header) // 2) + header
    for block, stored in blocks:
        name = block.encode("utf-16-le")
        content += struct.pack("<IIBQBI", 0x70, 0, 0x2A, len(stored), 0x2A, len(block)) + name
        content += stored
    path.write_bytes(content)
    return path


def write_nd2(
    path: Path,
    pixels: np.ndarray,
    names: Sequence[str] = NAMES,
    size: Sequence[float] = SIZE,
    **attributes: int,
) -> Path:
    """Write a stack; `attributes` replace what its header says."""
    count, depth, rows, columns = pixels.shape
    bits = 8 * pixels.itemsize
    told = {"uiWidth": columns, "uiWidthBytes": columns * count * pixels.itemsize}
    told |= {"uiHeight": rows, "uiComp": count, "uiBpcInMemory": bits, "uiBpcSignificant": bits}
    told |= {"uiSequenceCount": depth, "eCompression": 2, **attributes}
    planes = {
        f"a{index}": {
            "sDescription": name,
            "uiCompCount": 1,
            "uiSampleIndex": index,
            "pFluorescentProbe": {"m_ExcitationSpectrum": {"uiCount": 0}},
        }
        for index, name in enumerate(names[:count])
    }
    seen = {"bCalibrated": True, "dCalibration": float(size[0])}
    seen["sPicturePlanes"] = {"uiCount": count, "sPlaneNew": planes}
    loop = {"eType": 4, "uLoopPars": {"uiCount": depth, "dZStep": float(size[2])}}
    chunks = {
        "ImageAttributesLV!": _levels({"SLxImageAttributes": told}),
        "ImageMetadataSeqLV|0!": _levels({"SLxPictureMetadata": seen}),
        "ImageMetadataLV!": _levels({"SLxExperiment": loop}),
    }
    for index in range(depth):
        frame = np.ascontiguousarray(np.moveaxis(pixels[:, index], 0, -1)).tobytes()
        chunks[f"ImageDataSeq|{index}!"] = struct.pack("<d", 0.0) + frame
    content = _chunk(b"ND2 FILE SIGNATURE CHUNK NAME01!", b"Ver3.0".ljust(64, b"\0"))
    places = b""
    for name, data in chunks.items():
        places += name.encode() + struct.pack("<QQ", len(content), len(data))
        content += _chunk(name.encode().ljust(4072, b"\0"), data)
    signature = b"ND2 CHUNK MAP SIGNATURE 0000001!"
    end = len(content)
    content += _chunk(
        b"ND2 FILEMAP SIGNATURE NAME 0001!", places + signature + struct.pack("<Q", end)
    )
    path.write_bytes(content + signature + struct.pack("<Q", end))
    return path


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack("<IIQ", 0x0ABECEDA, len(name), len(data)) + name + data


def _levels(value: dict[str, Any]) -> bytes:
    """Return nested dictionaries in Nikon's binary form: type, name, value."""
    found = b""
    for name, one in value.items():
        kinds = {bool: (1, "<B"), int: (3, "<I"), float: (6, "<d")}
        label = (name + "\0").encode("utf-16-le")
        head = struct.pack("BB", 8 if isinstance(one, str) else 11, len(name) + 1) + label
        if isinstance(one, dict):
            inner = _levels(one)
            length = len(head) + 12 + len(inner)
            found += head + struct.pack("<IQ", len(one), length) + inner + bytes(8 * len(one))
        elif isinstance(one, str):
            found += head + (one + "\0").encode("utf-16-le")
        else:
            kind, form = kinds[type(one)]
            found += struct.pack("BB", kind, len(name) + 1) + label + struct.pack(form, one)
    return found
