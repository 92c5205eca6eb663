"""HTTP: openbrokerapi's blueprint, and in a few hooks what it lacks: Retry-After, the echo of the request's identity,
an ETag on the catalog, and a journal of what was asked."""

from __future__ import annotations

import json
import logging
import threading
import time
from pathlib import Path

from flask import Flask, Request, Response, jsonify, request
from openbrokerapi import api
from werkzeug.serving import BaseWSGIServer, make_server

from .service import DatabaseBroker, OsbError

POLL_AFTER_S = 1
REQUEST_IDENTITY = "X-Broker-API-Request-Identity"


class Journal:
    """One JSON line per request: what was asked, by whom, and the status. Never a body or a credential."""

    def __init__(self, path: Path | None) -> None:
        self._file = path.open("a", buffering=1) if path else None
        self._lock = threading.Lock()

    def note(self, asked: Request, answer: Response) -> None:
        """Write the line. The operation's id is in it: a repeated 202 is told from a second creation by it."""
        if self._file is None:
            return
        body = answer.get_json(silent=True) if answer.status_code == 202 else None
        line = {
            "time": round(time.time(), 3),
            "method": asked.method,
            "path": asked.path,
            "status": answer.status_code,
            "operation": body.get("operation") if isinstance(body, dict) else None,
            "user": _username(asked),
        }
        with self._lock:
            self._file.write(json.dumps(line) + "\n")


def _username(asked: Request) -> str | None:
    identity = getattr(asked, "originating_identity", None)  # decoded by openbrokerapi
    value = identity.get("value") if isinstance(identity, dict) else None
    name = value.get("username") if isinstance(value, dict) else None
    return name if isinstance(name, str) else None


def make_app(broker: DatabaseBroker, username: str, password: str, journal: Journal) -> Flask:
    """The broker as a WSGI application."""
    logger = logging.getLogger("openbrokerapi")
    # openbrokerapi logs request headers and its users at debug level, and every refusal with a traceback.
    logger.setLevel(logging.CRITICAL)
    blueprint = api.get_blueprint(broker, api.BrokerCredentials(username, password), logger)

    # On the blueprint, because that has a handler for every Exception.
    @blueprint.errorhandler(OsbError)
    def osb_error(error: OsbError) -> tuple[Response, int]:
        return jsonify(error.body), error.status

    @blueprint.errorhandler(Exception)
    def unexpected(error: Exception) -> tuple[Response, int]:
        logging.getLogger(__name__).error("%s %s failed", request.method, request.path, exc_info=error)
        return jsonify({"description": "The broker has failed; its log says why."}), 500

    app = Flask(__name__)
    app.register_blueprint(blueprint)

    @app.after_request
    def complete(answer: Response) -> Response:
        body = answer.get_json(silent=True)
        if request.path.endswith("/last_operation") and body and body.get("state") == "in progress":
            answer.headers["Retry-After"] = str(POLL_AFTER_S)
        if identity := request.headers.get(REQUEST_IDENTITY):
            answer.headers[REQUEST_IDENTITY] = identity
        if request.path == "/v2/catalog" and answer.status_code == 200:
            answer.add_etag()
            answer.make_conditional(request)  # 304 if the platform has it already
        journal.note(request, answer)
        return answer

    return app


def make_http_server(app: Flask, port: int) -> BaseWSGIServer:
    """A server on this machine's own address; port 0 takes a free one. A thread per request."""
    return make_server("127.0.0.1", port, app, threaded=True)
