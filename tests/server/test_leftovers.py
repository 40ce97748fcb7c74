"""Nothing stays of requests, good or refused, and nothing of a server that was killed."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from server_support import (
    MODEL,
    Server,
    discs,
    files_below,
    threshold_weights,
    write_dicom,
    write_png,
)

from lib.leftovers import PRIVATE

IMAGE = "discs_0"


def prepare(server: Server) -> None:
    for number in range(2):
        write_png(server.studies / f"discs_{number}.png", discs(96, 96))
    write_dicom(server.studies / "frame.dcm", discs(96, 96))
    labels = server.studies / "labels" / "final"
    labels.mkdir(parents=True)
    write_png(labels / "discs_1.png", (discs(96, 96) > 100).astype(np.uint8))
    threshold_weights(server.live_file)


@pytest.fixture(scope="module")
def own(launch: Callable[..., Server]) -> Iterator[Server]:
    yield launch(prepare)


def files(server: Server) -> set[str]:
    """Return all files of a server, but those of libraries' caches and of scores."""
    roots = (server.studies, server.model_dir, server.temporary, server.home / "sessions")
    found = {str(path) for root in roots for path in files_below(root)}
    return {
        path
        for path in found
        if not re.search(r"torchinductor|/\.scores/|\.lock$|audit\.jsonl$", path)
    }


def ask(server: Server, folder: Path) -> None:
    """Send good requests and ones that are refused, of every kind that sends or gets files."""
    bad = write_png(folder / "bad.png", np.ones((5, 5), np.uint8))
    good = write_png(folder / "good.png", (discs(96, 96) > 100).astype(np.uint8))
    infer, png = f"/infer/{MODEL}", good.read_bytes()
    for output in ("image", "json", "all", "dicom_seg"):
        for image in (IMAGE, "frame", "none"):
            server.post(infer, params={"image": image, "output": output})
        for content in (png, b"garbage"):
            server.post(infer, params={"output": output}, files={"file": ("a.png", content)})
            server.post(infer, params={"output": output}, files={"file": ("a.dcm", content)})
    for params in ('{"result_dtype": "nix"}', '{"label_tag": "../x"}', "[]", '{"save_label": 7}'):
        server.post(infer, params={"image": IMAGE, "output": "image"}, data={"params": params})
    server.post("/infer/scribbles", params={"image": IMAGE}, files={"label": ("a.png", png)})
    server.post("/infer/scribbles", params={"image": IMAGE}, files={"label": ("a.bin", b"12")})
    assert server.save_label(IMAGE, bad).status_code == 400
    assert server.save_label("none", good).status_code == 404
    assert server.save_label(IMAGE, good, "../x").status_code == 400
    assert server.add_image(good, "discs_1").status_code == 400
    assert server.put("/datastore/image", files={"file": ("b.png", b"no")}).status_code == 400
    assert server.put(f"/model/{MODEL}", files={"file": ("a.pt", b"garbage")}).status_code == 400
    assert server.put("/model/none", files={"file": ("a.pt", b"garbage")}).status_code == 404
    assert server.get("/datastore/dataset").ok
    session = server.put("/session/", files={"files": ("a.png", png)}).json()["session_id"]
    server.post(infer, params={"session_id": session, "output": "image"})
    assert server.delete(f"/session/{session}").ok
    server.put("/session/", params={"uncompress": True}, files={"files": ("a.zip", b"PK")})
    server.post(f"/train/{MODEL}", params={"run_sync": True}, json={"max_epochs": -1})


def test_requests_leave_no_file_but_what_they_are_for(own: Server, tmp_path: Path) -> None:
    before = files(own)
    ask(own, tmp_path)
    own.wait_for(lambda: files(own) == before, f"the end of {files(own) - before}")
    label = write_png(tmp_path / "label.png", np.ones((96, 96), np.uint8))
    assert own.save_label(IMAGE, label, "other").ok
    new = {Path(path).relative_to(own.folder).as_posix() for path in files(own) - before}
    assert new == {f"studies/labels/other/{IMAGE}.png"}


