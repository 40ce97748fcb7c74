"""Which images each row is for, and the reasons that are given for the others."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lib.errors import NotFoundError
from lib.tasks.fits import misfit, preference, refusal
from lib.tasks.image_kind import DIMENSIONS, ImageKind
from lib.tasks.registry import TASKS, get_task

PICTURE, STACK = ImageKind("", "2d"), ImageKind("", "3d")
SLIDE, STILL, LOOP = ImageKind("SM", "2d"), ImageKind("US", "2d"), ImageKind("US", "loop")
SWEEP, MR, VIEW = ImageKind("US", "3d"), ImageKind("MR", "3d"), ImageKind("MG", "mammogram")
FILM, NAMED_VIEW = ImageKind("OT", "mammogram"), ImageKind("", "mammogram")
ALL = (PICTURE, STACK, SLIDE, STILL, LOOP, SWEEP, MR, VIEW, FILM, NAMED_VIEW)
FITTING = {
    "nuclei": {PICTURE, STACK, SLIDE},
    "nuclei_click": {PICTURE, STACK, SLIDE},
    "busi_lesion": {PICTURE, STACK, STILL, LOOP},
    "nerve_cine": {STACK, LOOP},
    "ultrasound2d_vnet": {PICTURE, STACK, STILL, LOOP, SWEEP},
    "ultrasound3d_vnet": {STACK, SWEEP},
    "volume_vnet": {STACK, MR},
    "density_birads": {VIEW, FILM, NAMED_VIEW},
}


@pytest.mark.parametrize("name", TASKS)
def test_each_row_says_what_it_is_for(name):
    task = TASKS[name]
    assert task.modalities and set(task.dimensions) <= set(DIMENSIONS) and task.dimensions
    assert not {"modalities", "strict", "dimensions"} & task.as_trained().keys()  # same weights
    assert task.strict is not name.startswith("nuclei")


@pytest.mark.parametrize("name", FITTING)
def test_a_row_fits_what_it_was_made_for_and_what_cannot_be_told(name):
    task = get_task(name)
    assert {kind for kind in ALL if not misfit(task, kind)} == FITTING[name]
    assert not misfit(task, ImageKind()) and not refusal(task, ImageKind())


def test_only_another_modality_is_refused():
    lesion = get_task("busi_lesion")
    assert refusal(lesion, MR) == "'busi_lesion' answers ultrasound (US/IVUS), this is MR"
    assert misfit(lesion, SWEEP) and not refusal(lesion, SWEEP)
    assert misfit(get_task("nuclei"), NAMED_VIEW) and not refusal(get_task("nuclei"), NAMED_VIEW)
    assert not refusal(get_task("density_birads"), FILM)  # a scanned film
    assert refusal(get_task("density_birads"), STILL)


def test_a_row_that_is_not_strict_offers_less_than_it_answers():
    assert misfit(get_task("nuclei"), MR) == (
        "'nuclei' answers pictures of microscopy (SM/GM/XC/OT/SC), this is MR"
    )
    assert not refusal(get_task("nuclei"), MR)


def test_the_reason_names_the_dimensions():
    assert misfit(get_task("nerve_cine"), STILL) == (
        "'nerve_cine' answers loops, this is a single image"
    )
    assert "single images and loops, this is a volume" in misfit(get_task("busi_lesion"), SWEEP)


def test_what_was_made_for_an_image_comes_first():
    sweep, slices = get_task("ultrasound3d_vnet"), get_task("ultrasound2d_vnet")
    cine, stills = get_task("nerve_cine"), get_task("busi_lesion")
    assert preference(cine, LOOP) < preference(stills, LOOP)
    assert preference(sweep, SWEEP) == preference(slices, SWEEP) == 0
    assert preference(stills, ImageKind()) > preference(stills, LOOP)


def test_a_row_without_either_fits_all_and_a_wrong_word_is_named():
    anything = replace(get_task("nuclei"), modalities=(), dimensions=())
    assert not any(misfit(anything, kind) for kind in ALL)
    with pytest.raises(NotFoundError, match="4d"):
        replace(anything, dimensions=("4d",))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [(STILL, LOOP, False), (MR, ImageKind("MR"), True), (PICTURE, STILL, False), (VIEW, MR, False)],
)
def test_kinds_are_alike_as_far_as_they_are_known(one, other, same):
    assert one.is_like(other) is other.is_like(one) is same


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (ImageKind(), "images"),
        (PICTURE, "single images"),
        (LOOP, "loops of ultrasound (US)"),
        (MR, "volumes of MR"),
        (VIEW, "mammograms (MG)"),
    ],
)
def test_a_kind_in_words(kind, words):
    assert str(kind) == words
