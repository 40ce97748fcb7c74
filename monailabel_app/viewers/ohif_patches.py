"""Patches of OHIF's scripts, as the monailabel wheel ships them, for what has no setting.

OHIF's reader of DICOM SEG supports images of one frame only: it lists one image per instance of the
source, finds one image per instance, and knows frames only by addresses that end in `frame=N`,
which addresses of DICOMweb do not. So it draws nothing over loops and over volumes in one file.
The patched reader lists each frame, and finds it by its instance and frame number. It also reads a
SEG without spacing, at which the original fails.

A patch fits one file of one build: the names of files contain a hash of their content.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lib.errors import InputError


@dataclass(frozen=True)
class Patch:
    """One change to a script of OHIF.

    Attributes:
        file: name of the script.
        original: text that occurs once in it.
        replacement: text to insert instead.
    """

    file: str
    original: str
    replacement: str


PATCHES = (
    Patch(  # reading a SEG: list all frames of its source
        "7197.bundle.805c43530f838fa98d40.js",
        "const imageIds = images.map(({\n    imageId\n  }) => imageId);",
        "const imageIds = extensionManager.getActiveDataSource()[0]"
        ".getImageIdsForDisplaySet({ images });\n"
        "  segDisplaySet.sourceImageIds = imageIds;",
    ),
    Patch(  # making its label map: use the same frames
        "1185.bundle.63d4a7234e943a3bc2ab.js",
        "const imageIds = images.map(image => image.imageId);",
        "const imageIds = segDisplaySet.sourceImageIds;",
    ),
    Patch(  # find images by instance and frame number too
        "3970.bundle.31942cc0c12a008e7ba0.js",
        "acc[sopInstanceUID] = imageId;\n            return acc;\n          }, {});\n"
        "          overlapping = false;",
        "var frame = 1;\n"
        "            while (acc[sopInstanceUID + '/' + frame]) {\n"
        "              frame += 1;\n"
        "            }\n"
        "            acc[sopInstanceUID + '/' + frame] = imageId;\n"
        "            acc[sopInstanceUID] = imageId;\n            return acc;\n          }, {});\n"
        "          overlapping = false;",
    ),
    Patch(  # find the image of a frame that a SEG refers to
        "3970.bundle.31942cc0c12a008e7ba0.js",
        "return ReferencedFrameNumber ? Segmentation_4X_getImageIdOfReferencedFrame("
        "ReferencedSOPInstanceUID, ReferencedFrameNumber, sopUIDImageIdIndexMap)",
        "return ReferencedFrameNumber ? sopUIDImageIdIndexMap["
        "ReferencedSOPInstanceUID + '/' + ReferencedFrameNumber]",
    ),
    Patch(  # show a SEG without spacing
        "8295.bundle.4ecb27f9e58526f12bcb.js",
        "SliceThickness\n  } = PixelMeasures;",
        "SliceThickness\n  } = PixelMeasures ?? {};",
    ),
)


def patched(file: Path) -> str | None:
    """Return the patched text of a script; None if there is no patch for it.

    Raises:
        InputError: the script is of another build than the patches.
    """
    patches = [patch for patch in PATCHES if patch.file == file.name]
    if not patches:
        return None
    text = file.read_text("utf-8")
    for patch in patches:
        if (count := text.count(patch.original)) != 1:
            raise InputError(
                f"{file.name}: '{patch.original[:60]}' occurs {count} times, expected once; "
                f"install the version of MONAI Label that constraints.txt names"
            )
        text = text.replace(patch.original, patch.replacement)
    return text
