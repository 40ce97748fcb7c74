"""The densities that several readers gave to an exam, and what most of them say."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from lib.data.reader_choice import EACH, LATEST
from lib.data.readers import consensus_file, of_reader
from lib.data.versions import CONSENSUS_READER, LabelVersion, labels_of_readers
from lib.mammography.density_labels import read_density, read_scale, write_density
from lib.mammography.exams import Exam, accepted_labels, label_files, list_exams

logger = logging.getLogger(__name__)


def exam_labels_of_readers(
    studies: Path, exams: Iterable[Exam]
) -> dict[str, dict[str, LabelVersion]]:
    """Return the newest label of each reader on each exam, by the exam's id and the reader's name.

    A label of any view is one of the exam.
    """
    labels = accepted_labels(studies)
    found: dict[str, dict[str, LabelVersion]] = {}
    for exam in exams:
        newest: dict[str, LabelVersion] = {}
        for id, file in label_files(exam, labels):
            for reader, version in labels_of_readers(studies, id, file).items():
                if reader not in newest or newest[reader].time < version.time:
                    newest[reader] = version
        found[exam.id] = dict(sorted(newest.items()))
    return found


def exams_of_readers(studies: Path, readers: str) -> list[Exam]:
    """Return the labelled exams with the labels of the chosen readers (`lib.data.reader_choice`).

    What readers found together is the consensus; else it is what most of them say.

    Each label of a reader is an exam of its own, of the same patient. An exam for which as many
    readers say one thing as another has no consensus: it is logged and left out.

    Raises:
        InputError: no such folder, no labelled exam in it, or an unreadable label.
    """
    found: list[Exam] = []
    exams = list_exams(studies, labelled=True)
    given = exam_labels_of_readers(studies, exams)
    for exam in exams:
        labels = given[exam.id]
        if readers == LATEST or len(labels) < 2:
            found.append(exam)
        elif readers == EACH:
            found += [
                replace(_with_label(exam, one.file), id=of_reader(exam.id, name), reader=name)
                for name, one in labels.items()
                if one.file
            ]
        elif (together := labels.get(CONSENSUS_READER)) and together.file:
            found.append(_with_label(exam, together.file))
        elif file := _write_consensus(studies, exam, labels):
            found.append(_with_label(exam, file))
        else:
            said = ", ".join(
                f"{one.reader} {read_density(one.file)}" for one in labels.values() if one.file
            )
            logger.warning(f"Exam '{exam.id}' is left out: no majority of its readers ({said})")
    return found


def _with_label(exam: Exam, file: Path) -> Exam:
    return replace(exam, density=read_density(file), scale=read_scale(file), label=file)


def _write_consensus(studies: Path, exam: Exam, labels: Mapping[str, LabelVersion]) -> Path | None:
    """Return the file of the density that most readers gave; None where two lead equally."""
    files = {name: one.file for name, one in labels.items() if one.file}
    given = {name: (read_density(file), read_scale(file)) for name, file in files.items()}
    (first, most), *others = Counter(given.values()).most_common()
    if any(count == most for _, count in others):
        return None
    file = consensus_file(studies, exam.id, labels.values(), "most readers", ".json")
    if not file.exists():
        write_density(file, *first, readers={name: density for name, (density, _) in given.items()})
    return file
