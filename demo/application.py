"""The image in which the application of the demo runs on a node: this machine's Python, psycopg and `client.py`."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

from stage import Failure, say

IMAGE = "docker.io/library/service-catalog-demo:1"
PACKAGES = ("psycopg", "psycopg_binary*", "typing_extensions.py")
LEFT_OUT = shutil.ignore_patterns(
    "__pycache__", "test", "tests", "idlelib", "tkinter", "ensurepip", "config-*", "*-packages"
)  # fmt: skip
WHERE = """
import json, sys, sysconfig
print(json.dumps({"program": sys.executable, **{name: sysconfig.get_path(name) for name in ("stdlib", "purelib")}}))
"""
DOCKERFILE = """
FROM scratch
COPY --from=builder /files /
ENV PYTHONPATH=/app
"""


def build_image(folder: Path, python: Path, client: Path) -> Path:
    """Write the image to an archive in the folder: no registry is needed."""
    files = folder / "files"
    place = json.loads(subprocess.run([python, "-c", WHERE], capture_output=True, text=True, check=True).stdout)
    stdlib, packages = Path(place["stdlib"]), Path(place["purelib"])
    shutil.copytree(stdlib, _inside(files, stdlib), ignore=LEFT_OUT)
    app = files / "app"
    app.mkdir()
    for path in (client, *(found for pattern in PACKAGES for found in packages.glob(pattern))):
        if path.is_dir():
            shutil.copytree(path, app / path.name, ignore=LEFT_OUT)
        elif path.suffix == ".py":
            shutil.copy(path, app)
    program = Path(place["program"]).resolve()
    _copy(files, program)
    (files / "python").symlink_to(program)
    for library in {library for path in (program, *files.rglob("*.so*")) for library in _libraries(path)}:
        if not library.is_relative_to(files):
            _copy(files, library)
    (folder / "Dockerfile").write_text(DOCKERFILE)
    archive = folder / "application.tar"
    say(f"  $ tools/image-archive {folder} {folder}/Dockerfile {archive} {IMAGE}")
    tool = Path(__file__).resolve().parent.parent / "tools/image-archive"
    if subprocess.run([tool, folder, folder / "Dockerfile", archive, IMAGE], check=False).returncode != 0:
        raise Failure("the image of the application could not be built; the messages are above")
    return archive


def _libraries(program: Path) -> list[Path]:
    """What the loader needs to run it, and the loader itself."""
    answer = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
    words = (word for line in answer.splitlines() for word in line.split())
    return [Path(word) for word in words if word.startswith("/")]


def _inside(files: Path, path: Path) -> Path:
    return files / path.relative_to("/")


def _copy(files: Path, path: Path) -> None:
    """At the same place, whatever it is a link to."""
    copy = _inside(files, path)
    copy.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(path, copy)
