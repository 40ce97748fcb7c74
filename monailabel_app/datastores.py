"""Opening what the server is started on: a studies folder, or an archive at an address."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from lib.tasks.spec import TaskSpec
from monailabel_app.archive.open import is_google, open_archive, open_google
from monailabel_app.config import AppConfig
from monailabel_app.start import check_folder, check_studies
from monailabel_app.studies.datastore import StudiesDatastore
from monailabel_app.studies.protocol import StudiesProtocol

logger = logging.getLogger(__name__)


def open_datastore(studies: str, config: AppConfig, served: Sequence[TaskSpec]) -> StudiesProtocol:
    """Open the studies: a local folder, or a DICOMweb archive at a URL.

    Args:
        served: the tasks that a folder is opened for.

    Raises:
        InputError: a folder cannot be used, or MONAI Label's settings name no DICOMweb archive.
    """
    if not studies.startswith(("http://", "https://")):
        check_studies(Path(studies))
        reload = os.environ.get("MONAI_LABEL_DATASTORE_AUTO_RELOAD", "true").lower() == "true"
        store = StudiesDatastore(studies, reload, tasks=served)
        store.readers = config.readers
        for sentence in store.passed_over.sentences:
            logger.warning(sentence)
        return store
    url = studies.strip().rstrip("/")
    if is_google(url):
        return open_google(url)
    check_folder("archive_cache", config.archive_cache.expanduser())
    return open_archive(url, config)
