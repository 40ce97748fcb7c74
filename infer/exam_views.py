"""What the InferTasks on mammography exams share: the exam of an image, and files of all views."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from infer.result_files import ResultFiles
from lib.errors import InputError
from lib.mammography.exam_files import same_file
from lib.mammography.exams import Exam

RESULTS = "/results"  # path of the route that hands out the files of an answer


def exam_and_view(path: Path, find_exam: Callable[[Path], Exam | None]) -> tuple[Exam, str]:
    """Return the exam of a file, and which view of it the file is.

    Raises:
        InputError: it is no view of an exam, or left out of it.
    """
    exam = find_exam(path)
    if exam is None:
        raise InputError(
            f"{path.name}: no view of a mammography exam by its tags or name; expected a "
            f"mammogram as DICOM, or a name as EXAM_R-CC.png; rename it or choose another model"
        )
    asked = next((view.name for view, file in exam.views.items() if same_file(file, path)), "")
    if not asked:
        why = next((why for file, why in exam.others if same_file(file, path)), "no plain view")
        raise InputError(
            f"{path.name}: left out of exam '{exam.id}' ({why}); ask by one of its views "
            f"{', '.join(sorted(file.name for file in exam.views.values())) or '(it has none)'}"
        )
    return exam, asked


def require_answered(path: Path, exam: str, asked: str, answered: Any, left_out: Any) -> None:
    """Refuse a view that was left out of an answer on its exam.

    Args:
        answered: the views that were not, by name.
        left_out: why the others were, by name.

    Raises:
        InputError: it was left out.
    """
    if asked not in answered:
        raise InputError(
            f"{path.name}: view {asked} of exam '{exam}' cannot be answered: "
            f"{left_out[asked]}; ask by one of {', '.join(answered)}"
        )


def keep_files(kept: ResultFiles | None, write: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
    """Write files of an answer for viewers to fetch, and return their paths on the server.

    Args:
        kept: None where an answer has no such files.
        write: writes them into a folder, and returns their names in nested dictionaries.
    """
    if kept is None:
        return {}
    with kept.new_folder() as folder:
        names = write(folder)
    return dict(_paths(names, f"{RESULTS}/{folder.name}"))


def _paths(names: Any, root: str) -> Any:
    """Return nested dictionaries of file names as paths under `root`."""
    if isinstance(names, dict):
        return {key: _paths(value, root) for key, value in names.items()}
    return f"{root}/{names}"
