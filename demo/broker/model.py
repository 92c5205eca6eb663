"""What the broker remembers. Immutable values: every change is a new value that a backend stores as a whole."""

from __future__ import annotations

import uuid
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, Self

Kind = Literal["create", "update", "delete"]
State = Literal["in progress", "succeeded", "failed"]


@dataclass(frozen=True, slots=True)
class Operation:
    """The last thing that was asked for. It is stored before it is begun, so that a restart can finish it."""

    kind: Kind
    slow: bool
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    state: State = "in progress"
    description: str = ""
    # What an update leads to; the instance keeps its old values until the update has succeeded.
    plan_id: str | None = None
    parameters: dict[str, Any] | None = None

    @property
    def running(self) -> bool:
        """Whether the end is still to come."""
        return self.state == "in progress"


@dataclass(frozen=True, slots=True)
class Instance:
    """A service instance: one database."""

    id: str
    service_id: str
    plan_id: str
    parameters: dict[str, Any]
    organization: str
    space: str
    operation: Operation

    def same_request(self, other: Instance) -> bool:
        """Whether a PUT that asks for `other` asks for what exists already."""
        return replace(self, operation=other.operation) == other

    def to_json(self) -> dict[str, Any]:
        """As stored."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """The reverse of `to_json`."""
        return cls(**{**data, "operation": Operation(**data["operation"])})


@dataclass(frozen=True, slots=True)
class Binding:
    """A service binding: one login role."""

    id: str
    instance_id: str
    service_id: str
    plan_id: str
    parameters: dict[str, Any]
    bind_resource: dict[str, Any]
    operation: Operation
    # Kept because a repeated bind must answer the very same; never shown in a log or a traceback.
    credentials: dict[str, Any] = field(default_factory=dict, repr=False)
    # `expires_at` and `renew_before`, if the login is for a time only.
    metadata: dict[str, str] = field(default_factory=dict)

    def same_request(self, other: Binding) -> bool:
        """Whether a PUT that asks for `other` asks for what exists already."""
        given = {"operation": other.operation, "credentials": other.credentials, "metadata": other.metadata}
        return replace(self, **given) == other

    def to_json(self) -> dict[str, Any]:
        """As stored."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """The reverse of `to_json`."""
        return cls(**{**data, "operation": Operation(**data["operation"])})
