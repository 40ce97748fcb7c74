"""Label files of the studies folder: label images, and answers on density as JSON."""

from __future__ import annotations

from pathlib import Path

from lib.errors import InputError
from lib.io.labels import read_label
from lib.io.read import extension, image_size, stem
from lib.mammography.density_labels import read_density

ANSWER = ".json"


def is_label_file(name: str) -> bool:
    """Tell whether a file of this name can be a label."""
    return not name.startswith(".") and (bool(extension(name)) or name.lower().endswith(ANSWER))


def id_and_extension(name: str) -> tuple[str, str]:
    """Split the name of an image or a label into its id and its extension, as it is written."""
    id = name[: -len(ANSWER)] if name.lower().endswith(ANSWER) else stem(name)
    return id, name[len(id) :]


def check_label(label: str | Path, image: Path) -> dict[str, str]:
    """Refuse what is no label of an image.

    Returns:
        What is to be kept in the label's record: the density that JSON answers.

    Raises:
        InputError: unreadable, of another size, not integer valued, or JSON without a density.
    """
    label = Path(label)
    try:
        if label.suffix.lower() == ANSWER:
            return {"density": read_density(label)}
        wanted, found = image_size(image), image_size(label)
        if wanted != found:
            raise InputError(
                f"label of {' x '.join(map(str, found))} pixels for an image of "
                f"{' x '.join(map(str, wanted))}; label the image at its own size"
            )
        if len(found) in (2, 3):
            read_label(label, found[::-1])
    except InputError as error:  # the upload has a temporary name that tells nobody anything
        cause = str(error).removeprefix(f"{label.name}: ")
        raise InputError(f"label for '{image.name}' refused: {cause}") from None
    return {}
