"""A model as a MONAI Bundle, which loads and answers with MONAI alone.

The layout is that of the bundle specification
(https://docs.monai.io/en/stable/bundle_intro.html): ``configs/metadata.json``,
``configs/inference.json``, ``models/model.pt``, ``docs/README.md``, ``LICENSE``, and ``scripts``
with the network and the transforms as this app has them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from lib.errors import InputError
from lib.exchange.about import About, metadata, readme, spec_of
from lib.exchange.source import SCRIPTS, write_scripts
from lib.files import write_json
from lib.leftovers import new_folder
from lib.tasks.network_spec import ClassifierSpec
from lib.tasks.spec import TaskSpec
from lib.weights.checkpoint import Checkpoint, load_network


def write_bundle(folder: Path, task: TaskSpec, checkpoint: Checkpoint, about: About) -> Path:
    """Write the bundle of a model into a new folder, whole or not at all, and return it.

    Args:
        folder: must not exist.
        task: as the weights need it, see `NetworkRunner.as_trained`.

    Raises:
        InputError: the folder exists, the weights do not fit, or a bundle cannot hold the task.
    """
    if folder.exists():
        raise InputError(f"'{folder}' exists already; give a new folder for the bundle")
    if task.clicks is not None:
        raise InputError(
            f"'{task.name}' follows clicks, which a bundle cannot hand to its network; export it "
            f"with --format onnx, where they are a second input"
        )
    if task.input.orientation:
        raise InputError(
            f"'{task.name}' turns volumes to {task.input.orientation}, which a bundle written here "
            f"does not; pass on the bundle that it was imported from"
        )
    state = load_network(task, checkpoint).state_dict()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with new_folder(folder.parent, ".bundle-") as partial:
        made = partial / "bundle"
        for name in ("configs", "models", "docs"):
            (made / name).mkdir(parents=True)
        exam = isinstance(task.network, ClassifierSpec)
        parts = f"lib.exchange.{'classification' if exam else 'segmentation'}_parts"
        write_scripts(made, parts)
        config = (_exam_config if exam else _image_config)(
            task, checkpoint, f"{SCRIPTS}{parts[3:]}"
        )
        write_json(made / "configs" / "inference.json", config)
        write_json(made / "configs" / "metadata.json", metadata(task, checkpoint, about))
        torch.save({name: value.float() for name, value in state.items()}, made / "models/model.pt")
        (made / "docs" / "README.md").write_text(readme(task, about), encoding="utf-8")
        if about.licence:
            (made / "LICENSE").write_text(about.licence, encoding="utf-8")
        made.rename(folder)
    return folder


def _workflow(
    pre: list[Any], inferer: Any, post: list[Any], network: Any, **more: Any
) -> dict[str, Any]:
    """Return what the inference of both kinds of tasks has."""
    handlers = more.pop("handlers", [])
    evaluator = more.pop("evaluator", {})
    return {
        "imports": ["$import glob", "$import os", "$import numpy as np", "$import torch"],
        "bundle_root": ".",
        "dataset_dir": "$@bundle_root + '/images'",
        "output_dir": "$@bundle_root + '/eval'",
        "datalist": "$[{'image': f} for f in sorted(glob.glob(os.path.join(@dataset_dir, '*')))]",
        "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        "network_def": network,
        "network": "$@network_def.to(@device)",
        **more,
        "preprocessing": {"_target_": "Compose", "transforms": pre},
        "dataset": {"_target_": "Dataset", "data": "@datalist", "transform": "@preprocessing"},
        "dataloader": {
            "_target_": "DataLoader",
            "dataset": "@dataset",
            "batch_size": 1,
            "shuffle": False,
            "num_workers": 0,
        },
        "inferer": inferer,
        "postprocessing": {"_target_": "Compose", "transforms": post},
        "handlers": [
            {
                "_target_": "CheckpointLoader",
                "load_path": "$@bundle_root + '/models/model.pt'",
                "load_dict": {"model": "@network"},
                "map_location": "@device",
            },
            *handlers,
        ],
        "evaluator": {
            "_target_": "SupervisedEvaluator",
            "device": "@device",
            "val_data_loader": "@dataloader",
            "network": "@network",
            "inferer": "@inferer",
            "postprocessing": "@postprocessing",
            "val_handlers": "@handlers",
            **evaluator,
        },
        "run": ["$@evaluator.run()"],
    }


def _image_config(task: TaskSpec, checkpoint: Checkpoint, parts: str) -> dict[str, Any]:
    """Return the bundle's ``inference.json`` of a segmentation task."""
    read = spec_of(task.input)
    saved = ["mask", "objects"] if task.output.instances else ["mask"]
    return _workflow(
        [
            {"_target_": "LoadImaged", "keys": "image"},
            {"_target_": "EnsureChannelFirstd", "keys": "image"},
            {"_target_": f"{parts}.PrepareImaged", "keys": "image", **read},
        ],
        {"_target_": f"{parts}.WindowInferer", "spec": "$@network_def.spec"},
        [
            {"_target_": f"{parts}.OnImageGridd", "keys": "pred", "image_key": "image", **read},
            {
                "_target_": f"{parts}.MaskAndObjectsd",
                "keys": "pred",
                "labels": dict(task.labels),
                "target": spec_of(task.target),
                "output": spec_of(task.output),
            },
            *(
                {
                    "_target_": "SaveImaged",
                    "keys": key,
                    "output_dir": "@output_dir",
                    "output_postfix": key,
                    "output_dtype": "$np.int32" if key == "objects" else "$np.uint8",
                    "mode": "nearest",  # the grids are equal: nothing is resampled
                    "separate_folder": False,
                    "allow_missing_keys": True,
                }
                for key in saved
            ),
        ],
        {"_target_": f"{parts}.network", **spec_of(task.network)},
    )


def _exam_config(task: TaskSpec, checkpoint: Checkpoint, parts: str) -> dict[str, Any]:
    """Return the bundle's ``inference.json`` of a task on mammograms."""
    network = spec_of(task.network)
    return _workflow(
        [
            {"_target_": "LoadImaged", "keys": "image", "dtype": None},
            {"_target_": "EnsureChannelFirstd", "keys": "image"},
            {
                "_target_": f"{parts}.PrepareViewd",
                "keys": "image",
                "network": network,
                "trained": checkpoint.answer.get("views"),
                **spec_of(task.input),
            },
        ],
        {"_target_": "SimpleInferer"},
        [
            {
                "_target_": f"{parts}.ClassProbabilitiesd",
                "keys": "pred",
                "temperature": float(checkpoint.answer.get("temperature", 1.0)),
            }
        ],
        {"_target_": f"{parts}.network", **network},
        handlers=[
            {
                "_target_": f"{parts}.ExamAnswers",
                "file": "$@output_dir + '/exams.json'",
                "exam": spec_of(task.exam_rules),
            }
        ],
        evaluator={"prepare_batch": {"_target_": f"{parts}.PrepareViews"}},
    )
