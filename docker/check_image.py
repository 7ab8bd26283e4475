"""Builds an image without a container engine, in a Debian root, and asks the service that runs inside.

    sudo .venv/bin/python docker/check_image.py service  # apt-get install buildah debootstrap bubblewrap

`debootstrap` makes the root that stands in for the base image, `buildah` runs each step of the Dockerfile in it by
chroot, as the user that the Dockerfile says, and `bwrap` starts what it built as compose does: read-only, as its user,
without capabilities. Nothing is reused from an earlier run. It needs root, and Debian's packages of these three names.
"""

import argparse
import contextlib
import hashlib
import http.client
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parents[1]
DOCKERFILE = ROOT / "docker" / "Dockerfile"
TAG = "localhost/seedbed:check"
PACKAGES = "python3,python3-venv,ca-certificates"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PORT = 8377
VOLUMES = ("workspace", "cache")
WAIT_S = 180.0
MODEL = "http://127.0.0.1:18080/v1"
ANSWERS = {
    "without_token": (401,),
    "with_token": (200,),
    "as_allowed_host": (200,),
    "as_other_host": (421,),
    "healthcheck": (0,),
    "exit_code": (0,),
}


@dataclass(frozen=True)
class Built:
    """An image, mounted."""

    root: Path
    config: Mapping[str, Any]
    """As the Dockerfile's metadata became: Env, User, Entrypoint, Cmd, Healthcheck, …"""
    scratch: Path


def main() -> int:
    """Check one target and print what was found as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", choices=["service", "trainer"])
    parser.add_argument("--folder", type=Path, help="where to work: some 5 GB, 20 for the trainer; removed afterwards")
    parser.add_argument("--mirror", default="http://deb.debian.org/debian", help="of Debian")
    parser.add_argument("--authorities", type=Path, help="certificates that package indexes here are signed by")
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE", help="while building: an index")
    parser.add_argument("--build-arg", action="append", default=[], metavar="NAME=VALUE")
    chosen = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="seedbed-image-", dir=chosen.folder))
    engine = ["buildah", "--root", str(scratch / "images"), "--runroot", str(scratch / "running")]
    found: dict[str, Any] = {"target": chosen.target}
    try:
        found["base"] = stand_in(engine, scratch, chosen.mirror, chosen.authorities, chosen.env)
        found["build_s"] = build(engine, chosen.target, chosen.build_arg)
        with mounted(engine, scratch) as built:
            found |= looked_at(built) | asked(built)
    finally:
        for step in ("umount", "rm"):
            subprocess.run([*engine, step, "--all"], capture_output=True, check=False)
        shutil.rmtree(scratch)
    sys.stdout.write(json.dumps(found, indent=2) + "\n")
    return 0


def stand_in(
    engine: Sequence[str], scratch: Path, mirror: str, authorities: Path | None, environment: Sequence[str]
) -> str:
    """Make the image that stands in for the one that the Dockerfile begins with, and say what it has.

    The real one is the same Debian with a Python of its own under /usr/local.
    """
    base = re.findall(r"^FROM (python:(3\.\d+)-slim-(\w+)) AS base$", DOCKERFILE.read_text(), re.MULTILINE)
    ((image, version, suite),) = base
    root = scratch / "debian"
    run(["debootstrap", "--variant=minbase", f"--include={PACKAGES}", suite, str(root), mirror])
    python = output(["chroot", str(root), "python3", "--version"])
    require(python.startswith(f"Python {version}."), f"{suite} has {python}, the Dockerfile wants {version}")
    if authorities:
        shutil.copyfile(authorities, root / "etc/ssl/certs/ca-certificates.crt")
    container = output([*engine, "from", "scratch"])
    run(
        [
            "tar",
            "-C",
            str(root),
            "--exclude=./dev/*",
            "--exclude=./var/cache/apt",
            "-cf",
            str(scratch / "base.tar"),
            ".",
        ]
    )
    shutil.rmtree(root)
    run([*engine, "add", "--quiet", container, str(scratch / "base.tar"), "/"])
    (scratch / "base.tar").unlink()
    values = [f"PATH={PATH}", "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt", *environment]
    run([*engine, "config", *(f"--env={value}" for value in values), container])
    run([*engine, "commit", "--quiet", "--rm", container, f"docker.io/library/{image}"])
    return f"Debian {suite} by debootstrap with {python}, in place of {image}"


def build(engine: Sequence[str], target: str, arguments: Sequence[str]) -> int:
    """Run the Dockerfile's steps from nothing; returns how many seconds they took."""
    started = time.monotonic()
    given = [f"--build-arg={argument}" for argument in arguments]
    steps = ["--no-cache", "--pull-never", "--format=docker", "--isolation=chroot", f"--target={target}"]
    run([*engine, "build", *steps, *given, f"--file={DOCKERFILE}", f"--tag={TAG}", str(ROOT)])
    return round(time.monotonic() - started)


