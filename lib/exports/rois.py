"""Objects as regions of interest of ImageJ: a zip that its ROI Manager opens."""

from __future__ import annotations

import io
import zipfile

import numpy as np
from roifile import ROI_TYPE, ImagejRoi

from lib.exports.answer import Answer
from lib.exports.outlines import outlines, polygons

_MOVE, _LINE, _CLOSE = 0.0, 1.0, 4.0  # as java.awt.geom.PathIterator numbers them


def roi_zip(answer: Answer) -> bytes:
    """Return a zip of ROIs named as "nuclei 12", one for each object and slice.

    An object in one piece is a traced ROI, one with holes or parts a composite one. In volumes and
    loops the position tells the slice, from 1.
    """
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        flat = answer.objects.ndim == 2
        for index, plane in answer.planes():
            for number, outline in outlines(plane).items():
                name = f"{answer.structures[number]} {number}"
                name += "" if flat else f" slice {index + 1}"
                roi = _roi(polygons(outline))
                roi.name, roi.position = name, 0 if flat else index + 1
                safe = name.replace("/", "_").replace("\\", "_")
                archive.writestr(f"{safe}.roi", roi.tobytes())
    return file.getvalue()


def _roi(parts: list[list[np.ndarray]]) -> ImagejRoi:
    rings = [ring for part in parts for ring in part]
    corners = np.concatenate(rings)
    if len(rings) == 1:
        roi = ImagejRoi.frompoints(rings[0])
        roi.roitype = ROI_TYPE.TRACED
    else:
        roi = ImagejRoi()
        roi.roitype = ROI_TYPE.RECT
        path = [
            value
            for ring in rings
            for value in (
                *(_MOVE, *ring[0]),
                *(value for point in ring[1:] for value in (_LINE, *point)),
                _CLOSE,
            )
        ]
        roi.multi_coordinates = np.array(path, np.float32)
        roi.shape_roi_size = len(path)
    roi.left, roi.top = (int(value) for value in corners.min(axis=0))
    roi.right, roi.bottom = (int(value) for value in corners.max(axis=0))
    return roi
