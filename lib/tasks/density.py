"""Breast density from the views of a mammography exam: A against D, dense or not, BI-RADS A to D.

After slides on density with deep networks: a VGG19-type network for A against D, a residual one of
41 convolutions in 12 blocks for the other two, and one network for each view. Rows whose names end
in ``slides`` have their recipe, `SLIDES`. The other rows have our recipe and one network for each
projection: left breasts are mirrored to right, so that both sides train it. On mini-MIAS residual
networks that average their maps over the breast, with wider magnification, separated fatty from
dense breasts better than VGG19-type ones; so A against D has rows of both types.
"""

from __future__ import annotations

from dataclasses import replace

from lib.tasks.exam_spec import ClassSpec, ExamSpec
from lib.tasks.image_kind import MAMMOGRAPHY
from lib.tasks.image_spec import AugmentSpec, InputSpec
from lib.tasks.network_spec import BLOCKS, ENCODERS, ClassifierSpec
from lib.tasks.spec import Rows, TaskSpec
from lib.tasks.training_spec import TrainingSpec

ROWS = Rows()
VIEWS = ("R-CC", "L-CC", "R-MLO", "L-MLO")
PROJECTIONS = ("CC", "MLO")
SIZES = (250, 1050)  # smallest and largest input of the slides, pixels

# Stochastic gradient descent at 0.1, a tenth of it if the validation loss has not fallen for 15
# epochs; 100 epochs, batches of 8, categorical cross-entropy, turned by up to 20 degrees.
SLIDES = TrainingSpec(
    loss="cross_entropy",
    optimizer="plain_sgd",
    learning_rate=0.1,
    schedule="plateau",
    plateau_factor=0.1,
    plateau_patience=15,
    epochs=100,
    val_interval=0,
    batch_size=8,
)
SLIDES_AUGMENT = AugmentSpec(flips=False, rotate=20.0)

_OURS = TrainingSpec(
    loss="cross_entropy",
    optimizer="adamw",
    learning_rate=2e-3,
    weight_decay=1e-2,
    schedule="cosine",
    epochs=40,
    val_interval=0,
    batch_size=8,
    gradient_clip=1.0,
    averaging=0.99,
    label_smoothing=0.05,
    class_weights="balanced",
)
_AUGMENT = AugmentSpec(flips=False, rotate=20.0, zoom=(0.75, 1.3), gamma=1.25, noise=0.03)

_RESIDUAL = ClassifierSpec(in_channels=2, views=PROJECTIONS, dropout=0.2, pooling="breast")

