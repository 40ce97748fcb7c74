"""Structures in CT, MR and PET: volumes of slices."""

from __future__ import annotations

from dataclasses import replace

from lib.tasks.image_kind import SCANS
from lib.tasks.spec import Rows
from lib.tasks.ultrasound import CLICKED_VOLUME, VOLUME

ROWS = Rows()

ROWS.add(
    replace(
        VOLUME,
        name="volume_vnet",
        description="A structure in CT, MR or PET volumes: the V-Net and recipe of 3D ultrasound",
        modalities=SCANS,
    )
)
ROWS.add(
    replace(
        CLICKED_VOLUME,
        name="volume_click",
        description="A structure in CT, MR or PET volumes that follows clicks: the V-Net whose "
        "decoder sees them",
        modalities=SCANS,
    )
)
