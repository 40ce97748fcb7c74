"""The real server, killed while clients save labels and send weights."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import requests

from lib.files import sha256
from lib.io.pictures import save_picture
from lib.leftovers import PRIVATE
from lib.processes import free_port, wait_until_answers
from monailabel_app.config import app_folder
from monailabel_app.kills.checks import Faults, check_labels, check_weights
from monailabel_app.kills.journal import BEGIN, DONE, Journal
from monailabel_app.kills.work import IMAGES, ROW, SIDE, TAGS, Site, candidates, image_id, prepare

START_SECONDS = 300.0
LONGEST_SECONDS = 2.0  # of work before a kill
WEIGHTS_SHARE = 0.2  # of the requests


class Server:
    """`monailabel start_server` on the folders of a site."""

    def __init__(self, site: Site) -> None:
        self.site, self.port = site, free_port()
        self.temporary = site.folder / "tmp"
        self.temporary.mkdir(exist_ok=True)
        conf = {"models": ROW.name, "model_dir": str(site.store.folder), "scoring": "off"}
        command = [sys.executable, "-m", "monailabel.main", "start_server"]
        command += ["--app", str(app_folder()), "--studies", str(site.studies)]
        command += ["--host", "127.0.0.1", "--port", str(self.port)]
        for key, value in conf.items():
            command += ["--conf", key, value]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("MONAI_LABEL_")}
        environment["TMPDIR"] = str(self.temporary)
        environment["MONAI_LABEL_SESSION_PATH"] = str(site.folder / "sessions")
        with open(site.folder / "server.log", "ab") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        if not wait_until_answers(self.process, f"{self.url}/info/", START_SECONDS):
            raise RuntimeError(f"the server did not start: {site.folder / 'server.log'}")

    @property
    def url(self) -> str:
        """The address."""
        return f"http://127.0.0.1:{self.port}"

    def kill(self) -> None:
        """Kill it as a power cut does."""
        self.process.kill()
        self.process.wait()


def ask(server: Server, rng: random.Random, labels: Journal, weights: Journal) -> None:
    """Save labels and send weights until the server is gone."""
    site = server.site
    while True:
        try:
            if rng.random() < WEIGHTS_SHARE:
                _send_weights(server, rng.choice(candidates(site)), weights)
            else:
                facts = {
                    "image": image_id(rng.randrange(IMAGES)),
                    "tag": rng.choice(TAGS),
                    "value": rng.randrange(1, 60_000),
                }
                _save_label(server, facts, labels)
        except requests.RequestException:
            return


def _save_label(server: Server, facts: dict[str, Any], journal: Journal) -> None:
    file = server.site.sent / "label.png"
    save_picture(file, np.full((SIDE, SIDE), facts["value"], np.uint16))
    journal.note(BEGIN, facts)
    query = {"image": facts["image"], "tag": facts["tag"]}
    with open(file, "rb") as label:
        url = f"{server.url}/datastore/label"
        answer = requests.put(url, params=query, files={"label": label}, timeout=60)
    answer.raise_for_status()
    journal.note(DONE, facts)


def _send_weights(server: Server, file: Path, journal: Journal) -> None:
    journal.note(BEGIN, {"content": sha256(file)})
    with open(file, "rb") as weights:
        url = f"{server.url}/model/{ROW.name}"
        answer = requests.put(url, files={"file": weights}, timeout=60)
    answer.raise_for_status()
    journal.note(DONE, {"content": sha256(file)})


def kill_servers(site: Site, rng: random.Random, kills: int) -> tuple[list[Journal], Faults]:
    """Kill so many servers on one folder; return what was asked of them, and what was wrong."""
    prepare(site)
    labels, weights = Journal(fixed=False), Journal(fixed=True)
    faults: Faults = []
    server = Server(site)
    for kill in range(kills):
        work = threading.Thread(target=ask, args=(server, rng, labels, weights))
        work.start()
        time.sleep(rng.uniform(0, LONGEST_SECONDS))
        server.kill()
        work.join()
        killed = server.process.pid
        server = Server(site)
        left = list(server.temporary.glob(f"{PRIVATE}{killed}-*"))
        found = [f"left: {path.name}" for path in left]
        found += check_labels(site, labels) + check_weights(site, weights)
        faults += [f"kill {kill + 1}: {fault}" for fault in found]
    server.kill()
    return [labels, weights], faults
