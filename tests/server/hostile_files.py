"""Small files that ask for much: each made here, none of them harmful to whoever only stores it."""

from __future__ import annotations

import gzip
import io
import math
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pydicom
from pydicom.uid import DeflatedExplicitVRLittleEndian
from server_support import write_dicom

_BLOCK = 1 << 24


class Hostile(NamedTuple):
    """A file and how the server may answer to it.

    Attributes:
        suffix: ending of its name.
        content: makes it.
        decoded: bytes of its values, where it may be read; 0 where it has to be refused.
        said: words of the refusal, each of which may be there.
    """

    suffix: str
    content: Callable[[], bytes]
    decoded: int = 0
    said: tuple[str, ...] = ()


def deflated_zeros(count: int) -> bytes:
    """Return so many zeros as raw deflate, without taking the time of compressing them."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(bytes(_BLOCK)) + packer.flush(zlib.Z_FULL_FLUSH)
    whole, rest = divmod(count, _BLOCK)
    end = zlib.compressobj(9, zlib.DEFLATED, -15)
    return block * whole + end.compress(bytes(rest)) + end.flush()


def gzipped_zeros(head: bytes, count: int) -> bytes:
    """Return gzip of some bytes and so many zeros; of two members, as gzip allows."""
    checksum = 0
    for length in (_BLOCK,) * (count // _BLOCK) + (count % _BLOCK,):
        checksum = zlib.crc32(bytes(length), checksum)
    end = struct.pack("<II", checksum, count % 2**32)
    begin = b"\x1f\x8b\x08" + bytes(6) + b"\xff"
    return (gzip.compress(head) if head else b"") + begin + deflated_zeros(count) + end


def metaimage(**fields: str) -> bytes:
    plain = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "TransformMatrix": "1 0 0 0 1 0 0 0 1",
        "DimSize": "8 8 4",
        "ElementType": "MET_UCHAR",
        "ElementDataFile": "LOCAL",
    }
    lines = {**plain, **fields}
    lines["ElementDataFile"] = lines.pop("ElementDataFile")  # ends the header
    text = "".join(f"{key} = {value}\n" for key, value in lines.items() if value)
    return text.encode() + bytes(256)


def nrrd(
    *more: str, type: str = "uchar", sizes: tuple[int, ...] = (8, 8, 4), data: bytes = b""
) -> bytes:
    text = "\n".join(
        (
            *("NRRD0004", f"type: {type}", f"dimension: {len(sizes)}"),
            *("sizes: " + " ".join(map(str, sizes)), *more),
        )
    )
    return f"{text}\n\n".encode() + data


def nrrd_that_lacks_its_values() -> bytes:
    data = gzip.compress(bytes(970_000))
    made = nrrd(
        "endian: little", "encoding: gzip", type="double", sizes=(1024, 1024, 512), data=data
    )
    return made.ljust(1086, b"\0")


def nrrd_of_components(count: int, type: str, bytes_each: int) -> bytes:
    data = gzipped_zeros(b"", count * 2048 * 2048 * bytes_each)
    kinds = "kinds: vector domain domain"
    return nrrd(
        kinds, "endian: little", "encoding: gzip", type=type, sizes=(count, 2048, 2048), data=data
    )


def nifti_gz(side: int) -> bytes:
    import nibabel

    head = nibabel.Nifti1Header()
    head.set_data_dtype(np.float64)
    head.set_data_shape((side, side, side))
    head["vox_offset"], head["magic"] = 352, b"n+1"
    return gzipped_zeros(head.binaryblock + bytes(4), side**3 * 8)


def png(side: int, depth: int, colours: int) -> bytes:
    """Return a black PNG, RGBA or grey."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", side, side, depth, 6 if colours == 4 else 0, 0, 0, 0)
    count = side * (1 + side * colours * depth // 8)
    adler = (count % 65521 << 16) | 1
    data = b"\x78\x9c" + deflated_zeros(count) + struct.pack(">I", adler)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def tiff_of_pages(pages: int, side: int = 1, loop: bool = False) -> bytes:
    """Return a TIFF of so many grey pages, all with the same pixels."""
    out = io.BytesIO(b"II*\0" + struct.pack("<I", 8 + side * side))
    out.seek(0, io.SEEK_END)
    out.write(bytes(side * side))
    tags = ((256, side), (257, side), (258, 8), (259, 1), (262, 1), (273, 8), (278, side))
    tags = (*tags, (279, side * side))
    for page in range(pages):
        end = out.tell() + 2 + 12 * len(tags) + 4
        out.write(struct.pack("<H", len(tags)))
        out.write(b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags))
        following = 8 + side * side if loop else end
        out.write(struct.pack("<I", following if loop or page + 1 < pages else 0))
    return out.getvalue()


