"""Start the broker: `python demo/broker --backend memory`.

The user name and the password of its basic authentication are taken from BROKER_USERNAME and BROKER_PASSWORD, as a
command line can be read by every user of the machine. Once it listens, it prints one JSON line: url, port, pid.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
import threading
from pathlib import Path

if not __package__:  # run as a folder, not by -m
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from broker.database import Database  # noqa: E402
from broker.memory import MemoryDatabase  # noqa: E402
from broker.mischief import Mischief  # noqa: E402
from broker.service import DatabaseBroker  # noqa: E402
from broker.web import Journal, make_app, make_http_server  # noqa: E402


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="broker", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--backend", choices=("postgres", "memory"), default="postgres")
    parser.add_argument("--data-dir", type=Path, help="where PostgreSQL and the broker keep everything (postgres only)")
    parser.add_argument("--host", default="127.0.0.1", help="the address on which it and PostgreSQL listen")
    parser.add_argument("--port", type=int, default=0, help="0, the default, takes a free one")
    parser.add_argument("--journal", type=Path, help="append a JSON line per request to this file")
    parser.add_argument("--async-seconds", type=float, default=3.0, help="how long an asynchronous operation takes")
    parser.add_argument("--until-stdin-closes", action="store_true", help="end with the process that started this one")
    parser.add_argument("--mischief", action="store_true", help="let tests ask for errors, without authentication")
    arguments = parser.parse_args()
    if arguments.backend == "postgres" and arguments.data_dir is None:
        parser.error("--backend postgres needs --data-dir")
    return arguments


def main() -> int:
    """Serve until SIGTERM or SIGINT."""
    arguments = _arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        username, password = os.environ.pop("BROKER_USERNAME"), os.environ.pop("BROKER_PASSWORD")
    except KeyError as missing:
        print(f"broker: the environment variable {missing.args[0]} is not set", file=sys.stderr)
        return 2

    stop = threading.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: stop.set())
    if arguments.until_stdin_closes:
        threading.Thread(target=_set_at_end_of_input, args=(stop,), daemon=True).start()

    database = _open(arguments)
    try:
        mischief = Mischief()
        broker = DatabaseBroker(database, arguments.async_seconds, mischief.pause)
        broker.resume()
        app = make_app(broker, username, password, Journal(arguments.journal))
        if arguments.mischief:
            mischief.install(app, database)
        server = make_http_server(app, arguments.host, arguments.port)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://{arguments.host}:{server.server_port}"
        print(json.dumps({"url": url, "port": server.server_port, "pid": os.getpid()}), flush=True)
        stop.wait()
        server.shutdown()
        server.server_close()
    finally:
        database.close()
    return 0


def _set_at_end_of_input(stop: threading.Event) -> None:
    sys.stdin.buffer.read()
    stop.set()


def _open(arguments: argparse.Namespace) -> Database:
    if arguments.backend == "memory":
        return MemoryDatabase()
    from broker.postgres import PostgresDatabase  # not needed, nor its packages, with the memory backend

    return PostgresDatabase(arguments.data_dir.resolve(), arguments.host)


if __name__ == "__main__":
    sys.exit(main())
