"""HTTP: openbrokerapi's blueprint, what extends it, and a journal of what was asked."""

from __future__ import annotations

import json
import logging
import threading
import time
from pathlib import Path

from flask import Flask, Request, Response, request
from openbrokerapi import api
from werkzeug.serving import BaseWSGIServer, make_server

from .extensions import extend
from .service import DatabaseBroker


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

    app = Flask(__name__)

    # The first to be registered is the last to be run: what it notes is what is sent.
    @app.after_request
    def note(answer: Response) -> Response:
        journal.note(request, answer)
        return answer

    extend(app, blueprint)
    app.register_blueprint(blueprint)
    return app


def make_http_server(app: Flask, host: str, port: int) -> BaseWSGIServer:
    """A server on this machine's own address; port 0 takes a free one. A thread per request."""
    return make_server(host, port, app, threaded=True)
