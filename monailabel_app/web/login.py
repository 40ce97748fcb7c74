"""Login: each request has a bearer token, or the user and password that a browser asks for.

MONAI Label (0.8.5) decodes tokens in a way that PyJWT 2 refuses, so it answers each with 401; and a
browser that opens `/ohif/` has no way to send a token.
"""

from __future__ import annotations

import base64
import binascii
from functools import partial
from types import SimpleNamespace
from urllib.parse import urlsplit

import jwt
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request
from fastapi.security import OAuth2PasswordRequestForm
from monailabel.config import settings
from monailabel.endpoints.user import auth

from monailabel_app.web.users import Users

# algorithms with a public key only: with a shared key, whoever knows the public one could sign
_OPENID_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384"]

# each refusal has this challenge: a browser asks its user once per realm, and then answers the
# challenges to the page's requests for data, which lie outside `/ohif/`
_CHALLENGE = 'Basic realm="MONAI Label", charset="UTF-8"'

_FORM = Depends()
_USER = Depends(auth.get_current_user)


def fix_openid() -> None:
    """Give PyJWT 2 the algorithms of tokens, which MONAI Label leaves out."""
    auth.jwt = SimpleNamespace(decode=partial(jwt.decode, algorithms=_OPENID_ALGORITHMS))


def require_users(web: FastAPI, users: Users) -> APIRouter:
    """Admit only the users of a file; return the routes by which they log in."""
    settings.MONAI_LABEL_AUTH_ENABLE = True

    async def current_user(request: Request) -> auth.User:
        name = _user_of(request, users)
        if name is None:
            raise HTTPException(401, "log in first", {"WWW-Authenticate": _CHALLENGE})
        return auth.User(username=name, name=name, roles=list(users.roles(name)))

    web.dependency_overrides[auth.get_current_user] = current_user
    router = APIRouter(prefix="/auth")

    @router.get("/")
    def enabled() -> dict[str, object]:
        """Tell clients that they have to log in."""
        return {"enabled": True, "client_id": settings.MONAI_LABEL_AUTH_CLIENT_ID, "realm": ""}

    @router.post("/token")
    def token(form: OAuth2PasswordRequestForm = _FORM) -> dict[str, str]:
        """Return a token for a password."""
        name = users.by_password(form.username, form.password)
        if name is None:
            raise HTTPException(401, "wrong user or password")
        return {"access_token": users.login(name), "token_type": "bearer"}

    @router.get("/token/valid")
    def valid(user: auth.User = _USER) -> dict[str, object]:
        """Return the user of a token."""
        return user.model_dump()

    return router


def _user_of(request: Request, users: Users) -> str | None:
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return users.by_token(value.strip())
    if scheme.lower() != "basic" or _from_another_site(request):
        return None
    try:
        name, _, password = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return name if users.by_token(password) == name else users.by_password(name, password)


def _from_another_site(request: Request) -> bool:
    """Tell whether a page of another site asks: browsers send the password with that too."""
    origin = request.headers.get("origin")
    return origin is not None and urlsplit(origin).netloc != request.headers.get("host", "")
