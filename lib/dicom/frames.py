"""Which frames of a DICOM file make up one volume or loop, and in which order they lie."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pydicom
from pydicom.datadict import keyword_for_tag

from lib.dicom.geometry import frame_normal, frame_positions, group_items, numbers
from lib.dicom.header import frame_count, tag_value
from lib.dicom.stacking import place_numbers, told_apart
from lib.errors import InputError

# takes the name of a file and the names of its volumes; returns the index of one
Choose = Callable[[str, Sequence[str]], int]

# what tells frames apart: its name, the functional group, and the attribute in it
_FACTS = (
    ("time", "FrameContentSequence", "TemporalPositionIndex"),
    ("time", "TemporalPositionSequence", "TemporalPositionTimeOffset"),
    ("phase", "CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime"),
    ("echo", "MREchoSequence", "EffectiveEchoTime"),
    ("b-value", "MRDiffusionSequence", "DiffusionBValue"),
    ("type", "MRImageFrameTypeSequence", "FrameType"),
    ("type", "CTImageFrameTypeSequence", "FrameType"),
)
# the same where frames have no functional groups (nuclear medicine)
_VECTORS = (
    ("time", "TimeSlotVector"),
    ("phase", "PhaseVector"),
    ("interval", "RRIntervalVector"),
    ("energy window", "EnergyWindowVector"),
    ("detector", "DetectorVector"),
    ("rotation", "RotationVector"),
)
_TIMES = ("time", "phase")
_NAMES = {
    "TemporalPositionIndex": "time",
    "EffectiveEchoTime": "echo",
    "DiffusionBValue": "b-value",
}
_SHOWN = 12  # most volumes named in an error
_PLACES = ("StackID", "InStackPositionNumber", "ImagePositionPatient", "ImagePositionVolume")


@dataclass(frozen=True)
class FrameGroup:
    """Frames of one volume or loop.

    Attributes:
        name: what tells it from the others of its file, such as "stack 1, time 2"; empty for the
            only one.
        indices: of its frames in the file, from 0, in the order of the image: as in the file where
            that leads one way through space, else along the normal; of a loop in time.
    """

    name: str
    indices: tuple[int, ...]


def chosen_group(name: str, data: pydicom.Dataset, choose: Choose | None = None) -> FrameGroup:
    """Return the frames of a file, or of one of its volumes.

    Args:
        name: of the file, for errors.
        choose: which of several volumes.

    Raises:
        InputError: there are several, and nothing chooses one.
    """
    groups = frame_groups(data)
    if len(groups) == 1:
        return groups[0]
    names = [group.name for group in groups]
    return groups[(choose or refuse_several)(name, names)]


def refuse_several(
    name: str,
    volumes: Sequence[str],
    advice: str = "choose one of them by its name as channel, or store each as a file of its own",
) -> int:
    """Refuse a file or a series of several volumes."""
    shown = ", ".join(volumes[:_SHOWN]) + (", ..." if len(volumes) > _SHOWN else "")
    raise InputError(f"{name}: holds {len(volumes)} volumes ({shown}), expected one; {advice}")


def frame_groups(data: pydicom.Dataset) -> list[FrameGroup]:
    """Return the volumes or loops that the frames of a file make up, at least one."""
    if frame_count(data) == 1:
        return [FrameGroup("", (0,))]
    facts = _facts(data)
    positions = frame_positions(data)
    groups = []
    for stack, members in _stacks(data):
        offsets = _places(data, positions, members)
        places = place_numbers(offsets)
        of_members = [(name, [values[index] for index in members]) for name, values in facts]
        loop = places.max() == 0
        if loop:  # frames at one place are one for each time, where they tell it
            name, values = next(((n, v) for n, v in of_members if n in _TIMES), ("", []))
            offsets = np.array([float(value or 0) for value in values] or range(len(members)))
            places = place_numbers(offsets)
            of_members = [fact for fact in of_members if fact[0] not in _TIMES]
        for name, chosen in told_apart(places, of_members).items():
            ordered = [members[index] for index in _ordered(chosen, offsets)]
            groups.append(FrameGroup(", ".join(filter(None, (stack, name))), tuple(ordered)))
    return groups


def _ordered(chosen: list[int], offsets: np.ndarray) -> list[int]:
    """Return the indices in the order of their offsets; as they are where that is one way."""
    steps = np.diff(offsets[chosen])
    if (steps >= 0).all() or (steps <= 0).all():
        return chosen
    return sorted(chosen, key=lambda index: offsets[index])


def _stacks(data: pydicom.Dataset) -> list[tuple[str, list[int]]]:
    """Return the frames of each stack, or of each direction where none is named; "" if one."""
    frames = range(frame_count(data))
    names = _values(data, "FrameContentSequence", "StackID")
    label = "stack"
    if len(set(names)) < 2:
        normals = [np.round(frame_normal(data, index), 2) + 0.0 for index in frames]
        names, label = [str(tuple(normal)) for normal in normals], "direction"
    stacks: dict[str, list[int]] = {}
    for index in frames:
        stacks.setdefault(names[index], []).append(index)
    if len(stacks) == 1:
        return [("", list(frames))]
    if label == "stack":
        return [(f"stack {name}", members) for name, members in sorted(stacks.items())]
    return [(f"direction {n}", members) for n, members in enumerate(stacks.values(), start=1)]


def _places(data: pydicom.Dataset, positions: np.ndarray | None, members: list[int]) -> np.ndarray:
    """Return the offsets of frames along their normal, mm, or their slice numbers, else zeros.

    Args:
        positions: of all frames, as `frame_positions` returns them.
    """
    if positions is not None:
        return np.asarray(positions[members] @ frame_normal(data, members[0]))
    slices = numbers(data, "SliceVector", frame_count(data))
    return np.array(slices or [0.0] * frame_count(data))[members]


def _facts(data: pydicom.Dataset) -> list[tuple[str, list[str]]]:
    """Return what differs between frames, but their places: its name and its values."""
    found = [(name, _values(data, group, tag)) for name, group, tag in _FACTS]
    found += [
        (name, [str(int(value)) for value in numbers(data, tag, frame_count(data))])
        for name, tag in _VECTORS
    ]
    found += _dimensions(data)
    return [(name, values) for name, values in found if len(set(values)) > 1]


def _dimensions(data: pydicom.Dataset) -> Iterator[tuple[str, list[str]]]:
    """Yield the name and the values of each dimension that a file declares, but places."""
    indices = [
        numbers(item, "DimensionIndexValues") if item is not None else ()
        for item in _contents(data, "FrameContentSequence")
    ]
    for number, item in enumerate(tag_value(data, "DimensionIndexSequence") or []):
        keyword = keyword_for_tag(tag_value(item, "DimensionIndexPointer") or 0)
        if keyword not in _PLACES and all(len(values) > number for values in indices):
            words = "".join(f" {c.lower()}" if c.isupper() else c for c in keyword).strip()
            name = _NAMES.get(keyword, words or f"dimension {number + 1}")
            yield name, [f"{values[number]:g}" for values in indices]


def _values(data: pydicom.Dataset, group: str, tag: str) -> list[str]:
    """Return an attribute of a functional group for each frame, as text; empty where absent."""
    values = [tag_value(item, tag) for item in _contents(data, group)]
    return ["" if value is None else str(value) for value in values]


def _contents(data: pydicom.Dataset, group: str) -> list[Any]:
    """Return the item of a functional group for each frame, None where there is none."""
    return [next(group_items(data, group, i), None) for i in range(frame_count(data))]
