"""The worklist of a reading room: exams, who read them, and what one reader may see of it.

A reader sees what others answered only of exams that the reader answered too. Answers that readers
found together, after they differed, are those of `CONSENSUS_READER`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from lib.data.versions import CONSENSUS_READER, LabelVersion, standing
from lib.errors import InputError
from lib.mammography.agreement import compare_densities, scale_of
from lib.mammography.density_labels import read_density, read_scale
from monailabel_app.studies.protocol import ORIGINAL, StudiesProtocol

FIRST, SECOND, DIFFER, DONE = "first", "second", "differ", "done"  # lists of a reader's worklist
_LISTS = (FIRST, SECOND, DIFFER, DONE)


@dataclass(frozen=True)
class Answer:
    """One reader's newest density of an exam, a class of a scale of `lib.mammography.agreement`."""

    density: str
    scale: str


@dataclass(frozen=True, kw_only=True)
class ReadExam:
    """An exam and who read it.

    Attributes:
        id: of the exam.
        images: ids of its images, the standard views first; a label of the first is one of all.
        answers: by the name of the reader, without what readers found together.
        consensus: that; None where there is none.
    """

    id: str
    images: tuple[str, ...]
    answers: Mapping[str, Answer]
    consensus: Answer | None = None

    @property
    def differ(self) -> bool:
        """Whether readers gave different classes, and none together since."""
        return len(set(self.answers.values())) > 1 and self.consensus is None

    def list_of(self, reader: str) -> str:
        """Return in which list of a reader's worklist the exam stands."""
        if reader in self.answers:
            return DIFFER if self.differ else DONE
        return {0: FIRST, 1: SECOND}.get(len(self.answers), DONE)

    def as_seen_by(self, reader: str) -> dict[str, Any]:
        """Return plain data for JSON, without answers that the reader may not see."""
        row: dict[str, Any] = {
            "exam": self.id,
            "images": list(self.images),
            "list": self.list_of(reader),
            "read_by": sorted(self.answers),
            "needs_second": len(self.answers) == 1,
            "own": None,
            "answers": None,
            "consensus": None,
        }
        if reader in self.answers:
            row["own"] = self.answers[reader].density
            row["answers"] = {name: one.density for name, one in sorted(self.answers.items())}
            row["consensus"] = self.consensus.density if self.consensus else None
        return row


class ReadExams:
    """The exams of a datastore with the densities that readers gave; label files are read once."""

    def __init__(self, store: StudiesProtocol) -> None:
        self.store = store
        self._known: dict[tuple[str, int, str], Answer | None] = {}

    def all(self) -> list[ReadExam]:
        """Return the exams, sorted by id."""
        images: dict[str, list[str]] = defaultdict(list)
        for image, exam in self.store.exam_ids().items():
            images[exam].append(image)
        labelled = set(self.store.get_labeled_images())
        return [
            self._exam(id, tuple(own), [one for one in own if one in labelled])
            for id, own in sorted(images.items())
        ]

    def _exam(self, id: str, images: tuple[str, ...], labelled: Iterable[str]) -> ReadExam:
        newest: dict[str, tuple[LabelVersion, Answer]] = {}
        for image in labelled:
            for version in standing(self.store.label_versions(image)):
                answer = self._answer(image, version)
                before = newest.get(version.reader)
                if answer and (before is None or before[0].time <= version.time):
                    newest[version.reader] = version, answer
        answers = {reader: answer for reader, (_, answer) in newest.items()}
        consensus = answers.pop(CONSENSUS_READER, None)
        return ReadExam(id=id, images=images, answers=answers, consensus=consensus)

    def _answer(self, image: str, version: LabelVersion) -> Answer | None:
        """Return the density of a version; None if its file holds none, or is damaged."""
        key = image, version.number, version.time.isoformat()
        if key not in self._known:
            try:
                file = self.store.version_file(image, version)
                density = read_density(file)
                self._known[key] = Answer(density, scale_of(density, read_scale(file)))
            except InputError:
                self._known[key] = None
        return self._known[key]


def worklist(
    exams: Sequence[ReadExam], reader: str, doubts: Mapping[str, float]
) -> list[dict[str, Any]]:
    """Return the exams as a reader sees them: by list, then the most doubtful first.

    Args:
        reader: name of who asks; empty for somebody without a name, who sees no answers.
        doubts: how doubtful a model's answer is, 0..1, by exam; exams without come last.
    """
    rows = [{**exam.as_seen_by(reader), "doubt": doubts.get(exam.id)} for exam in exams]
    rows.sort(key=lambda row: (_LISTS.index(row["list"]), -(doubts.get(row["exam"]) or 0.0)))
    return rows


def agreement_seen_by(exams: Iterable[ReadExam], reader: str) -> list[dict[str, Any]]:
    """Return how far each two readers agree, see `compare_densities`, on exams of one reader.

    Those are the exams that the reader answered too: a table of few exams would tell the answers.
    """
    pairs: dict[tuple[str, str, str], list[tuple[str, str]]] = defaultdict(list)
    for exam in exams:
        if reader not in exam.answers:
            continue
        for one, other in combinations(sorted(exam.answers), 2):
            first, second = exam.answers[one], exam.answers[other]
            if first.scale == second.scale:
                pairs[one, other, first.scale].append((first.density, second.density))
    return [
        {"readers": [one, other], **compare_densities(given, scale)}
        for (one, other, scale), given in sorted(pairs.items())
    ]


def answer_doubts(store: StudiesProtocol, exams: Iterable[ReadExam]) -> dict[str, float]:
    """Return how doubtful the answers are that models stored on exams, 0..1, by exam.

    It is 1 less the lead of the likeliest class over the next, as `Informativeness.margin`.
    """
    doubts: dict[str, float] = {}
    for exam in exams:
        for image in exam.images:
            params = store.get_label_info(image, ORIGINAL).get("params")
            given = params.get("probabilities") if isinstance(params, Mapping) else None
            if isinstance(given, Mapping) and len(given) > 1:
                first, second = sorted((float(share) for share in given.values()), reverse=True)[:2]
                doubts[exam.id] = 1 - (first - second)
    return doubts
