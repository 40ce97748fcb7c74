"""The thesis's study of nuclei: tables 1 to 3, as printed."""

from __future__ import annotations

from benchmarks.reproduction.published.recipes import NUCLEI_RECIPES
from benchmarks.reproduction.study import Bound, Printed, Study, Variant

CORRECTED_DICE = 0.90


def _variant(
    name: str, loss: float | None, mean_iou: float | None, percent: tuple[float, float, float]
) -> Variant:
    """Return a configuration; `percent` is accuracy, precision and recall of Tab. 3."""
    accuracy, precision, recall = (round(value / 100, 6) for value in percent)
    bound = (
        Bound("accuracy", accuracy, "Tab. 3")
        if mean_iou is None
        else Bound("mean_iou", mean_iou, "Tab. 2")
    )
    printed = Printed(
        loss=loss, mean_iou=mean_iou, accuracy=accuracy, precision=precision, recall=recall
    )
    return Variant(name=name, task=f"nuclei_{name.lower()}", printed=printed, bounds=(bound,))


THESIS_NUCLEI = Study(
    name="thesis-nuclei",
    title="U-Net and V-Net variants on nuclei",
    source="U-Net and V-Net variants for medical image segmentation (thesis), tables 1 to 3",
    recipes=NUCLEI_RECIPES,
    published="thesis",
    steps=3500,
    variants=(
        _variant("U3CLR", 0.0745, 0.8932, (97.6663, 93.5002, 86.1195)),
        _variant("U5HLLR", 0.2392, 0.9054, (97.8816, 91.0258, 90.9301)),
        _variant("HUV", 0.0747, 0.8864, (97.5772, 96.5799, 82.2877)),
        _variant("VCR", None, None, (97.7037, 95.9587, 83.9880)),
        _variant("VHLR", 0.2084, 0.9161, (97.9704, 94.3029, 88.0402)),
        _variant("VCLR", 0.0753, 0.8929, (98.1818, 94.6954, 89.5369)),
        _variant("VHLLRHe", 0.2114, 0.9173, (98.1960, 94.0450, 90.3635)),
        Variant(
            name="VDLRHe",
            task="nuclei_vdlrhe",
            printed=Printed(
                loss=0.2870, mean_iou=0.5255, accuracy=0.761173, precision=0.324727, recall=0.957107
            ),
            bounds=(Bound("mean_iou", CORRECTED_DICE, "Dice alone, corrected setting"),),
            recipes=("thesis", "ours"),
            collapses=("thesis",),
        ),
        Variant(name="default model", task="nuclei", steps=8000),
        Variant(name="U-Net 2015", task="nuclei_unet2015"),
        Variant(name="V-Net 2016", task="ultrasound3d_vnet2016", source="volumes", steps=150),
    ),
    differences=(
        (
            "images",
            "Kaggle DSB 2018 stage1_train, 70 % trained on, 30 % tested on; which is not said",
            "the studies folder; 30 % by a hash of the id tested on; of the others a fifth chooses "
            "the step, so 56 % are trained on",
        ),
        (
            "steps",
            "3500; 'each training sample is a step, and each step is processed with 5 epochs'",
            "optimiser steps, one per batch",
        ),
        (
            "truth at the test",
            "not said whether the eroded mask or the one drawn",
            "the mask as drawn, under both settings; validation curves of the thesis's setting are "
            "against the eroded one",
        ),
        (
            "dilation afterwards (thesis's setting)",
            "binary dilation of the mask",
            "only between two objects, where the erosion was; dilating every border would enlarge "
            "the objects that nothing was taken from",
        ),
        (
            "objects, for AP50",
            "not separated but by the erosion",
            "connected components under the thesis's setting, watershed under ours",
        ),
        ("normalisation", "'normalised'", "percentiles to 0 and 1, as the row says"),
        ("convolutions per stage", "not printed", "U-Net 2; V-Net 1, 2, 3, 3, 3 as in 2016"),
        (
            "names in Tab. 2 and Tab. 3",
            "by accuracy, precision and recall, Tab. 3's VCR has Tab. 2's mean IoU of VCLR, and "
            "its VCLR that of VHLR; the tables cannot both be right",
            "compared by name, as printed",
        ),
        (
            "the originals",
            "U-Net 2015: dropout, two softmax maps, class weights, SGD; V-Net 2016: two softmax "
            "maps, SGD",
            "one sigmoid map, no dropout, no class weights (w_c = 1), Adam; up-convolutions have "
            "an activation",
        ),
        ("volumes of the 3D original", "none", "phantoms of a gland, for want of printed figures"),
        ("library", "TensorFlow", "PyTorch"),
    ),
)