_A_VS_D = ROWS.add(
    TaskSpec(
        name="density_a_vs_d",
        description="Breast density A or D from a mammography exam: residual networks of 41 "
        "convolutions, one for each projection",
        kind="classification",
        labels={"A": 1, "D": 4},
        modalities=MAMMOGRAPHY,
        dimensions=("mammogram",),
        network=_RESIDUAL,
        input=InputSpec(size=224, channels=("normalised", "original")),
        augment=_AUGMENT,
        training=_OURS,
        exam=ExamSpec(
            classes=(ClassSpec("A", ("A",), ("F",)), ClassSpec("D", ("D",), ("D",))),
            rule="mean",
            least_confidence=0.7,
        ),
        key_metric="exam_likelihood",
        reference="Slides on breast density (A vs D); He et al. 2016, ResNet",
    )
)
# VGG-19 is 16 convolutions and three fully connected layers; the slides name four widths, so each
# is taken for a stage of four.
_VGG = ROWS.add(
    replace(
        _A_VS_D,
        name="density_a_vs_d_vgg",
        description="Breast density A or D from a mammography exam: VGG19-type networks, one for "
        "each projection, 8 to 16 maps",
        network=ClassifierSpec(
            architecture="vgg",
            in_channels=2,
            channels=(8, 8, 16, 16),
            depths=(4, 4, 4, 4),
            hidden=(64, 32),
            views=PROJECTIONS,
        ),
        input=replace(_A_VS_D.input, size=350),
        reference="Slides on breast density (A vs D); Simonyan and Zisserman 2015, VGG",
    )
)
ROWS.add(
    replace(
        _VGG,
        name="density_a_vs_d_vgg_wide",
        description="Breast density A or D from a mammography exam: VGG19-type networks, one for "
        "each projection, 16 to 32 maps",
        network=replace(_VGG.classifier, channels=(16, 16, 32, 32)),
    )
)
_DENSE = ROWS.add(
    replace(
        _A_VS_D,
        name="density_dense",
        description="Dense (C, D) or non-dense (A, B) breasts from a mammography exam: residual "
        "networks of 41 convolutions, one for each projection; in label images 5 is non-dense, 6 "
        "dense",
        # beside 1 to 4 for A to D: an answer of two classes must not become a label of four
        labels={"non-dense": 5, "dense": 6},
        input=replace(_A_VS_D.input, size=650),
        training=replace(_OURS, class_weights="none"),  # both are common
        exam=ExamSpec(
            classes=(
                ClassSpec("non-dense", ("A", "B"), ("F", "G"), ("non-dense",)),
                ClassSpec("dense", ("C", "D"), ("D",), ("dense",)),
            ),
            rule="mean",
            least_confidence=0.7,
        ),
        reference="Slides on breast density (dense or not); He et al. 2016, ResNet",
    )
)
# A hundred steps from weights that know pictures: the longer it is trained on films of one
# detector, the worse it answers on those of others, and so it does where its statistics follow.
ROWS.add(
    replace(
        _DENSE,
        name="density_dense_lite",
        description="Dense (C, D) or non-dense (A, B) breasts from a mammography exam: one "
        "EfficientNet-lite0 for all views, from weights of ImageNet; in label images 5 is "
        "non-dense, 6 dense",
        network=ClassifierSpec(
            architecture="efficientnet_lite0",
            channels=ENCODERS["efficientnet_lite0"],
            depths=BLOCKS["efficientnet_lite0"],
            dropout=0.3,
            pooling="breast",
        ),
        input=InputSpec(size=256),
        augment=AugmentSpec(
            flips=False,
            rotate=20.0,
            zoom=(0.7, 1.4),
            blur=1.0,
            gamma=2.4,
            contrast=1.0,
            noise=0.05,
        ),
        training=replace(
            _OURS,
            learning_rate=3e-3,
            epochs=0,
            steps=100,
            val_interval=25,
            batch_size=16,
            averaging=0.98,
            label_smoothing=0.1,
            class_weights="balanced",
            start="imagenet",
            encoder_rate=0.1,
            encoder_statistics="kept",
        ),
        reference="Tan and Le 2019, EfficientNet (network)",
        weights_licence="CC-BY-4.0",
    )
)
_BIRADS = ROWS.add(
    replace(
        _DENSE,
        name="density_birads",
        description="Breast density A to D (BI-RADS) from a mammography exam: residual networks of "
        "41 convolutions, one for each projection",
        labels={"A": 1, "B": 2, "C": 3, "D": 4},
        network=replace(_DENSE.network, out_channels=4),
        training=replace(_OURS, loss="cross_entropy_emd"),
        exam=ExamSpec(
            classes=tuple(ClassSpec(name, (name,)) for name in "ABCD"),
            rule="denser_breast",
            least_confidence=0.5,
            disagreement=2,
        ),
        reference="Slides on breast density (A to D); He et al. 2016, ResNet",
    )
)
ROWS.add(
    replace(
        _BIRADS,
        name="density_birads_shared",
        description="Breast density A to D (BI-RADS) from a mammography exam: the same recipe with "
        "one residual network for all views, to compare with",
        network=replace(_BIRADS.classifier, views=()),
    )
)

# A hundred exams teach a linear head on histogram and texture as much as a network, or more. They
# are shown as they are: other greys and sizes would be other densities.
ROWS.add(
    replace(
        _BIRADS,
        name="density_birads_greys",
        description="Breast density A to D (BI-RADS) from a mammography exam: histogram and "
        "texture of the greys, a linear head for each projection",
        network=ClassifierSpec(
            architecture="greys",
            in_channels=2,
            out_channels=4,
            channels=(),
            depths=(),
            views=PROJECTIONS,
            pooling="breast",
        ),
        input=replace(_BIRADS.input, size=512),
        augment=AugmentSpec(flips=False),
        training=TrainingSpec(
            loss="cross_entropy",
            optimizer="adamw",
            learning_rate=0.03,
            weight_decay=0.1,
            schedule="cosine",
            steps=300,
            val_interval=100,
            batch_size=16,
            averaging=0.95,
        ),
        reference="Byng et al. 1996, Phys. Med. Biol. 41, 909; Karssemeijer 1998, Phys. Med. Biol. "
        "43, 365",
    )
)


def as_in_the_slides(task: TaskSpec) -> TaskSpec:
    """Return a sibling as in the slides: a network for each view, one grey, their training."""
    own = task.description.replace("each projection", "each view")
    return replace(
        task,
        name=f"{task.name}_slides",
        description=f"{own}; trained as in the slides",
        network=replace(task.classifier, in_channels=1, dropout=0.0, views=VIEWS, pooling="image"),
        input=replace(task.input, channels=("normalised",)),
        augment=SLIDES_AUGMENT,
        training=SLIDES,
        key_metric="exam_accuracy",
    )


for _row in (_VGG, _DENSE, _BIRADS):
    ROWS.add(as_in_the_slides(_row))
