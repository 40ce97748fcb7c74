"""Phantom studies as DICOM are the same for the same seed, and hold what their labels say."""

from __future__ import annotations

import numpy as np

from lib.phantoms.dicom_studies import ct_study, demo_studies

KINDS = ["volume", "volume_us", "frame", "cine", "mammograms"]


def test_each_kind_of_study_is_made_and_depends_on_the_seed_alone():
    studies, again, others = (demo_studies(seed, scale=0.03) for seed in (1, 1, 2))
    assert [study.kind for study in studies] == KINDS
    assert [study.study for study in studies] == [study.study for study in again]
    assert not {study.study for study in studies} & {study.study for study in others}
    for study, same in zip(studies, again, strict=True):
        assert [data.SOPInstanceUID for data in study.datasets] == [
            data.SOPInstanceUID for data in same.datasets
        ]
        assert set(study.truth) == set(study.pixels) == set(study.series)
        for series in study.series:
            assert study.truth[series].shape == study.pixels[series].shape
            np.testing.assert_array_equal(study.pixels[series], same.pixels[series])


def test_slices_of_a_volume_are_instances_of_one_series_in_mixed_order():
    study = ct_study(3, (8, 24, 24))
    (series,) = study.series
    numbers = [int(data.InstanceNumber) for data in study.datasets]
    assert sorted(numbers) == list(range(1, 9)) != numbers
    for data in study.datasets:
        stored = np.frombuffer(data.PixelData, np.uint16).reshape(24, 24)
        shown = stored.astype(int) + int(data.RescaleIntercept)
        np.testing.assert_array_equal(shown, study.pixels[series][int(data.InstanceNumber) - 1])
