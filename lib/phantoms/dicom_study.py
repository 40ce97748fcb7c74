"""What a phantom study is, and a volume as DICOM slices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lib.phantoms.dicom_objects import decimals, image_instance, study_uid
from lib.phantoms.pelvis.scan import Scan
from lib.phantoms.ultrasound.studies import Phantom

Drawn = Phantom | Scan


@dataclass(frozen=True, kw_only=True)
class DemoStudy:
    """One study.

    Attributes:
        kind: volume, ct, volume_us, frame, cine, mammograms, or what a demo calls it.
        datasets: its instances; those of a volume of slices are not in spatial order.
        truth: labels on the grid of the images, `(rows, columns)` or `(slices, rows, columns)`; for
            mammograms the dense tissue; by SeriesInstanceUID, where a series has several images by
            SOPInstanceUID.
        pixels: what was drawn, in the same shape and by the same UIDs.
        density: density class of an exam, else empty.
    """

    kind: str
    datasets: tuple[Any, ...]
    truth: dict[str, np.ndarray] = field(default_factory=dict)
    pixels: dict[str, np.ndarray] = field(default_factory=dict)
    density: str = ""

    @property
    def study(self) -> str:
        """StudyInstanceUID."""
        return str(self.datasets[0].StudyInstanceUID)

    @property
    def series(self) -> list[str]:
        """SeriesInstanceUIDs, in order."""
        return list(dict.fromkeys(str(data.SeriesInstanceUID) for data in self.datasets))


def slices_study(
    sop_class: str,
    key: tuple[str, str, int],
    pixels: np.ndarray,
    phantom: Drawn,
    axes: tuple[tuple[float, ...], tuple[float, ...]],
    corner: tuple[float, float, float] = (-30.0, 20.0, 15.0),
    **tags: Any,
) -> DemoStudy:
    """Return a volume as one instance for each slice, with its position, in mixed order.

    Args:
        key: kind of study, modality and seed.
        pixels: as they are stored.
        axes: unit vectors along a row and along a column.
        corner: position of the first pixel, mm.
        tags: further attributes of each instance, by keyword.
    """
    name, modality, seed = key
    normal = np.cross(*axes)
    instances = []
    for index, plane in enumerate(pixels):
        position = np.array(corner) + index * phantom.spacing[0] * normal
        instances.append(
            image_instance(
                sop_class,
                modality,
                (name, seed, 1, index),
                plane[None],
                InstanceNumber=index + 1,
                FrameOfReferenceUID=study_uid(name, seed, "frame of reference"),
                PositionReferenceIndicator="",
                ImagePositionPatient=decimals(position),
                ImageOrientationPatient=decimals((*axes[0], *axes[1])),
                PixelSpacing=decimals(phantom.spacing[1:]),
                SliceThickness=f"{phantom.spacing[0]:g}",
                **tags,
            )
        )
    order = np.random.default_rng(seed).permutation(len(instances))
    return one_series(name, [instances[index] for index in order], phantom)


def one_series(kind: str, datasets: Sequence[Any], phantom: Drawn) -> DemoStudy:
    """Return a study whose instances are one image."""
    series = str(datasets[0].SeriesInstanceUID)
    return DemoStudy(
        kind=kind,
        datasets=tuple(datasets),
        truth={series: phantom.label},
        pixels={series: phantom.image},
    )
