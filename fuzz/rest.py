"""Hostile requests to every route of a real server: `python -m fuzz.rest --minutes 30`.

The generator is our own: Schemathesis reads the parameters that a schema declares, but what is read
here stands in JSON inside of forms, and in names of files. 1,800 of its requests found one fault of
a server in which 4,000 of these found 217.
"""

from __future__ import annotations

import json
import random
import socket
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from dataclasses import dataclass, field
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any

import click

from benchmarks.speed.serving import Server
from fuzz import playground
from fuzz.rest_requests import HIDDEN, Request, Vocabulary, draw

ANSWER_SECONDS = 10.0
INFO_SECONDS = 1.0
_INFO = Request("GET", "/info/", (), b"")


@dataclass
class Counts:
    """What came of the requests.

    Attributes:
        requests: how many were sent.
        statuses: how many had each status; 0 is a connection that the server closed.
        slowest: seconds of the slowest answer.
        findings: what must not be, one line each.
    """

    requests: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    slowest: float = 0.0
    findings: list[str] = field(default_factory=list)


def fuzz(seconds: float, seed: int, most: int | None = None) -> Counts:
    """Send requests to a server of its own for `seconds`, or until `most` were sent.

    A finding is a status of 500 or more, an answer after more than `ANSWER_SECONDS`, an answer of
    GET /info/ after more than `INFO_SECONDS` twice, a traceback, or a file left in TMPDIR.
    """
    with tempfile.TemporaryDirectory(prefix="fuzz_") as folder:
        with playground.served(Path(folder)) as server:
            return _fuzz(server, Path(folder), seconds, seed, most)


def _fuzz(server: Server, folder: Path, seconds: float, seed: int, most: int | None) -> Counts:
    counts, log = Counts(), folder / "server.log"
    known = vocabulary(server.url, folder / "studies")
    before, read = set((folder / "tmp").iterdir()), len(log.read_bytes())
    end = time.monotonic() + seconds
    while time.monotonic() < end and (most is None or counts.requests < most):
        request = draw(random.Random(f"{seed}:{counts.requests}"), known)
        status, spent, reason = _timed(server.url, request)
        counts.requests += 1
        counts.statuses[status] += 1
        counts.slowest = max(counts.slowest, spent)
        if status >= 500 or spent > ANSWER_SECONDS:
            counts.findings.append(
                f"{status} after {spent:.1f} s: {str(request)[:300]} {reason[:200]!r}"
            )
        if status == 200 and request.target.startswith(("/train", "/batch", "/scoring")):
            _stop_tasks(server.url)
        info, waited, _ = _timed(server.url, _INFO)
        if waited > INFO_SECONDS:  # of a busy machine; once more says whether it lasts
            info, waited, _ = _timed(server.url, _INFO)
        if info != 200 or waited > INFO_SECONDS:
            counts.findings.append(f"/info/ {info} after {waited:.1f} s: {str(request)[:300]}")
        if info == 0 and server.process.poll() is not None:
            break
        text = log.read_bytes()[read:]
        read += len(text)
        if b"Traceback" in text:
            last = text.strip().splitlines()[-1].decode(errors="replace")
            counts.findings.append(f"traceback {last[-200:]} after {str(request)[:300]}")
        if counts.requests % 50 == 0:
            playground.write_studies(folder / "studies")
    deadline = time.monotonic() + 20  # a training that was stopped ends in its own time
    while (left := _files(folder / "tmp") - before) and time.monotonic() < deadline:
        time.sleep(0.2)
    counts.findings += [f"left in TMPDIR: {path.name}" for path in sorted(left)]
    return counts


def send(url: str, request: Request) -> tuple[int, str]:
    """Send a request as it is, byte by byte; return the status and the beginning of the answer."""
    host = url.removeprefix("http://")
    name, _, port = host.partition(":")
    with socket.create_connection((name, int(port)), 3 * ANSWER_SECONDS) as connection:
        try:
            connection.sendall(request.encoded(host))
        except OSError:
            pass  # refused before all of it was read; the answer says why
        try:
            with HTTPResponse(connection, method=request.method) as response:
                response.begin()
                return response.status, response.read().decode(errors="replace")
        except (HTTPException, ConnectionError):
            return 0, ""
        except TimeoutError:
            return 598, "no answer"


def vocabulary(url: str, studies: Path) -> Vocabulary:
    """Ask the server what it documents, and what it serves."""
    schema = json.loads(_body(url, "/openapi.json"))
    info = json.loads(_body(url, "/info/"))
    query: dict[tuple[str, str], list[str]] = {}
    for path, methods in schema["paths"].items():
        for method, route in methods.items():
            found = [p["name"] for p in route.get("parameters", ()) if p["in"] == "query"]
            query[method.upper(), path] = found
    models = [*info["models"], *info["trainers"], *info["models"]]
    return Vocabulary(
        routes=[*query, *HIDDEN],
        query=query,
        values=_values(models, [*info["strategies"]], [*info["scoring"]]),
        bodies=_bodies(info),
        files=[path.read_bytes() for path in sorted(studies.iterdir()) if path.is_file()],
    )


