"""What 3D Slicer's MONAI Label module does with an answer and a label, by Slicer's own code.

Runs in the environment of tests/e2e/slicer/requirements.txt, apart from the app: a request a line
in, a reply a line out, both JSON. Arrays go through files. See `SlicerProcess` in slicer_client.py.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

MEMORY = 8 * 2**30  # bytes
# file types that Slicer reads by ITK and its package on PyPI is built without
_PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")


class Study:
    """A volume and the segmentation over it, in a scene of their own.

    Attributes:
        shift: largest distance between corners of the volume and of the label that was loaded last,
            in millimetres; None before.
    """

    def __init__(self, image: str) -> None:
        self.scene = slicer.vtkMRMLScene()
        self.logic = slicer.vtkSlicerSegmentationsModuleLogic()
        self.logic.SetMRMLScene(self.scene)
        self.volume = self._load(image, "vtkMRMLScalarVolumeNode", "vtkMRMLVectorVolumeNode")
        self.node = self.scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
        self.node.CreateDefaultDisplayNodes()
        self.node.SetReferenceImageGeometryParameterFromVolumeNode(self.volume)
        self.shift: float | None = None

    def _load(self, path: str, *classes: str) -> Any:
        """Load a file as `slicer.util.loadVolume` does: no centring, single file."""
        with tempfile.TemporaryDirectory() as folder:
            if path.lower().endswith(_PICTURES):
                image = sitk.ReadImage(path)
                image = sitk.JoinSeries(image) if image.GetDimension() == 2 else image
                path = str(Path(folder, "picture.nrrd"))
                sitk.WriteImage(image, path)
            for name in classes:
                node = self.scene.AddNewNodeByClass(name)
                storage = slicer.vtkMRMLVolumeArchetypeStorageNode()
                self.scene.AddNode(storage)
                storage.SetFileName(path)
                storage.SetSingleFile(True)
                storage.SetCenterImage(False)
                if storage.ReadData(node):
                    return node
        raise ValueError(f"Slicer cannot read {path}")

    def add_empty(self, names: list[str]) -> None:
        """Add segments as the module does for `info.labels` when a sample is opened."""
        for name in names:
            self.node.GetSegmentation().AddEmptySegment(name, name)

    def show(self, label: str, names: list[str]) -> None:
        """Import a label image as `updateSegmentationMask` of the module does."""
        node = self._load(label, "vtkMRMLLabelMapVolumeNode")
        self.shift = float(np.abs(_corners(self.volume) - _corners(node)).max())
        ids = vtk.vtkStringArray()
        for name in names:
            ids.InsertNextValue(name)
        if not self.logic.ImportLabelmapToSegmentationNode(node, self.node, ids):
            raise ValueError(f"Slicer cannot import {label}")

    def draw(self, segments: dict[str, np.ndarray]) -> None:
        """Add segments that a user draws, boolean `(k, j, i)` on the volume's grid by name."""
        for name, drawn in segments.items():
            voxels = vtk.vtkImageData()
            voxels.SetDimensions(drawn.shape[::-1])
            values = numpy_to_vtk(drawn.astype(np.uint8).ravel(), deep=True)
            voxels.GetPointData().SetScalars(values)
            node = self.scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode")
            node.CopyOrientation(self.volume)
            node.SetAndObserveImageData(voxels)
            ids = vtk.vtkStringArray()
            ids.InsertNextValue(name)
            if not self.logic.ImportLabelmapToSegmentationNode(node, self.node, ids):
                raise ValueError(f"Slicer cannot draw {name}")

    @property
    def segments(self) -> list[tuple[str, str]]:
        """Id and name of each segment, in order."""
        found = self.node.GetSegmentation()
        ids = [found.GetNthSegmentID(index) for index in range(found.GetNumberOfSegments())]
        return [(id, found.GetSegment(id).GetName()) for id in ids]

    def voxels(self) -> tuple[dict[str, np.ndarray], dict[str, int]]:
        """Return each segment on the grid of the volume, and how many voxels it has by itself."""
        shown, counts = {}, {}
        for id, name in self.segments:
            alone = slicer.vtkOrientedImageData()
            self.node.GetBinaryLabelmapRepresentation(id, alone)
            values = alone.GetPointData().GetScalars()
            counts[name] = int(np.count_nonzero(vtk_to_numpy(values))) if values else 0
            shown[name] = _array(self.export([id])) > 0
        return shown, counts

    def export(self, ids: list[str]) -> Any:
        """Return segments as a label node on the volume's grid, as `onSaveLabel` makes it."""
        node = self.scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode")
        chosen = vtk.vtkStringArray()
        for id in ids:
            chosen.InsertNextValue(id)
        if not self.logic.ExportSegmentsToLabelmapNode(self.node, chosen, node, self.volume):
            raise ValueError("Slicer cannot export the segments")
        return node

    def save(self, path: str) -> None:
        """Write all segments as a label image, or as they are (.seg.nrrd)."""
        if path.endswith(".seg.nrrd"):
            node, storage = self.node, slicer.vtkMRMLSegmentationStorageNode()
        else:
            node = self.export([id for id, _ in self.segments])
            storage = slicer.vtkMRMLVolumeArchetypeStorageNode()
        self.scene.AddNode(storage)
        storage.SetFileName(path)
        if not storage.WriteData(node):
            raise ValueError(f"Slicer cannot write {path}")


