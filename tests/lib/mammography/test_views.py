"""Views of mammograms by tags and names."""

from __future__ import annotations

import pytest
from mammogram_samples import code
from pydicom.dataset import Dataset

from lib.mammography.views import view_of_name, view_of_tags


def _dataset(**tags) -> Dataset:
    data = Dataset()
    for tag, value in tags.items():
        setattr(data, tag, value)
    return data


@pytest.mark.parametrize(
    ("name", "view", "exam"),
    [
        ("p7_R-CC", "R-CC", "p7"),
        ("p7_L_MLO", "L-MLO", "p7"),
        ("p7_RCC", "R-CC", "p7"),
        ("study 12 lmlo", "L-MLO", "study 12"),
        ("a.b-LEFT-CC_2", "L-CC", "a.b"),
        ("R-MLO", "R-MLO", ""),
        ("Calc-Test_P_00038_RIGHT_MLO", "R-MLO", "Calc-Test_P_00038"),
        ("P101_L_DM_CC", "L-CC", "P101"),
        ("20586908_6c613a14b80a8591_MG_R_CC_ANON", "R-CC", "6c613a14b80a8591"),
        ("20586934_6c613a14b80a8591_MG_L_ML_ANON", "L-MLO", "6c613a14b80a8591"),
    ],
)
def test_names_tell_exam_and_view(name, view, exam):
    found = view_of_name(name)
    assert (found.view.name, found.exam, found.modifiers) == (view, exam, ())


@pytest.mark.parametrize(
    ("name", "modifier"),
    [
        ("p7_R-CC_ID", "implant displaced"),
        ("p7_RCCID", "implant displaced"),
        ("p7_L-MLO_MAG", "magnified"),
        ("p7_L-CC_spot_2", "spot compression"),
        ("p7_L-CC-tomo", "tomosynthesis"),
    ],
)
def test_names_tell_that_a_view_is_not_plain(name, modifier):
    assert modifier in view_of_name(name).modifiers


@pytest.mark.parametrize("name", ["mdb001", "flower", "fiscalL-CC", "P101_L_CM_CC", "cc", ""])
def test_other_names_tell_no_view(name):
    assert view_of_name(name) is None


@pytest.mark.parametrize(
    ("tags", "view"),
    [
        ({"ImageLaterality": "R", "ViewPosition": "CC"}, "R-CC"),
        ({"Laterality": "L", "ViewPosition": "MLO"}, "L-MLO"),
        ({"ImageLaterality": "L", "ViewCodeSequence": [code("399368009")]}, "L-MLO"),
        ({"ImageLaterality": "L", "ViewCodeSequence": [code("R-10242")]}, "L-CC"),
        ({"ImageLaterality": "R", "ViewPosition": "XCCL"}, "R-XCCL"),
        ({"ViewPosition": "RMLO"}, "R-MLO"),
        ({"Laterality": "L", "PatientOrientation": "CC"}, "L-CC"),
        ({"Laterality": "L", "PatientOrientation": ["P", "F"]}, "L-?"),
        ({"ImageLaterality": "B", "ViewPosition": "PA"}, "?-?"),
        ({}, "?-?"),
    ],
)
def test_tags_tell_the_view(tags, view):
    assert view_of_tags(_dataset(**tags)).view.name == view


@pytest.mark.parametrize(
    ("tags", "modifier"),
    [
        (
            {"ViewCodeSequence": [code("399162004", ViewModifierCodeSequence=[code("399209000")])]},
            "implant displaced",
        ),
        (
            {"ViewCodeSequence": [code("399162004", ViewModifierCodeSequence=[code("R-102D6")])]},
            "magnified",
        ),
        ({"ViewPosition": "CCID"}, "implant displaced"),
        ({"EstimatedRadiographicMagnificationFactor": "1.8"}, "magnified"),
        ({"PaddleDescription": "SPOT COMPRESSION"}, "spot compression"),
        ({"NumberOfFrames": "60"}, "tomosynthesis"),
    ],
)
def test_tags_tell_that_a_view_is_not_plain(tags, modifier):
    found = view_of_tags(_dataset(**{"ImageLaterality": "R", "ViewPosition": "CC"} | tags))
    assert modifier in found.modifiers
    assert found.view.name == "R-CC"
