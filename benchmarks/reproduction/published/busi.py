"""Lesions in breast ultrasound, often absent: what stands in for the nerve of the thesis."""

from __future__ import annotations

from benchmarks.reproduction.panel_groups import by_class
from benchmarks.reproduction.published.recipes import OURS
from benchmarks.reproduction.study import Bound, Study, Variant
from lib.datasets.importers import IMPORTERS

_ASKED = "asked of the nerve recipe"

BUSI = Study(
    name="busi",
    title="a lesion in breast ultrasound, by the nerve recipe",
    source="Al-Dhabyani et al., Dataset of breast ultrasound images, Data in Brief 28:104863, 2020",
    note="BUSI stands in for the nerve data (Kaggle's ultrasound-nerve-segmentation), which cannot "
    "be had here: ultrasound with a structure that many images lack. Images that show the same are "
    "on one side of the split.",
    recipes={"ours": OURS},
    test_share=0.2,
    val_share=0.15,
    often_absent=True,
    panel_groups=by_class,
    importer=IMPORTERS["busi"].run,
    tables=(),
    variants=(
        Variant(
            name="busi_lesion",
            task="busi_lesion",
            bounds=(
                Bound("dice_kaggle", 0.72, _ASKED),
                Bound("dice_positive", 0.68, _ASKED),
                Bound("presence_auc", 0.85, _ASKED),
            ),
        ),
    ),
)
