"""The broker over HTTP, as a platform sees it: `<venv>/bin/python -m unittest discover demo/tests`.

`demo/run --venv` makes the virtual environment and prints its Python.
"""

from __future__ import annotations

import base64
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.error
import urllib.request
import uuid
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

BROKER = Path(__file__).resolve().parent.parent / "broker"
sys.path.insert(0, str(BROKER.parent))

from broker.catalog import PLANS, SERVICE_ID  # noqa: E402
from broker.database import database_name  # noqa: E402

SMALL, LARGE, LARGE_ASYNC = (plan.id for plan in PLANS)
USER, PASSWORD = "platform", "a very secret password"


@dataclass
class Answer:
    """An HTTP answer."""

    status: int
    body: Any
    headers: dict[str, str]


@dataclass
class RunningBroker:
    """A broker process and a client for it."""

    folder: Path
    backend: str
    process: subprocess.Popen[str] = field(init=False)
    url: str = field(init=False)

    def start(self) -> None:
        """Start and wait until it listens."""
        with (self.folder / "stderr").open("a") as stderr:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    BROKER,
                    "--backend",
                    self.backend,
                    "--data-dir",
                    self.folder / "data",
                    "--journal",
                    self.folder / "journal",
                    "--async-seconds",
                    "0.6",
                    "--until-stdin-closes",
                    "--mischief",
                ],  # fmt: skip
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                env=os.environ | {"BROKER_USERNAME": USER, "BROKER_PASSWORD": PASSWORD},
            )
        assert self.process.stdout
        ready, _, _ = select.select([self.process.stdout], [], [], 60)
        line = self.process.stdout.readline() if ready else ""
        if not line:
            raise RuntimeError(f"the broker does not start: {(self.folder / 'stderr').read_text()}")
        self.url = json.loads(line)["url"]

    def stop(self, signum: int = signal.SIGTERM) -> None:
        """End it and wait."""
        self.process.send_signal(signum)
        self.process.wait(20)
        for stream in (self.process.stdin, self.process.stdout):
            assert stream
            stream.close()

    def ask(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
        """One request."""
        token = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        asked = urllib.request.Request(
            self.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "X-Broker-API-Version": "2.17",
                "Authorization": f"Basic {token}",
                "Content-Type": "application/json",
            }
            | (headers or {}),
        )
        try:
            with urllib.request.urlopen(asked, timeout=30) as answer:
                return Answer(answer.status, _json(answer.read()), dict(answer.headers))
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, _json(error.read()), dict(error.headers))


def _json(text: bytes) -> Any:
    try:
        return json.loads(text) if text else None
    except ValueError:
        return text.decode()


class BrokerCase(unittest.TestCase):
    """One broker per class."""

    backend: ClassVar[str]
    broker: ClassVar[RunningBroker]
    folder: ClassVar[Path]

    @classmethod
    def setUpClass(cls) -> None:
        with ExitStack() as stack:
            cls.folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="broker-test-")))
            cls.folder.chmod(0o711)
            cls.broker = RunningBroker(cls.folder, cls.backend)
            cls.broker.start()
            stack.callback(lambda: cls.broker.stop())
            cls.addClassCleanup(stack.pop_all().close)

    def instance(self, **body: Any) -> tuple[str, Answer]:
        """Provision something new."""
        path = f"/v2/service_instances/{uuid.uuid4()}"
        return path, self.provision(path, **body)

    def provision(self, path: str, accepts_incomplete: bool = True, plan: str = SMALL, **more: Any) -> Answer:
        """PUT an instance."""
        body = {"service_id": SERVICE_ID, "plan_id": plan, "organization_guid": "o", "space_guid": "s"} | more
        return self.broker.ask("PUT", f"{path}?accepts_incomplete={str(accepts_incomplete).lower()}", body)

    def update(self, path: str, accepts_incomplete: bool = True, **body: Any) -> Answer:
        """PATCH an instance."""
        query = f"?accepts_incomplete={str(accepts_incomplete).lower()}"
        return self.broker.ask("PATCH", path + query, {"service_id": SERVICE_ID} | body)

    def bind(self, path: str, plan: str = SMALL, **more: Any) -> Answer:
        """PUT a binding."""
        return self.broker.ask(
            "PUT", f"{path}?accepts_incomplete=true", {"service_id": SERVICE_ID, "plan_id": plan} | more
        )

    def delete(self, path: str, accepts_incomplete: bool = True) -> Answer:
        """DELETE an instance or a binding."""
        return self.broker.ask(
            "DELETE",
            f"{path}?service_id={SERVICE_ID}&plan_id={SMALL}&accepts_incomplete={str(accepts_incomplete).lower()}",
        )

    def mischief(self, **wishes: Any) -> None:
        """Tell the broker to do wrong."""
        self.assertEqual(self.broker.ask("PUT", "/mischief", wishes).status, 200)

    def poll(self, path: str, operation: str) -> tuple[Answer, list[str]]:
        """Poll to the end: the last answer, and the descriptions on the way."""
        seen: list[str] = []
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            answer = self.broker.ask("GET", f"{path}/last_operation?operation={operation}")
            if answer.status != 200 or answer.body["state"] != "in progress":
                return answer, seen
            self.assertEqual(answer.headers["Retry-After"], "1")
            if answer.body.get("description") not in (None, "", *seen):
                seen.append(answer.body["description"])
            time.sleep(0.05)
        raise AssertionError(f"still in progress: {seen}")


