"""The file of users: passwords, tokens and roles.

Without such a file the server is open to whoever reaches it, or uses the OpenID realm of MONAI
Label's settings.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import jwt
from filelock import FileLock

from lib.errors import InputError, choose, unknown
from lib.files import write_json
from monailabel_app.web.access import Access

TOKEN_SECONDS = 12 * 3600  # of a login
TOKEN_DAYS = 365  # of a token for scripts
ROLES = {
    role.role: tuple(f"monailabel-{lower.role}" for lower in Access if Access.OPEN < lower <= role)
    for role in Access
    if role is not Access.OPEN
}
LONGEST_NAME, LONGEST_PASSWORD, LONGEST_TOKEN = 64, 1024, 4096  # characters
_ALGORITHM = "HS256"
_LEAST_LENGTH = 8
_ID_LENGTH = 8
_NOBODY = f"{bytes(16).hex()}:{bytes(64).hex()}"  # no password has this hash


@dataclass(frozen=True)
class Token:
    """A token for scripts, of which only the hash is known.

    Attributes:
        made: in UTC; None for tokens of earlier versions.
        expires: in UTC; None for those of earlier versions, which never do.
    """

    sha256: str
    made: datetime | None = None
    expires: datetime | None = None

    @classmethod
    def read(cls, stored: Any) -> Token:
        """Read what `stored` wrote, or the hash alone, as earlier versions kept it."""
        if isinstance(stored, str):
            return cls(stored)
        made, expires = (datetime.fromisoformat(stored[name]) for name in ("made", "expires"))
        return cls(
            str(stored["sha256"]), made.astimezone(timezone.utc), expires.astimezone(timezone.utc)
        )

    def stored(self) -> Any:
        """Return plain data for JSON."""
        if self.made is None or self.expires is None:
            return self.sha256
        return {
            "sha256": self.sha256,
            "made": self.made.isoformat(timespec="seconds"),
            "expires": self.expires.isoformat(timespec="seconds"),
        }

    @property
    def id(self) -> str:
        """By which the token is revoked."""
        return self.sha256[:_ID_LENGTH]

    @property
    def ended(self) -> bool:
        """Whether it counts no more."""
        return self.expires is not None and self.expires <= _now()


@dataclass
class Users:
    """The users of a file.

    Attributes:
        secret: from which the keys come that sign the tokens of logins.
        rows: by name of the user: ``role``, ``password`` (salted scrypt), ``tokens``, see `Token`.
    """

    secret: str
    rows: dict[str, dict[str, Any]]

    @classmethod
    def read(cls, path: Path) -> Users:
        """Read a file.

        Raises:
            InputError: there is no such file, or it is no file of users.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            users = cls(str(content["secret"]), dict(content["users"]))
            for row in users.rows.values():
                choose("role", row["role"], ROLES)
                salt, hashed = str(row["password"]).split(":")
                bytes.fromhex(salt), bytes.fromhex(hashed)
                row["tokens"] = [Token.read(token).stored() for token in row.get("tokens", [])]
        except FileNotFoundError:
            raise InputError(
                f"file of users '{path}' does not exist; make it with `python -m monailabel_app "
                f"user NAME --file {path}`"
            ) from None
        except (
            OSError,
            ValueError,
            LookupError,
            TypeError,
            AttributeError,
            RecursionError,
        ) as error:
            raise InputError(f"'{path}' is no file of users ({error}); make it again") from None
        if len(users.secret) < 32:
            raise InputError(f"'{path}' has no secret of 32 characters; make it again")
        return users

    @classmethod
    def empty(cls) -> Users:
        """Return a file without users, with a new secret."""
        return cls(secrets.token_hex(32), {})

    @classmethod
    @contextmanager
    def changed(cls, path: Path) -> Iterator[Users]:
        """Yield the users of a file, new if there is none, and write what the body changed.

        Others who change the file meanwhile wait. If the body fails, nothing is written.
        """
        with FileLock(path.with_name(f".{path.name}.lock"), mode=0o600):
            users = cls.read(path) if path.exists() else cls.empty()
            yield users
            users.write(path)

    def write(self, path: Path) -> None:
        """Write the file, readable by its owner alone."""
        write_json(path, {"secret": self.secret, "users": self.rows}, mode=0o600)

    def set(self, name: str, role: str, password: str) -> None:
        """Add a user, or change one; a new password ends all tokens of before.

        Raises:
            InputError: a name, role or password that is not allowed.
        """
        if (
            not name.replace("-", "").replace("_", "").replace(".", "").isalnum()
            or len(name) > LONGEST_NAME
        ):
            raise InputError(f"user name '{name[:70]}': expected letters, digits, '-', '_' and '.'")
        choose("role", role, ROLES)
        if len(password) < _LEAST_LENGTH:
            raise InputError(f"a password needs at least {_LEAST_LENGTH} characters")
        if len(password) > LONGEST_PASSWORD:
            raise InputError(f"a password may have {LONGEST_PASSWORD} characters at most")
        if self.by_password(name, password):
            self.rows[name]["role"] = role
            return
        salt = secrets.token_bytes(16)
        hashed = f"{salt.hex()}:{_scrypt(password, salt).hex()}"
        self.rows[name] = {"role": role, "password": hashed, "tokens": []}

    def new_token(self, name: str, days: float = TOKEN_DAYS) -> str:
        """Return a new token of a user for scripts; only its hash is stored.

        Args:
            days: until it ends.
        """
        token, now = secrets.token_urlsafe(32), _now()
        made = Token(_sha256(token), now, now + timedelta(days=days))
        stored = choose("user", name, self.rows)["tokens"]
        stored[:] = [*(one.stored() for one in self.tokens(name) if not one.ended), made.stored()]
        return token

    def tokens(self, name: str) -> list[Token]:
        """Return the tokens of a user for scripts; a wrong name raises `NotFoundError`."""
        return [Token.read(token) for token in choose("user", name, self.rows)["tokens"]]

    def revoke(self, name: str, id: str) -> None:
        """End a token of a user; one that there is not raises `NotFoundError`."""
        tokens = self.tokens(name)
        if id not in {token.id for token in tokens}:
            raise unknown("token", id, [token.id for token in tokens])
        self.rows[name]["tokens"] = [token.stored() for token in tokens if token.id != id]

    def by_password(self, name: str, password: str) -> str | None:
        """Return the user's name if the password is right, else None; takes about 50 ms.

        For an unknown name it takes as long.
        """
        stored = self._password(name)
        salt, _, hashed = (stored or _NOBODY).partition(":")
        found = _scrypt(password[:LONGEST_PASSWORD], bytes.fromhex(salt))
        right = hmac.compare_digest(found.hex(), hashed) and len(password) <= LONGEST_PASSWORD
        return name if right and stored else None

    def proof(self, name: str, password: str) -> bytes:
        """Return what is the same for the same password until it is changed, and tells nothing."""
        text = f"{name}\0{password}\0{self._password(name)}"
        return hmac.digest(self.secret.encode(), _bytes(text), "sha256")

    def by_token(self, token: str) -> str | None:
        """Return the user of a token, of `new_token` or of `login`; None if it is neither."""
        if len(token) > LONGEST_TOKEN:
            return None
        hashed = _sha256(token)
        for name in self.rows:
            for stored in self.tokens(name):
                if hmac.compare_digest(hashed, stored.sha256):
                    return None if stored.ended else name
        return self._by_login(token)

    def _by_login(self, token: str) -> str | None:
        try:
            unchecked = jwt.decode(token, options={"verify_signature": False})
            name = str(unchecked.get("sub"))
            if name not in self.rows:
                return None
            options: Any = {"require": ["exp", "sub"]}
            jwt.decode(token, self._key(name), algorithms=[_ALGORITHM], options=options)
        except (jwt.InvalidTokenError, ValueError, RecursionError):
            return None
        return name

    def login(self, name: str) -> str:
        """Return a token that ends after `TOKEN_SECONDS`, or with the user's password."""
        return jwt.encode(
            {"sub": name, "exp": int(time.time()) + TOKEN_SECONDS}, self._key(name), _ALGORITHM
        )

    def access(self, name: str) -> Access:
        """Return what a user may do; a wrong name raises `NotFoundError`."""
        row: Mapping[str, Any] = choose("user", name, self.rows)
        return Access[str(row["role"]).upper()]

    def roles(self, name: str) -> tuple[str, ...]:
        """Return the roles of a user, by MONAI Label's names."""
        return ROLES[self.access(name).role]

    def _password(self, name: str) -> str:
        """Return the stored password of a user; empty for an unknown one."""
        return str(self.rows.get(name, {}).get("password", ""))

    def _key(self, name: str) -> bytes:
        """Return the key of a user's logins: another one with another password."""
        text = f"login\0{name}\0{self._password(name)}"
        return hmac.digest(self.secret.encode(), text.encode(), "sha256")


def _now() -> datetime:
    return datetime.now(timezone.utc)


def _scrypt(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(_bytes(password), salt=salt, n=2**14, r=8, p=1)


def _sha256(token: str) -> str:
    return hashlib.sha256(_bytes(token)).hexdigest()


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogatepass")  # a form may hold halves of signs
