"""Colours of the plots, and how they are written as PNG."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image as PillowImage

from lib.files import write_atomically

# colours of Okabe and Ito 2008, which people with colour blindness can tell apart
BLUE, VERMILION, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#555555"
MAX_BYTES = 300_000


def save(canvas: Figure, path: Path) -> Path:
    """Write a PNG of 256 colours, at the finest resolution that stays below `MAX_BYTES`."""
    content = b""
    for dpi in (110, 90, 70, 55, 40):
        canvas.set_dpi(dpi)
        agg = FigureCanvasAgg(canvas)
        agg.draw()
        picture = PillowImage.fromarray(np.asarray(agg.buffer_rgba())).convert("RGB")
        memory = io.BytesIO()
        picture.quantize(256).save(memory, format="PNG", optimize=True)
        content = memory.getvalue()
        if len(content) < MAX_BYTES:
            break
    return write_atomically(path, lambda file: file.write(content))