def _array(node: Any) -> np.ndarray:
    """Return the voxels of a volume, `(k, j, i)`, in colour `(k, j, i, 3)`."""
    image = node.GetImageData()
    values = vtk_to_numpy(image.GetPointData().GetScalars())
    shape = image.GetDimensions()[::-1]
    return values.reshape(shape if values.ndim == 1 else (*shape, values.shape[-1]))


def _corners(node: Any) -> np.ndarray:
    """Return the bounds of a volume in the world, x0, x1, y0, y1, z0, z1 in millimetres."""
    bounds = [0.0] * 6
    node.GetRASBounds(bounds)
    return np.array(bounds)


def _shown(study: Study, out: str) -> dict[str, Any]:
    shown, counts = study.voxels()
    arrays = {f"segment {index}": array for index, array in enumerate(shown.values())}
    np.savez(out, volume=_array(study.volume), **arrays)
    spacing = list(study.volume.GetSpacing())
    return {"names": list(shown), "counts": counts, "shift": study.shift, "spacing": spacing}


def show(image: str, label: str, names: list[str], out: str) -> dict[str, Any]:
    """Show a label over an image, and write the volume and each segment on its grid to `out`."""
    study = Study(image)
    study.show(label, names)
    return _shown(study, out)


def submit(
    image: str, label: str, names: list[str], first: list[str], file: str, out: str
) -> dict[str, Any]:
    """Show a label where segments of the names `first` are already, and write what Submit sends.

    Returns:
        What `show` does, with ``label_info``.
    """
    study = Study(image)
    study.add_empty(first)
    study.show(label, names)
    return _saved(study, file, out)


def draw(image: str, drawn: str, file: str, out: str) -> dict[str, Any]:
    """Draw the arrays of the file `drawn` as segments, and write what is sent of them as `file`."""
    study = Study(image)
    with np.load(drawn) as segments:
        study.draw(dict(segments))
    return _saved(study, file, out)


def _saved(study: Study, file: str, out: str) -> dict[str, Any]:
    study.save(file)
    info = [{"name": name, "idx": index + 1} for index, (_, name) in enumerate(study.segments)]
    return {**_shown(study, out), "label_info": info}


def voxels(image: str, out: str) -> dict[str, Any]:
    """Load an image alone, and write its voxels to `out`."""
    return _shown(Study(image), out)


ACTIONS = {action.__name__: action for action in (show, submit, draw, voxels)}


def main() -> None:
    """Answer requests until the input ends."""
    # a label far from its image would take all memory, as it does in Slicer
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no reply
    print(json.dumps({"ready": slicer.__name__}), file=replies, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            reply = ACTIONS[request.pop("do")](**request)
        except Exception as error:  # told to the test, which fails by it
            reply = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(reply), file=replies, flush=True)


if __name__ == "__main__":
    main()