@contextlib.contextmanager
def mounted(engine: Sequence[str], scratch: Path) -> Iterator[Built]:
    """Mount what was built."""
    config = json.loads(output([*engine, "inspect", "--type=image", TAG]))["Docker"]["config"]
    container = output([*engine, "from", "--pull-never", TAG])
    yield Built(Path(output([*engine, "mount", container])), config, scratch)


def looked_at(built: Built) -> dict[str, Any]:
    """Look at the files and at what runs once: user, rights, version, warm kernels, a workspace."""
    require(built.config["User"] == "10001:10001", f"the user is {built.config['User']}")
    for volume in VOLUMES:
        shutil.copytree(built.root / volume, built.scratch / volume)
        run(["chown", "-R", "10001:10001", str(built.scratch / volume)])
    writable = once(built, "find", "/opt", "/usr", "-writable", "-not", "-type", "l", may_write=True)
    require(not writable, f"the image's user may write {writable}")
    before = kernels(built)
    require(bool(before), "the image has no compiled kernels")
    once(built, "seedbed", "warm")
    require(kernels(built) == before, "kernels were compiled again")
    once(built, "seedbed", "init", ".", "--base-url", MODEL, "--model", "scripted")
    size = int(output(["du", "--summarize", "--bytes", "--one-file-system", str(built.root)]).split()[0])
    return {
        "size_mb": size // 1_000_000,
        "version": once(built, "seedbed", "--version").strip(),
        "packages": len(json.loads(once(built, "python3", "-m", "pip", "list", "--format=json"))),
        "kernel_files": len(before),
    }


def asked(built: Built) -> dict[str, Any]:
    """Start the image's command beside a scripted model, and ask it from outside until it is ready."""
    command = [*built.config["Entrypoint"], *built.config["Cmd"]]
    refused = inside(built, command).wait()
    require(refused == 2, f"without a token it ended with {refused}, not 2")
    token = secrets.token_urlsafe(32)
    (built.scratch / "workspace" / "token").write_text(f"{token}\n")
    settings = {"SEEDBED_TOKEN_FILE": "/workspace/token", "SEEDBED__SERVICE__ALLOWED_HOSTS": '["seedbed"]'}
    port = MODEL.rsplit(":", 1)[1].partition("/")[0]
    model = inside(built, ["python3", "-m", "seedbed.endpoints.scripted_server", "--port", port])
    service = inside(built, command, settings)
    try:
        answers: dict[str, Any] = {"healthz_after_s": until(200, "/healthz", service)}
        answers["readyz_after_s"] = until(200, "/readyz", service)
        answers |= {
            "without_token": ask("/v1/status"),
            "with_token": ask("/v1/status", token),
            "as_allowed_host": ask("/v1/status", token, "seedbed"),
            "as_other_host": ask("/v1/status", token, "other.example"),
            "healthcheck": inside(built, built.config["Healthcheck"]["Test"][1:]).wait(),
            "rows_decided": rows_decided(built, service),
        }
        service.ask_to_end()
        answers["exit_code"] = service.wait()
    finally:
        for process in (service, model):
            process.end()
    for name, wanted in ANSWERS.items():
        require(answers[name] in wanted, f"{name} is {answers[name]}, not {' or '.join(map(str, wanted))}")
    return answers


