"""Users of a file: passwords, tokens, roles, and a fault of upstream's token check."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import inspect
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import MagicMock

import jwt
import pytest
import requests
from fastapi import APIRouter, Depends, FastAPI
from fastapi.testclient import TestClient
from monailabel.config import settings
from monailabel.endpoints.user import auth
from starlette.datastructures import Headers

from lib.errors import InputError
from monailabel_app.web import login, passwords, users_file
from monailabel_app.web.access import Access
from monailabel_app.web.gate import Gate
from monailabel_app.web.login import by_realm, fix_openid, install_login
from monailabel_app.web.people import Person
from monailabel_app.web.users import Users
from monailabel_app.web.users_file import UsersFile


@pytest.fixture(autouse=True)
def no_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (passwords, login):
        monkeypatch.setattr(module, "REFUSAL_SECONDS", 0)


@pytest.fixture
def users() -> Users:
    users = Users.empty()
    users.set("anna", "annotator", "correct horse")
    users.set("otto", "user", "battery staple")
    return users


@pytest.fixture
def file(users: Users, tmp_path: Path) -> Path:
    users.write(tmp_path / "users.json")
    return tmp_path / "users.json"


@pytest.fixture
def web(file: Path, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    monkeypatch.setattr(settings, "MONAI_LABEL_AUTH_ENABLE", False)
    monkeypatch.setattr(users_file, "LOOK_SECONDS", 0)
    app = FastAPI()
    router = APIRouter()
    authenticate = install_login(app, router, UsersFile(file), lambda *refused: None)
    app.include_router(router)
    app.add_middleware(Gate, authenticate=authenticate)
    annotator = auth.RBAC(settings.MONAI_LABEL_AUTH_ROLE_ANNOTATOR)

    @app.put("/datastore/label")
    def label(user: auth.User = Depends(annotator)) -> str:  # noqa: B008
        return user.username

    return TestClient(app)


def _basic(name: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_nobody_gets_in_without_a_token_or_a_password(web):
    assert web.get("/auth/").json()["enabled"] is True
    for headers in ({}, _bearer("x"), _basic("anna", "wrong"), _basic("nobody", "correct horse")):
        assert web.put("/datastore/label", headers=headers).status_code == 401
    for accept in ("text/html", "application/dicom+json"):  # a page, and the data that it asks for
        answer = web.put("/datastore/label", headers={"Accept": accept})
        assert answer.headers["www-authenticate"].startswith('Basic realm="MONAI Label"')


def test_a_login_gives_a_token_that_carries_the_users_role(web):
    form = {"username": "anna", "password": "correct horse"}
    token = web.post("/auth/token", data=form).json()["access_token"]
    assert web.put("/datastore/label", headers=_bearer(token)).json() == "anna"
    assert web.get("/auth/token/valid", headers=_bearer(token)).json()["username"] == "anna"
    assert web.post("/auth/token", data={**form, "password": "x"}).status_code == 401
    form = {"username": "otto", "password": "battery staple"}
    token = web.post("/auth/token", data=form).json()["access_token"]
    assert web.put("/datastore/label", headers=_bearer(token)).status_code == 403


def test_a_browser_sends_the_password_itself_but_not_for_another_sites_page(web):
    headers = _basic("anna", "correct horse")
    assert web.put("/datastore/label", headers=headers).json() == "anna"
    same = {**headers, "Origin": "http://testserver"}
    assert web.put("/datastore/label", headers=same).json() == "anna"
    other = {**headers, "Origin": "http://evil.example"}
    assert web.put("/datastore/label", headers=other).status_code == 401


def test_a_browser_takes_a_token_in_place_of_the_password_of_its_owner_alone(web, file):
    with Users.changed(file) as users:
        tokens = users.new_token("anna"), users.login("anna")
    for token in tokens:
        assert web.put("/datastore/label", headers=_basic("anna", token)).json() == "anna"
        assert web.put("/datastore/label", headers=_basic("otto", token)).status_code == 401


def test_tokens_that_ended_or_were_signed_otherwise_are_refused(users):
    good = users.login("anna")
    assert users.by_token(good) == "anna"
    now = int(time.time())
    forged = [
        jwt.encode({"sub": "anna", "exp": now - 1}, users.secret, "HS256"),
        jwt.encode({"sub": "anna"}, users.secret, "HS256"),
        jwt.encode(
            {"sub": "anna", "exp": now + 9}, "another secret of the same length" * 2, "HS256"
        ),
        jwt.encode({"sub": "anna", "exp": now + 9}, "", "none"),
        jwt.encode({"sub": "gone", "exp": now + 9}, users.secret, "HS256"),
    ]
    assert [users.by_token(token) for token in forged] == [None] * 5


def test_a_file_keeps_hashes_alone_and_is_for_its_owner(users, tmp_path):
    token = users.new_token("anna")
    users.write(tmp_path / "users.json")
    text = (tmp_path / "users.json").read_text()
    assert token not in text and "correct horse" not in text
    assert (tmp_path / "users.json").stat().st_mode & 0o077 == 0
    again = Users.read(tmp_path / "users.json")
    assert again.by_token(token) == "anna" == again.by_password("anna", "correct horse")
    again.set("anna", "annotator", "a new password")
    assert again.by_password("anna", "correct horse") is None


def test_wrong_files_names_and_passwords_are_refused_with_what_is_expected(users, tmp_path):
    with pytest.raises(InputError, match="does not exist; make it with"):
        Users.read(tmp_path / "none.json")
    for text in ("", "[]", '{"secret": "short", "users": {}}', '{"secret": 1, "users": 3}'):
        (tmp_path / "users.json").write_text(text)
        with pytest.raises(InputError, match="make it again"):
            Users.read(tmp_path / "users.json")
    with pytest.raises(InputError, match="at least 8 characters"):
        users.set("anna", "user", "short")
    with pytest.raises(InputError, match="user name 'a b'"):
        users.set("a b", "user", "long enough")
    with pytest.raises(InputError, match="unknown role 'boss'"):
        users.set("anna", "boss", "long enough")


def test_upstream_names_no_algorithm_to_pyjwt(monkeypatch: pytest.MonkeyPatch):
    """Every OpenID token is refused: `login.fix_openid` names those of public keys."""
    from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

    key = generate_private_key(65537, 2048)
    token = jwt.encode({"preferred_username": "anna", "exp": time.time() + 60}, key, "RS256")
    monkeypatch.setattr(settings, "MONAI_LABEL_AUTH_ENABLE", True)
    monkeypatch.setattr(auth, "get_public_key", lambda realm: key.public_key())
    monkeypatch.setattr(auth, "jwt", jwt)
    assert "algorithms" not in inspect.getsource(auth.from_token)
    monkeypatch.setattr(settings, "MONAI_LABEL_AUTH_TOKEN_ROLES", "roles")
    with pytest.raises(jwt.InvalidTokenError):
        auth.from_token(token)
    fix_openid()
    assert auth.from_token(token).username == "anna"
    secret = jwt.encode({"preferred_username": "anna"}, "k" * 32, "HS256")
    with pytest.raises(jwt.InvalidTokenError):
        auth.from_token(secret)


def test_tokens_end_by_time_by_a_new_password_and_when_revoked(users):
    token, short = users.new_token("anna"), users.new_token("anna", days=-1)
    login = users.login("anna")
    assert users.by_token(short) is None and users.by_token(token) == "anna"
    users.set("anna", "reviewer", "correct horse")  # the same password: another role alone
    assert users.by_token(token) == users.by_token(login) == "anna"
    with pytest.raises(InputError, match="unknown token 'x'"):
        users.revoke("anna", "x")
    users.revoke("anna", users.tokens("anna")[0].id)
    assert users.by_token(token) is None and users.by_token(login) == "anna"
    token = users.new_token("anna")
    users.set("anna", "annotator", "a new password")
    assert users.by_token(token) is users.by_token(login) is None


def test_a_user_who_was_removed_and_added_again_has_new_tokens(users):
    login = users.login("anna")
    del users.rows["anna"]
    assert users.by_token(login) is None
    users.set("anna", "annotator", "correct horse")
    assert users.by_token(login) is None


def test_a_file_of_an_earlier_version_is_read(users, tmp_path):
    file = tmp_path / "users.json"
    users.rows["anna"]["tokens"] = [hashlib.sha256(b"an old token").hexdigest()]
    users.write(file)
    with Users.changed(file) as again:
        assert again.by_token("an old token") == "anna"
        assert again.tokens("anna")[0].expires is None
        again.new_token("anna")
    assert Users.read(file).by_token("an old token") == "anna"


def test_tokens_that_are_no_tokens_are_refused(users):
    deep = base64.urlsafe_b64encode(b"[" * 3000).decode()
    for token in ("", "a.b.c", "x" * 100_000, f"e30.{deep}.x", "\ud800", "😀", deep):
        assert users.by_token(token) is None


def test_several_who_change_a_file_lose_nothing(tmp_path):
    file = tmp_path / "users.json"

    def add(number: int) -> None:
        with Users.changed(file) as users:
            users.set(f"name{number}", "user", "long enough")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add, range(12)))
    assert len(Users.read(file).rows) == 12 and file.stat().st_mode & 0o777 == 0o600


def test_a_change_that_fails_leaves_the_file(users, tmp_path):
    users.write(tmp_path / "users.json")
    before = (tmp_path / "users.json").read_bytes()
    with pytest.raises(InputError), Users.changed(tmp_path / "users.json") as changed:
        del changed.rows["anna"]
        changed.set("bert", "user", "short")
    assert (tmp_path / "users.json").read_bytes() == before


def test_who_guesses_gets_429_and_when_to_come_again(web):
    wrong = {"headers": _basic("anna", "wrong")}
    answers = [web.put("/datastore/label", **wrong).status_code for _ in range(6)]
    assert answers == [401] * 5 + [429]
    login = web.post("/auth/token", data={"username": "anna", "password": "wrong"})
    assert login.status_code == 429 and int(login.headers["retry-after"]) >= 1
    assert "too many wrong passwords" in login.json()["detail"]


def test_roles_of_a_realm_are_those_of_the_table(monkeypatch):
    def ask(*roles: str) -> Person | None:
        user = auth.User(username="anna", roles=list(roles))
        monkeypatch.setattr(auth, "from_token", lambda token: user)
        return asyncio.run(by_realm(Headers({"authorization": "Bearer x"}), "10.0.0.1"))

    assert ask("monailabel-annotator", "other") == Person(
        name="anna", access=Access.ANNOTATOR, address="10.0.0.1"
    )
    found = ask("monailabel-admin")
    assert found is not None and found.access is Access.ADMIN
    assert ask() is ask("other") is None
    for error in (jwt.InvalidTokenError, KeyError, jwt.InvalidKeyError):
        monkeypatch.setattr(auth, "from_token", MagicMock(side_effect=error))
        assert asyncio.run(by_realm(Headers({"authorization": "Bearer x"}), "")) is None


def test_a_realm_that_does_not_answer_is_said(monkeypatch):
    async def silent(headers: Headers, address: str) -> Person | None:
        raise requests.ConnectionError("no route to the realm")

    app = FastAPI()
    app.add_middleware(Gate, authenticate=silent)
    answer = TestClient(app).get("/info/")
    assert answer.status_code == 503 and "realm does not answer" in answer.json()["detail"]
