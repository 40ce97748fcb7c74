"""Images of several channels: each channel is a series of its own in the study of its file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from lib.image import MICROSCOPY_EXTENSIONS, TIFF_EXTENSIONS, VOLUME_EXTENSIONS, has_extension
from lib.io.channel_list import first_channel, image_channels
from monailabel_app.studies.dicomweb.images import ListedImage
from monailabel_app.studies.dicomweb.uids import uid_of

MOST_CHANNELS = 32  # that are shown of a file


def may_have_channels(path: Path) -> bool:
    """Tell whether files of this type may have several channels, that are no colour."""
    return has_extension(path, (*TIFF_EXTENSIONS, *VOLUME_EXTENSIONS, *MICROSCOPY_EXTENSIONS))


def channels_of(image: ListedImage) -> list[ListedImage]:
    """Return an image once for each of its channels, each a series of its own.

    That of ``channels.csv`` comes first, else the first of the file.
    """
    channels = image_channels(image.path) if may_have_channels(image.path) else ()
    if not channels:
        return [image]
    first = first_channel(image.path, channels)
    order = [first, *(number for number in range(len(channels)) if number != first)]
    found = []
    for place, number in enumerate(order[:MOST_CHANNELS]):
        # the first of the file keeps the UIDs of a file with one
        series = uid_of("channel", image.series, number) if number else image.series
        found.append(
            replace(
                image,
                channel=channels[number],
                series=series,
                instances=tuple(
                    uid_of("instance", series, slice) for slice in range(len(image.instances))
                ),
                facts={
                    **image.facts,
                    "SeriesDescription": f"{channels[number]}: {image.path.name}",
                    "SeriesNumber": str(place + 1),
                },
            )
        )
    return found
