"""What an application does with the credentials of a binding, for the demo: `client.py COMMAND < credentials.json`.

With `--environment` it takes them from the environment, where a Pod has the keys of a Secret.

    notes             create a table, write a row and read it
    connections N     open N connections at once; with --then-refused, one more must be refused
    refused           logging in must be refused
    databases         (with an administrator's credentials) list the service instances' databases

Run by the Python of the demo's virtual environment. Ends with 1 if what must happen does not.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from contextlib import ExitStack
from typing import Any

import psycopg

# PostgreSQL needs a moment to notice that earlier connections are closed.
SETTLE_S = 10


class Unexpected(Exception):
    """What must happen did not; the text says what did."""


def connect(credentials: dict[str, Any]) -> psycopg.Connection[tuple[Any, ...]]:
    """A connection by the Secret's `uri`."""
    return psycopg.connect(credentials["uri"], connect_timeout=10, autocommit=True)


def refusal(credentials: dict[str, Any]) -> str:
    """Why the server lets nobody in."""
    try:
        connect(credentials).close()
    except psycopg.OperationalError as error:
        return str(error).strip().splitlines()[-1].rpartition("FATAL:")[2].strip()
    raise Unexpected("the connection was accepted")


def notes(credentials: dict[str, Any]) -> None:
    """Write and read."""
    with connect(credentials) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS notes (id serial PRIMARY KEY, text text NOT NULL)")
        connection.execute("INSERT INTO notes (text) VALUES (%s)", ["written with the binding's credentials"])
        row = connection.execute("SELECT id, text, current_database() FROM notes ORDER BY id DESC LIMIT 1").fetchone()
    if row is None:
        raise Unexpected("the row is not there")
    print(f"row {row[0]} of table notes in database {row[2]}: {row[1]}")


def connections(credentials: dict[str, Any], count: int, then_refused: bool) -> None:
    """Hold `count` connections open at once."""
    deadline = time.monotonic() + SETTLE_S
    while True:
        try:
            with ExitStack() as stack:
                for _ in range(count):
                    stack.enter_context(connect(credentials))
                print(f"{count} connections are open at the same time")
                if then_refused:
                    print(f"connection {count + 1} is refused: {refusal(credentials)}")
            return
        except psycopg.OperationalError as error:
            if time.monotonic() > deadline:
                raise Unexpected(str(error).strip()) from None
            time.sleep(0.1)


def databases(administrator: dict[str, Any]) -> None:
    """What PostgreSQL itself says is there; the broker's word is not taken for it."""
    with psycopg.connect(**administrator, dbname="postgres") as connection:
        rows = connection.execute(
            "SELECT datname, datconnlimit, shobj_description(oid, 'pg_database') FROM pg_database"
            " WHERE starts_with(datname, 'i_') ORDER BY 1"
        ).fetchall()
    for name, limit, comment in rows:
        print(f"{name}  connection limit {limit}  {comment}")
    if not rows:
        print("no databases of service instances")


def main() -> int:
    """Do one thing and say what happened."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environment", action="store_true")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("notes")
    many = commands.add_parser("connections")
    many.add_argument("count", type=int)
    many.add_argument("--then-refused", action="store_true")
    commands.add_parser("refused")
    commands.add_parser("databases")
    arguments = parser.parse_args()
    credentials = dict(os.environ) if arguments.environment else json.load(sys.stdin)
    try:
        match arguments.command:
            case "notes":
                notes(credentials)
            case "connections":
                connections(credentials, arguments.count, arguments.then_refused)
            case "refused":
                print(f"refused: {refusal(credentials)}")
            case "databases":
                databases(credentials)
    except (Unexpected, psycopg.Error) as error:
        print(f"client: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
