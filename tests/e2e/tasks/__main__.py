"""Runs the tasks of a panel and writes their counts and docs/tasks.md: `make tasks`."""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright
from viewer import CHROMIUM, FLAGS

from benchmarks.harness.machine import machine_facts, memory_and_load
from lib.files import write_json
from tasks import now, others, page
from tasks.inputs import Studies, studies
from tasks.person import WINDOW, Person
from tasks.servers import ARCHIVE_TASKS, ROOT, archive_server, folder_server

NUCLEI_TASKS = "nuclei,nuclei_click"
PICTURES = ROOT / "docs" / "images"
Job = tuple[AbstractContextManager[str], Callable[[Person], None]]


def jobs(panel: str, checkout: Path, work: Path, made: Studies) -> dict[str, Job]:
    """What is run of each task of a panel: the server, and what the person does."""
    exam, stills = "Phantom, 40-0", "Phantom, tasks-7"

    def empty() -> AbstractContextManager[str]:
        return archive_server(checkout, work, made.datasets, ARCHIVE_TASKS)

    if panel == "now":
        return {
            "nuclei": (folder_server(checkout, work), lambda one: now.nuclei(one, PICTURE)),
            "still": (empty(), lambda one: now.still(one, made, stills)),
            "density": (empty(), lambda one: now.density(one, made, exam)),
        }
    picture = archive_server(checkout, work, made.datasets, NUCLEI_TASKS, weights=True)
    if panel == "before":
        return {
            "nuclei": (picture, lambda one: others.nuclei_before(one, "Nuclei")),
            "still": (empty(), lambda one: others.still_before(one, stills)),
            "density": (empty(), lambda one: others.density_before(one, exam)),
        }
    return {
        "nuclei": (picture, lambda one: others.nuclei_monailabel(one, "Nuclei")),
        "still": (empty(), lambda one: others.still_monailabel(one, "Phantom, frame-11")),
        "density": (empty(), lambda one: others.density_monailabel(one, exam)),
    }


PICTURE = "fluorescence_010"  # of the demo nuclei, without a label


def main() -> None:
    """Run the chosen tasks of a panel, keep them beside those of the others, write the page."""
    parser = argparse.ArgumentParser(prog="make tasks", description=__doc__)
    parser.add_argument("--panel", choices=["now", "before", "monailabel"], default="now")
    parser.add_argument("--checkout", type=Path, default=ROOT, help="the code that serves")
    parser.add_argument("--only", choices=["nuclei", "still", "density"], action="append")
    chosen = parser.parse_args()
    measured = {}
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        work = Path(folder)
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS, headless=True)
        for name, (server, work_on) in jobs(
            chosen.panel, chosen.checkout.resolve(), work, studies()
        ).items():
            if chosen.only and name not in chosen.only:
                continue
            with server as url:
                pictures = PICTURES if chosen.panel == "now" else None
                profile = browser.new_context(viewport=WINDOW)
                person = Person(profile, url, pictures)
                work_on(person)
                profile.close()
            facts = {**_facts(chosen.checkout), **person.figures}
            measured[name] = {**facts, "steps": _rows(person)}
            print(chosen.panel, name, measured[name]["steps"], flush=True)
        browser.close()
    results = page.load()
    results.setdefault(chosen.panel, {}).update(measured)
    write_json(page.RESULTS, results)
    page.write(results)


def _rows(person: Person) -> dict[str, Any]:
    done = {step.name: step.row() for step in person.recorder.steps}
    return {**done, **{name: {"impossible": why} for name, why in person.missing.items()}}


def _facts(checkout: Path) -> dict[str, Any]:
    command = ["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    facts = machine_facts()
    return {
        "date": date.today().isoformat(),
        "commit": commit,
        "machine": {name: facts[name] for name in ("cpu", "cores")} | memory_and_load(),
        "versions": {
            name: version(name) for name in ("monailabel", "monai", "torch", "playwright")
        },
    }


if __name__ == "__main__":
    main()
