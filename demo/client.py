"""What an application does with the credentials of a binding, for the demo: `client.py COMMAND < credentials.json`.

With `--folder DIR` it takes them from there: a file for each key, as a Pod has them.

    notes             create a table, write a row and read it
    work              query again and again, each time with the credentials that the folder has then, until the server
                      refuses them; print a line of JSON for each user name, and one at the end
    connections N     open N connections at once; with --then-refused, one more must be refused
    refused           logging in must be refused
    databases         (with an administrator's credentials) list the service instances' databases

Run by the Python of the demo's virtual environment. Ends with 1 if what must happen does not.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg

# Between two queries of `work`.
PAUSE_S = 0.1
# PostgreSQL needs a moment to notice that earlier connections are closed.
SETTLE_S = 10


class Unexpected(Exception):
    """What must happen did not; the text says what did."""


def connect(credentials: dict[str, Any]) -> psycopg.Connection[tuple[Any, ...]]:
    """A connection by the Secret's `uri`."""
    return psycopg.connect(credentials["uri"], connect_timeout=10, autocommit=True)


def read_folder(folder: Path) -> dict[str, str]:
    """The keys of a Secret: the kubelet keeps each in a file, and replaces all of them at once."""
    return {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}


def work(folder: Path) -> None:
    """An application that never stops: whoever takes its credentials away sees it here."""
    user, queries = None, 0
    while True:
        credentials = read_folder(folder)
        try:
            with connect(credentials) as connection:
                connection.execute("SELECT count(*) FROM notes").fetchone()
        except psycopg.Error as error:
            print(json.dumps({"queries": queries, "end": str(error).strip().splitlines()[-1]}), flush=True)
            return
        queries += 1
        if credentials["username"] != user:
            user = credentials["username"]
            print(json.dumps({"username": user, "queries": queries}), flush=True)
        time.sleep(PAUSE_S)


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
    parser.add_argument("--folder", type=Path)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("notes")
    commands.add_parser("work")
    many = commands.add_parser("connections")
    many.add_argument("count", type=int)
    many.add_argument("--then-refused", action="store_true")
    commands.add_parser("refused")
    commands.add_parser("databases")
    arguments = parser.parse_args()
    try:
        if arguments.command == "work":
            work(arguments.folder)
            return 0
        credentials = read_folder(arguments.folder) if arguments.folder else json.load(sys.stdin)
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
