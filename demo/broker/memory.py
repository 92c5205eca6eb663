"""A backend without PostgreSQL: the same answers at once, with credentials that open nothing."""

from __future__ import annotations

import threading
from typing import Generic

from .catalog import Plan
from .database import Login, T
from .model import Binding, Instance


class MemoryRecords(Generic[T]):
    """Records in a dictionary."""

    def __init__(self) -> None:
        self._values: dict[str, T] = {}
        self._lock = threading.Lock()

    def get(self, key: str) -> T | None:
        """See `Records`."""
        with self._lock:
            return self._values.get(key)

    def all(self) -> list[T]:
        """See `Records`."""
        with self._lock:
            return list(self._values.values())

    def put(self, value: T) -> None:
        """See `Records`."""
        with self._lock:
            self._values[value.id] = value

    def delete(self, key: str) -> None:
        """See `Records`."""
        with self._lock:
            self._values.pop(key, None)


class MemoryDatabase:
    """See `Database`. The effects have nothing to do."""

    def __init__(self) -> None:
        self.instances: MemoryRecords[Instance] = MemoryRecords()
        self.bindings: MemoryRecords[Binding] = MemoryRecords()

    def address(self) -> tuple[str, int]:
        """An address where nobody answers."""
        return "127.0.0.1", 5432

    def create(self, instance: Instance, plan: Plan) -> None:
        """See `Database`."""

    def configure(self, instance: Instance, plan: Plan) -> None:
        """See `Database`."""

    def drop(self, instance: Instance) -> None:
        """See `Database`."""

    def grant(self, instance: Instance, login: Login, until: str | None) -> None:
        """See `Database`."""

    def revoke(self, instance: Instance, binding: Binding) -> None:
        """See `Database`."""

    def close(self) -> None:
        """See `Database`."""
