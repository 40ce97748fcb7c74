"""The study of density: printed accuracies, folds by patient, pooled answers, and no leak."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.harness.campaign import Execution
from benchmarks.reproduction import run as runs_module
from benchmarks.reproduction.campaign import reproduce
from benchmarks.reproduction.pages.exam_text import exam_text
from benchmarks.reproduction.plan import Campaign
from benchmarks.reproduction.published.catalogue import STUDIES
from benchmarks.reproduction.sources import import_mammograms
from benchmarks.reproduction.splits import fold_split
from benchmarks.reproduction.study import Variant
from lib.classification.cases import cases_of, exams_of, labelled_views
from lib.classification.evaluation import ScoredExam, report_on, score_exams
from lib.classification.predictor import ExamPredictor
from lib.errors import InputError
from lib.tasks.registry import TASKS
from lib.weights.checkpoint import load_checkpoint

DENSITY, THESIS_NUCLEI = STUDIES["density"], STUDIES["thesis-nuclei"]
SIZES = tuple(range(250, 1051, 100))
QUICK = Execution("cpu", "fp32", progress=False, command="a test")
TASK = "tiny_density"


def _quiet(line: str) -> None:
    pass


@pytest.fixture(scope="module")
def views(exam_studies):
    return labelled_views(exam_studies)


@pytest.fixture
def study(exam_task, monkeypatch):
    """The study with one small row, of which 48 px is printed."""
    monkeypatch.setitem(TASKS, TASK, replace(exam_task, name=TASK))
    printed = {"R-CC": 0.625, "exam": 0.75}
    return replace(
        DENSITY,
        variants=(Variant(name="tiny, 48 px", task=TASK, size=48, accuracy=printed),),
        folds=2,
    )


@pytest.fixture
def ask(study, tmp_path):
    def make(**changes):
        plain = {"epochs": 1, "execution": QUICK, "data_name": "phantoms"}
        plain |= {"study": study, "out": tmp_path / "out", "variants": study.variants}
        return Campaign(**{**plain, **changes})

    return make


def test_the_study_has_the_printed_accuracies():
    printed = {(v.task, v.size): v.accuracy for v in DENSITY.variants}
    assert printed["density_a_vs_d_vgg_wide", 350] == {
        "R-CC": 0.975,
        "R": 0.95,
        "L": 0.95,
        "exam": 0.95,
    }
    assert printed["density_a_vs_d_vgg", 1050] == {"R-CC": 0.925}
    assert printed["density_dense", 650] == {
        **{"R-CC": 0.869, "L-CC": 0.85, "R-MLO": 0.875, "L-MLO": 0.85},
        **{"R": 0.888, "L": 0.85, "exam": 0.894},
    }
    assert printed["density_birads", 650]["exam"] == 0.78
    assert printed["density_birads", 850] == {
        **{"R-CC": 0.723, "L-CC": 0.713, "R-MLO": 0.753, "L-MLO": 0.673},
        **{"R": 0.727, "L": 0.72, "exam": 0.72},
    }
    sizes = {task: [v.size for v in DENSITY.variants if v.task == task] for task, _ in printed}
    assert sizes["density_a_vs_d_vgg"] == list(SIZES)
    assert sizes["density_dense"] == sizes["density_birads"] == list(SIZES[:7])


def test_sizes_are_those_of_the_rows_those_asked_for_or_all():
    own = DENSITY.of_sizes(DENSITY.choose("density_a_vs_d,density_dense"))
    assert [(v.task, v.size) for v in own] == [("density_a_vs_d", 224), ("density_dense", 650)]
    wider = DENSITY.at_sizes((64, 350))
    asked = wider.of_sizes(wider.choose("density_birads"), (64, 350))
    assert [(v.name, v.size, bool(v.accuracy)) for v in asked] == [
        ("BI-RADS A to D, 64 px", 64, False),
        ("BI-RADS A to D, 350 px", 350, True),
    ]
    row = wider.row(asked[0], "slides")
    assert (row.input.size, row.training.optimizer, row.name) == (
        *(64, "plain_sgd", "density_birads_slides"),
    )
    assert wider.label(asked[0]) == "density_birads-64"
    assert THESIS_NUCLEI.at_sizes((64,)) is THESIS_NUCLEI


def test_each_patient_is_tested_on_once_and_never_trained_on_in_that_fold(views, study):
    cases = cases_of(views, TASKS[TASK])
    tested = []
    for number in range(2):
        split = fold_split(cases, study, (number, 2))
        test, training = ({item.group for item in part} for part in (split.test, split.training))
        held = {item.group for item in split.training if item.id in split.validation_ids}
        assert not test & training
        assert held and held < training
        tested += sorted(test)
    assert sorted(tested) == sorted({item.group for item in cases})


def test_a_folder_with_a_table_and_one_of_films_are_imported_too(exam_studies, tmp_path):
    clinic, films = tmp_path / "clinic", tmp_path / "films"
    for folder in (clinic, films):
        folder.mkdir()
    view = "exam_000_R-CC.dcm"
    (clinic / view).write_bytes((exam_studies / view).read_bytes())
    (clinic / "labels.csv").write_text(f"file,density\n{view},C\n")
    report = import_mammograms(clinic, tmp_path / "one")
    assert "1 images of 1 exams of 1 patients: 1 C" in report.lines
    (films / "mdb001.pgm").write_bytes(b"P5 1 1 255\n0")
    with pytest.raises(InputError, match="is not mini-MIAS"):
        import_mammograms(films, tmp_path / "two")


def test_views_of_other_classes_are_no_cases(views):
    cases = cases_of(views, TASKS["density_a_vs_d"])
    assert {item.density for item in cases} == {"A", "D"}
    assert {exam.density for exam in exams_of(cases)} == {"A", "D"}
    only = [item for item in views if item.density == "B"]
    with pytest.raises(InputError, match="none of 12 views is a case of 'density_a_vs_d'"):
        cases_of(only, TASKS["density_a_vs_d"])


def test_folds_are_trained_pooled_and_set_beside_what_is_printed(ask, views, monkeypatch):
    report = reproduce(ask(), views, _quiet)
    (row,) = report["summary"]
    assert (row["runs"], row["failed"], row["levels"]["exam"]["cases"]) == (2, 0, 12)
    assert row["levels"]["view"]["cases"] == 48 and len(row["training_seconds"]) == 2
    assert [run["fold"] for run in report["runs"]] == [[0, 2], [1, 2]]
    assert all(run["weights"]["chosen"] == "last" for run in report["runs"])
    text = exam_text(report, {}, "density.json")
    assert "| R-CC | printed | 62.5 |" in text
    assert "| exam | printed | 75.0 |" in text
    assert f"| exam | ours | {100 * row['levels']['exam']['figures']['accuracy']:.1f} (" in text
    assert "2 of 2" in text and "always the commonest class 25.0 %" in text

    monkeypatch.setattr(runs_module, "fit", lambda *_: pytest.fail("trained again"))
    again = reproduce(ask(), views, _quiet)
    assert json.dumps(again["summary"]) == json.dumps(report["summary"])
    fewer = [item for item in views if item.exam != views[0].exam]
    other = ask(folds=3)
    monkeypatch.setattr(runs_module, "fit", lambda *_: 1 / 0)
    report = reproduce(other, fewer, _quiet)
    assert len(report["left_out"]) == 2, "folds of other exams are not pooled with these"
    text = exam_text(report, {}, "density.json")
    assert "**No figures: tiny, 48 px (ours)**: 3 folds failed." in text
    assert "ZeroDivisionError" in text


def test_a_row_of_a_report_gives_the_same_figures_again(
    exam_studies, exam_task, exam_weights, views
):
    predictor = ExamPredictor.from_checkpoint(
        exam_task, load_checkpoint(exam_weights), "cpu", "fp32"
    )
    scored, failed = score_exams(predictor, exams_of(views))
    assert not failed
    rules = exam_task.exam_rules
    rows = json.loads(json.dumps([case.row for case in scored]))
    again = report_on([ScoredExam.from_row(row, rules.names) for row in rows], rules)
    first = report_on(scored, rules)
    for level, part in first.levels.items():
        assert again.levels[level]["confusion"] == part["confusion"]
        assert again.levels[level]["figures"] == pytest.approx(part["figures"], abs=1e-4)
    assert again.sure == pytest.approx(first.sure)
    assert list(first.by_breast) == ["L", "R"]


def test_an_exam_answers_without_any_one_of_its_views(exam_task, exam_weights, views):
    predictor = ExamPredictor.from_checkpoint(
        exam_task, load_checkpoint(exam_weights), "cpu", "fp32"
    )
    exam = exams_of(views)[0]
    for view in exam.views:
        left = {name: path for name, path in exam.views.items() if name != view}
        answer = predictor(replace(exam, views=left), tissue=False)
        assert answer.left_out == {view.name: "missing"}
        assert len(answer.views) == 3 and set(answer.breasts) == {"R", "L"}
        assert answer.probabilities.sum() == pytest.approx(1)


@pytest.fixture
def twins(views, exam_task, study, monkeypatch):
    """Return a function: two exams of the same images for each patient, with drawn labels.

    The row answers A or D with one network, that a few passes make know every image by heart.
    """
    two = TASKS["density_a_vs_d"]
    plain = replace(
        exam_task,
        name=TASK,
        labels=two.labels,
        exam=two.exam,
        network=replace(exam_task.network, out_channels=2, norm="none", views=()),
        augment=replace(exam_task.augment, rotate=0.0, zoom=(1.0, 1.0), gamma=1.0, noise=0.0),
        training=replace(
            exam_task.training, learning_rate=1e-2, label_smoothing=0.0, loss="cross_entropy"
        ),
    )
    monkeypatch.setitem(TASKS, TASK, plain)
    patients = sorted({item.group for item in views})
    drawn = np.random.default_rng(3).permutation(["A", "D"] * (len(patients) // 2))
    label = dict(zip(patients, drawn.tolist(), strict=True))

    def make(patient_of):
        return [
            replace(
                item,
                id=f"{item.id}_{copy}",
                exam=f"{item.exam}_{copy}",
                density=label[item.group],
                group=patient_of(item, copy),
            )
            for item in views
            if item.view.projection == "CC"
            for copy in range(2)
        ]

    return make


def test_shuffled_labels_score_at_chance_and_would_not_if_a_patient_leaked(ask, twins):
    """Both exams of a patient show the same, so a split that parts them gives the label away."""
    kept = reproduce(ask(epochs=24), twins(lambda item, copy: item.group), _quiet)
    accuracy = kept["summary"][0]["levels"]["exam"]["intervals"]["accuracy"]
    assert accuracy[0] <= 0.5 <= accuracy[1]

    leaking = replace(ask(epochs=24), out=ask().out / "leaking")
    parted = reproduce(leaking, twins(lambda item, copy: f"{item.group} {copy}"), _quiet)
    assert parted["summary"][0]["levels"]["exam"]["intervals"]["accuracy"][0] > 0.5
