"""Login: each request has a bearer token, or the user and password that a browser asks for.

MONAI Label (0.8.5) decodes tokens in a way that PyJWT 2 refuses, so it answers each with 401; a
browser that opens `/ohif/` has no way to send a token; and passwords are hashed, and bodies parsed,
before anybody knows who asks.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Awaitable, Callable
from functools import partial
from types import SimpleNamespace
from urllib.parse import urlsplit

import jwt
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request
from fastapi.security import OAuth2PasswordRequestForm
from monailabel.config import settings
from monailabel.endpoints.user import auth
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers

from monailabel_app.web.access import Access
from monailabel_app.web.passwords import REFUSAL_SECONDS, Passwords, TooManyTriesError
from monailabel_app.web.people import Person, person
from monailabel_app.web.users import ROLES
from monailabel_app.web.users_file import UsersFile

# returns who sends a request with these headers from this address; None if that is nobody known
Authenticate = Callable[[Headers, str], Awaitable[Person | None]]

# algorithms with a public key only: with a shared key, whoever knows the public one could sign
_OPENID_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384"]

# each refusal has this challenge: a browser asks its user once per realm, and then answers the
# challenges to the page's requests for data, which lie outside `/ohif/`
CHALLENGE = {"WWW-Authenticate": 'Basic realm="MONAI Label", charset="UTF-8"'}
_FORM = Depends()
_USER = Depends(auth.get_current_user)


def install_login(
    web: FastAPI,
    router: APIRouter,
    file: UsersFile | None,
    on_refused: Callable[[str, str, int], None],
) -> Authenticate | None:
    """Prepare the login by a file of users, or by the OpenID realm of MONAI Label's settings.

    Args:
        router: gets the routes of the login.
        on_refused: see `Passwords`.

    Returns:
        What the gate asks; None where nobody has to log in.
    """
    if file is not None:
        passwords = Passwords(on_refused)
        router.include_router(login_router(file, passwords))
        as_one_who_logged_in(web)
        return by_file(file, passwords)
    if settings.MONAI_LABEL_AUTH_ENABLE:
        fix_openid()
        as_one_who_logged_in(web)
        return by_realm
    return None


def fix_openid() -> None:
    """Give PyJWT 2 the algorithms of tokens, which MONAI Label leaves out."""
    auth.jwt = SimpleNamespace(decode=partial(jwt.decode, algorithms=_OPENID_ALGORITHMS))


def by_file(file: UsersFile, passwords: Passwords) -> Authenticate:
    """Return the function that knows the users of a file; see `Authenticate`."""

    async def authenticate(headers: Headers, address: str) -> Person | None:
        users = file.users()
        scheme, value = _authorization(headers)
        if scheme == "bearer":
            name = users.by_token(value)
            if name is None:
                await asyncio.sleep(REFUSAL_SECONDS)
        elif scheme == "basic" and not _from_another_site(headers):
            name, password = _name_and_password(value)
            if users.by_token(password) != name and not await passwords.check(
                users, name, password, address
            ):
                return None
        else:
            return None
        if name is None or name not in users.rows:
            return None
        return Person(name=name, access=users.access(name), address=address)

    return authenticate


async def by_realm(headers: Headers, address: str) -> Person | None:
    """Return whom the token of an OpenID realm names; see `Authenticate`.

    Raises:
        OSError: the realm does not answer.
    """
    scheme, value = _authorization(headers)
    if scheme != "bearer":
        return None
    try:
        user = await run_in_threadpool(auth.from_token, value)
    except (jwt.PyJWTError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        await asyncio.sleep(REFUSAL_SECONDS)
        return None
    held = [Access[role.upper()] for role, names in ROLES.items() if names[-1] in user.roles]
    name = str(user.username or "")
    return Person(name=name, access=max(held), address=address) if name and held else None


def as_one_who_logged_in(web: FastAPI) -> None:
    """Let MONAI Label's endpoints know who asks: the person whom the gate let in."""

    async def current_user() -> auth.User:
        who = person()
        if not who.name:  # the gate is not there
            raise HTTPException(401, "log in first", CHALLENGE)
        return auth.User(username=who.name, name=who.name, roles=list(ROLES[who.access.role]))

    settings.MONAI_LABEL_AUTH_ENABLE = True
    web.dependency_overrides[auth.get_current_user] = current_user


def login_router(file: UsersFile, passwords: Passwords) -> APIRouter:
    """Return the routes by which the users of a file log in."""
    router = APIRouter(prefix="/auth")

    @router.get("/")
    def enabled() -> dict[str, object]:
        """Tell clients that they have to log in."""
        return {"enabled": True, "client_id": settings.MONAI_LABEL_AUTH_CLIENT_ID, "realm": ""}

    @router.post("/token")
    async def token(request: Request, form: OAuth2PasswordRequestForm = _FORM) -> dict[str, str]:
        """Return a token for a password."""
        users, name = file.users(), form.username
        try:
            right = await passwords.check(users, name, form.password, address_of(request.client))
        except TooManyTriesError as error:
            raise HTTPException(429, str(error), retry_after(error)) from None
        if not right:
            raise HTTPException(401, "wrong user or password")
        return {"access_token": users.login(name), "token_type": "bearer"}

    @router.get("/token/valid")
    def valid(user: auth.User = _USER) -> dict[str, object]:
        """Return the user of a token."""
        return user.model_dump()

    return router


def address_of(client: tuple[str, int] | None) -> str:
    """Return the address of the machine that sends a request."""
    return client[0] if client else ""


def retry_after(error: TooManyTriesError) -> dict[str, str]:
    """Return the header of an answer 429."""
    return {"Retry-After": str(error.seconds)}


def _authorization(headers: Headers) -> tuple[str, str]:
    """Return scheme, in small letters, and value; both are empty if there is none, or several."""
    given = headers.getlist("authorization")
    scheme, _, value = given[0].partition(" ") if len(given) == 1 else ("", "", "")
    return scheme.lower(), value.strip()


def _name_and_password(value: str) -> tuple[str, str]:
    """Return the parts of a Basic authorization; both are empty if it is none."""
    try:
        name, _, password = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return "", ""
    return name, password


def _from_another_site(headers: Headers) -> bool:
    """Tell whether a page of another site asks: browsers send the password with that too."""
    origin = headers.get("origin")
    return origin is not None and urlsplit(origin).netloc != headers.get("host", "")
