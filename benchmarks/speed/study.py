"""A published study of several small networks: one run after the other, and several at once.

Both are what `reproduce` does: every variant is trained for a few steps and tested, and all runs
share one copy of the prepared images. The figures of both ways are compared.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import torch

from benchmarks.harness.campaign import Execution
from benchmarks.harness.processes import choose_at_once
from benchmarks.reproduction.campaign import reproduce
from benchmarks.reproduction.plan import Campaign
from benchmarks.reproduction.published.catalogue import get_study
from benchmarks.speed.device_load import device_name, watched
from benchmarks.speed.fixtures import SEED, precision_name
from lib.data.studies import list_items
from lib.devices import resolve_device
from lib.phantoms.nuclei import write_nuclei_studies

STUDY = "thesis-nuclei"
VARIANTS = {"cpu": ("nuclei_u3clr", "nuclei_vcr"), "cuda": ()}
VARIANTS["cuda"] = (*VARIANTS["cpu"], "nuclei_huv", "nuclei_vhllrhe")
STEPS = {"cpu": 10, "cuda": 300}
IMAGES, QUICK_IMAGES = 96, 12  # phantoms of 256x256
EACH, AT_ONCE = "one after the other", "at once"
SAMPLE_SECONDS = 0.5


def run(
    on_round: Callable[[], object],
    device: str | None = None,
    studies: Path | None = None,
    steps: int | None = None,
    quick: bool = False,
) -> dict[str, Any]:
    """Measure both ways, and return settings and figures.

    Args:
        device: by default the best there is.
        studies: labelled images of nuclei; by default phantoms.
        steps: of each run; by default few.
        quick: two steps of tiny patches, to see that it runs.

    Raises:
        InputError: no labelled images, or no such device.
    """
    target = resolve_device(device)
    study, names = get_study(STUDY), VARIANTS[target.type]
    at_once = max(2, choose_at_once())
    figures: dict[str, Any] = {}
    scores: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        if studies is None:
            count = QUICK_IMAGES if quick else IMAGES
            write_nuclei_studies(Path(folder, "images"), count, count, SEED)
        items = list_items(studies or Path(folder, "images"), labelled=True)
        for way, jobs in ((EACH, 1), (AT_ONCE, at_once)):
            campaign = Campaign(
                study=study,
                out=Path(folder, str(jobs)),
                variants=tuple(study.choose(",".join(names))),
                steps=2 if quick else steps or STEPS[target.type],
                jobs=jobs,
                execution=Execution(str(target), progress=False),
                changes=(("patch_size", 32), ("batch_size", 2)) if quick else (),
            )
            begun = time.perf_counter()
            with watched(target) as utilisation, _memory(target) as memory:
                report = reproduce(campaign, items, lambda line: None)
            runs = report["runs"]
            scores[way] = {
                one["folder"]: one["validation"]["mean_iou"]
                for one in runs
                if one["status"] == "done"
            }
            figures[way] = {
                "jobs": jobs,
                "seconds": round(time.perf_counter() - begun, 2),
                "runs": len(runs),
                "failed": len(runs) - len(scores[way]),
                "utilisation_percent": utilisation.mean,
                **memory,
            }
            on_round()
    shared = scores[EACH].keys() & scores[AT_ONCE].keys()
    apart = [abs(scores[EACH][name] - scores[AT_ONCE][name]) for name in shared]
    each, together = (figures[way]["seconds"] for way in (EACH, AT_ONCE))
    return {
        "what": f"{STUDY}, {len(names)} variants, {campaign.steps} steps each, "
        f"{device_name(target)}",
        "study": STUDY,
        "variants": list(names),
        "device": target.type,
        "images": "phantoms" if studies is None else studies.name,
        "steps": campaign.steps,
        "computes_in": precision_name(target),
        "unit": "s",
        "at_once_times_as_fast": round(each / together, 2),
        "mean_iou_differs_by": round(max(apart), 6) if apart else None,
        "figures": figures,
    }


@contextmanager
def _memory(device: torch.device) -> Iterator[dict[str, float | None]]:
    """Sample the memory of this process and its children, and of the device, from a thread.

    `peak_memory_mib` counts what processes share once where the system tells it (Linux).
    """
    peaks: dict[str, float | None] = {"peak_memory_mib": 0.0, "peak_device_memory_mib": None}
    over = threading.Event()

    def sample() -> None:
        own = psutil.Process()
        while not over.wait(SAMPLE_SECONDS):
            used = sum(_bytes_of(one) for one in (own, *own.children(recursive=True)))
            peaks["peak_memory_mib"] = max(peaks["peak_memory_mib"] or 0, round(used / 2**20))
            if device.type == "cuda":
                free, total = torch.cuda.mem_get_info(device)
                held = round((total - free) / 2**20)
                peaks["peak_device_memory_mib"] = max(peaks["peak_device_memory_mib"] or 0, held)

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield peaks
    finally:
        over.set()
        thread.join()


def _bytes_of(process: psutil.Process) -> int:
    try:
        memory = process.memory_full_info()
    except psutil.Error:  # it has ended
        return 0
    return int(getattr(memory, "pss", memory.uss))


def table(report: Mapping[str, Any]) -> list[str]:
    """Return lines of the figures."""
    lines = []
    for way, row in report["figures"].items():
        busy = row["utilisation_percent"]
        device = row["peak_device_memory_mib"]
        lines.append(
            f"{way} ({row['jobs']}): {row['seconds']} s for {row['runs']} runs, "
            f"{row['failed']} failed, {row['peak_memory_mib']} MiB"
            + (f", device busy {busy} %" if busy is not None else "")
            + (f", {device} MiB on it" if device is not None else "")
        )
    differs = report["mean_iou_differs_by"]
    lines.append(
        f"at once {report['at_once_times_as_fast']} times as fast; mean IoU differs by "
        f"{'nothing that was measured' if differs is None else differs}"
    )
    return lines