class Semantics:
    """What holds for every backend. Not a TestCase itself, so that it is run by its subclasses only."""

    def test_catalog(self: Any) -> None:
        answer = self.broker.ask("GET", "/v2/catalog", headers={"X-Broker-API-Request-Identity": "abc"})
        (service,) = answer.body["services"]
        self.assertEqual([plan["name"] for plan in service["plans"]], ["small", "large", "large-async"])
        self.assertTrue(service["instances_retrievable"] and service["bindings_retrievable"])
        self.assertEqual(answer.headers["X-Broker-API-Request-Identity"], "abc")
        again = self.broker.ask("GET", "/v2/catalog", headers={"If-None-Match": answer.headers["ETag"]})
        self.assertEqual((again.status, again.body), (304, None))

    def test_refuses_strangers(self: Any) -> None:
        answer = self.broker.ask("GET", "/v2/catalog", headers={"Authorization": "Basic eDp5"})
        self.assertEqual(answer.status, 401)

    def test_repeated_requests(self: Any) -> None:
        path, answer = self.instance(parameters={"statement_timeout_ms": 5000})
        self.assertEqual(answer.status, 201)
        self.assertEqual(self.provision(path, parameters={"statement_timeout_ms": 5000}).status, 200)
        self.assertEqual(self.provision(path, parameters={"statement_timeout_ms": 6000}).status, 409)
        self.assertEqual(self.provision(path, plan=LARGE).status, 409)
        got = self.broker.ask("GET", path)
        self.assertEqual((got.status, got.body["plan_id"]), (200, SMALL))
        self.assertEqual(got.body["parameters"], {"statement_timeout_ms": 5000})

        binding = f"{path}/service_bindings/{uuid.uuid4()}"
        bound = self.bind(binding)
        self.assertEqual(bound.status, 201)
        credentials = bound.body["credentials"]
        self.assertIsInstance(credentials["port"], int)
        self.assertIsInstance(credentials["options"], dict)
        again = self.bind(binding)
        self.assertEqual((again.status, again.body["credentials"]), (200, credentials))
        self.assertEqual(self.bind(binding, bind_resource={"app_guid": "other"}).status, 409)
        self.assertEqual(self.broker.ask("GET", binding).body["credentials"], credentials)

        self.assertEqual([self.delete(binding).status for _ in range(2)], [200, 410])
        self.assertEqual(self.broker.ask("GET", binding).status, 404)
        self.assertEqual([self.delete(path).status for _ in range(2)], [200, 410])
        self.assertEqual(self.broker.ask("GET", path).status, 404)

    def test_unknown_and_invalid(self: Any) -> None:
        path = f"/v2/service_instances/{uuid.uuid4()}"
        self.assertEqual(self.delete(path).status, 410)
        self.assertEqual(self.delete(f"{path}/service_bindings/{uuid.uuid4()}").status, 410)
        self.assertEqual(self.update(path, plan_id=LARGE).status, 404)
        self.assertEqual(self.bind(f"{path}/service_bindings/b").status, 404)
        self.assertEqual(self.provision(path, plan="none").status, 400)
        for parameters in ({"statement_timeout_ms": -1}, {"statement_timeout_ms": "1"}, {"color": "red"}, {"async": 1}):
            answer = self.provision(path, parameters=parameters)
            self.assertEqual((answer.status, answer.body["error"]), (400, "InvalidParameters"))

    def test_update(self: Any) -> None:
        path, _ = self.instance()
        self.assertEqual(self.update(path, plan_id=LARGE).status, 200)
        self.assertEqual(self.update(path, parameters={"statement_timeout_ms": 7}).status, 200)
        got = self.broker.ask("GET", path).body
        self.assertEqual((got["plan_id"], got["parameters"]), (LARGE, {"statement_timeout_ms": 7}))
        self.assertEqual(self.provision(path).status, 409, "it is no longer what that request asked for")
        self.delete(path)

    def test_asynchronous(self: Any) -> None:
        path, refused = self.instance(plan=LARGE_ASYNC, accepts_incomplete=False)
        self.assertEqual((refused.status, refused.body["error"]), (422, "AsyncRequired"))
        first, again = (self.provision(path, plan=LARGE_ASYNC) for _ in range(2))
        self.assertEqual((first.status, again.status), (202, 202))
        self.assertEqual(first.body["operation"], again.body["operation"])
        self.assertEqual(self.broker.ask("GET", path).status, 404)
        self.assertEqual(self.delete(path).body["error"], "ConcurrencyError")
        end, seen = self.poll(path, first.body["operation"])
        self.assertEqual(end.body["state"], "succeeded")
        self.assertIn("creating the database", seen)
        self.assertEqual(self.provision(path, plan=LARGE_ASYNC).status, 200)

        update = self.update(path, parameters={"statement_timeout_ms": 9})
        self.assertEqual(update.status, 202)
        busy = self.provision(path, plan=LARGE_ASYNC)
        self.assertEqual((busy.status, busy.body["error"]), (422, "ConcurrencyError"))
        self.assertEqual(self.poll(path, update.body["operation"])[0].body["state"], "succeeded")

        binding = f"{path}/service_bindings/{uuid.uuid4()}"
        bound = self.bind(binding, parameters={"async": True})
        self.assertEqual((bound.status, "credentials" in bound.body), (202, False))
        self.assertEqual(self.poll(binding, bound.body["operation"])[0].body["state"], "succeeded")
        self.assertIn("uri", self.broker.ask("GET", binding).body["credentials"])
        unbound = self.delete(binding)
        self.assertEqual(self.poll(binding, unbound.body["operation"])[0].status, 410)

        self.assertEqual(self.delete(path, accepts_incomplete=False).status, 422)
        deleted = self.delete(path)
        self.assertEqual(self.poll(path, deleted.body["operation"])[0].status, 410)

    def test_metadata_and_endpoints(self: Any) -> None:
        path, made = self.instance()
        small = {"labels": {"plan": "small"}, "attributes": {"connections": 2}}
        self.assertEqual((made.body["metadata"], self.provision(path).body["metadata"]), (small, small))
        self.assertEqual(self.update(path, plan_id=LARGE).body["metadata"]["attributes"], {"connections": 20})
        got = self.broker.ask("GET", path).body
        self.assertEqual(got["metadata"]["labels"], {"plan": "large"})
        self.assertEqual(got["maintenance_info"], {"version": "18.6.3"})

        binding = f"{path}/service_bindings/{uuid.uuid4()}"
        for wrong in (0, "1", True):
            self.assertEqual(self.bind(binding, parameters={"lifetime_s": wrong}).status, 400)
        bound = self.bind(binding, parameters={"lifetime_s": 3600}).body
        lasting = self.bind(f"{path}/service_bindings/{uuid.uuid4()}").body
        self.assertNotIn("metadata", lasting)
        (endpoint,) = lasting["endpoints"]
        self.assertEqual(endpoint["ports"], [str(lasting["credentials"]["port"])])
        renew, expire = (datetime.fromisoformat(bound["metadata"][name]) for name in ("renew_before", "expires_at"))
        self.assertEqual(expire - renew, timedelta(minutes=30))
        for again in (self.bind(binding, parameters={"lifetime_s": 3600}), self.broker.ask("GET", binding)):
            self.assertEqual(again.body["metadata"], bound["metadata"])
            self.assertEqual(again.body["endpoints"], bound["endpoints"])
        self.assertEqual(self.delete(path).status, 200)

    def test_maintenance(self: Any) -> None:
        (service,) = self.broker.ask("GET", "/v2/catalog").body["services"]
        present = service["plans"][0]["maintenance_info"]
        path, refused = self.instance(maintenance_info={"version": "17.0.0"})
        self.assertEqual((refused.status, refused.body["error"]), (422, "MaintenanceInfoConflict"))
        self.assertEqual(self.provision(path, maintenance_info={"version": present["version"]}).status, 201)
        refused = self.update(path, plan_id=LARGE, maintenance_info={"version": "17.0.0"})
        self.assertEqual((refused.status, refused.body["error"]), (422, "MaintenanceInfoConflict"))
        self.assertEqual(self.update(path, plan_id=LARGE, maintenance_info=present).status, 200)
        self.delete(path)

    def test_failures_say_what_is_left(self: Any) -> None:
        path, made = self.instance(parameters={"async": True})
        self.assertEqual(self.poll(path, made.body["operation"])[0].body["state"], "succeeded")
        refused = self.update(path, parameters={"statement_timeout_ms": -1})
        self.assertEqual((refused.status, refused.body["error"]), (400, "InvalidParameters"))
        self.assertEqual((refused.body["instance_usable"], refused.body["update_repeatable"]), (True, False))

        self.mischief(failing=True)
        changed = self.update(path, parameters={"statement_timeout_ms": 1}).body["operation"]
        end, _ = self.poll(path, changed)
        self.assertEqual((end.body["state"], end.body["instance_usable"]), ("failed", True))
        end, _ = self.poll(path, self.delete(path).body["operation"])
        self.assertEqual((end.body["state"], end.body["instance_usable"]), ("failed", False))
        self.mischief(failing=False)
        self.assertEqual(self.poll(path, self.delete(path).body["operation"])[0].status, 410)

    def test_mischief(self: Any) -> None:
        path = f"/v2/service_instances/{uuid.uuid4()}"
        answer = {"operation": "provision", "status": 503, "headers": {"Retry-After": "7"}}
        self.mischief(answers=[answer, answer | {"status": 500, "body": {"description": "x"}, "after_effect": True}])
        before = self.provision(path)
        self.assertEqual((before.status, before.headers["Retry-After"]), (503, "7"))
        self.assertEqual(self.broker.ask("GET", path).status, 404)
        self.assertEqual((self.provision(path).status, self.provision(path).status), (500, 200))
        self.assertIn(path.rpartition("/")[2], self.broker.ask("GET", "/mischief").body["instances"])

        tag = self.broker.ask("GET", "/v2/catalog").headers["ETag"]
        self.mischief(offering={"description": "another"})
        changed = self.broker.ask("GET", "/v2/catalog", headers={"If-None-Match": tag})
        self.assertEqual((changed.status, changed.body["services"][0]["description"]), (200, "another"))
        self.mischief(offering={})

        self.poll(path, self.update(path, parameters={"async": True}).body["operation"])
        self.mischief(held=True)
        operation = self.delete(path).body["operation"]
        time.sleep(1)  # longer than it takes
        progress = self.broker.ask("GET", f"{path}/last_operation?operation={operation}")
        self.assertEqual(progress.body["state"], "in progress")
        self.mischief(held=False)
        self.assertEqual(self.poll(path, operation)[0].status, 410)

    def test_journal(self: Any) -> None:
        identity = base64.b64encode(json.dumps({"username": "jane"}).encode()).decode()
        self.broker.ask("GET", "/v2/catalog", headers={"X-Broker-API-Originating-Identity": f"kubernetes {identity}"})
        lines = [json.loads(line) for line in (self.folder / "journal").read_text().splitlines()]
        self.assertIn(("GET", "/v2/catalog", 200, "jane"), [tuple(_pick(line)) for line in lines])

    def test_no_credentials_in_logs(self: Any) -> None:
        path, _ = self.instance()
        password = self.bind(f"{path}/service_bindings/{uuid.uuid4()}").body["credentials"]["password"]
        self.delete(path)
        files = [file for file in self.folder.rglob("*") if file.name in ("stderr", "journal", "server.log")]
        self.assertGreaterEqual(len(files), 2)
        for file in files:
            for secret in (password, PASSWORD):
                self.assertNotIn(secret, file.read_text(), f"in {file}")


