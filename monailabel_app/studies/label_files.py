"""Label files of a datastore: label images, and density classes as JSON."""

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
    """Split the name of an image or label file into its id and its extension, case kept."""
    id = name[: -len(ANSWER)] if name.lower().endswith(ANSWER) else stem(name)
    return id, name[len(id) :]


def check_label(label: str | Path, image: Path) -> dict[str, str]:
    """Refuse a file that is no label of an image.

    Returns:
        Information for the label's record: the density class of a JSON file.

    Raises:
        InputError: the file cannot be read, has another size than the image or values that are
            not integers, or is JSON without a density.
    """
    label = Path(label)
    try:
        if label.suffix.lower() == ANSWER:
            return {"density": read_density(label)}
        expected, found = image_size(image), image_size(label)
        if expected != found:
            raise InputError(
                f"label of {' x '.join(map(str, found))} pixels for an image of "
                f"{' x '.join(map(str, expected))}; label the image at its own size"
            )
        if len(found) in (2, 3):
            read_label(label, found[::-1])
    except InputError as error:  # an uploaded file has a temporary name
        cause = str(error).removeprefix(f"{label.name}: ")
        raise InputError(f"label for '{image.name}' refused: {cause}") from None
    return {}
