"""Patches of OHIF's scripts, as the monailabel wheel ships them, for what has no setting.

OHIF's reader of DICOM SEG supports images of one frame only: it lists one image per instance of the
source, finds one image per instance, and knows frames only by addresses that end in `frame=N`,
which addresses of DICOMweb do not. So it draws nothing over loops and over volumes in one file.
The patched reader lists each frame, and finds it by its instance and frame number. It also reads a
SEG without spacing, at which the original fails.

Resized while its volume still loads, a viewport has no plane that it could be turned to, and
Cornerstone tries without end (the console says "Maximum call stack size exceeded"); patched, it
tries once more and leaves it.

OHIF's page and styles load the font Inter from another site; here they load it from this server.
Its page names one script; the others, and the study, are asked for one after the other as scripts
begin to run. Here the page of this app's mode asks for all of them at once.

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


EARLY = (  # what the mode loads before it shows the first image, in OHIF's order
    "app.bundle.af87d1dd396d277eac89.js",  # deferred by the page, and needed first
    *("149.bundle.b8d177954628f4631fc0.js", "420.bundle.291b5ebcb0a0ee355147.js"),
    *("4033.bundle.8578ca2a967e3832ab3e.js", "1520.bundle.acba7d34f1203a4b294c.js"),
    *("3334.bundle.0e6ba24024018199ab66.js", "1185.bundle.63d4a7234e943a3bc2ab.js"),
    *("4245.bundle.33acc03fe810fee508eb.js", "3933.bundle.92d0a0e9bc7e6861b7c9.js"),
    *("9611.bundle.767595c93877e5166c03.js", "3970.bundle.31942cc0c12a008e7ba0.js"),
    *("5687.bundle.359725103be0568c6b27.js", "1266.bundle.336f6cdc0a45bd0e2c68.js"),
    *("8008.bundle.a3dd38561f1a9418b099.js", "9551.bundle.32397fa9d7acc4dd37af.js"),
    *("4834.bundle.ef925a19b933346aceff.js", "7955.bundle.534d9e8491a096aa782e.js"),
    *("2068.bundle.83ad900b6ad2110750da.js", "7197.bundle.805c43530f838fa98d40.js"),
)
_MODE = "/ohif/monai-label"
_ASK_EARLY = f"""<script>(() => {{
  const studies = new URLSearchParams(location.search).getAll('StudyInstanceUIDs');
  const ask = (as, href) => {{
    const link = Object.assign(document.createElement('link'), {{ rel: 'preload', as, href }});
    if (as === 'fetch') link.crossOrigin = 'anonymous';
    document.head.append(link);
  }};
  if (location.pathname === '{_MODE}' && studies.length) {{
    {list(EARLY)}.forEach(name => ask('script', `/ohif/${{name}}`));
    ask('fetch', '/info/');
    studies.join().split(',').filter(uid => /^[0-9.]+$/.test(uid)).forEach(uid =>
      ask('fetch', `/proxy/dicom/wado/studies/${{uid}}/metadata`));
  }}
}})();</script>"""

PATCHES = (
    Patch(  # ask early
        "index.html",
        "<script>console.time('scriptToView');",
        f"{_ASK_EARLY}<script>console.time('scriptToView');",
    ),
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
    Patch(  # turn a viewport to a plane no more than twice
        "app.bundle.af87d1dd396d277eac89.js",
        "this.setOrientation({ viewPlaneNormal: refViewPlaneNormal, viewUp });\n"
        "                this.setViewReference(viewRef);",
        "this.setOrientation({ viewPlaneNormal: refViewPlaneNormal, viewUp });\n"
        "                if (!this.isTurning) {\n"
        "                    this.isTurning = true;\n"
        "                    try {\n"
        "                        this.setViewReference(viewRef);\n"
        "                    } finally {\n"
        "                        this.isTurning = false;\n"
        "                    }\n"
        "                }",
    ),
    Patch(  # fonts from here
        "index.html",
        '<link rel="preconnect" href="https://fonts.gstatic.com" crossorigin/>'
        '<link href="https://fonts.googleapis.com/css?family=Inter:100,300,400,500,700&display=swap"'
        ' rel="stylesheet" rel="preload" as="style"/>',
        '<link href="/static/fonts/inter.css" rel="stylesheet"/>',
    ),
    Patch(
        "app.bundle.css",
        "@import url(https://fonts.googleapis.com/css2?family=Inter:wght@100..900&display=swap);",
        "/* Inter is loaded by the page, from this server */",
    ),
    Patch(
        "app.bundle.css",
        "@import url(https://fonts.googleapis.com/css?family=Inter:100,300,400,500,700"
        "&display=swap);",
        "/* nor these weights of it */",
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
