"""Views of exams as cases: which count, what is read, batches of one view, patients apart."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from drawing_samples import augment_image

from lib.classification.cases import (
    ViewItem,
    class_of,
    list_task_exams,
    list_views,
    prepare_view,
)
from lib.data.folds import k_folds
from lib.errors import InputError, NotFoundError
from lib.kinds import kind_of
from lib.mammography.breast import network_input
from lib.mammography.density_labels import write_density
from lib.mammography.views import STANDARD_VIEWS, View
from lib.tasks.image_spec import AugmentSpec, InputSpec
from lib.tasks.registry import TASKS
from lib.training.batches import PreparedCases, StepBatches
from lib.training.loop import fit
from lib.training.options import FitOptions


@pytest.fixture(scope="module")
def views(exam_studies, exam_task) -> list[ViewItem]:
    return list_views(exam_studies, exam_task, labelled=True)


def _options(out, **changes) -> FitOptions:
    plain = {"device": "cpu", "precision": "fp32", "progress": False, "tensorboard": False}
    return FitOptions(out=out, **{**plain, **changes})


# --- which exams and views -----------------------------------------------------------------------


def test_every_view_of_an_exam_is_a_case_of_its_class_and_patient(views, exam_task, exam_studies):
    exams = list_task_exams(exam_studies, exam_task, labelled=True)
    assert len(views) == 4 * len(exams) == 48
    assert Counter(item.view for item in views) == dict.fromkeys(STANDARD_VIEWS, 12)
    for exam in exams:
        own = [item for item in views if item.exam == exam.id]
        assert {item.key for item in own} == {exam.patient}
        assert {class_of(item, exam_task) for item in own} == {"ABCD".index(exam.density)}
        assert {item.label for item in own} == {exam.label}


def test_exams_of_densities_that_are_no_class_are_no_cases(exam_studies, views):
    wanted = {item.exam for item in views if item.density in ("A", "D")}
    found = list_views(exam_studies, TASKS["density_a_vs_d"], labelled=True)
    assert {item.exam for item in found} == wanted
    unlabelled = list_views(exam_studies, TASKS["density_a_vs_d"])
    assert len(unlabelled) == len(views)


def test_the_tissues_of_mini_mias_are_classes_too_and_its_d_is_not_that_of_birads():
    a_vs_d, dense = TASKS["density_a_vs_d"].exam, TASKS["density_dense"].exam
    assert [a_vs_d.class_index(tissue, "mias") for tissue in "FGD"] == [0, None, 1]
    assert [dense.class_index(tissue, "mias") for tissue in "FGD"] == [0, 0, 1]
    assert [dense.class_index(density) for density in "ABCD"] == [0, 0, 1, 1]
    birads = TASKS["density_birads"].exam
    assert (birads.class_index("D"), birads.class_index("D", "mias")) == (3, None)
    assert birads.class_index(None) is None


def test_a_folder_without_a_case_of_the_task_is_refused_with_what_it_has(exam_task, tmp_path):
    from lib.phantoms.mammograms.exams import write_exams

    write_exams(tmp_path, exams=1, scale=0.03)
    for path in (tmp_path / "labels" / "final").iterdir():
        write_density(path, "F", "mias")
    with pytest.raises(
        InputError, match=r"no exam .* is a case of .*: 1 exams, .* 1 of F \(mias\)"
    ):
        list_views(tmp_path, exam_task, labelled=True)


def test_rows_whose_classes_do_not_fit_are_refused():
    row = TASKS["density_dense"]
    with pytest.raises(ValueError, match="labels must be those of the classes non-dense, dense"):
        replace(row, labels={"dense": 1})
    with pytest.raises(ValueError, match="in_channels must be the number of input channels"):
        replace(row, input=InputSpec(size=64))
    with pytest.raises(ValueError, match="a density belongs to one class"):
        replace(row.exam, classes=(row.exam.classes[0],) * 2)
    with pytest.raises(ValueError, match="classification needs a ClassifierSpec and an exam"):
        replace(row, exam=None)
    with pytest.raises(NotFoundError, match="unknown input channel 'orginal': did you mean 'orig"):
        InputSpec(channels=("orginal",))


# --- what is read --------------------------------------------------------------------------------


def test_a_case_is_image_class_and_network(views, exam_task):
    for item in views[:5]:
        image, target, network = PreparedCases([item], exam_task)[0]
        assert (image.shape, image.dtype) == ((2, 48, 48), np.float16)
        assert 0 <= image.min() < image.max() <= 1
        assert int(target) == "ABCD".index(item.density)
        assert int(network) == STANDARD_VIEWS.index(item.view)


def test_the_channels_are_the_greys_that_the_row_names(views):
    prepared = prepare_view(views[0].image, InputSpec(size=(40, 32)))
    both = network_input(prepared, InputSpec(size=40, channels=("original", "normalised")))
    assert both.shape == (2, 40, 32)
    np.testing.assert_array_equal(both[1], prepared.pixels)
    np.testing.assert_array_equal(both[0], prepared.original_grey())
    assert not np.allclose(both[0], both[1])


def test_a_view_without_a_class_or_a_network_is_refused(views, exam_task, items):
    with pytest.raises(InputError, match="of density None, expected a view .* with a label of"):
        PreparedCases([replace(views[0], density=None)], exam_task)[0]
    with pytest.raises(InputError, match=r"is view R-ML of density"):
        PreparedCases([replace(views[0], view=View("R", "ML"))], exam_task)[0]
    with pytest.raises(InputError, match="'nucleus_0' is no view of an exam"):
        PreparedCases(items, exam_task)[0]


# --- batches -------------------------------------------------------------------------------------


def test_a_batch_holds_views_of_one_network(views, exam_task):
    batches = StepBatches(PreparedCases(views, exam_task), seed=0)
    seen = set()
    for step in range(12):
        images, targets, networks = batches[step]
        assert images.shape == (4, 2, 48, 48) and images.dtype == torch.float32
        assert targets.dtype == networks.dtype == torch.int64
        assert len(set(networks.tolist())) == 1
        seen |= set(networks.tolist())
    assert seen == {0, 1, 2, 3}


def test_a_pass_holds_every_case_and_fills_its_last_batches(views, exam_task):
    task = replace(exam_task, training=replace(exam_task.training, batch_size=5))
    kind = kind_of(task).cases
    order = kind.order(views, task, np.random.default_rng(0))
    assert len(order) == 5 * kind.batches(views, task) == 5 * 4 * 3
    assert set(order.tolist()) == set(range(len(views)))
    again = kind.order(views, task, np.random.default_rng(1))
    assert order.tolist() != again.tolist()


def test_one_network_for_all_views_mixes_them(views, exam_task):
    task = replace(exam_task, network=replace(exam_task.network, views=()))
    assert kind_of(task).cases.batches(views, task) == 12
    order = kind_of(task).cases.order(views, task, np.random.default_rng(0))
    assert len({views[place].view for place in order[:8]}) > 1


def test_the_shares_of_processes_are_the_batch(views, exam_task):
    cases = PreparedCases(views, exam_task)
    whole = StepBatches(cases, 3)[5]
    shares = [StepBatches(cases, 3, rank, world_size=2)[5] for rank in range(2)]
    for part, wanted in enumerate(whole):
        torch.testing.assert_close(torch.cat([share[part] for share in shares]), wanted)


def _disc(rows: int = 60, columns: int = 48) -> np.ndarray:
    down, across = np.mgrid[:rows, :columns]
    inside = (down - rows / 2) ** 2 / 24**2 + (across - columns) ** 2 / 36**2 < 1
    return np.where(inside, 0.5, 0)[np.newaxis].astype(np.float16)


def test_an_augmented_view_keeps_its_background_and_its_chest_wall():
    spec = AugmentSpec(flips=False, rotate=20.0, zoom=(0.8, 1.25), gamma=1.3, noise=0.05)
    images = [augment_image(_disc(), spec, np.random.default_rng(seed)) for seed in range(20)]
    for image in images:
        assert image.shape == (1, 60, 48) and image.dtype == np.float32
        assert (image[0, :, 0] == 0).all()
        assert image[0, 20:40, -1].min() > 0.2, "the chest wall stays at the right edge"
        assert 0 <= image.min() <= image.max() <= 1
    assert len({image.tobytes() for image in images}) == 20
    again = augment_image(_disc(), spec, np.random.default_rng(0))
    np.testing.assert_array_equal(again, images[0])


def test_without_augmentation_a_view_stays_as_it_is():
    image = augment_image(_disc(), AugmentSpec(flips=False), np.random.default_rng(0))
    np.testing.assert_array_equal(image, _disc().astype(np.float32))


# --- patients ------------------------------------------------------------------------------------


def test_a_patient_on_both_sides_of_a_split_is_an_error(views, exam_task, tmp_path):
    one = views[0]
    held = frozenset({item.id for item in views if item.group == one.group} - {one.id})
    with pytest.raises(InputError, match=f"1 patients or groups are on both .* '{one.group}'"):
        fit(exam_task, views, _options(tmp_path, validation_ids=held))


def test_an_exam_of_two_patients_is_refused(exam_studies, exam_task, tmp_path):
    import shutil

    import pydicom

    folder = tmp_path / "mixed"
    shutil.copytree(exam_studies, folder)
    path = folder / "exam_003_L-CC.dcm"
    data = pydicom.dcmread(path)
    data.PatientID = "SOMEBODY"
    data.save_as(path)
    with pytest.raises(InputError, match="files of patients PHANTOM-1-3, SOMEBODY, expected one"):
        list_views(folder, exam_task, labelled=True)


def test_folds_keep_patients_together(views):
    for training, held in k_folds(views, 3):
        assert not {item.group for item in training} & {item.group for item in held}


def test_two_exams_of_a_patient_are_on_one_side(views, exam_task, tmp_path):
    paired = [replace(item, group=f"pair {int(item.id[5:8]) // 2}") for item in views]
    result = fit(
        replace(exam_task, training=replace(exam_task.training, epochs=1)),
        paired,
        _options(tmp_path),
    )
    group = {item.id: item.group for item in paired}
    sides = [{group[id] for id in ids} for ids in (result.training_ids, result.validation_ids)]
    assert sides[0] and sides[1] and not sides[0] & sides[1]
