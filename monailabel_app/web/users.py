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
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt

from lib.errors import InputError, choose
from lib.files import write_json

TOKEN_SECONDS = 12 * 3600
_NAMES = ("user", "annotator", "reviewer", "admin")  # each may do what those before it may
ROLES = {
    name: tuple(f"monailabel-{lower}" for lower in _NAMES[: rank + 1])
    for rank, name in enumerate(_NAMES)
}
_ALGORITHM = "HS256"
_LEAST_LENGTH = 8


@dataclass
class Users:
    """The users of a file.

    Attributes:
        secret: key that signs the tokens of logins.
        rows: by name of the user: ``role``, ``password`` (salted scrypt), ``tokens`` (SHA-256).
    """

    secret: str
    rows: dict[str, dict[str, Any]]
    _checked: dict[bytes, str] = field(default_factory=dict, repr=False)

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
        except FileNotFoundError:
            raise InputError(
                f"file of users '{path}' does not exist; make it with `python -m monailabel_app "
                f"user NAME --file {path}`"
            ) from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"'{path}' is no file of users ({error}); make it again") from None
        if len(users.secret) < 32:
            raise InputError(f"'{path}' has no secret of 32 characters; make it again")
        return users

    @classmethod
    def empty(cls) -> Users:
        """Return a file without users, with a new secret."""
        return cls(secrets.token_hex(32), {})

    def write(self, path: Path) -> None:
        """Write the file, readable by its owner alone."""
        write_json(path, {"secret": self.secret, "users": self.rows})
        path.chmod(0o600)

    def set(self, name: str, role: str, password: str) -> None:
        """Add a user, or change one.

        Raises:
            InputError: a name, role or password that is not allowed.
        """
        if not name.replace("-", "").replace("_", "").replace(".", "").isalnum() or len(name) > 64:
            raise InputError(f"user name '{name[:70]}': expected letters, digits, '-', '_' and '.'")
        choose("role", role, ROLES)
        if len(password) < _LEAST_LENGTH:
            raise InputError(f"a password needs at least {_LEAST_LENGTH} characters")
        salt = secrets.token_bytes(16)
        tokens = self.rows.get(name, {}).get("tokens", [])
        hashed = f"{salt.hex()}:{_scrypt(password, salt).hex()}"
        self.rows[name] = {"role": role, "password": hashed, "tokens": tokens}

    def new_token(self, name: str) -> str:
        """Return a new token of a user, which does not expire; only its hash is stored."""
        token = secrets.token_urlsafe(32)
        choose("user", name, self.rows)["tokens"].append(_sha256(token))
        return token

    def by_password(self, name: str, password: str) -> str | None:
        """Return the user's name if the password is right, else None."""
        salt, _, stored = str(self.rows.get(name, {}).get("password", ":")).partition(":")
        # for an unknown name it takes as long
        key = hmac.digest(self.secret.encode(), f"{name}\0{password}\0{stored}".encode(), "sha256")
        if key in self._checked:
            return self._checked[key]
        found = _scrypt(password, bytes.fromhex(salt) or b"nobody")
        if not stored or not hmac.compare_digest(found.hex(), stored):
            return None
        self._checked[key] = name
        return name

    def by_token(self, token: str) -> str | None:
        """Return the user of a token, of `new_token` or of `login`; None if it is neither."""
        hashed = _sha256(token)
        for name, row in self.rows.items():
            if any(hmac.compare_digest(hashed, stored) for stored in row.get("tokens", [])):
                return name
        try:
            content = jwt.decode(
                token,
                self.secret,
                algorithms=[_ALGORITHM],
                options={"require": ["exp", "sub"]},
            )
        except jwt.InvalidTokenError:
            return None
        name = str(content["sub"])
        return name if name in self.rows else None

    def login(self, name: str) -> str:
        """Return a token that expires after `TOKEN_SECONDS`."""
        return jwt.encode(
            {"sub": name, "exp": int(time.time()) + TOKEN_SECONDS}, self.secret, _ALGORITHM
        )

    def roles(self, name: str) -> tuple[str, ...]:
        """Return the roles of a user, by MONAI Label's names."""
        row: Mapping[str, Any] = choose("user", name, self.rows)
        return ROLES[row["role"]]


def _scrypt(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=2**14, r=8, p=1)


def _sha256(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