def _values(models: list[str], strategies: list[str], methods: list[str]) -> dict[str, Any]:
    images = [*playground.IMAGES, *playground.IMAGES]
    return {
        **dict.fromkeys(("model", "task"), models),
        **dict.fromkeys(("image", "label", "id"), images),
        "tag": ("final", "original"),
        "strategy": strategies,
        "method": methods,
        "output": ("image", "json", "all", "dicom_seg", "stats", "train"),
        "images": ("all", "labeled", "unlabeled", ["cells_0"]),
        **dict.fromkeys(("run_sync", "enqueue", "uncompress", "token"), ("false",)),
        **dict.fromkeys(
            ("all", "check_if_running", "update_ts", "html", "text"), ("true", "false")
        ),
        **dict.fromkeys(("lines", "expiry", "limit_cases", "refresh"), ("0", "5", "100")),
        **dict.fromkeys(("foreground", "background"), ([[5, 5, 0]], [], "[[9, 9, 0]]")),
        "result": ("mask", "instances", ["mask", "instances"]),
        "result_extension": (".nrrd", "png", ".nii.gz", ".tif"),
        "result_dtype": ("uint8", "int32"),
        "device": ("cpu", "auto", ["cpu"]),
        "roi": ([1, 20, 1, 20, 0, 0],),
        "label_info": ([{"name": "nuclei", "id": 1}],),
        "save_label": (True, False),
        "label_tag": ("original", "other"),
        "max_epochs": (1,),
        "patch_size": (32,),
        "max_batch_size": (1,),
        "path": ("", "index.html", "app-config.js", "viewer", "qido/studies", "wado/studies/1.2"),
        "version": (1, 2, "shipped"),
        "session_id": ("",),
        "key": ("x",),
        "name": ("x.png",),
    }


def _bodies(info: dict[str, Any]) -> dict[str, list[str]]:
    infer = {key for model in info["models"].values() for key in model["config"]}
    marks = {"foreground", "background", "roi", "label_info", "label_name", "selected_label_name"}
    result = {"result", "result_extension", "result_dtype", "device", "channel", "flips", "slice"}
    saved = {"save_label", "label_tag", "index", "saliency", "model", "image", "session", "gpus"}
    trainer = {key for one in info["trainers"].values() for key in one["config"]}
    batch = {"images", "label_tag", "multi_gpu", "max_workers", "max_batch_size", "logging"}
    return {
        "/infer/wsi": sorted(infer | {"level", "location", "size", "tile_size", "params"}),
        "/infer/": sorted(infer | marks | result | saved),
        "/train/": sorted(trainer | {"model", "gpus", "bundle_path", "client_id", "local_rank"}),
        "/batch/": sorted(batch | result | {"gpus", "model", "save_label", "bundle_path"}),
        "/activelearning/": ["model", "client_id", "id", "strategy"],
        "/scoring/": ["model", "device", "method", "gpus", "bundle_path"],
        "/datastore/": [
            "label_info",
            "params",
            "client_id",
            "user",
            "model",
            "name",
            "label_names",
        ],
    }


def _timed(url: str, request: Request) -> tuple[int, float, str]:
    start = time.perf_counter()
    status, reason = send(url, request)
    return status, time.perf_counter() - start, reason


def _body(url: str, path: str) -> bytes:
    with urllib.request.urlopen(url + path, timeout=60) as answer:
        found: bytes = answer.read()
    return found


def _stop_tasks(url: str) -> None:
    for task in ("train/", "batch/infer", "scoring/"):
        send(url, Request("DELETE", f"/{task}", (), b""))


def _files(folder: Path) -> set[Path]:
    return set(folder.iterdir())


@click.command()
@click.option("--minutes", type=click.FloatRange(min=0.05), default=2.0, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
def main(minutes: float, seed: int) -> None:
    """Send hostile requests to a server of its own; exits with 1 on a finding."""
    counts = fuzz(60 * minutes, seed)
    statuses = ", ".join(f"{status}: {count}" for status, count in sorted(counts.statuses.items()))
    click.echo(f"{counts.requests} requests ({statuses}), slowest {counts.slowest:.1f} s")
    for finding in counts.findings:
        click.echo(f"FOUND {finding}")
    sys.exit(bool(counts.findings))


if __name__ == "__main__":
    main()
