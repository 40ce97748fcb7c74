"""A DICOMweb archive of one image that can be told to fall silent, for the tests of waiting."""

from __future__ import annotations

import io
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pydicom
from server_support import discs, write_dicom

WORKS, FROZEN, TRICKLES, STOPS = "works", "frozen", "trickles", "stops"
_FIELDS = ("StudyInstanceUID", "SeriesInstanceUID", "Modality", "PatientID")


class FakeArchive:
    """An archive with one ultrasound frame, in threads of this process.

    Attributes:
        mode: `WORKS`; `FROZEN` accepts and never answers; `TRICKLES` sends a byte at a time;
            `STOPS` sends a header and the beginning of a body.
        stored: number of requests that stored something.
    """

    def __init__(self, folder: Path, pixels: np.ndarray | None = None) -> None:
        file = write_dicom(
            folder / "frame.dcm",
            discs(96, 96) if pixels is None else pixels,
            StudyInstanceUID="1.2.3",
            SeriesInstanceUID="1.2.3.4",
        )
        self.image = "1.2.3.4"
        self._data = pydicom.dcmread(file)
        self._content = file.read_bytes()
        self.mode = WORKS
        self.stored = 0
        self._end = threading.Event()
        archive = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                archive._answer(self, b"")

            def do_POST(self) -> None:
                archive._answer(self, self.rfile.read(int(self.headers["Content-Length"])))

            def log_message(self, *arguments: Any) -> None:
                pass

        class Threads(ThreadingHTTPServer):
            request_queue_size = 256  # so that none of many clients waits for its connection
            daemon_threads = True

        self._server = Threads(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._end.set()
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        if self.mode == WORKS:
            kind, content = self._content_of(request.path, body)
            self._send(request, kind, content)
            return
        if self.mode == TRICKLES:
            request.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
        if self.mode == STOPS:
            request.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\nhalf")
        while not self._end.wait(0.2):
            if self.mode == TRICKLES:
                try:
                    request.wfile.write(b"x")
                except OSError:
                    return

    def _send(self, request: BaseHTTPRequestHandler, kind: str, content: bytes) -> None:
        request.send_response(200)
        request.send_header("Content-Type", kind)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)

    def _content_of(self, path: str, body: bytes) -> tuple[str, bytes]:
        if body:
            self.stored += 1
            reference = pydicom.Dataset()
            reference.ReferencedSOPInstanceUID = "1.2.3.9"
            answer = pydicom.Dataset()
            answer.ReferencedSOPSequence = [reference]
            return "application/dicom+json", json.dumps(answer.to_json_dict()).encode()
        parts = urlsplit(path)
        if parts.path == "/studies/1.2.3/series/1.2.3.4":
            return self._multipart()
        query = parse_qs(parts.query)
        rows = []
        if query.get("Modality", ["US"]) == ["US"] and query.get("offset", ["0"]) == ["0"]:
            row = pydicom.Dataset()
            for field in _FIELDS:
                setattr(row, field, getattr(self._data, field))
            row.NumberOfSeriesRelatedInstances = 1
            rows.append(row.to_json_dict())
        return "application/dicom+json", json.dumps(rows).encode()

    def _multipart(self) -> tuple[str, bytes]:
        content = io.BytesIO()
        content.write(b"--b\r\nContent-Type: application/dicom\r\n\r\n")
        content.write(self._content)
        content.write(b"\r\n--b--\r\n")
        return 'multipart/related; type="application/dicom"; boundary=b', content.getvalue()