@dataclass(frozen=True)
class Inside:
    """A process in the image, which has the process id 1 there."""

    outer: "subprocess.Popen[bytes]"
    pid: int

    def ask_to_end(self) -> None:
        os.kill(self.pid, signal.SIGTERM)

    def end(self) -> None:
        """Kill it, and with it all that it started."""
        if self.outer.poll() is None:
            os.kill(self.pid, signal.SIGKILL)
        self.outer.wait()

    def wait(self) -> int:
        """Return its exit code; one that does not end in time is killed.

        Raises:
            subprocess.TimeoutExpired: It did not end.
        """
        try:
            return self.outer.wait(WAIT_S)
        finally:
            self.end()


def inside(
    built: Built,
    command: Sequence[str],
    environment: Mapping[str, str] | None = None,
    stdout: IO[bytes] | None = None,
    *,
    may_write: bool = False,
) -> Inside:
    """Start a command in the image, which may do what a container of compose.yaml may; `may_write` its root too."""
    values = {"HOME": "/home/seedbed"} | dict(value.split("=", 1) for value in built.config["Env"])
    mounts = ["--bind" if may_write else "--ro-bind", str(built.root), "/"]
    mounts += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]
    for volume in VOLUMES:
        mounts += ["--bind", str(built.scratch / volume), f"/{volume}"]
    settings = [
        part for name, value in (values | dict(environment or {})).items() for part in ("--setenv", name, value)
    ]
    user = ["setpriv", "--reuid=10001", "--regid=10001", "--clear-groups", "--bounding-set=-all", "--no-new-privs"]
    told, tells = os.pipe()
    box = ["bwrap", *mounts, "--unshare-pid", "--unshare-ipc", "--as-pid-1", "--die-with-parent", "--clearenv"]
    line = [*box, "--info-fd", str(tells), *settings, "--chdir", built.config["WorkingDir"], *user, "--", *command]
    outer = subprocess.Popen(line, stdout=stdout or sys.stderr, pass_fds=[tells])
    os.close(tells)
    with os.fdopen(told, "rb") as stream:
        return Inside(outer, json.load(stream)["child-pid"])


def once(built: Built, *command: str, may_write: bool = False) -> str:
    """Run a command in the image to its end and return what it printed."""
    with (built.scratch / "printed").open("w+b") as stream:
        code = inside(built, command, stdout=stream, may_write=may_write).wait()
        stream.seek(0)
        printed = stream.read().decode()
    require(code == 0, f"{' '.join(command)} ended with {code}")
    return printed


def kernels(built: Built) -> dict[str, str]:
    """Return the files of compiled kernels with their hashes."""
    files = sorted((built.scratch / "cache" / "kernels").rglob("*.nb?"))
    return {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def ask(path: str, token: str = "", host: str = "127.0.0.1") -> int:
    """Ask the service from outside; returns the HTTP status, 0 where nothing answers."""
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=10)
    headers = {"Host": host} | ({"Authorization": f"Bearer {token}"} if token else {})
    try:
        connection.request("GET", path, headers=headers)
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()


def until(wanted: int, path: str, service: Inside) -> float:
    """Ask until the answer is what is wanted; returns after how many seconds it was."""
    started = time.monotonic()
    while ask(path) != wanted:
        require(service.outer.poll() is None, f"the service ended with {service.outer.returncode}")
        require(time.monotonic() - started < WAIT_S, f"{path} was not {wanted} within {WAIT_S:.0f} s")
        time.sleep(0.1)
    return round(time.monotonic() - started, 1)


def rows_decided(built: Built, service: Inside) -> int:
    """Wait until the service decides rows of the scripted model, as its own command line tells; returns how many."""
    decided, started = 0, time.monotonic()
    while not decided:
        require(service.outer.poll() is None, f"the service ended with {service.outer.returncode}")
        require(time.monotonic() - started < WAIT_S, f"no row was decided within {WAIT_S:.0f} s")
        decided = json.loads(once(built, "seedbed", "status", "--json"))["decided"]
    return decided


def run(command: Sequence[str]) -> None:
    """Run a command here, its output on standard error."""
    sys.stderr.write(f"+ {' '.join(command)}\n")
    subprocess.run(command, check=True, stdout=sys.stderr)


def output(command: Sequence[str]) -> str:
    """Run a command here and return what it printed."""
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def require(holds: bool, otherwise: str) -> None:
    """End with a message where something does not hold."""
    if not holds:
        sys.exit(f"check_image: {otherwise}")


if __name__ == "__main__":
    sys.exit(main())
