"""What OSB 2.17 has and openbrokerapi lacks, added from outside by Flask's hooks.

- `OsbError`: any status and any error body, `instance_usable` and `update_repeatable` included
- `also`: more properties of a success, such as `metadata` and `endpoints`
- `asked`: properties of the request that openbrokerapi drops
- `extend`: Retry-After, the echo of the request's identity, an ETag on the catalog

Bindings are not rotated: no plan says that they can be.
"""

from __future__ import annotations

import json
import logging
from typing import Any

from flask import Blueprint, Flask, Response, g, jsonify, request

POLL_AFTER_S = 1
REQUEST_IDENTITY = "X-Broker-API-Request-Identity"


class OsbError(Exception):
    """Any status and body: openbrokerapi knows only some errors, and each of them only on some endpoints."""

    def __init__(self, status: int, description: str, error: str | None = None, **more: bool) -> None:
        super().__init__(description)
        self.status = status
        self.body = ({"error": error} if error else {}) | {"description": description} | more


def also(**properties: Any) -> None:
    """Adds properties to the answer to the present request, if it is going to be 200 or 201."""
    g.also = g.get("also", {}) | properties


def asked(name: str) -> Any:
    """A property of the body of the present request."""
    body = request.get_json(silent=True)
    return body.get(name) if isinstance(body, dict) else None


def extend(app: Flask, blueprint: Blueprint) -> None:
    """Adds it all to openbrokerapi's blueprint, and to the application that the blueprint is a part of."""

    # On the blueprint, because that has a handler for every Exception.
    @blueprint.errorhandler(OsbError)
    def osb_error(error: OsbError) -> tuple[Response, int]:
        return jsonify(error.body), error.status

    @blueprint.errorhandler(Exception)
    def unexpected(error: Exception) -> tuple[Response, int]:
        logging.getLogger(__name__).error("%s %s failed", request.method, request.path, exc_info=error)
        return jsonify({"description": "The broker has failed; its log says why."}), 500

    @blueprint.after_request
    def more(answer: Response) -> Response:
        if answer.status_code in (200, 201) and (properties := g.get("also")):
            answer.data = json.dumps((answer.get_json(silent=True) or {}) | properties)
        return answer

    @app.after_request
    def headers(answer: Response) -> Response:
        body = answer.get_json(silent=True)
        if request.path.endswith("/last_operation") and isinstance(body, dict) and body.get("state") == "in progress":
            answer.headers["Retry-After"] = str(POLL_AFTER_S)
        if identity := request.headers.get(REQUEST_IDENTITY):
            answer.headers[REQUEST_IDENTITY] = identity
        if request.path == "/v2/catalog" and answer.status_code == 200:
            answer.add_etag()
            answer.make_conditional(request)  # 304 if the platform has it already
        return answer
