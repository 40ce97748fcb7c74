"""Where a study's images come from: the studies folder, or volumes made here."""

from __future__ import annotations

from pathlib import Path

from lib.datasets.studies import Item, list_items

VOLUMES = 24
SEED = 0


def volume_items(folder: Path) -> list[Item]:
    """Return seeded phantom volumes of a gland with labels, written to `folder` where missing.

    They stand in for volumes that the publication does not have; see
    `lib.datasets.ultrasound_phantoms`.
    """
    from lib.datasets.ultrasound_phantoms import write_ultrasound_studies

    write_ultrasound_studies(
        folder, SEED, nerves=0, breasts=0, volumes=VOLUMES, loops=0, labelled=1.0
    )
    return list_items(folder, labelled=True)
