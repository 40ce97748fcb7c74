"""The choices of whose labels to take, where several readers labelled an image."""

from __future__ import annotations

from lib.errors import choose

LATEST, CONSENSUS, EACH = "latest", "consensus", "each"
READERS = {
    LATEST: "the label that was accepted last",
    CONSENSUS: "one label made of the newest label of each reader",
    EACH: "the newest label of each reader, as a case of its own",
}


def read_readers(value: str) -> str:
    """Read latest, consensus or each; anything else raises `NotFoundError`."""
    choose("choice of readers", value.strip(), READERS)
    return value.strip()
