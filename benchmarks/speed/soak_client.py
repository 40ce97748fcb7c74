"""A client of the soak test: requests of every kind, in a seeded order."""

from __future__ import annotations

import io
import json
import random
import socket
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import requests
from PIL import Image

from benchmarks.speed.fixtures import SEED, TASK
from lib.phantoms.nuclei import nuclei_phantom

CLICKS = "nuclei_click"
IMAGES = 12
SIDE = 256
TIMEOUT_S = 120
_MIX = {  # how often a kind comes
    "infer": 20,
    "click": 10,
    "sample": 12,
    "save label": 12,
    "download label": 10,
    "download image": 8,
    "info": 8,
    "upload image": 5,
    "refused file": 6,
    "wrong password": 4,
    "broken off": 5,
}
# statuses other than success that are the right answer
_RIGHT = {
    "refused file": {400, 422},
    "wrong password": {401, 429},
    "sample": {200, 404},
}


class Client:
    """One client.

    Args:
        url: of the server.
        token: of a user who may do everything.
        number: of the client, which seeds what it does.
        clicks: whether a model that follows clicks is served.

    Attributes:
        seconds: of the requests, by kind.
        answers: kind and status of each request; 0 where the client broke off.
        errors: what was not answered as it should be.
    """

    def __init__(self, url: str, token: str, number: int, clicks: bool, folder: Path) -> None:
        self.url, self.number = url, number
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.answers: list[tuple[str, int]] = []
        self.errors: list[str] = []
        self._rng = random.Random(SEED + number)
        self._session = requests.Session()
        self._session.headers["Authorization"] = f"Bearer {token}"
        self._images = sorted(file.stem for file in (folder / "studies").glob("*.png"))
        self._mix = {kind: share for kind, share in _MIX.items() if clicks or kind != "click"}
        image, label = nuclei_phantom(SEED + 100 + number, rows=SIDE, columns=SIDE)
        self._png, self._label = _as_png(image), _as_png((label > 0).astype(np.uint8))
        self._kinds: dict[str, Callable[[], requests.Response | None]] = {
            "infer": self._infer,
            "click": self._click,
            "sample": lambda: self._send("POST", "/activelearning/random", json={}),
            "save label": self._save,
            "download label": self._download_label,
            "download image": self._download_image,
            "info": lambda: self._send("GET", "/info/"),
            "upload image": self._upload,
            "refused file": self._refused,
            "wrong password": self._wrong_password,
            "broken off": self._broken_off,
        }

    def all_kinds(self) -> None:
        """Send one request of each kind."""
        for kind in self._mix:
            self._one(kind)

    def work(self, count: int, end: float, on_round: Callable[[], object]) -> None:
        """Send so many requests, one after the other, none after `end` (`time.monotonic`)."""
        for _ in range(count):
            if time.monotonic() > end:
                return
            self._one(*self._rng.choices(list(self._mix), list(self._mix.values())))
            on_round()

    def _one(self, kind: str) -> None:
        begin = time.perf_counter()
        try:
            reply = self._kinds[kind]()
        except requests.RequestException as error:
            self.errors.append(f"{kind}: {type(error).__name__}"[:200])
            return
        self.seconds[kind].append(time.perf_counter() - begin)
        self.answers.append((kind, reply.status_code if reply is not None else 0))
        if reply is not None and reply.status_code not in _RIGHT.get(kind, {200}):
            self.errors.append(f"{kind}: {reply.status_code} {reply.text}"[:200])

    # --- kinds -----------------------------------------------------------------------------------

    def _image(self) -> str:
        return self._rng.choice(self._images)

    def _infer(self) -> requests.Response:
        query = {"image": self._image(), "output": "all"}
        return self._send("POST", f"/infer/{TASK}", params=query, data={"params": "{}"})

    def _click(self) -> requests.Response:
        point = [self._rng.randrange(SIDE), self._rng.randrange(SIDE), 0]
        params = json.dumps({"foreground": [point], "background": []})
        query = {"image": self._image(), "output": "all"}
        return self._send("POST", f"/infer/{CLICKS}", params=query, data={"params": params})

    def _save(self) -> requests.Response:
        query = {"image": self._image(), "tag": "final"}
        return self._send(
            "PUT", "/datastore/label", params=query, files={"label": ("label.png", self._label)}
        )

    def _download_label(self) -> requests.Response:
        # the first two are labelled from the start
        query = {"label": self._rng.choice(self._images[:2]), "tag": "final"}
        return self._send("GET", "/datastore/label", params=query)

    def _download_image(self) -> requests.Response:
        return self._send("GET", "/datastore/image", params={"image": self._image()})

    def _upload(self) -> requests.Response:
        """Send a new image, and have it deleted again."""
        name = f"uploaded_{self.number}"
        reply = self._send(
            "PUT", "/datastore/image", params={"image": name}, files={"file": ("a.png", self._png)}
        )
        if reply.ok:
            return self._send("DELETE", "/datastore/", params={"id": name})
        return reply

    def _refused(self) -> requests.Response:
        damaged = self._png[: self._rng.randrange(60, len(self._png) // 2)]
        if self._rng.random() < 0.5:
            query = {"image": self._image(), "tag": "final"}
            files = {"label": ("label.png", damaged)}
            return self._send("PUT", "/datastore/label", params=query, files=files)
        files = {"file": ("image.png", damaged)}
        return self._send("POST", f"/infer/{TASK}", params={"output": "json"}, files=files)

    def _wrong_password(self) -> requests.Response:
        form = {"username": f"nobody{self.number}", "password": "wrong"}
        return requests.post(f"{self.url}/auth/token", data=form, timeout=TIMEOUT_S)

    def _broken_off(self) -> None:
        """Send the beginning of a request, or all of it, and close the connection."""
        parts = urlsplit(self.url)
        target = f"/infer/{TASK}?image={self._image()}&output=json"
        head = (
            f"POST {target} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
            f"Authorization: {self._session.headers['Authorization']!s}\r\n"
            f"Content-Type: application/x-www-form-urlencoded\r\n"
        )
        whole = self._rng.random() < 0.5
        head += f"Content-Length: {9 if whole else 5000}\r\n\r\nparams={{}}"
        assert parts.hostname is not None and parts.port is not None
        with socket.create_connection((parts.hostname, parts.port), timeout=TIMEOUT_S) as raw:
            raw.sendall(head.encode())
            time.sleep(self._rng.uniform(0, 0.05))

    def _send(self, method: str, path: str, **arguments: object) -> requests.Response:
        return self._session.request(method, self.url + path, timeout=TIMEOUT_S, **arguments)  # type: ignore[arg-type]


def _as_png(pixels: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, format="PNG")
    return content.getvalue()