def test_a_dataset_is_sent_whole_and_not_kept(own: Server) -> None:
    before = files(own)
    content = own.get("/datastore/dataset").content
    assert content[:2] == b"PK"
    own.wait_for(lambda: files(own) == before, "the end of the ZIP file")


def test_a_download_that_is_broken_off_leaves_nothing(own: Server) -> None:
    before = files(own)
    with own.get("/datastore/dataset", stream=True) as response:
        next(response.iter_content(10))
    own.wait_for(lambda: files(own) == before, "the end of the ZIP file")


def test_temporary_files_are_in_a_folder_that_nobody_else_may_read(own: Server) -> None:
    (folder,) = own.temporary.glob(f"{PRIVATE}*")
    assert folder.stat().st_mode & 0o777 == 0o700
    others = {path.name for path in own.temporary.iterdir()} - {folder.name}
    assert all(name.startswith("torchinductor") for name in others), others


def test_a_new_start_removes_what_a_killed_server_left(own: Server) -> None:
    (private,) = own.temporary.glob(f"{PRIVATE}*")
    own.kill()
    # the process that forks its workers outlives it by a moment and removes what it can; after a
    # power cut nobody does
    own.wait_for(lambda: not private.exists(), "the end of the temporary folder")
    private.mkdir()
    write_png(private / "patient.png", np.ones((5, 5), np.uint8))
    versions = own.model_dir / "versions" / MODEL
    left = [
        private / "patient.png",
        own.model_dir / ".upload-1" / "upload.pt",
        own.model_dir / f".{MODEL}.pt.1.partial",
        versions / "20260101T000000000000-01234567.json",
        versions / ".a.pt.1.partial",
        own.model_dir / "runs" / MODEL / ".state.pt.1.partial",
        own.studies / ".datastore_v2.json.1.partial",
        own.studies / "labels" / "final" / ".a.png.1.partial",
        own.studies / "labels" / "versions" / IMAGE / ".a.png.1.partial",
        own.studies / ".consensus" / ".a.nrrd.1.partial.nrrd",
        own.home / "sessions" / "torn" / "meta.info",
    ]
    for file in left:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("{")
    os.utime(own.home / "sessions" / "torn", (1, 1))
    own.start()
    assert not [file for file in left if file.exists()]
    assert not private.exists()
    assert own.infer(IMAGE, output="json").ok


def test_damaged_files_of_models_neither_stop_the_start_nor_are_served(own: Server) -> None:
    own.stop()
    live, versions = own.live_file.read_bytes(), own.model_dir / "versions" / MODEL
    versions.mkdir(parents=True, exist_ok=True)
    (versions / "20260101T000000000000-01234567.pt").write_bytes(b"damaged")
    for number, text in enumerate(("[1]", "[" * 100_000, '{"metrics": {"a": NaN, "b": []}}')):
        (versions / f"{number}.pt").write_bytes(b"damaged")
        (versions / f"{number}.json").write_text(text)
    (versions / "folder.pt").mkdir()
    (versions / "loop.pt").symlink_to(versions / "loop.pt")
    (own.model_dir / "runs" / MODEL).mkdir(parents=True, exist_ok=True)
    (own.model_dir / "runs" / MODEL / "stats.json").write_text('[1, {"a": 1e999}]')
    own.live_file.write_bytes(live[: len(live) // 2])
    own.start()
    assert f"Weights of '{MODEL}' are not served: {MODEL}.pt: damaged" in own.log
    assert MODEL not in own.get("/info/").json()["models"]
    assert len(json.loads(own.get(f"/model/info/{MODEL}").text)["versions"]) == 5
    refused = own.infer(IMAGE, output="json")
    assert refused.status_code == 409
    assert "are damaged" in refused.json()["detail"]
    damaged = own.post(f"/model/restore/{MODEL}", params={"version": "0"})
    assert damaged.status_code == 400
    own.live_file.write_bytes(live)
    assert own.infer(IMAGE, output="json").ok
