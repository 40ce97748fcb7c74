"""The studies that `reproduce` knows; a further one is one more table."""

from __future__ import annotations

from benchmarks.reproduction.published.busi import BUSI
from benchmarks.reproduction.published.density import DENSITY
from benchmarks.reproduction.published.thesis import THESIS_NUCLEI
from benchmarks.reproduction.published.thesis_nerve import THESIS_NERVE
from benchmarks.reproduction.study import Study
from lib.errors import choose

STUDIES: dict[str, Study] = {
    study.name: study for study in (THESIS_NUCLEI, THESIS_NERVE, BUSI, DENSITY)
}


def get_study(name: str) -> Study:
    """Return the study called `name`; an unknown name raises `NotFoundError`."""
    return choose("study", name, STUDIES)
