"""Exams whose views were stored as studies of their own: joined where patient and day tell so.

Some archives and public sets (CBIS-DDSM, https://doi.org/10.1038/sdata.2017.177) give each view a
StudyInstanceUID, so that four studies are one exam.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from lib.mammography.exam_files import FOR_PROCESSING, ExamFile
from lib.mammography.views import STANDARD_VIEWS, View


def join_studies(studies: Mapping[str, Sequence[ExamFile]]) -> dict[str, list[ExamFile]]:
    """Return the files of each exam by its id, with studies joined that are views of one exam.

    Studies are joined that share their `session` (a patient on a day, or an exam of CBIS-DDSM) and
    hold different ones of the four views. If two of them hold the same view, it cannot be told
    which views belong together: they stay apart, and a note says so, unless one study is whole.

    Args:
        studies: files by the id of their exam, as each file names it.
    """
    exams = {id: list(files) for id, files in studies.items()}
    sessions: dict[str, list[str]] = defaultdict(list)
    for id, files in sorted(exams.items()):
        own = {file.session for file in files}
        if len(own) == 1 and "" not in own and _plain_views(files):
            sessions[own.pop()].append(id)
    for ids in sessions.values():
        if len(ids) < 2:
            continue
        views = {id: _plain_views(exams[id]) for id in ids}
        again = Counter(view for found in views.values() for view in found)
        if max(again.values()) == 1:
            for other in ids[1:]:
                exams[ids[0]] += exams.pop(other)
        elif not any(_is_whole(found) for found in views.values()):
            twice = sorted({view.name for (view, _), count in again.items() if count > 1})
            for id in ids:
                exams[id][0] = _noted(exams[id][0], len(ids), twice)
    return exams


def _plain_views(files: Sequence[ExamFile]) -> set[tuple[View, bool]]:
    """Return which of the four views files hold, each with whether it is For Processing."""
    return {
        (file.found.view, FOR_PROCESSING in file.found.modifiers)
        for file in files
        if file.found.view.standard and not set(file.found.modifiers) - {FOR_PROCESSING}
    }


def _is_whole(views: set[tuple[View, bool]]) -> bool:
    return {view for view, _ in views} == set(STANDARD_VIEWS)


def _noted(file: ExamFile, count: int, twice: Sequence[str]) -> ExamFile:
    note = (
        f"{count} studies of this patient on this day hold {', '.join(twice)} more than once, so "
        f"they were not joined to one exam"
    )
    return replace(file, notes=(*file.notes, note))
