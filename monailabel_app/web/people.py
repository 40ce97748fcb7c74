"""Who sends the request that is being answered."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass

from fastapi import HTTPException

from monailabel_app.web.access import Access


@dataclass(frozen=True, kw_only=True)
class Person:
    """Who asks, and from where.

    Attributes:
        name: empty where nobody logs in.
        access: what the person may do.
        address: of the machine; empty where the server itself works.
    """

    name: str = ""
    access: Access = Access.ADMIN
    address: str = ""

    def owns(self, owner: str) -> bool:
        """Tell whether what `owner` made is the person's to use; administrators see all."""
        return not self.name or self.name == owner or self.access >= Access.ADMIN

    def require(self, access: Access, what: str) -> None:
        """Refuse the request with 403 unless the person may do that.

        Args:
            what: is asked for, as the start of a sentence.
        """
        if self.access < access:
            raise HTTPException(403, refusal(self, access, what))


NOBODY = Person()
asking: ContextVar[Person] = ContextVar("person", default=NOBODY)


def person() -> Person:
    """Return who sends the request; without a login, or a request, one who may do all."""
    return asking.get()


def refusal(who: Person, access: Access, what: str = "this") -> str:
    """Return the reason for a refusal, with the role that is needed."""
    return (
        f"{what} needs the role {access.role}, '{who.name}' has {who.access.role}; "
        f"ask an administrator"
    )
