"""Every image of a folder read to its end once, so that what is truncated is known beforehand."""

from __future__ import annotations

import logging
import threading
import time

from monailabel_app.active.quiet import Quiet
from monailabel_app.studies.protocol import StudiesProtocol

logger = logging.getLogger(__name__)

LOOK_SECONDS = 30.0  # between looks for new images
MOST_BYTES = 256 << 20  # of a file; a larger one is read when it is given out


def start_reading(store: StudiesProtocol, quiet: Quiet) -> None:
    """Read the images in a thread, one in each moment without requests; those of a folder only."""
    if store.is_local:
        threading.Thread(target=_run, args=(store, quiet), name="reading", daemon=True).start()


def _run(store: StudiesProtocol, quiet: Quiet) -> None:
    while True:
        try:
            read_all(store, quiet)
        except Exception:  # a folder that is being changed, a disk that does not answer
            logger.exception("Reading the images in the background stopped; trying again soon")
        time.sleep(LOOK_SECONDS)


def read_all(store: StudiesProtocol, quiet: Quiet) -> None:
    """Read what was not read yet, and log what cannot be answered."""
    before = store.unreadable()
    unread = [id for id, look in store.looks().items() if not look.whole]
    for id, path in store.files(unread).items():
        if path.exists() and path.stat().st_size <= MOST_BYTES:
            quiet.wait()
            store.look(id)
    for id, reason in store.unreadable().items():
        if unread and id not in before:
            logger.warning(f"Image '{id}' is no sample: {reason}")
