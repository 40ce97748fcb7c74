"""Answers with pixels: frames and instances in several parts, and pictures of frames."""

from __future__ import annotations

import io
import uuid
from collections.abc import AsyncIterator, Iterable

import numpy as np
from fastapi.responses import Response, StreamingResponse
from PIL import Image
from pydicom.uid import ExplicitVRLittleEndian

from lib.io.shown_frames import ShownFrames

BLOCK = 1 << 20  # bytes sent at a time
THUMBNAIL = 128  # longest side in pixels
LARGEST = 4096  # longest side of a picture of a frame
NO_STORE = {"Cache-Control": "no-store"}
OCTETS, OBJECT = "application/octet-stream", "application/dicom"


def in_parts(parts: Iterable[memoryview], kind: str) -> Response:
    """Return an answer of several parts (PS3.18 8.6.1.2.1), each uncompressed in little endian.

    Large parts are sent in blocks, and never copied whole.

    Args:
        kind: media type of each.
    """
    boundary = uuid.uuid4().hex
    syntax = f"transfer-syntax={ExplicitVRLittleEndian}"
    head = memoryview(f"--{boundary}\r\nContent-Type: {kind}; {syntax}\r\n\r\n".encode())
    pieces = [piece for part in parts for piece in (head, part, memoryview(b"\r\n"))]
    pieces.append(memoryview(f"--{boundary}--\r\n".encode()))

    async def blocks() -> AsyncIterator[bytes]:
        for piece in pieces:
            for start in range(0, len(piece), BLOCK):
                yield bytes(piece[start : start + BLOCK])

    headers = {**NO_STORE, "Content-Length": str(sum(map(len, pieces)))}
    media = f'multipart/related; type="{kind}"; {syntax}; boundary={boundary}'
    return StreamingResponse(blocks(), 200, headers, media)


def picture(frames: ShownFrames, number: int, longest: int, inverted: bool = False) -> Response:
    """Return a frame as JPEG, in its window.

    Args:
        number: of the frame, from 0.
        longest: most pixels of its longer side.
        inverted: whether small values are bright.
    """
    frame = frames.pixels[number]
    step = max(1, max(frame.shape[:2]) // (2 * longest))
    frame = frame[::step, ::step]
    if frames.window:
        centre, width = frames.window
        values = frame.astype(np.float32) * frames.slope + frames.intercept
        frame = np.clip((values - centre) / (width or 1) + 0.5, 0, 1)
        frame = np.rint((1 - frame if inverted else frame) * 255).astype(np.uint8)
    shown = Image.fromarray(np.ascontiguousarray(frame))
    shown.thumbnail((longest, longest))
    content = io.BytesIO()
    shown.save(content, "JPEG", quality=90)
    return Response(content.getvalue(), 200, NO_STORE, "image/jpeg")
