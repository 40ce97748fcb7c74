"""Ids, tags and sessions that lead out of the studies folder: refused, nothing read or written."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from server_support import MODEL, Server, assert_refused, discs, write_png

IMAGE = "fluorescence_000"
OUTSIDE = ["../secret", "..", "../../secret.png", "a/../../secret", "..\\secret", ".hidden", "a\0b"]


@pytest.fixture
def secret(server: Server) -> Path:
    """An image beside the studies folder that no request may reach."""
    return write_png(server.folder / "secret.png", discs(64, 64))


def untouched(server: Server) -> list[str]:
    """Everything beside and in the studies folder, but what the index itself changes."""
    return sorted(
        str(path.relative_to(server.folder))
        for part in (server.folder, server.studies, *server.studies.rglob("*"))
        if part.is_dir()
        for path in part.iterdir()
    )


@pytest.mark.parametrize("image", [*OUTSIDE, "absolute"])
def test_image_ids_never_lead_out_of_the_studies_folder(
    calm: Server, secret: Path, tmp_path: Path, image: str
) -> None:
    image = str(secret) if image == "absolute" else image
    before = untouched(calm)
    label = write_png(tmp_path / "label.png", np.zeros((64, 64), np.uint8))
    responses = [
        calm.infer(image),
        calm.infer(image, json.dumps({"save_label": True})),
        calm.get("/datastore/image", params={"image": image}),
        calm.get("/datastore/image/info", params={"image": image}),
        calm.put("/datastore/image/info", params={"image": image}, data={"info": "{}"}),
        calm.save_label(image, label),
        calm.add_image(label, image),
    ]
    for response in responses:
        assert_refused(response, 400, "plain name")
    for response in (
        calm.get("/datastore/label", params={"label": image, "tag": "final"}),
        calm.delete("/datastore/image", params={"id": image}),
        calm.delete("/datastore/label", params={"id": image, "tag": "final"}),
    ):
        assert response.status_code in (400, 404)
    assert untouched(calm) == before
    assert secret.is_file()


@pytest.mark.parametrize("tag", ["..", "../..", "../../out", "a/b", "/absolute", ".hidden", "a..b"])
def test_label_tags_never_lead_out_of_the_labels_folder(
    calm: Server, tmp_path: Path, tag: str
) -> None:
    before = untouched(calm)
    label = write_png(tmp_path / "label.png", np.zeros((256, 256), np.uint8))
    batch = {"label_tag": tag, "device": "cpu"}
    for response in (
        calm.save_label(IMAGE, label, tag),
        calm.infer(IMAGE, json.dumps({"save_label": True, "label_tag": tag})),
        calm.get("/datastore/label", params={"label": IMAGE, "tag": tag}),
        calm.get("/datastore/label/info", params={"label": IMAGE, "tag": tag}),
        calm.delete("/datastore/label", params={"id": IMAGE, "tag": tag}),
        calm.post(f"/batch/infer/{MODEL}", params={"run_sync": True}, json=batch),
        calm.post(f"/batch/infer/{MODEL}", params={"run_sync": False}, json=batch),
    ):
        assert_refused(response, 400, "tag", "plain name")
    assert untouched(calm) == before


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("POST", f"/infer/{MODEL}?image={quote('../secret', safe='')}&output=image"),
        ("POST", f"/infer/{MODEL}?image=..%252Fsecret&output=image"),
        ("POST", "/infer/..%2F..%2Fsecret?image=x"),
        ("GET", "/model/..%2F..%2Fsecret.png"),
        ("GET", "/model/../../secret.png"),
        ("GET", "/model/%2e%2e"),
        ("GET", "/datastore/image?image=%2e%2e%2fsecret.png"),
        ("GET", "/session/..%2F..%2Fsecret"),
        ("DELETE", "/session/.."),
        ("DELETE", "/session/%2e%2e"),
        ("GET", "/static/../../../../../../etc/passwd"),
        ("GET", "/static/..%2f..%2f..%2f..%2f..%2fetc%2fpasswd"),
    ],
)
def test_encoded_paths_are_refused_too(
    calm: Server, secret: Path, method: str, target: str
) -> None:
    before = untouched(calm)
    status, content = calm.raw(method, target)
    assert 400 <= status < 500, content
    assert secret.read_bytes() not in content and b"root:" not in content
    assert untouched(calm) == before


def test_other_ways_to_name_an_image_do_not_read_outside_the_studies(
    calm: Server, secret: Path
) -> None:
    path = str(secret)
    body = {"images": [path], "device": "cpu"}
    batch = calm.post(f"/batch/infer/{MODEL}", params={"run_sync": True}, json=body)
    assert_refused(batch, 400, "plain name")
    whole_slide = calm.post(f"/infer/wsi/{MODEL}", params={"image": path}, json={})
    assert 400 <= whole_slide.status_code < 500, whole_slide.text
    info = json.dumps({"image": path, "expiry": 3600})
    files = [("files", ("other.info", info.encode())), ("files", ("a.png", b"x"))]
    session = calm.put("/session/", files=files).json()
    folder = Path(session["session_info"]["image"]).name
    for name in (f"{session['session_id']}/{folder}", "..", "/", "../.."):
        response = calm.post(f"/infer/{MODEL}", params={"session_id": name})
        assert_refused(response, 404, "session")


def test_archives_cannot_be_unpacked_on_the_server(calm: Server) -> None:
    response = calm.put(
        "/session/", params={"uncompress": True}, files={"files": ("a.tar", b"\0" * 10240)}
    )
    assert_refused(response, 400, "archive")
