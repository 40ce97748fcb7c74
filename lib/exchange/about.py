"""What a model that is passed on says of itself."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

from lib.exchange.source import SCRIPTS
from lib.tasks.network_spec import ClassifierSpec
from lib.tasks.spec import TaskSpec
from lib.weights.checkpoint import Checkpoint

# what the scripts import, by the names of the packages
_PACKAGES = ("monai", "torch", "numpy", "scipy", "scikit-image", "Pillow", "pytorch-ignite")
_READERS = ("nibabel",)  # by MONAI, to write answers


@dataclass(frozen=True, kw_only=True)
class About:
    """What a model that is passed on says of itself.

    Attributes:
        version: of the weights, as the app names it.
        software: version of the app.
        licence: text of the licence of the code.
    """

    version: str
    software: str
    licence: str = ""


def spec_of(part: Any) -> dict[str, Any]:
    """Return a spec as JSON holds it."""
    plain: dict[str, Any] = json.loads(json.dumps(asdict(part)))
    return plain


def metadata(task: TaskSpec, checkpoint: Checkpoint, about: About) -> dict[str, Any]:
    """Return the bundle's ``metadata.json``."""
    found = {name: version(name) for name in (*_PACKAGES, *_READERS)}
    network = task.network
    others = {name: f">={found[name]}" for name in (*_PACKAGES[3:], *_READERS)}
    return {
        "version": about.version or "0.1.0",
        "changelog": {about.version or "0.1.0": f"exported by unetvnet {about.software}"},
        "monai_version": found["monai"],
        "pytorch_version": found["torch"],
        "numpy_version": found["numpy"],
        "required_packages_version": others,
        "name": task.name,
        "task": task.description,
        "description": task.description,
        "authors": "unetvnet",
        "copyright": task.weights_licence or "the weights belong to who trained them",
        "references": [task.reference],
        "label_classes": task.labels,
        "eval_metrics": dict(checkpoint.metrics),
        "intended_use": "research and annotation; not a medical device",
        "app": {
            "spec": json.loads(json.dumps(task.as_dict(), default=dict)),
            "answer": json.loads(json.dumps(checkpoint.answer, default=list)),
            "own_code": f"{SCRIPTS}/ carries network, preparation and what follows from the "
            "probabilities (mask, separation of objects, rules for exams) as the app has them",
            "not_carried": _not_carried(task),
        },
        "network_data_format": {
            "inputs": {"image": _input(task)},
            "outputs": {"pred": _output(task, network.out_channels)},
        },
    }


def _not_carried(task: TaskSpec) -> str:
    if task.exam is not None:
        return (
            "reading of DICOM mammograms (look-up tables, windows, tags of the view), reasons to "
            "doubt an answer, dense tissue, maps of where the network looks"
        )
    return (
        "reading by the app: choice of a channel, frames of loops one by one, the region of an "
        "ultrasound image without its margins; averaging over mirrored copies"
    )


def _input(task: TaskSpec) -> dict[str, Any]:
    network = task.network
    if isinstance(network, ClassifierSpec):
        shape: list[Any] = list(task.input.sides)
        channels = dict(enumerate(task.input.channels))
    else:
        side = f"{network.divisor}*n" if network.padding == "same" else network.input_size(1)
        shape = [side] * network.spatial_dims
        channels = dict(enumerate(task.input.channels if task.input.coloured else ("grey",)))
    return {
        "type": "image",
        "format": "magnitude",
        "modality": ", ".join(task.modalities) or "any",
        "num_channels": network.in_channels,
        "spatial_shape": shape,
        "dtype": "float32",
        "value_range": [0, 1],
        "is_patch_data": False,
        "channel_def": {str(number): name for number, name in channels.items()},
    }


def _output(task: TaskSpec, channels: int) -> dict[str, Any]:
    exam = task.exam is not None
    names = task.exam_rules.names if exam else task.target.answered
    return {
        "type": "probabilities",
        "format": "classification" if exam else "segmentation",
        "num_channels": channels,
        "spatial_shape": [] if exam else _input(task)["spatial_shape"],
        "dtype": "float32",
        "value_range": [0, 1],
        "is_patch_data": False,
        "channel_def": {str(number): name for number, name in enumerate(names)},
    }


def readme(task: TaskSpec, about: About) -> str:
    """Return the bundle's ``docs/README.md``."""
    if task.exam is not None:
        images = "pictures of mammograms whose names tell exam and view, as `EXAM_R-CC.png`"
        answers = "`eval/exams.json`: probabilities of each exam and view"
    else:
        images = "images that MONAI reads, of one channel, or red, green and blue"
        answers = "`eval/`: a mask of each image" + (
            ", and its objects, numbered" if task.output.instances else ""
        )
    return f"""# {task.name}

{task.description}. {task.reference}.

Version {about.version or "unknown"} of the weights, exported by unetvnet {about.software}.
Not a medical device: for research and annotation.

Put {images} into `images/` of this folder, then, in it:

```
python -m monai.bundle run --config_file configs/inference.json
```

writes {answers}. Another folder: `--dataset_dir DIR --output_dir DIR`. MONAI alone is needed, with
the packages that `configs/metadata.json` names. `scripts/` is code of the app, unchanged but for
the names in its imports. Not carried: {_not_carried(task)}.

From another folder, as by `monai.bundle.load`, put this folder on `PYTHONPATH`, so that its
`scripts` are found. Two bundles in one process share the `scripts` of the first.
"""
