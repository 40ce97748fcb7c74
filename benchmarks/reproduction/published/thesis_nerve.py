"""The thesis's study of the nerve: table 4, as printed."""

from __future__ import annotations

from typing import Any

from benchmarks.reproduction.panel_groups import by_class
from benchmarks.reproduction.published.recipes import NERVE_RECIPES
from benchmarks.reproduction.study import Bound, Printed, Study, Variant
from lib.datasets.importers import IMPORTERS

ROW = "nerve_vhllrhe"
TABLE = "Tab. 4"
STEPS = 1500


def _variant(name: str, moments: tuple[tuple[float, float, int], ...], **more: Any) -> Variant:
    """Return a configuration; `moments` are loss, mean IoU and steps, the best first."""
    best, *others = (
        Printed(loss=loss, mean_iou=mean_iou, steps=steps) for loss, mean_iou, steps in moments
    )
    return Variant(
        name=name,
        task=ROW,
        printed=best,
        recipes=("thesis", "ours"),
        other_steps=tuple(others),
        **more,
    )


def _asked(mean_iou: float) -> tuple[Bound, ...]:
    return (Bound("mean_iou", mean_iou, TABLE),)


def _dice(learning_rate: float) -> tuple[tuple[str, Any], ...]:
    return (("loss", "dice"), ("learning_rate", learning_rate))


THESIS_NERVE = Study(
    name="thesis-nerve",
    title="a nerve in ultrasound, and Dice alone at three learning rates",
    source="U-Net and V-Net variants for medical image segmentation (thesis), II.E and table 4",
    note="The printed figures are of Kaggle's ultrasound-nerve-segmentation; ours stand beside "
    "them as the same figures only where the folder of `--studies` holds these images. The 0.4937 "
    "that is printed four times is what the empty mask scores there (1.3 % of the pixels are "
    "nerve). A mean IoU of 0.61 is a foreground IoU of about 0.23.",
    recipes=NERVE_RECIPES,
    published="thesis",
    steps=STEPS,
    often_absent=True,
    panel_groups=by_class,
    importer=IMPORTERS["nerve"].run,
    tables=(TABLE,),
    variants=(
        _variant(
            "No_Prior",
            ((0.2537, 0.6105, 25000), (0.2983, 0.4954, 20015), (0.2989, 0.4940, 30000)),
            bounds=_asked(0.6105),
        ),
        _variant(
            "From_Prior",
            ((0.2432, 0.6038, 25321), (0.3024, 0.4937, 20423), (0.3084, 0.4937, 30000)),
            bounds=_asked(0.6038),
            pretrained=True,
        ),
        _variant(
            "Dice_Lr1e3",
            ((0.1386, 0.4937, 25000),),
            training=_dice(1e-3),
            collapses=("thesis",),
        ),
        _variant(
            "Dice_Lr1e4",
            ((0.1386, 0.4937, 25000),),
            training=_dice(1e-4),
            collapses=("thesis",),
        ),
        _variant(
            "Dice_Lr1e5",
            ((0.9042, 0.5825, 25000),),
            bounds=_asked(0.5825),
            training=_dice(1e-5),
        ),
    ),
    differences=(
        (
            "images",
            "5635 slices of 49 volumes; how they were split is not said of this study (70 % "
            "trained on in that of nuclei)",
            "the folder of `--studies`; 30 % of the subjects, by a hash, tested on; of the others "
            "a fifth chooses the step",
        ),
        (
            "steps",
            "30000 for No_Prior and From_Prior, 25000 for Dice alone (50000 in the caption of "
            "figure 10), of one image each",
            f"{STEPS} for all unless `--steps` is given, of one image in the thesis's setting and "
            f"a batch in ours",
        ),
        (
            "moment tested",
            "several of one training, the best among them",
            "the last step in the thesis's setting, the best on the validation images in ours",
        ),
        (
            "prior",
            "VHLLRHe on nuclei at step 3500, trained further up to step 30000",
            "`--prior FILE`; else the weights of `nuclei_vhllrhe` that come with the app where "
            "they fit the network; else 3500/30000 of the steps on phantoms of nuclei; then as "
            "many steps as No_Prior",
        ),
        (
            "frames",
            "cropped or mirrored to 256x256 or 512x512",
            "trained on patches of 256x256 in the thesis's setting, tested on whole frames; frames "
            "shrunk in ours, see below",
        ),
        (
            "mean IoU",
            "not said whether over all pixels or a mean over images",
            "over all pixels; under More figures the mean over images too",
        ),
        (
            "nearly equal frames with and without a mask",
            "not mentioned",
            "kept as they are; the import lists them in contradictions.csv",
        ),
        ("names", "Dice_Lr13, 14, 15 in Tab. 4", "Dice_Lr1e3, 1e4, 1e5, as in the text"),
        ("library", "TensorFlow", "PyTorch"),
    ),
)
