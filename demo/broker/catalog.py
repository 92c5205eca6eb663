"""What the broker offers. The ids are fixed: they are the platform's key across restarts and releases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from openbrokerapi.catalog import Schemas, ServiceMetadata, ServicePlan, ServicePlanMetadata
from openbrokerapi.service_broker import Service

SERVICE_ID = "6d9e3c2a-5f0b-4a86-9a0e-2f3b1c7d8e10"


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan, and what PostgreSQL is told to make it true."""

    id: str
    name: str
    description: str
    connections: int
    slow: bool = False


PLANS = (
    Plan("0b7c9f64-1d0e-4d7b-8f55-5a6c2f1e9a01", "small", "At most 2 connections at a time", connections=2),
    Plan("0b7c9f64-1d0e-4d7b-8f55-5a6c2f1e9a02", "large", "At most 20 connections at a time", connections=20),
    Plan(
        "0b7c9f64-1d0e-4d7b-8f55-5a6c2f1e9a03",
        "large-async",
        "As large, but takes a while: only for platforms that can wait",
        connections=20,
        slow=True,
    ),
)
BY_ID = {plan.id: plan for plan in PLANS}

LONGEST_TIMEOUT_MS = 3_600_000
LONGEST_LIFETIME_S = 366 * 24 * 3600

# Of every plan: there is one PostgreSQL.
MAINTENANCE = {"version": "18.6.3", "description": "PostgreSQL 18.6"}

_SCHEMA = "http://json-schema.org/draft-04/schema#"
_INSTANCE_PARAMETERS: dict[str, Any] = {
    "$schema": _SCHEMA,
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "statement_timeout_ms": {
            "type": "integer",
            "minimum": 0,
            "maximum": LONGEST_TIMEOUT_MS,
            "description": "Cancel a statement that runs longer; 0 never does",
        },
        "async": {"type": "boolean", "description": "Do everything about this instance asynchronously"},
    },
}
_BINDING_PARAMETERS: dict[str, Any] = {
    "$schema": _SCHEMA,
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "lifetime_s": {
            "type": "integer",
            "minimum": 1,
            "maximum": LONGEST_LIFETIME_S,
            "description": "The login expires after so many seconds",
        },
        "async": {"type": "boolean", "description": "Bind and unbind asynchronously"},
    },
}


class InvalidParameters(ValueError):
    """The user's parameters break the schema; the text says where."""


def check_instance_parameters(parameters: object) -> dict[str, Any]:
    """The parameters if they obey `_INSTANCE_PARAMETERS` (a few properties do not deserve a schema library)."""
    checked = _object(parameters, _INSTANCE_PARAMETERS)
    _whole_number(checked, "statement_timeout_ms", 0, LONGEST_TIMEOUT_MS)
    return checked


def check_binding_parameters(parameters: object) -> dict[str, Any]:
    """The parameters if they obey `_BINDING_PARAMETERS`."""
    checked = _object(parameters, _BINDING_PARAMETERS)
    _whole_number(checked, "lifetime_s", 1, LONGEST_LIFETIME_S)
    return checked


def _whole_number(parameters: dict[str, Any], name: str, least: int, most: int) -> None:
    value = parameters.get(name, least)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InvalidParameters(f"{name} must be a whole number from {least} to {most}")


def _object(parameters: object, schema: dict[str, Any]) -> dict[str, Any]:
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise InvalidParameters("parameters must be an object")
    unknown = sorted(set(parameters) - set(schema["properties"]))
    if unknown:
        raise InvalidParameters(f"unknown parameter: {', '.join(unknown)}")
    if not isinstance(parameters.get("async", False), bool):
        raise InvalidParameters("async must be true or false")
    return parameters


def _plan(plan: Plan) -> ServicePlan:
    return ServicePlan(
        id=plan.id,
        name=plan.name,
        description=plan.description,
        metadata=ServicePlanMetadata(displayName=plan.name.capitalize(), bullets=[plan.description, "PostgreSQL 18"]),
        free=True,
        bindable=True,
        schemas=Schemas(
            service_instance={
                "create": {"parameters": _INSTANCE_PARAMETERS},
                "update": {"parameters": _INSTANCE_PARAMETERS},
            },
            service_binding={"create": {"parameters": _BINDING_PARAMETERS}},
        ),
        maximum_polling_duration=600,
        maintenance_info=MAINTENANCE,
    )


SERVICE = Service(
    id=SERVICE_ID,
    name="postgresql",
    description="A PostgreSQL database of your own",
    bindable=True,
    plans=[_plan(plan) for plan in PLANS],
    tags=["postgresql", "database", "sql"],
    metadata=ServiceMetadata(
        displayName="PostgreSQL",
        longDescription="One database per instance, one login role per binding.",
        providerDisplayName="service-catalog demo",
    ),
    plan_updateable=True,
    instances_retrievable=True,
    bindings_retrievable=True,
)
