"""What the demo stands on: a console, child processes that never outlive it, and kubectl. The story is in `run`."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# In the environment of every process that the demo starts, so that what is left over can be found.
MARK = "SERVICE_CATALOG_DEMO"
STOP_TIMEOUT_S = 45


class Failure(Exception):
    """Something the user must read; the text says what and, where possible, what to do."""


@dataclass
class Console:
    """Numbered steps with their time."""

    total: int
    number: int = 0
    title: str = "start"
    started: float = field(default_factory=time.monotonic)

    def step(self, title: str, action: Callable[[], None]) -> None:
        """Do one step and say so."""
        self.number += 1
        self.title = title
        begun = time.monotonic()
        say(f"\n[{self.number}/{self.total}] {title}")
        action()
        say(f"    done in {time.monotonic() - begun:.1f} s ({time.monotonic() - self.started:.0f} s since the start)")


def say(text: str) -> None:
    """Print at once: the reader is waiting."""
    print(text, flush=True)


def show(text: str) -> None:
    """Print what a command answered, set in."""
    for line in text.rstrip().splitlines():
        say(f"    {line}")


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, from its first moment on."""
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


@dataclass
class Child:
    """A process in a session of its own: Ctrl-C reaches the demo, which then stops it in order."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    output: Path

    def first_line(self, timeout: float) -> dict[str, Any]:
        """The JSON line by which it says that it is ready."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            line, newline, _ = self.output.read_text().partition("\n")
            if newline:
                answer: dict[str, Any] = json.loads(line)
                return answer
            self.must_run()
            time.sleep(0.05)
        raise Failure(f"the {self.name} was not ready after {timeout:.0f} s; its log: {self.log}")

    def must_run(self) -> None:
        """Complain if it has ended."""
        if self.process.poll() is not None:
            raise Failure(
                f"the {self.name} ended with status {self.process.returncode}; its log: {self.log}\n{tail(self.log)}"
            )

    def stop(self) -> None:
        """Ask it to end; insist if it does not."""
        if self.process.stdin:
            with contextlib.suppress(OSError):
                self.process.stdin.close()
        self.process.terminate()
        try:
            self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            say(f"    the {self.name} does not stop, so it is killed")
        kill_group(self.process.pid)
        self.process.wait()

    def kill(self) -> None:
        """As a crash would."""
        kill_group(self.process.pid)
        self.process.wait()


def kill_group(pid: int) -> None:
    """SIGKILL for what is left of a child's process group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def tail(path: Path, lines: int = 15) -> str:
    """The end of a log."""
    with contextlib.suppress(OSError):
        return "\n".join(f"    | {line}" for line in path.read_text(errors="replace").splitlines()[-lines:])
    return ""


@dataclass
class Children:
    """Every process of the demo, in the order of their start."""

    folder: Path
    keep: bool
    running: list[Child] = field(default_factory=list)

    def start(self, name: str, command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> Child:
        """Start a process; its output goes to `logs/NAME.log`, its standard output to a file of its own.

        Unless it is to be kept, its standard input is a pipe that closes when the demo dies, however that happens.
        """
        log, output = self.folder / "logs" / f"{name}.log", self.folder / "logs" / f"{name}.out"
        with log.open("ab") as log_file, output.open("wb") as output_file:
            process = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL if self.keep else subprocess.PIPE,
                stdout=output_file,
                stderr=log_file,
                env={**os.environ, **(environment or {}), MARK: str(self.folder)},
                start_new_session=True,
            )
        child = Child(name, process, log, output)
        self.running.append(child)
        return child

    def replace(self, old: Child) -> None:
        """Forget a child that has been killed on purpose."""
        self.running.remove(old)

    def stop(self) -> None:
        """Stop all, the last one first, and make sure that nothing remains."""
        while self.running:
            child = self.running.pop()
            child.stop()
            say(f"    stopped the {child.name}")
        await_end(self.folder)


def await_end(folder: Path) -> None:
    """Wait until no process of the demo is left."""
    deadline = time.monotonic() + 10
    while left := remaining(folder):
        if time.monotonic() > deadline:
            raise Failure("these processes of the demo are still there:\n" + "\n".join(left))
        time.sleep(0.1)


def remaining(folder: Path) -> list[str]:
    """Processes that carry the demo's mark in their environment or its folder in their arguments."""
    mark, own = str(folder), {os.getpid(), os.getppid()}
    if not Path("/proc/self/environ").exists():
        lines = subprocess.run(["ps", "-axo", "pid=,args="], capture_output=True, text=True, check=True).stdout
        return [line for line in lines.splitlines() if mark in line and int(line.split()[0]) not in own]
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) in own:
            continue
        with contextlib.suppress(OSError):  # it has ended meanwhile, or is somebody else's
            arguments = (entry / "cmdline").read_bytes()
            if not arguments:  # a zombie, or of the kernel
                continue
            if mark.encode() in arguments or f"{MARK}={mark}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                found.append(f"{entry.name} {arguments.replace(bytes(1), b' ').decode(errors='replace')}")
    return found


def started_at(pid: int) -> str:
    """When a process was started: with the pid, what tells it from a later one of the same number."""
    answer = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return answer.stdout.strip()


@dataclass(frozen=True)
class Kubectl:
    """kubectl for one cluster. What it does is printed, so that the reader can do it again."""

    program: str
    kubeconfig: str | None

    def __call__(
        self,
        *arguments: str,
        stdin: str | None = None,
        note: str = "",
        quiet: bool = False,
        hide: bool = False,
        check: bool = True,
        timeout: float = 300,
        meanwhile: Callable[[], None] | None = None,
    ) -> str:
        """Run it and return what it prints. `quiet` shows nothing, `hide` only the command.

        `meanwhile` is called again and again while it runs, and may raise.
        """
        if not quiet:
            say(f"  $ kubectl {shlex.join(arguments)}{note}")
        begun = time.monotonic()
        with ExitStack() as stack:
            given, out, err = (stack.enter_context(tempfile.TemporaryFile("w+")) for _ in range(3))
            given.write(stdin or "")
            given.seek(0)
            process = subprocess.Popen(
                [self.program, *arguments],
                stdin=given,
                stdout=out,
                stderr=err,
                env={**os.environ, **({"KUBECONFIG": self.kubeconfig} if self.kubeconfig else {})},
            )
            try:
                while process.poll() is None:
                    if meanwhile:
                        meanwhile()
                    if time.monotonic() - begun > timeout:
                        raise Failure(f"kubectl {shlex.join(arguments)}: no answer within {timeout:.0f} s")
                    time.sleep(0.02)
            finally:
                process.kill()  # nothing, if it has ended
                process.wait()
            out.seek(0)
            err.seek(0)
            done = subprocess.CompletedProcess(process.args, process.returncode, out.read(), err.read())
        if not (quiet or hide):
            show(done.stdout)
            if done.returncode == 0:  # "No resources found", warnings
                show(done.stderr)
        if check and done.returncode != 0:
            raise Failure(f"kubectl {shlex.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def json(self, *arguments: str, check: bool = True) -> Any:
        """Run it quietly with `-o json` and return what that says; `None` if it failed and need not succeed."""
        text = self(*arguments, "-o", "json", quiet=True, check=check)
        return json.loads(text) if text else None
