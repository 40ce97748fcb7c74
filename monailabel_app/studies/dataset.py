"""All images with an accepted label in one ZIP file."""

from __future__ import annotations

import json
import os
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lib.errors import NotFoundError


def dataset_zip(pairs: Sequence[Mapping[str, str]], metadata: Any) -> str:
    """Write a temporary ZIP file, which the caller deletes, and return its path.

    Args:
        pairs: files by what they are, ``image`` and ``label``; each lies in a folder of this name.
        metadata: of the datastore, for ``metadata.json``.

    Raises:
        NotFoundError: there are no pairs.
    """
    if not pairs:
        raise NotFoundError("no image has a final label yet, so there is nothing to download")
    handle, name = tempfile.mkstemp(suffix=".zip")
    try:
        with os.fdopen(handle, "wb") as file, zipfile.ZipFile(file, "w") as archive:
            for pair in pairs:
                for what, path in pair.items():
                    archive.write(path, f"{what}/{Path(path).name}")
            archive.writestr("metadata.json", json.dumps(metadata, default=str))
    except BaseException:
        os.unlink(name)
        raise
    return name
