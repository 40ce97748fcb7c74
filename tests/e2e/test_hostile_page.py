"""A page of another site, in Chromium: it reads nothing, changes nothing and breaks nothing.

Every host name ends at this machine, so nothing but the server keeps the page out.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from server_support import MODEL, Server, threshold_weights
from viewer import CHROMIUM, FLAGS, PATIENCE_MS

from lib.phantoms.nuclei import write_nuclei_studies
from monailabel_app.web.users import Users

ATTACK = (Path(__file__).parent / "hostile_page.js").read_text("utf-8")
LISTED = "http://listed.test:8001"
PASSWORD = "correct horse"
IMAGE = "fluorescence_000"
READS = ("/info/", f"/datastore/image?image={IMAGE}", "/datastore/?output=all", "/openapi.json")
READS += (f"/datastore/label?label={IMAGE}&tag=final", "/logs/?text=true", "/ohif/", "/static/x")
READS += (f"/model/{MODEL}", "/datastore/dataset", "/train/", "/")
WRITES = (
    *(("DELETE", path) for path in ("/train/", f"/model/{MODEL}", f"/datastore/image?id={IMAGE}")),
    *(("DELETE", path) for path in (f"/datastore/label?id={IMAGE}&tag=final", "/scoring/")),
    *(("PUT", path) for path in (f"/datastore/label?image={IMAGE}", f"/model/{MODEL}")),
    *(("PUT", path) for path in ("/session/", "/datastore/?image=new", "/datastore/image?image=n")),
    *(("POST", path) for path in (f"/train/{MODEL}", "/activelearning/first", "/reload")),
    *(("POST", path) for path in (f"/infer/{MODEL}?image={IMAGE}", f"/batch/infer/{MODEL}")),
    *(("POST", path) for path in ("/scoring/dice", f"/datastore/label/restore?image={IMAGE}")),
)
_PAGES = ("/", "/ohif/")  # what any site may link to
# none of Chromium's own protection of local machines, which other browsers do not have
_OPEN = ["--host-resolver-rules=MAP *.test 127.0.0.1", "--disable-popup-blocking"]
_OPEN.append("--disable-features=LocalNetworkAccessChecks,BlockInsecurePrivateNetworkRequests")


@pytest.fixture(scope="module")
def open_page(absent) -> Iterator[Callable[..., Any]]:
    """A function that opens an empty page of a site, which no server has to serve."""
    if CHROMIUM is None:
        absent("needs a browser: on Debian and Ubuntu run `sudo apt-get install chromium`")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=[*FLAGS, *_OPEN], headless=True, timeout=PATIENCE_MS
        )

        def start(site: str, **arguments: Any) -> Any:
            context = browser.new_context(**arguments)
            context.set_default_timeout(PATIENCE_MS)
            page = context.new_page()
            empty = partial(_fulfil, body="<body></body>")
            page.route(f"{site}/hostile", empty)
            page.goto(f"{site}/hostile")
            return page

        yield start
        browser.close()


def _fulfil(route: Any, body: str) -> None:
    route.fulfill(body=body, content_type="text/html")


OPEN, CLOSED = "without users", "with users"


@pytest.fixture(scope="module", params=[OPEN, CLOSED])
def server(request, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("attacked"), origins=LISTED)
    write_nuclei_studies(server.studies, count=4, labelled=2)
    threshold_weights(server.live_file)
    if request.param == CLOSED:
        users = Users.empty()
        users.set("anna", "admin", PASSWORD)
        server.headers = {"Authorization": f"Bearer {users.new_token('anna')}"}
        users.write(server.folder / "users.json")
        server.conf["users"] = str(server.folder / "users.json")
    yield server.start()
    server.stop()


def _kept(server: Server) -> dict[str, str]:
    """Checksums of what the server keeps, and what it says of its work."""
    folders = (server.studies, server.model_dir, server.home)
    files = [file for folder in folders for file in folder.rglob("*") if file.is_file()]
    files = [file for file in files if ".scores" not in file.parts]  # what it does meanwhile
    found = {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    return {**found, **{path: server.get(path).text for path in ("/train/", "/scoring/")}}


def _attack(open_page: Callable[..., Any], server: Server, site: str, target: str) -> list[str]:
    """Let a page try everything; return what it could read, and what it was answered."""
    login = {"username": "anna", "password": PASSWORD} if server.headers else None
    page = open_page(site, http_credentials=login)
    answered: list[str] = []

    def note(response: Any) -> None:
        request, (_, _, path) = response.request, response.url.partition(f":{server.port}")
        if not response.ok or not path or path == "/hostile":
            return
        if request.is_navigation_request():
            meant = request.method == "GET" and path in _PAGES
        else:
            meant = request.frame.url.startswith(f"{server.url}/")
        if not meant:
            answered.append(f"{request.method} {path}: {response.status}")

    page.context.on("response", note)
    # the viewer itself would start in each frame and window: its page is enough
    page.context.route(re.compile(r"/ohif/.+\.(js|css|wasm)"), lambda route: route.abort())
    asked = {"server": target, "reads": READS, "writes": WRITES}
    found = page.evaluate(ATTACK, asked)
    page.wait_for_timeout(500)
    page.context.close()
    return found + answered


SITES = (
    "http://localhost:8001",  # another site
    "http://127.0.0.1:8001",  # another port only
    "http://evil.test:8001",
    "https://evil.test",
)


# with users: the site that shares its host, and so its logins, and one that shares nothing
ATTACKS = [*((OPEN, site) for site in SITES), *((CLOSED, site) for site in SITES[1::2])]


@pytest.mark.parametrize(("server", "site"), ATTACKS, indirect=["server"], scope="module")
def test_a_page_of_another_site_reads_and_changes_nothing(open_page, server, site):
    before = _kept(server)
    assert _attack(open_page, server, site, server.url) == []
    assert _kept(server) == before
    assert server.get("/info/").ok


def test_a_name_turned_to_this_machine_is_no_own_page(open_page, server):
    before, own = _kept(server), f"http://evil.test:{server.port}"
    found = _attack(open_page, server, own, own)
    assert found and not [line for line in found if "no name of this server" not in line]
    assert _kept(server) == before


def test_a_page_without_an_origin_reads_nothing(open_page, server):
    before = _kept(server)
    page = open_page("http://localhost:8001")
    page.evaluate(
        """source => {
            const frame = document.createElement('iframe');
            Object.assign(frame, { sandbox: 'allow-scripts allow-forms', srcdoc: source });
            window.onmessage = ({ data }) => (window.found = data);
            document.body.append(frame);
        }""",
        f"""<body></body><script>(async () => {{
            const ended = await Promise.allSettled([
                fetch("{server.url}/info/").then(answer => answer.text()),
                fetch("{server.url}/reload", {{ method: "POST" }}).then(answer => answer.text()),
            ]);
            parent.postMessage([origin, ...ended.map(one => one.status)], "*");
        }})();</script>""",
    )
    page.wait_for_function("() => window.found")
    assert page.evaluate("window.found") == ["null", "rejected", "rejected"]
    page.context.close()
    assert _kept(server) == before


def test_a_listed_page_is_answered(open_page, server):
    """That the attack finds what a server lets out."""
    page = open_page(LISTED)
    authorization = list(server.headers.items())
    asked = "([address, headers]) => fetch(address, { headers }).then(answer => answer.json())"
    info = page.evaluate(asked, [f"{server.url}/info/", dict(authorization)])
    assert MODEL in info["models"]
    page.context.close()
