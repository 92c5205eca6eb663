"""What is asked and said of instances and bindings in properties that openbrokerapi does not know."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from .catalog import BY_ID, MAINTENANCE
from .extensions import OsbError, also, asked
from .model import Binding, Instance

PRESENT = {"version": MAINTENANCE["version"]}


def check_maintenance() -> None:
    """A platform that names a version must name the present one; only the version counts."""
    info = asked("maintenance_info")
    if isinstance(info, dict) and info.get("version") != PRESENT["version"]:
        text = f"The catalog has maintenance_info.version {PRESENT['version']}."
        raise OsbError(422, text, error="MaintenanceInfoConflict")


def instance_metadata(instance: Instance) -> dict[str, Any]:
    """For the user's eyes: what the plan means."""
    plan = BY_ID[instance.plan_id]
    return {"labels": {"plan": plan.name}, "attributes": {"connections": plan.connections}}


def describe(binding: Binding) -> None:
    """What a success says of a binding, beside its credentials."""
    host, port = binding.credentials["host"], binding.credentials["port"]
    also(endpoints=[{"host": host, "ports": [str(port)], "protocol": "tcp"}])
    if binding.metadata:
        also(metadata=binding.metadata)


def lifetime(parameters: dict[str, Any]) -> dict[str, str]:
    """When a login that is for a time only expires, and when it should be renewed: at half of the time."""
    if (seconds := parameters.get("lifetime_s")) is None:
        return {}
    now = datetime.now(UTC)
    times = {"renew_before": timedelta(seconds=seconds / 2), "expires_at": timedelta(seconds=seconds)}
    return {name: (now + later).isoformat().replace("+00:00", "Z") for name, later in times.items()}
