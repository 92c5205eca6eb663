"""The broker: OSB semantics over any `Database`.

Every request becomes a stored intent (an `Operation`) before anything is done, and everything that is done may be
repeated. So a broker that is killed finishes on its next start what it had begun, and a request that is repeated
because its answer was lost gets the same answer, a binding's credentials included.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Generic

from openbrokerapi import errors
from openbrokerapi.service_broker import (
    BindDetails,
    Binding as BindAnswer,
    BindState,
    DeprovisionDetails,
    DeprovisionServiceSpec,
    GetBindingSpec,
    GetInstanceDetailsSpec,
    LastOperation,
    OperationState,
    ProvisionDetails,
    ProvisionedServiceSpec,
    ProvisionState,
    Service,
    ServiceBroker,
    UnbindDetails,
    UnbindSpec,
    UpdateDetails,
    UpdateServiceSpec,
)

from .catalog import BY_ID, SERVICE, SERVICE_ID, InvalidParameters, check_binding_parameters, check_instance_parameters
from .database import Database, Login, Records, T
from .details import PRESENT, check_maintenance, describe, instance_metadata, lifetime
from .extensions import OsbError, also
from .model import Binding, Instance, Operation

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Work(Generic[T]):
    """What an operation does, step by step, and what is remembered when all is done (`None`: forget it)."""

    steps: list[tuple[str, Callable[[], None]]]
    outcome: T | None


class DatabaseBroker(ServiceBroker):
    """Sells databases. `slow_seconds` is how long an asynchronous operation takes, `pause` what passes the time."""

    def __init__(self, database: Database, slow_seconds: float, pause: Callable[[float], None] = time.sleep) -> None:
        self._database = database
        self._slow_seconds = slow_seconds
        self._pause = pause
        self._locks: dict[str, threading.Lock] = {}
        self._locks_lock = threading.Lock()

    def resume(self) -> None:
        """Finish what an earlier process had begun. To be called before the first request."""
        for instance in self._database.instances.all():
            if instance.operation.running:
                log.info("resuming %s of instance %s", instance.operation.kind, instance.id)
                self._carry_out(self._database.instances, instance, self._instance_work(instance), resumed=True)
        for binding in self._database.bindings.all():
            if binding.operation.running:
                log.info("resuming %s of binding %s", binding.operation.kind, binding.id)
                self._carry_out(self._database.bindings, binding, self._binding_work(binding), resumed=True)

    # -- what openbrokerapi calls -------------------------------------------------------------------------------

    def catalog(self) -> Service:
        """See `ServiceBroker`."""
        return SERVICE

    def provision(
        self, instance_id: str, details: ProvisionDetails, async_allowed: bool, **_: Any
    ) -> ProvisionedServiceSpec:
        """See `ServiceBroker`."""
        if details.service_id != SERVICE_ID:
            raise errors.ErrBadRequest("service_id is not in the catalog")
        check_maintenance()
        parameters = _checked(check_instance_parameters, details.parameters)
        slow = _slow(details.plan_id, parameters)
        if slow and not async_allowed:
            raise errors.ErrAsyncRequired
        wanted = Instance(
            id=instance_id,
            service_id=details.service_id,
            plan_id=details.plan_id,
            parameters=parameters,
            organization=details.organization_guid or "",
            space=details.space_guid or "",
            operation=Operation("create", slow),
        )
        also(metadata=instance_metadata(wanted))
        with self._lock(instance_id):
            known = self._database.instances.get(instance_id)
            if known:
                operation = known.operation
                if operation.running and operation.kind != "create":
                    raise _busy()  # openbrokerapi makes a 500 of its own ErrConcurrentInstanceAccess here
                if not known.same_request(wanted):
                    raise errors.ErrInstanceAlreadyExists
                if operation.running:
                    return ProvisionedServiceSpec(ProvisionState.IS_ASYNC, operation=operation.id)
                if (operation.kind, operation.state) != ("create", "failed"):
                    return ProvisionedServiceSpec(ProvisionState.IDENTICAL_ALREADY_EXISTS)
            self._carry_out(self._database.instances, wanted, self._instance_work(wanted))
        if slow:
            return ProvisionedServiceSpec(ProvisionState.IS_ASYNC, operation=wanted.operation.id)
        return ProvisionedServiceSpec(ProvisionState.SUCCESSFUL_CREATED)

    def update(self, instance_id: str, details: UpdateDetails, async_allowed: bool, **_: Any) -> UpdateServiceSpec:
        """See `ServiceBroker`."""
        check_maintenance()
        # Nothing has changed, and the same again is refused again.
        changes = _checked(
            check_instance_parameters, details.parameters, instance_usable=True, update_repeatable=False
        )
        with self._lock(instance_id):
            instance = self._database.instances.get(instance_id)
            if instance is None:
                raise OsbError(404, "There is no such instance.")
            if details.service_id != instance.service_id:
                raise errors.ErrBadRequest("service_id is not the instance's")
            operation = instance.operation
            plan_id = details.plan_id or instance.plan_id
            parameters = instance.parameters | changes
            also(metadata=instance_metadata(replace(instance, plan_id=plan_id)))
            if operation.running:
                if (operation.kind, operation.plan_id, operation.parameters) != ("update", plan_id, parameters):
                    raise errors.ErrConcurrentInstanceAccess
                return UpdateServiceSpec(is_async=True, operation=operation.id)
            if (plan_id, parameters) == (instance.plan_id, instance.parameters):
                return UpdateServiceSpec(is_async=False)
            slow = _slow(plan_id, parameters)
            if slow and not async_allowed:
                raise errors.ErrAsyncRequired
            operation = Operation("update", slow, plan_id=plan_id, parameters=parameters)
            instance = replace(instance, operation=operation)
            self._carry_out(self._database.instances, instance, self._instance_work(instance))
        return UpdateServiceSpec(is_async=slow, operation=operation.id)

    def deprovision(
        self, instance_id: str, details: DeprovisionDetails, async_allowed: bool, **_: Any
    ) -> DeprovisionServiceSpec:
        """See `ServiceBroker`."""
        with self._lock(instance_id):
            instance = self._database.instances.get(instance_id)
            if instance is None:
                raise errors.ErrInstanceDoesNotExist
            operation = instance.operation
            if operation.running:
                if operation.kind != "delete":
                    raise errors.ErrConcurrentInstanceAccess
                return DeprovisionServiceSpec(is_async=True, operation=operation.id)
            slow = _slow(instance.plan_id, instance.parameters)
            if slow and not async_allowed:
                raise errors.ErrAsyncRequired
            operation = Operation("delete", slow)
            instance = replace(instance, operation=operation)
            self._carry_out(self._database.instances, instance, self._instance_work(instance))
        return DeprovisionServiceSpec(is_async=slow, operation=operation.id)

    def bind(
        self, instance_id: str, binding_id: str, details: BindDetails, async_allowed: bool, **_: Any
    ) -> BindAnswer:
        """See `ServiceBroker`."""
        parameters = _checked(check_binding_parameters, details.parameters)
        slow = parameters.get("async", False)
        if slow and not async_allowed:
            raise errors.ErrAsyncRequired
        wanted = Binding(
            id=binding_id,
            instance_id=instance_id,
            service_id=details.service_id,
            plan_id=details.plan_id,
            parameters=parameters,
            bind_resource=vars(details.bind_resource) if details.bind_resource else {},
            operation=Operation("create", slow),
        )
        with self._lock(instance_id):
            known = self._database.bindings.get(binding_id)
            if known:
                operation = known.operation
                if not known.same_request(wanted):
                    raise errors.ErrBindingAlreadyExists
                if operation.running and operation.kind != "create":
                    raise errors.ErrConcurrentInstanceAccess
                if operation.running:
                    return BindAnswer(BindState.IS_ASYNC, operation=operation.id)
                if (operation.kind, operation.state) != ("create", "failed"):
                    describe(known)
                    return BindAnswer(BindState.IDENTICAL_ALREADY_EXISTS, credentials=known.credentials)
            instance = self._database.instances.get(instance_id)
            if instance is None or (instance.operation.kind, instance.operation.state) == ("create", "failed"):
                raise OsbError(404, "There is no such instance.")
            if instance.operation.running:
                raise errors.ErrConcurrentInstanceAccess
            login = Login.for_binding(binding_id)
            credentials = login.credentials(instance_id, *self._database.address())
            wanted = replace(wanted, credentials=credentials, metadata=lifetime(parameters))
            self._carry_out(self._database.bindings, wanted, self._binding_work(wanted))
        if slow:
            return BindAnswer(BindState.IS_ASYNC, operation=wanted.operation.id)
        describe(wanted)
        return BindAnswer(BindState.SUCCESSFUL_BOUND, credentials=wanted.credentials)

    def unbind(
        self, instance_id: str, binding_id: str, details: UnbindDetails, async_allowed: bool, **_: Any
    ) -> UnbindSpec:
        """See `ServiceBroker`."""
        with self._lock(instance_id):
            binding = self._database.bindings.get(binding_id)
            if binding is None or binding.instance_id != instance_id:
                raise errors.ErrBindingDoesNotExist
            operation = binding.operation
            if operation.running:
                if operation.kind != "delete":
                    raise errors.ErrConcurrentInstanceAccess
                return UnbindSpec(is_async=True, operation=operation.id)
            instance = self._database.instances.get(instance_id)
            if instance and instance.operation.running:
                raise errors.ErrConcurrentInstanceAccess
            slow = binding.operation.slow
            if slow and not async_allowed:
                raise errors.ErrAsyncRequired
            operation = Operation("delete", slow)
            binding = replace(binding, operation=operation)
            self._carry_out(self._database.bindings, binding, self._binding_work(binding))
        return UnbindSpec(is_async=slow, operation=operation.id)

    def get_instance(self, instance_id: str, **_: Any) -> GetInstanceDetailsSpec:
        """See `ServiceBroker`."""
        instance = self._database.instances.get(instance_id)
        if instance is None or (instance.operation.kind == "create" and instance.operation.state != "succeeded"):
            raise errors.ErrInstanceDoesNotExist
        if instance.operation.running:
            raise errors.ErrConcurrentInstanceAccess
        also(metadata=instance_metadata(instance), maintenance_info=PRESENT)
        return GetInstanceDetailsSpec(instance.service_id, instance.plan_id, parameters=instance.parameters)

    def get_binding(self, instance_id: str, binding_id: str, **_: Any) -> GetBindingSpec:
        """See `ServiceBroker`."""
        binding = self._database.bindings.get(binding_id)
        if (
            binding is None
            or binding.instance_id != instance_id
            or (binding.operation.kind == "create" and binding.operation.state != "succeeded")
        ):
            raise errors.ErrBindingDoesNotExist
        describe(binding)
        return GetBindingSpec(credentials=binding.credentials, parameters=binding.parameters)

    def last_operation(
        self, instance_id: str, operation_data: str | None, service_id: str | None, plan_id: str | None, **_: Any
    ) -> LastOperation:
        """See `ServiceBroker`. Strict about the spec's rule that `plan_id` is the one before the update."""
        instance = self._database.instances.get(instance_id)
        if instance is None:
            raise errors.ErrInstanceDoesNotExist
        if instance.operation.running and plan_id not in (None, instance.plan_id):
            raise OsbError(400, "plan_id is not the plan that the instance has at present")
        if instance.operation.state == "failed":
            # A failed update has changed nothing; a database that is half removed is of no use.
            also(instance_usable=instance.operation.kind == "update", update_repeatable=True)
        return _last_operation(instance.operation, operation_data)

    def last_binding_operation(
        self,
        instance_id: str,
        binding_id: str,
        operation_data: str | None,
        service_id: str | None,
        plan_id: str | None,
        **_: Any,
    ) -> LastOperation:
        """See `ServiceBroker`."""
        binding = self._database.bindings.get(binding_id)
        if binding is None or binding.instance_id != instance_id:
            raise OsbError(410, "There is no such binding.")  # openbrokerapi has no 410 here
        return _last_operation(binding.operation, operation_data)

    # -- how it is done -----------------------------------------------------------------------------------------

    def _lock(self, instance_id: str) -> threading.Lock:
        """Requests about one instance, its bindings included, are handled one after the other."""
        with self._locks_lock:
            return self._locks.setdefault(instance_id, threading.Lock())

    def _instance_work(self, instance: Instance) -> Work[Instance]:
        database, operation = self._database, instance.operation
        done = replace(instance, operation=replace(operation, state="succeeded", description="done"))
        plan = BY_ID[instance.plan_id]
        match operation.kind:
            case "create":
                return Work(
                    [
                        ("creating the database", lambda: database.create(instance, plan)),
                        (f"setting the limits of plan {plan.name}", lambda: database.configure(instance, plan)),
                    ],
                    done,
                )
            case "update":
                target = replace(
                    done,
                    plan_id=operation.plan_id or instance.plan_id,
                    parameters=operation.parameters or instance.parameters,
                )
                plan = BY_ID[target.plan_id]
                return Work(
                    [(f"setting the limits of plan {plan.name}", lambda: database.configure(target, plan))], target
                )
            case "delete":
                return Work(
                    [
                        ("removing what is left of its logins", lambda: self._revoke_all(instance)),
                        ("dropping the database", lambda: database.drop(instance)),
                    ],
                    None,
                )

    def _binding_work(self, binding: Binding) -> Work[Binding]:
        database, operation = self._database, binding.operation
        instance = database.instances.get(binding.instance_id)
        if instance is None:  # gone, and its logins with it
            return Work([], None)
        if operation.kind == "delete":
            return Work([("removing the login", lambda: database.revoke(instance, binding))], None)
        login = Login(binding.credentials["username"], binding.credentials["password"])
        done = replace(binding, operation=replace(operation, state="succeeded", description="done"))
        until = binding.metadata.get("expires_at")
        return Work([("creating the login", lambda: database.grant(instance, login, until))], done)

    def _revoke_all(self, instance: Instance) -> None:
        """A platform must unbind first; one that did not leaves no login behind all the same."""
        for binding in self._database.bindings.all():
            if binding.instance_id == instance.id:
                self._database.revoke(instance, binding)
                self._database.bindings.delete(binding.id)

    def _carry_out(self, records: Records[T], subject: T, work: Work[T], *, resumed: bool = False) -> None:
        """Store the intent, then work: in a thread of its own if slow, else here and now."""
        if not resumed:
            records.put(subject)
        if subject.operation.slow:
            arguments = (records, subject, work, self._slow_seconds / max(1, len(work.steps)))
            threading.Thread(target=self._work, args=arguments, daemon=True).start()
        elif not self._work(records, subject, work, pause=0) and not resumed:
            raise OsbError(500, "The database server could not do it; the broker's log says why.")

    def _work(self, records: Records[T], subject: T, work: Work[T], pause: float) -> bool:
        operation = subject.operation
        try:
            for description, step in work.steps:
                if pause:
                    records.put(replace(subject, operation=replace(operation, description=description)))
                    self._pause(pause)
                step()
            if work.outcome is None:
                records.delete(subject.id)
            else:
                records.put(work.outcome)
        except Exception:
            log.exception("%s of %s %s failed", operation.kind, type(subject).__name__, subject.id)
            failed = replace(operation, state="failed", description=f"could not {operation.kind} it")
            records.put(replace(subject, operation=failed))
            return False
        return True


def _slow(plan_id: str, parameters: dict[str, Any]) -> bool:
    return BY_ID[plan_id].slow or parameters.get("async", False)


def _checked(check: Callable[[object], dict[str, Any]], parameters: object, **more: bool) -> dict[str, Any]:
    try:
        return check(parameters)
    except InvalidParameters as error:
        raise OsbError(400, str(error), error="InvalidParameters", **more) from None


def _busy() -> OsbError:
    return OsbError(422, "Another operation on this instance is in progress.", error="ConcurrencyError")


def _last_operation(operation: Operation, asked: str | None) -> LastOperation:
    if asked not in (None, operation.id):
        raise OsbError(400, "That operation is not the last one.")
    return LastOperation(OperationState(operation.state), operation.description)