def _pick(line: dict[str, Any]) -> list[Any]:
    return [line[key] for key in ("method", "path", "status", "user")]


class MemoryTest(Semantics, BrokerCase):
    """The broker without PostgreSQL."""

    backend = "memory"


class PostgresTest(Semantics, BrokerCase):
    """The broker with PostgreSQL: what the plans and parameters mean there."""

    backend = "postgres"

    def connect(self, credentials: dict[str, Any]) -> Any:
        import psycopg

        return psycopg.connect(credentials["uri"], connect_timeout=5, autocommit=True)

    def refused(self, credentials: dict[str, Any]) -> str:
        import psycopg

        with self.assertRaises(psycopg.OperationalError) as caught:
            self.connect(credentials).close()
        return str(caught.exception)

    def settled(self, credentials: dict[str, Any]) -> Any:
        """Connect once the server has noticed that earlier connections are closed."""
        import psycopg

        deadline = time.monotonic() + 5
        while True:
            try:
                return self.connect(credentials)
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def test_a_database_through_its_life(self) -> None:
        path, _ = self.instance(parameters={"statement_timeout_ms": 50})
        first, second = (self.bind(f"{path}/service_bindings/{name}-{path[-8:]}").body["credentials"] for name in "ab")
        with self.connect(first) as one, self.connect(second) as two:
            one.execute("CREATE TABLE notes (text text)")
            two.execute("INSERT INTO notes VALUES ('made by the other binding')")
            self.assertIn("too many connections", self.refused(first))
            with self.assertRaisesRegex(Exception, "statement timeout"):
                one.execute("SELECT pg_sleep(2)")

            self.assertEqual(self.update(path, plan_id=LARGE).status, 200)
            with ExitStack() as stack:
                for _ in range(18):
                    stack.enter_context(self.connect(first))
                self.assertIn("too many connections", self.refused(first))

            self.assertEqual(self.delete(f"{path}/service_bindings/a-{path[-8:]}").status, 200)
            self.assertIn("authentication failed", self.refused(first))
            with self.assertRaises(Exception, msg="its session has been ended"):
                one.execute("SELECT 1")
            count = two.execute("SELECT count(*) FROM notes").fetchone()
            self.assertEqual(count, (1,), "what the removed login made is still there")

        self.assertEqual(self.update(path, parameters={"statement_timeout_ms": 0}).status, 200)
        with self.settled(second) as connection:
            connection.execute("SELECT pg_sleep(0.2)")
        self.assertEqual(self.delete(path).status, 200)
        self.refused(second)

    def test_tenants_cannot_reach_each_other(self) -> None:
        paths = [self.instance()[0] for _ in range(2)]
        mine, other = (self.bind(f"{path}/service_bindings/{uuid.uuid4()}").body["credentials"] for path in paths)
        for database in (other["database"], "broker", "postgres", "template1"):
            stolen = mine | {"uri": mine["uri"].replace(mine["database"], database)}
            self.assertIn("permission denied", self.refused(stolen))
        for path in paths:
            self.delete(path)

    def test_a_login_expires(self) -> None:
        path, _ = self.instance()
        bound = self.bind(f"{path}/service_bindings/{uuid.uuid4()}", parameters={"lifetime_s": 3}).body
        self.connect(bound["credentials"]).close()
        expired = datetime.fromisoformat(bound["metadata"]["expires_at"])
        time.sleep(max(0.0, (expired - datetime.now(UTC)).total_seconds()))
        self.assertIn("authentication failed", self.refused(bound["credentials"]))
        self.assertEqual(self.delete(path).status, 200)

    def test_nothing_is_lost_by_a_kill(self) -> None:
        path, _ = self.instance()
        binding = f"{path}/service_bindings/{uuid.uuid4()}"
        credentials = self.bind(binding).body["credentials"]
        slow = f"/v2/service_instances/{uuid.uuid4()}"
        operation = self.provision(slow, plan=LARGE_ASYNC).body["operation"]
        self.broker.stop(signal.SIGKILL)
        self.broker.start()
        again = self.bind(binding)
        self.assertEqual((again.status, again.body["credentials"]), (200, credentials))
        self.connect(credentials).close()
        self.assertEqual(self.poll(slow, operation)[0].body["state"], "succeeded")
        self.assertEqual(self.poll(slow, self.delete(slow).body["operation"])[0].status, 410)
        self.assertEqual(self.delete(path).status, 200)
        import psycopg

        admin = json.loads((self.folder / "data/postgres/admin.json").read_text())
        with psycopg.connect(**admin, dbname="postgres") as connection:
            left = connection.execute("SELECT datname FROM pg_database WHERE datname LIKE 'i\\_%'").fetchall()
            for instance in (path, slow):
                self.assertNotIn((database_name(instance.rpartition("/")[2]),), left)


if __name__ == "__main__":
    unittest.main()
