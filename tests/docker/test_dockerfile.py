"""What can be said of the images without building them; docker/check_image.py builds one."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "docker" / "Dockerfile"
BIN = Path(sys.executable).parent


def test_hadolint_finds_nothing() -> None:
    ran = subprocess.run([BIN / "hadolint", "--no-color", DOCKERFILE], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (0, "")


def test_the_build_gets_every_room_of_the_package_and_nothing_else() -> None:
    lines = (ROOT / ".dockerignore").read_text().split()
    assert lines[0] == "*"
    let_in = {line.removeprefix("!") for line in lines if line.startswith("!")}
    rooms = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    built_from = {"pyproject.toml", "constraints.txt", "README.md", "LICENSE", "__init__.py", "__main__.py", "py.typed"}
    assert let_in == rooms | built_from


def test_the_health_check_asks_the_port_that_the_service_answers_on() -> None:
    text = DOCKERFILE.read_text()
    (asked,) = re.findall(r"HTTPConnection\('127\.0\.0\.1', (\d+)", text)
    assert re.findall(r"SERVICE__PORT=(\d+)|EXPOSE (\d+)", text) == [(asked, ""), ("", asked)]
