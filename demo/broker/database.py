"""What a backend must be able to do. The OSB rules are not here: see `service`."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar
from urllib.parse import quote, urlencode

from .catalog import Plan
from .model import Binding, Instance

T = TypeVar("T", Instance, Binding)


class Records(Protocol[T]):
    """The remembered values of one kind, by id."""

    def get(self, key: str) -> T | None:
        """The value, if there is one."""

    def all(self) -> list[T]:
        """Every value."""

    def put(self, value: T) -> None:
        """Remember the value in place of the one with the same id. Durable when this returns."""

    def delete(self, key: str) -> None:
        """Forget; not an error if unknown."""


class Database(Protocol):
    """A backend: a memory, and four effects, each of which may be repeated after a crash in its middle."""

    @property
    def instances(self) -> Records[Instance]:
        """What is remembered of instances."""

    @property
    def bindings(self) -> Records[Binding]:
        """What is remembered of bindings."""

    def address(self) -> tuple[str, int]:
        """Host and port that clients connect to. The same for the whole life of the data."""

    def create(self, instance: Instance, plan: Plan) -> None:
        """Make the instance's database unless it exists."""

    def configure(self, instance: Instance, plan: Plan) -> None:
        """Make the plan's limit and the parameters true."""

    def drop(self, instance: Instance) -> None:
        """Remove the database, whoever is connected to it."""

    def grant(self, instance: Instance, login: Login, until: str | None) -> None:
        """Let the login use the instance's database, and no other; until a time, in ISO 8601, if there is one."""

    def revoke(self, instance: Instance, binding: Binding) -> None:
        """Remove the binding's login and end its sessions. What it made stays in the database."""

    def close(self) -> None:
        """Stop what was started."""


def database_name(instance_id: str) -> str:
    """A short name for any id a platform may choose."""
    return f"i_{_digest(instance_id)}"


def owner_name(instance_id: str) -> str:
    """The role that owns the database, so that no binding has to."""
    return f"o_{_digest(instance_id)}"


def login_name(binding_id: str) -> str:
    """The role that a binding logs in as."""
    return f"b_{_digest(binding_id)}"


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:20]


@dataclass(frozen=True, slots=True)
class Login:
    """A binding's role and password."""

    username: str
    password: str = field(repr=False)

    @classmethod
    def for_binding(cls, binding_id: str) -> Login:
        """A login with a fresh password."""
        return cls(login_name(binding_id), secrets.token_urlsafe(24))

    def credentials(self, instance_id: str, host: str, port: int) -> dict[str, Any]:
        """What the platform is given. A number and a nested object are among it: both are legal, and easily lost."""
        database = database_name(instance_id)
        login = urlencode({"user": self.username, "password": self.password})
        return {
            "uri": f"postgresql://{self.username}:{quote(self.password, safe='')}@{host}:{port}/{database}",
            "host": host,
            "port": port,
            "database": database,
            "username": self.username,
            "password": self.password,
            "jdbcUrl": f"jdbc:postgresql://{host}:{port}/{database}?{login}",
            "options": {"sslmode": "disable", "pool": {"min": 0, "max": 2}},
        }
