"""`familiarity`: which images are unlike those that weights were trained on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from lib.errors import InputError
from lib.tasks.registry import get_task
from lib.tasks.spec import TaskSpec
from monailabel_app.cli import options

MOST_OTHERS = 60  # images of a folder of others


@dataclass(frozen=True, kw_only=True)
class FamiliarityOptions(options.ModelOptions):
    """What `familiarity` is asked for."""

    task: str = options.task()
    studies: Path = options.studies()
    out: Path | None = options.option(
        "--out",
        type=options.FILE,
        help="Measure the images that the weights were trained on anew, in float32, and write the "
        "weights with what was found to this file.",
    )
    others: tuple[Path, ...] = options.option(
        "--other",
        "others",
        type=options.FOLDER,
        multiple=True,
        help=f"Folder of other images, to see how many of them are warned of ({MOST_OTHERS} of "
        "more, evenly chosen); may be repeated.",
    )
    json_file: Path | None = options.json_file()


@click.command()
@options.of(FamiliarityOptions)
def familiarity(chosen: FamiliarityOptions) -> None:
    """Tell how many images answers of TASK warn of, as they are unlike those it was trained on.

    STUDIES are the images that the weights were trained on, of which the split of training holds
    out a part. Training measures them at its end; weights from before it did get what they lack by
    --out. Of the held-out images each is held against the limit that the others set.
    """
    spec = get_task(chosen.task)
    from dataclasses import replace

    from tqdm import tqdm

    from lib.data.studies import fingerprint_of, split_items
    from lib.files import sha256
    from lib.kinds import kind_of, list_labelled
    from lib.training.batches import PreparedCases
    from lib.training.familiarity import features_of, measure_familiarity, with_familiarity
    from lib.weights.checkpoint import load_checkpoint, save_checkpoint, versions
    from lib.weights.familiarity import QUANTILE, warned_left_out
    from monailabel_app.cli.predictors import load_predictor

    kind = kind_of(spec)
    if kind.by_exam and spec.classifier.views:
        raise InputError(f"'{spec.name}' has a network for each view, whose maps are not alike")
    for folder in chosen.others:
        if not folder.is_dir():
            raise InputError(f"--other {folder}: no such folder")
    items, left_out = kind.matching(list_labelled(chosen.studies, spec), spec)
    options.show_left_out(left_out)
    training, held_out = (
        PreparedCases(part, spec, 0) for part in split_items(items, spec.training.val_split)
    )
    predictor, path = load_predictor(spec, chosen)
    if chosen.out is not None:
        exact, _ = load_predictor(spec, replace(chosen, precision="fp32"))
        with tqdm(unit="image", disable=None) as bar:
            found = measure_familiarity(exact, training, held_out, lambda: bar.update())
        if found is None:
            raise InputError(f"{len(items)} images are too few to tell which are unlike them")
        save_checkpoint(chosen.out, with_familiarity(load_checkpoint(path), found))
        click.echo(f"{chosen.out} written")
        predictor.familiarity = found
    known = predictor.familiarity
    if known is None:
        raise InputError(
            f"{path.name} does not know the images it was trained on; measure them with --out FILE"
        )
    features = features_of(predictor, held_out)
    if features is None:
        raise InputError(f"backend {predictor.backend.name} tells no features; choose torch")
    distances = [known.distance(one) for one in features]
    sets: dict[str, Any] = {
        "held out": _shares([distance / known.limit for distance in distances])
        | {"warned_left_out": warned_left_out(distances)}
    }
    for folder in chosen.others:
        sets[folder.name] = _of_folder(predictor, folder)
    if not kind.by_exam:
        sets |= {name: _shares(_strange(predictor, images)) for name, images in _made().items()}
    for name, row in sets.items():
        click.echo(f"{name:14} {row['warned']} of {row['images']} warned of")
    about = {
        "task": spec.name,
        "quantile": QUANTILE,
        "training": known.training,
        "validation": known.validation,
        "features": len(known.mean),
        "axes": len(known.spread),
        "limit": round(known.limit, 5),
        "weights": (chosen.out or path).name,
        "weights_sha256": sha256(chosen.out or path),
        "data": fingerprint_of(items),
        "backend": predictor.backend.name,
        "versions": versions(),
        "command": options.command_line(),
    }
    options.save_json(chosen.json_file, {"sets": sets, "about": about})


def _of_folder(predictor: Any, folder: Path) -> dict[str, Any]:
    """Return the shares of the images of a folder; those that cannot be read are counted."""
    from tqdm import tqdm

    from lib.kinds import kind_of
    from lib.training.familiarity import evenly

    by_exam = kind_of(predictor.task).by_exam
    list_all, strange = (_exams, _strange_views) if by_exam else (_images, _strange_image)
    found: list[float | None] = []
    refused, items = 0, list_all(folder, predictor.task)
    chosen = [items[index] for index in evenly(len(items), MOST_OTHERS)]
    for item in tqdm(chosen, desc=folder.name, disable=None):
        try:
            found += strange(predictor, item)
        except InputError:
            refused += 1
    return {**_shares(found), "refused": refused}


def _images(folder: Path, task: TaskSpec) -> list[Any]:
    from lib.data.studies import list_items

    return list_items(folder)


def _strange_image(predictor: Any, item: Any) -> list[float | None]:
    from lib.data.studies import read_item

    image = read_item(item, predictor.task)
    return [predictor(image, instances=False).strangeness]


def _exams(folder: Path, task: TaskSpec) -> list[Any]:
    from lib.classification.cases import list_task_exams

    return list_task_exams(folder, task)


def _strange_views(predictor: Any, exam: Any) -> list[float | None]:
    return [view.strangeness for view in predictor(exam, tissue=False).views.values()]


def _made() -> dict[str, list[Any]]:
    """Return images in which there is nothing at all, by name, 8-bit `(rows, columns)`."""
    import numpy as np

    rng = np.random.default_rng(0)
    shapes = ((256, 256), (270, 400), (512, 512), (360, 360))
    ramps = [np.add.outer(np.arange(rows), np.arange(columns)) for rows, columns in shapes]
    return {
        "blank": [np.full(shape, grey, np.uint8) for shape in shapes for grey in (0, 128, 255)],
        "noise": [rng.integers(0, 256, shape, np.uint8) for shape in shapes for _ in range(3)],
        "ramp": [(255.0 * ramp / ramp.max()).astype(np.uint8) for ramp in ramps],
    }


def _strange(predictor: Any, pictures: list[Any]) -> list[float | None]:
    from lib.image import Geometry, Image

    images = [Image(one, Geometry.flat(*one.shape), Path("made.png")) for one in pictures]
    return [predictor(image, instances=False).strangeness for image in images]


def _shares(found: list[float | None]) -> dict[str, Any]:
    """Return how many images are warned of, and the quartiles of how strange they are."""
    import numpy as np

    strange = np.minimum([one for one in found if one is not None], 1e6)
    quartiles = np.quantile(strange, (0.25, 0.5, 0.75)).tolist() if len(strange) else []
    return {
        "images": len(strange),
        "warned": int((strange > 1).sum()),
        "strangeness_quartiles": [round(value, 3) for value in quartiles],
    }
