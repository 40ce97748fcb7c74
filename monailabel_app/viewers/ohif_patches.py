"""Mends of the OHIF that the monailabel wheel ships, where its configuration does not reach.

Its reader of DICOM SEG knows images of one frame alone: it lists one image for each instance of the
source, keeps one image for each instance to look frames up in, and knows frames only by addresses
that end in `frame=N`, which those of DICOMweb do not. So it drew nothing over loops and over
volumes of several frames in one file. Mended, it lists each frame, and finds it by its instance and
its number there. And it ended at a SEG that tells no spacing.

A mend is for one file of one build: file names carry a hash of their content.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lib.errors import InputError


@dataclass(frozen=True)
class Mend:
    """One change to a script of OHIF.

    Attributes:
        file: name of the script.
        found: what stands there, once.
        put: what takes its place.
    """

    file: str
    found: str
    put: str


MENDS = (
    Mend(  # reading a SEG: all frames of its source
        "7197.bundle.805c43530f838fa98d40.js",
        "const imageIds = images.map(({\n    imageId\n  }) => imageId);",
        "const imageIds = extensionManager.getActiveDataSource()[0]"
        ".getImageIdsForDisplaySet({ images });\n"
        "  segDisplaySet.sourceImageIds = imageIds;",
    ),
    Mend(  # making its label map: over the same frames
        "1185.bundle.63d4a7234e943a3bc2ab.js",
        "const imageIds = images.map(image => image.imageId);",
        "const imageIds = segDisplaySet.sourceImageIds;",
    ),
    Mend(  # the images by instance, and now by instance and frame number too
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
    Mend(  # the image of a frame that a SEG refers to
        "3970.bundle.31942cc0c12a008e7ba0.js",
        "return ReferencedFrameNumber ? Segmentation_4X_getImageIdOfReferencedFrame("
        "ReferencedSOPInstanceUID, ReferencedFrameNumber, sopUIDImageIdIndexMap)",
        "return ReferencedFrameNumber ? sopUIDImageIdIndexMap["
        "ReferencedSOPInstanceUID + '/' + ReferencedFrameNumber]",
    ),
    Mend(  # showing a SEG that tells no spacing
        "8295.bundle.4ecb27f9e58526f12bcb.js",
        "SliceThickness\n  } = PixelMeasures;",
        "SliceThickness\n  } = PixelMeasures ?? {};",
    ),
)


def mended(file: Path) -> str | None:
    """Return the text of a script as it is served; None where there is nothing to mend.

    Raises:
        InputError: the script is not the one that the mends are for.
    """
    mends = [mend for mend in MENDS if mend.file == file.name]
    if not mends:
        return None
    text = file.read_text("utf-8")
    for mend in mends:
        if text.count(mend.found) != 1:
            raise InputError(
                f"{file.name}: '{mend.found[:60]}' stands there {text.count(mend.found)} times, "
                f"expected once; install the MONAI Label that constraints.txt names"
            )
        text = text.replace(mend.found, mend.put)
    return text
