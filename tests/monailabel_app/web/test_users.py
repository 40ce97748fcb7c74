"""Users of a file: passwords, tokens, roles, and a fault of upstream's token check."""

from __future__ import annotations

import base64
import inspect
import time

import jwt
import pytest
from fastapi import Depends, FastAPI
from fastapi.testclient import TestClient
from monailabel.config import settings
from monailabel.endpoints.user import auth

from lib.errors import InputError
from monailabel_app.web.login import fix_openid, require_users
from monailabel_app.web.users import Users


@pytest.fixture
def users() -> Users:
    users = Users.empty()
    users.set("anna", "annotator", "correct horse")
    users.set("otto", "user", "battery staple")
    return users


@pytest.fixture
def web(users: Users, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    monkeypatch.setattr(settings, "MONAI_LABEL_AUTH_ENABLE", False)
    app = FastAPI()
    app.include_router(require_users(app, users))
    annotator = auth.RBAC(settings.MONAI_LABEL_AUTH_ROLE_ANNOTATOR)

    @app.get("/label")
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
        assert web.get("/label", headers=headers).status_code == 401
    for accept in ("text/html", "application/dicom+json"):  # a page, and the data that it asks for
        answer = web.get("/label", headers={"Accept": accept})
        assert answer.headers["www-authenticate"].startswith('Basic realm="MONAI Label"')


def test_a_login_gives_a_token_that_carries_the_users_role(web):
    form = {"username": "anna", "password": "correct horse"}
    token = web.post("/auth/token", data=form).json()["access_token"]
    assert web.get("/label", headers=_bearer(token)).json() == "anna"
    assert web.get("/auth/token/valid", headers=_bearer(token)).json()["username"] == "anna"
    assert web.post("/auth/token", data={**form, "password": "x"}).status_code == 401
    form = {"username": "otto", "password": "battery staple"}
    token = web.post("/auth/token", data=form).json()["access_token"]
    assert web.get("/label", headers=_bearer(token)).status_code == 403


def test_a_browser_sends_the_password_itself_but_not_for_another_sites_page(web):
    headers = _basic("anna", "correct horse")
    assert web.get("/label", headers=headers).json() == "anna"
    same = {**headers, "Origin": "http://testserver"}
    assert web.get("/label", headers=same).json() == "anna"
    other = {**headers, "Origin": "http://evil.example"}
    assert web.get("/label", headers=other).status_code == 401


def test_a_browser_takes_a_token_in_place_of_the_password_of_its_owner_alone(web, users):
    for token in (users.new_token("anna"), users.login("anna")):
        assert web.get("/label", headers=_basic("anna", token)).json() == "anna"
        assert web.get("/label", headers=_basic("otto", token)).status_code == 401


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
