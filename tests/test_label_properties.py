"""Random images and labels come back as they were, or are refused: never silently different.

What is expected is what was drawn at random, or what SimpleITK makes of the file.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

from lib.data.ignore import UNKNOWN
from lib.data.studies import list_items
from lib.errors import InputError
from lib.image import Geometry
from lib.io.labels import read_label
from lib.io.masks import write_mask
from lib.io.read import read_image
from lib.kinds import kind_of
from lib.tasks.image_spec import InputSpec
from lib.tasks.registry import get_task
from monailabel_app.studies.datastore import StudiesDatastore

VOLUMES = (".nrrd", ".nii", ".nii.gz", ".mha", ".mhd")
PICTURES = (".png", ".tif")


def cases(count: int):
    """Return the settings of a test with so many cases, the same in every run."""
    return settings(max_examples=count, deadline=None, derandomize=True, database=None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose files every case writes anew."""
    return tmp_path_factory.mktemp("properties")


@st.composite
def geometries(draw: st.DrawFn, axes: int, least: int = 1) -> Geometry:
    """Draw a grid: any spacing and origin, any directions, left-handed ones too."""
    matrix = draw(values((axes, axes), 100, -100)) / 100 + 2 * np.eye(axes)
    turn = np.linalg.qr(matrix)[0]
    signs = draw(st.lists(st.sampled_from((-1, 1)), min_size=axes, max_size=axes))
    order = draw(st.permutations(range(axes)))
    straight = draw(st.booleans())
    direction = ((np.eye(axes) if straight else turn) * signs)[:, order]
    length = st.floats(0.05, 8).map(lambda number: round(number, 3))
    place = st.floats(-300, 300).map(lambda number: round(number, 2))
    return Geometry(
        tuple(draw(st.lists(st.integers(least, 6), min_size=axes, max_size=axes))),
        tuple(draw(st.lists(length, min_size=axes, max_size=axes))),
        tuple(draw(st.lists(place, min_size=axes, max_size=axes))),
        tuple(direction.ravel().tolist()),
    )


def values(shape: tuple[int, ...], top: int, low: int = 0) -> st.SearchStrategy[np.ndarray]:
    """Draw an array of whole numbers; with both limits, where there is room."""
    ends = np.array([low, top])

    def drawn(seed: int) -> np.ndarray:
        numbers = np.random.default_rng(seed).integers(low, top + 1, shape)
        numbers.flat[: ends.size] = ends[: numbers.size]
        return numbers

    return st.integers(0, 2**32 - 1).map(drawn)


def itk(pixels: np.ndarray, geometry: Geometry) -> sitk.Image:
    image = sitk.GetImageFromArray(pixels)
    image.SetSpacing(geometry.spacing)
    image.SetOrigin(geometry.origin)
    image.SetDirection(geometry.direction)
    return image


# --- an answer, written and read again -----------------------------------------------------------


@st.composite
def written(draw: st.DrawFn) -> tuple[np.ndarray, Geometry, str, str]:
    axes = draw(st.sampled_from((2, 3)))
    geometry = draw(geometries(axes))
    top = draw(st.sampled_from((1, 2, 255, 256, 65534, 65535, 65536, 2**31 - 1)))
    suffix = draw(st.sampled_from((*VOLUMES, *PICTURES)))
    dtype = draw(st.sampled_from(("uint8", "uint16", "int16", "uint32", "int32")))
    return draw(values(geometry.size[::-1], top)), geometry, suffix, dtype


@cases(400)
@given(case=written())
def test_an_answer_is_read_again_as_it_was_and_lies_where_its_image_lies(folder, case):
    label, geometry, suffix, dtype = case
    path = folder / f"as{suffix.replace('.', '_')}{suffix}"  # ITK takes a.nii for a.nii.gz
    try:
        write_mask(path, label, geometry, np.dtype(dtype))
    except InputError:
        assert suffix == ".png" and (label.ndim == 3 or label.max() > 65535)
        return
    try:
        found = read_label(path, label.shape if suffix in PICTURES else geometry)
    except InputError:  # one page, and pages of one pixel, are no volume
        assert suffix == ".tif" and label.ndim == 3 and 1 in label.shape
        return
    np.testing.assert_array_equal(found.reshape(label.shape), label)  # a single slice is an image
    seen = sitk.ReadImage(str(path))
    if label.ndim == seen.GetDimension():
        np.testing.assert_array_equal(sitk.GetArrayFromImage(seen), label)
    if suffix in VOLUMES:
        axes = label.ndim
        np.testing.assert_allclose(seen.GetSpacing()[:axes], geometry.spacing, rtol=1e-5)
        np.testing.assert_allclose(seen.GetOrigin()[:axes], geometry.origin, rtol=1e-5, atol=1e-4)
        turn = np.reshape(seen.GetDirection(), (seen.GetDimension(),) * 2)[:axes, :axes]
        np.testing.assert_allclose(turn.ravel(), geometry.direction, atol=1e-5)


# --- label files of any type of number -----------------------------------------------------------

DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64")
FLOATS = ("float32", "float64")


