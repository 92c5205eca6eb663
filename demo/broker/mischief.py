"""What a test can tell the broker to do wrong, or to wait for: `/mischief`, which is there with `--mischief` only.

    PUT /mischief   {"answers": [{"operation": "provision", "status": 500, "body": {}, "after_effect": true}],
                     "held": true, "failing": true, "offering": {"description": "another"}}
    GET /mischief   the ids of all that the broker remembers

Each of the `answers` is given once, in place of what the broker does, or of what it says after it did it. While
`held`, asynchronous operations do not go on; if `failing`, they end as failures. `offering` changes what the catalog
says. What a PUT does not mention stays as it is.
"""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from flask import Flask, Response, g, jsonify, request

from .database import Database

# By method, and by whether a binding and its operation are in the path.
_OPERATIONS = {
    ("PUT", False, False): "provision",
    ("PATCH", False, False): "update",
    ("DELETE", False, False): "deprovision",
    ("GET", False, False): "get_instance",
    ("GET", False, True): "poll_instance",
    ("PUT", True, False): "bind",
    ("DELETE", True, False): "unbind",
    ("GET", True, False): "get_binding",
    ("GET", True, True): "poll_binding",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer to one operation."""

    operation: str
    status: int
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    after_effect: bool = False

    def response(self) -> Response:
        """As Flask wants it."""
        body = "" if self.body is None else json.dumps(self.body)
        return Response(body, self.status, self.headers, content_type="application/json")


class Mischief:
    """What a test has asked for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answers: list[Answer] = []
        self._offering: dict[str, Any] = {}
        self._going = threading.Event()
        self._going.set()
        self._failing = False

    def pause(self, seconds: float) -> None:
        """Between two steps of an asynchronous operation."""
        time.sleep(seconds)
        self._going.wait()
        if self._failing:
            raise RuntimeError("a test wants this operation to fail")

    def install(self, app: Flask, database: Database) -> None:
        """Adds `/mischief` and what it asks for. To be called last: what comes after a request comes in reverse order."""

        @app.get("/mischief")
        def remembered() -> Response:
            records = {"instances": database.instances, "bindings": database.bindings}
            return jsonify({name: [value.id for value in records[name].all()] for name in records})

        @app.put("/mischief")
        def ask() -> Response:
            self._take(request.get_json())
            return jsonify({})

        @app.before_request
        def instead() -> Response | None:
            g.answer = self._next()
            return g.answer.response() if g.answer and not g.answer.after_effect else None

        @app.after_request
        def afterwards(truth: Response) -> Response:
            if g.answer and g.answer.after_effect:
                return g.answer.response()
            if request.path == "/v2/catalog" and self._offering and truth.status_code == 200:
                catalog = truth.get_json()
                catalog["services"][0] |= self._offering
                truth.data = json.dumps(catalog)
            return truth

    def _take(self, wishes: dict[str, Any]) -> None:
        with self._lock:
            self._answers += [Answer(**answer) for answer in wishes.get("answers", [])]
            self._offering = wishes.get("offering", self._offering)
            self._failing = wishes.get("failing", self._failing)
            if wishes.get("held") is True:
                self._going.clear()
            elif wishes.get("held") is False:
                self._going.set()

    def _next(self) -> Answer | None:
        path = request.path
        kind = (request.method, "/service_bindings/" in path, path.endswith("/last_operation"))
        operation = "catalog" if path == "/v2/catalog" else _OPERATIONS.get(kind)
        with self._lock:
            found = next((answer for answer in self._answers if answer.operation == operation), None)
            if found:
                self._answers.remove(found)
        return found
