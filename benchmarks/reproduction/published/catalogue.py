"""The studies that `reproduce` knows: a YAML file each, with what the publication prints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from benchmarks.reproduction.published.recipes import (
    DENSITY_RECIPES,
    NERVE_RECIPES,
    NUCLEI_RECIPES,
    OURS,
)
from benchmarks.reproduction.sources import Importer, import_mammograms
from benchmarks.reproduction.study import Bound, Printed, Recipe, Study, Variant
from lib.datasets.importers import IMPORTERS
from lib.errors import choose


def _read(name: str, recipes: Mapping[str, Recipe], importer: Importer | None = None) -> Study:
    """Return the study in the file called `name`, whose keys are the fields of `Study`."""
    content = yaml.safe_load(Path(__file__).with_name(f"{name}.yaml").read_text())
    content["variants"] = tuple(v for row in content["variants"] for v in _variants(row))
    return Study(**content, recipes=recipes, importer=importer)


def _variants(row: dict[str, Any]) -> Iterator[Variant]:
    """Yield the variants of a row, whose keys are the fields of `Variant`.

    A row with `sizes` is a variant for each; `percent` has its accuracies, a column for each size.
    """
    for column, size in enumerate(row.get("sizes", ())):
        percent = {case: values[column] for case, values in row["percent"].items()}
        accuracy = {case: round(value / 100, 4) for case, value in percent.items() if value}
        name = f"{row['name']}, {size} px"
        yield Variant(name=name, task=row["task"], size=size, accuracy=accuracy)
    if "sizes" not in row:
        row |= {
            "printed": Printed(**row.get("printed", {})),
            "other_steps": tuple(Printed(**moment) for moment in row.get("other_steps", ())),
            "bounds": tuple(Bound(**bound) for bound in row.get("bounds", ())),
        }
        yield Variant(**row)


STUDIES: dict[str, Study] = {
    study.name: study
    for study in (
        _read("thesis_nuclei", NUCLEI_RECIPES),
        _read("thesis_nerve", NERVE_RECIPES, IMPORTERS["nerve"].run),
        _read("busi", {"ours": OURS}, IMPORTERS["busi"].run),
        _read("density", DENSITY_RECIPES, import_mammograms),
    )
}


def get_study(name: str) -> Study:
    """Return the study called `name`; an unknown name raises `NotFoundError`."""
    return choose("study", name, STUDIES)