@st.composite
def of_any_type(draw: st.DrawFn) -> tuple[np.ndarray, Geometry, str]:
    axes, dtype = draw(st.sampled_from((2, 3))), draw(st.sampled_from((*DTYPES, *FLOATS)))
    geometry = draw(geometries(axes, least=2))
    shape = geometry.size[::-1]
    limits = np.iinfo(dtype if dtype in DTYPES else "int32")
    top = draw(st.sampled_from((2, 100, min(limits.max, 2**33))))
    label = draw(values(shape, top, draw(st.sampled_from((0, 0, max(-3, limits.min)))))).astype(
        dtype
    )
    if dtype in FLOATS:
        label.flat[-1] = draw(st.sampled_from((0, 1, 0.5, np.nan, np.inf, 2**24, 1e12)))
    return label, geometry, draw(st.sampled_from((".nrrd", ".mha", ".tif")))


@cases(400)
@given(case=of_any_type())
def test_a_label_file_of_any_type_of_number_is_read_exactly_or_refused(folder, case):
    label, geometry, suffix = case
    path = folder / f"label{suffix}"
    if suffix == ".tif":
        tifffile.imwrite(path, label, photometric="minisblack")
    else:
        sitk.WriteImage(itk(label, geometry), str(path))
    whole = np.isfinite(label).all() and (label == np.floor(label)).all()
    # a real number must be below what the type tells from its neighbours
    most = 2 ** (np.finfo(label.dtype).nmant + 1) - 1 if label.dtype.kind == "f" else 2**31 - 1
    fits = whole and label.min() >= 0 and label.max().item() <= min(most, 2**31 - 1)
    try:
        found = read_label(path, label.shape if suffix == ".tif" else geometry)
    except InputError as error:
        assert not fits or suffix == ".tif", error  # a drawing of few greys may be no label
        return
    np.testing.assert_array_equal(found, label)


# --- a label on another grid than its image ------------------------------------------------------


@st.composite
def elsewhere(draw: st.DrawFn) -> tuple[np.ndarray, Geometry, Geometry]:
    """Draw a label, its grid, and the grid of an image nearby: shifted, magnified, or both."""
    axes = draw(st.sampled_from((2, 3)))
    grid = draw(geometries(axes, least=3))
    label = draw(values(grid.size[::-1], 3))
    turn = np.reshape(grid.direction, (axes, axes))
    step = draw(st.lists(st.integers(-2, 2), min_size=axes, max_size=axes))
    part = draw(st.sampled_from((0.0, 0.0, 0.3)))
    zoom = draw(st.sampled_from((1.0, 1.0, 0.43, 1.7)))
    origin = np.array(grid.origin) + turn @ ((np.array(step) + part) * grid.spacing)
    image = Geometry(
        tuple(draw(st.lists(st.integers(3, 7), min_size=axes, max_size=axes))),
        tuple(side * zoom for side in grid.spacing),
        tuple(origin.tolist()),
        grid.direction,
    )
    return label, grid, image


@cases(300)
@given(case=elsewhere())
def test_a_label_on_another_grid_lies_where_simpleitk_puts_it_or_is_refused(folder, case):
    label, grid, image = case
    path = folder / "label.nrrd"
    sitk.WriteImage(itk(label.astype(np.uint8), grid), str(path))
    try:
        found = read_label(path, image)
    except InputError:
        return
    like = itk(np.zeros(image.size[::-1], np.uint8), image)
    seen = sitk.Resample(
        sitk.ReadImage(str(path)), like, sitk.Transform(), sitk.sitkNearestNeighbor, 0
    )
    np.testing.assert_array_equal(found, sitk.GetArrayFromImage(seen))


# --- channels and axes ---------------------------------------------------------------------------


@st.composite
def stacks(draw: st.DrawFn) -> tuple[np.ndarray, str, str, int]:
    """Draw pixels, their axes, the dialect that tells these, and a channel."""
    dialect = draw(st.sampled_from(("ome", "imagej", "shaped")))
    axes = draw(st.sampled_from(("YX", "CYX", "ZYX", "TYX", "ZCYX", "TCYX", "CZYX")))
    if dialect == "imagej":
        axes = "".join(axis for axis in "TZCYX" if axis in axes)
    sides = {"Y": 5, "X": 7, "C": draw(st.integers(2, 5)), "Z": 3, "T": 4}
    shape = tuple(draw(st.integers(2, 5)) if a in "ZT" else sides[a] for a in axes)
    dtype = draw(st.sampled_from(("uint8", "uint16", "float32")))
    pixels = draw(values(shape, 255)).astype(dtype)
    return pixels, axes, dialect, draw(st.integers(1, sides["C"]))


@cases(350)
@given(case=stacks())
def test_the_channel_that_is_asked_for_is_read_whatever_the_order_of_axes(folder, case):
    pixels, axes, dialect, number = case
    path = folder / ("stack.ome.tif" if dialect == "ome" else "stack.tif")
    kind = {} if dialect == "shaped" else {dialect: True}
    tifffile.imwrite(path, pixels, photometric="minisblack", metadata={"axes": axes}, **kind)
    if "C" not in axes:
        image = read_image(path, spatial_dims=None)
        np.testing.assert_array_equal(image.pixels, pixels)
        assert image.over_time == ("T" in axes)
        return
    with pytest.raises(InputError, match="none was chosen"):
        read_image(path, spatial_dims=None)
    image = read_image(path, spatial_dims=None, channel=str(number))
    np.testing.assert_array_equal(image.pixels, pixels.take(number - 1, axes.index("C")))
    assert image.channel
    assert image.over_time == ("T" in axes)