def dicom(pixels: np.ndarray, **tags: Any) -> bytes:
    out = io.BytesIO()
    write_dicom(out, pixels, **tags)  # type: ignore[arg-type]
    return out.getvalue()


def deflated_dicom(zeros: int) -> bytes:
    """Return a DICOM file whose deflated part holds a private element of so many zeros."""
    data: Any = pydicom.dcmread(io.BytesIO(dicom(np.zeros((16, 16), np.uint8))))
    data.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    out = io.BytesIO()
    pydicom.dcmwrite(out, data, enforce_file_format=True)
    meta = 132 + 12 + int(data.file_meta.FileMetaInformationGroupLength)
    return out.getvalue()[:meta] + deflated_zeros(zeros)


def random_tiff(*shape: int) -> bytes:
    import tifffile

    out = io.BytesIO()
    values = np.random.default_rng(0).integers(0, 255, shape, np.uint8)
    tifffile.imwrite(out, values, photometric="minisblack")
    return out.getvalue()


HOSTILE: dict[str, Hostile] = {
    "MetaImage, NDims -1": Hostile(".mha", lambda: metaimage(NDims="-1")),
    "MetaImage, NDims 99999999": Hostile(".mha", lambda: metaimage(NDims="99999999")),
    "MetaImage, NDims -1, no matrix": Hostile(
        ".mha", lambda: metaimage(NDims="-1", TransformMatrix="")
    ),
    "MetaImage, NDims 99999999, no matrix": Hostile(
        ".mha", lambda: metaimage(NDims="99999999", TransformMatrix="")
    ),
    "MetaImage, side -8": Hostile(".mha", lambda: metaimage(DimSize="-8 8 4")),
    "MetaImage, side 4e9": Hostile(".mha", lambda: metaimage(DimSize="4000000000 4000000000 4")),
    "MetaImage, 1000 signs": Hostile(".mha", lambda: metaimage(Offset="9" * 1000)),
    "MetaImage, 1e6 channels": Hostile(
        ".mha", lambda: metaimage(ElementNumberOfChannels="1000000")
    ),
    "NRRD, line of 1000 signs": Hostile(".nrrd", lambda: nrrd("A" * 1000, data=bytes(256))),
    "NRRD, space of 1000 signs": Hostile(
        ".nrrd", lambda: nrrd("space: " + "x" * 1000, data=bytes(256))
    ),
    "NRRD, 1000 axes": Hostile(".nrrd", lambda: nrrd(sizes=(1,) * 1000, data=b"\0")),
    "NRRD, sides 1e9": Hostile(".nrrd", lambda: nrrd("encoding: raw", sizes=(10**9, 10**9, 9))),
    "NRRD of 1086 bytes that promises 4 GB": Hostile(".nrrd", nrrd_that_lacks_its_values),
    "60 components of doubles": Hostile(".nrrd", lambda: nrrd_of_components(60, "double", 8)),
    "40 components of bytes": Hostile(
        ".nrrd", lambda: nrrd_of_components(40, "uchar", 1), 40 * 2048 * 2048
    ),
    "NIfTI, 512 x 512 x 512 doubles": Hostile(".nii.gz", lambda: nifti_gz(512), 512**3 * 8),
    "PNG, 8192 x 8192 of four 16 bit values": Hostile(".png", lambda: png(8192, 16, 4)),
    "PNG that ends early": Hostile(".png", lambda: png(64, 8, 1)[:-30]),
    "TIFF of 20,000 pages": Hostile(".tif", lambda: tiff_of_pages(20_000)),
    "TIFF whose pages go round": Hostile(".tif", lambda: tiff_of_pages(3, loop=True)),
    "DICOM that inflates to 6.2 GB": Hostile(".dcm", lambda: deflated_dicom(6_200_000_000)),
    "DICOM of 2147483647 frames": Hostile(
        ".dcm", lambda: dicom(np.zeros((16, 16), np.uint8), NumberOfFrames=2**31 - 1)
    ),
    "DICOM, 65535 x 65535": Hostile(
        ".dcm", lambda: dicom(np.zeros((16, 16), np.uint8), Rows=65535, Columns=65535)
    ),
}


def write_hostile(folder: Path, name: str) -> Path:
    """Write one of them; its name is free of what names may not hold."""
    row = HOSTILE[name]
    file = folder / f"hostile{list(HOSTILE).index(name)}{row.suffix}"
    file.write_bytes(row.content())
    return file


def megabytes(count: float) -> int:
    """Return bytes as MB, rounded up."""
    return math.ceil(count / 1e6)
