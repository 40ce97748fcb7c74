"""The studies that `reproduce` knows; a further one is one more table."""

from __future__ import annotations

from lib.errors import choose
from lib.reproduction.busi import BUSI
from lib.reproduction.density import DENSITY
from lib.reproduction.study import Study
from lib.reproduction.thesis import THESIS_NUCLEI
from lib.reproduction.thesis_nerve import THESIS_NERVE

STUDIES: dict[str, Study] = {
    study.name: study for study in (THESIS_NUCLEI, THESIS_NERVE, BUSI, DENSITY)
}


def get_study(name: str) -> Study:
    """Return the study called `name`; an unknown name raises `NotFoundError`."""
    return choose("study", name, STUDIES)
