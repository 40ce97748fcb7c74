"""The slides' study of breast density: accuracy by view, breast, exam and input size, as printed.

The accuracies are those of the test exams at the epoch that was best on the validation exams. The
tables of A against D name no projection; where they repeat one that is named, it is the right
cranio-caudal. Best epochs and validation accuracies, which the slides print too, are left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.reproduction.published.recipes import DENSITY_RECIPES
from benchmarks.reproduction.sources import import_mammograms
from benchmarks.reproduction.study import Study, Variant

SIZES = tuple(range(250, 1051, 100))  # of A against D; the other tasks end at 850

Percent = Mapping[str, Sequence[float]]

# in per cent, by view, breast ("R", "L") and exam, from the smallest size on
NARROW: Percent = {"R-CC": (92.5, 95.0, 82.5, 92.5, 87.5, 90.0, 95.0, 92.5, 92.5)}
WIDE: Percent = {"R-CC": (90.0, 97.5, 95.0, 90.0, 90.0, 95.0, 95.0, 95.0, 95.0)}
WIDE_COMBINED: dict[int, dict[str, float]] = {
    350: {"R": 95.0, "L": 95.0, "exam": 95.0},
    750: {"R": 95.0, "L": 95.0, "exam": 95.0},
}
DENSE: Percent = {
    "R-CC": (84.4, 88.1, 85.0, 88.8, 86.9, 84.4, 83.4),
    "L-CC": (83.1, 85.0, 83.8, 83.1, 85.0, 82.5, 81.9),
    "R-MLO": (86.9, 83.1, 85.6, 85.6, 87.5, 87.5, 86.3),
    "L-MLO": (83.4, 84.4, 85.0, 82.5, 85.0, 86.3, 85.0),
}
DENSE_COMBINED: dict[int, dict[str, float]] = {
    650: {"R": 88.8, "L": 85.0, "exam": 89.4},
    750: {"R": 85.6, "L": 85.0, "exam": 87.5},
    850: {"R": 86.3, "L": 86.9, "exam": 86.3},
}
BIRADS: Percent = {
    "R-CC": (67.3, 68.9, 73.3, 70.7, 74.7, 72.7, 72.3),
    "L-CC": (64.7, 70.0, 69.3, 62.7, 68.7, 66.7, 71.3),
    "R-MLO": (70.7, 72.0, 72.7, 72.7, 71.3, 74.0, 75.3),
    "L-MLO": (69.3, 73.3, 68.7, 68.0, 71.3, 68.7, 67.3),
    "R": (74.7, 76.7, 74.7, 72.7, 77.3, 76.0, 72.7),
    "L": (72.7, 70.7, 72.0, 68.7, 74.7, 72.7, 72.0),
    "exam": (76.0, 76.7, 74.0, 73.3, 78.0, 75.3, 72.0),
}


def _variants(
    title: str,
    task: str,
    printed: Percent,
    combined: Mapping[int, Mapping[str, float]] | None = None,
) -> list[Variant]:
    """Return a variant of `task` for each input size that something is printed of."""
    count = max(map(len, printed.values()))
    found = []
    for column, size in enumerate(SIZES[:count]):
        percent = {name: values[column] for name, values in printed.items()}
        percent |= (combined or {}).get(size, {})
        accuracy = {name: round(value / 100, 4) for name, value in percent.items()}
        name = f"{title}, {size} px"
        found.append(Variant(name=name, task=task, size=size, accuracy=accuracy))
    return found


DENSITY = Study(
    name="density",
    title="breast density by input size",
    source="Residual convolutional neural networks for breast density assessment (slides): results "
    "by input size, tables of each projection and of projections combined",
    note="The printed accuracies are of 1962 exams of one hospital, which are not public; ours are "
    "of the folder of `--studies` and stand beside them, not against them. Where its labels are "
    "of mini-MIAS (films, oblique views alone, tissue F, G and D), A is F and dense is D. The "
    "tables of A against D by input size name no projection; they are set beside R-CC, whose "
    "figures they repeat where it is named.",
    recipes=DENSITY_RECIPES,
    published="slides",
    subject="exams",
    folds=5,
    val_share=0.15,
    importer=import_mammograms,
    tables=(),
    variants=(
        Variant(name="A vs D, residual, 224 px", task="density_a_vs_d", size=224),
        *_variants("A vs D, narrow", "density_a_vs_d_vgg", NARROW),
        *_variants("A vs D, wide", "density_a_vs_d_vgg_wide", WIDE, WIDE_COMBINED),
        *_variants("dense or not", "density_dense", DENSE, DENSE_COMBINED),
        *_variants("BI-RADS A to D", "density_birads", BIRADS),
        Variant(
            name="BI-RADS A to D, shared network, 650 px", task="density_birads_shared", size=650
        ),
    ),
    differences=(
        (
            "exams",
            "1962 of one hospital, four views each: A 264, B 611, C 888, D 199; badly exposed ones "
            "excluded; not public",
            "the folder of `--studies`",
        ),
        (
            "split, exams",
            "one: A vs D 150, 20 and 20; dense or not 1356, 120 and 120; A to D 1170, 150 and 150 "
            "(trained, validated, tested)",
            "cross-validation by patient, every exam tested on once; of the others 15 % choose the "
            "epoch in the slides' setting, and in both the temperature",
        ),
        (
            "depths and widths",
            "VGG19-type: four widths, no depths; residual: 41 convolutions in 12 blocks, no widths",
            "VGG19-type: four convolutions of each width; residual: a quarter of the widths of "
            "ResNet-50",
        ),
        (
            "images",
            "'centred and normalised'",
            "the breast found, cropped and mirrored to one side, scaled with its aspect kept",
        ),
        (
            "exam, A vs D and dense or not",
            "mean of the scores of the four views",
            "the same, of the views that the exam has",
        ),
        (
            "exam, A to D",
            "mean of each breast's views, then the denser class",
            "the same; its probabilities are those of the denser breast",
        ),
        (
            "breast",
            "compared with the exam's class",
            "the same, as labels are of exams",
        ),
        ("probabilities", "softmax", "softmax, divided by a temperature of the validation exams"),
        ("intervals", "none", "95 %, bootstrap over patients"),
    ),
)