# --- stored bits of DICOM ------------------------------------------------------------------------


@st.composite
def stored_bits(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, int, int, bool]:
    """Draw values, the words that hold them with noise in unused bits, and what is told of them."""
    allocated = draw(st.sampled_from((8, 16)))
    bits = draw(st.integers(2 if allocated == 8 else 9, allocated))
    signed = draw(st.booleans())
    high = draw(st.integers(bits - 1, allocated - 1)) if allocated == 16 else bits - 1
    low, top = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    truth, noise = draw(values((8, 9), top, low)), draw(values((8, 9), 2**allocated - 1))
    mask = (2**bits - 1) << (high - bits + 1)
    words = ((truth << (high - bits + 1)) & mask) | (noise & ~mask)
    return truth, words.astype(f"<u{allocated // 8}"), bits, high, signed


@cases(300)
@given(case=stored_bits())
def test_the_stored_bits_of_dicom_are_read_and_no_others(folder, case):
    truth, words, bits, high, signed = case
    path = folder / "picture.dcm"
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["a"])
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = SecondaryCaptureImageStorage, generate_uid()
    data.Modality, data.PhotometricInterpretation, data.SamplesPerPixel = "OT", "MONOCHROME2", 1
    data.Rows, data.Columns = words.shape
    data.BitsAllocated, data.BitsStored, data.HighBit = 8 * words.itemsize, bits, high
    data.PixelRepresentation = int(signed)
    data.PixelData = words.tobytes() + b"\0" * (words.nbytes % 2)
    data["PixelData"].VR = "OB" if words.itemsize == 1 else "OW"
    pydicom.dcmwrite(path, data, enforce_file_format=True)
    try:
        image = read_image(path, spatial_dims=None)
    except InputError as error:
        assert high != bits - 1, error
        return
    np.testing.assert_array_equal(image.pixels.astype(np.int64), truth)


# --- what is submitted, stored, and read by training ---------------------------------------------

GLAND = replace(get_task("ultrasound3d_structures"), input=InputSpec(min_side=1))
NAMES = ("gland", "cyst", "ignore", "vessel", "Gland")  # of them the task has the first two


@st.composite
def submitted(draw: st.DrawFn) -> tuple[np.ndarray, Geometry, dict[str, int], str, bool]:
    """Draw a label, its grid, the values of names in any order, a file type, and if mirrored."""
    geometry = draw(geometries(3, least=2))
    names = draw(
        st.permutations(NAMES[:4]).flatmap(lambda order: st.sampled_from((order[:2], order)))
    )
    numbers = draw(st.permutations(range(1, len(names) + 1)))
    if draw(st.booleans()):
        numbers = [40 * number for number in numbers]
    told = dict(zip(names, numbers, strict=True))
    drawn = draw(values(geometry.size[::-1], len(names)))
    label = np.array([0, *numbers])[drawn]
    return (
        label,
        geometry,
        told,
        draw(st.sampled_from((".nrrd", ".nii.gz", ".mha"))),
        draw(st.booleans()),
    )


@cases(80)
@given(case=submitted())
def test_training_reads_of_a_submitted_label_each_structure_by_its_name(folder, case):
    label, geometry, told, suffix, mirrored = case
    studies = folder / "studies"
    shutil.rmtree(studies, ignore_errors=True)
    studies.mkdir()
    grey = np.random.default_rng(0).integers(0, 255, label.shape).astype(np.uint8)
    sitk.WriteImage(itk(grey, geometry), str(studies / "scan.nrrd"))
    sent = itk(label.astype(np.uint16), geometry)
    sitk.WriteImage(
        sitk.Flip(sent, [True, False, False]) if mirrored else sent, str(folder / f"sent{suffix}")
    )
    store = StudiesDatastore(str(studies), tasks=[GLAND])
    info = {"label_info": [{"name": name, "idx": idx} for name, idx in told.items()]}
    expected = np.full((3, *label.shape), 0)
    for number, names in enumerate((("gland", "cyst"), ("gland",), ("cyst",))):
        expected[number] = np.isin(label, [told[name] for name in names if name in told])
    if "ignore" in told:
        expected[:, label == told["ignore"]] = UNKNOWN
    store.save_label("scan", str(folder / f"sent{suffix}"), "final", info)
    items = list_items(studies, labelled=False)
    assert [item.id for item in items] == ["scan"]
    if items[0].label is None:  # nothing of the task was drawn
        assert not (expected != 0).any()
        return
    try:
        _, target = kind_of(GLAND).cases.load(items[0], GLAND)
    except InputError as error:
        assert (expected == UNKNOWN).all(), error
        return
    np.testing.assert_array_equal(target, expected)
