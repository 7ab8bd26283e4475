"""Two services in network namespaces of their own, whose links to the PostgreSQL server are cut and mended.

It takes some minutes, and needs root for the namespaces: `pytest -s -m manual tests/faults/test_cut_link.py`.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.crew import STEP, TAKEOVER_S, Service, Watch, check_pool, settings, wait_until
from tests.postgres import PostgresServer, database_of

CUT_S, RATED_S = 30.0, 15.0
PORT = 5432


@dataclass(frozen=True)
class Place:
    """A network namespace with one link to the machine, where the server listens; endpoints run inside."""

    name: str
    server: str
    """The server's address on this link."""

    def run(self, *command: str) -> None:
        subprocess.run(["ip", "netns", "exec", self.name, *command], check=True)

    @property
    def link(self) -> str:
        """The machine's end of the link."""
        return f"{self.name}-0"

    def make(self) -> None:
        address = self.server.removesuffix(".1")
        for command in (
            f"netns add {self.name}",
            f"link add {self.link} type veth peer name {self.name}-1",
            f"link set {self.name}-1 netns {self.name}",
            f"addr add {self.server}/24 dev {self.link}",
            f"link set {self.link} up",
        ):
            subprocess.run(["ip", *command.split()], check=True)
        self.run("ip", "addr", "add", f"{address}.2/24", "dev", f"{self.name}-1")
        self.run("ip", "link", "set", f"{self.name}-1", "up")
        self.run("ip", "link", "set", "lo", "up")

    def cut(self) -> None:
        """Lose every packet, so that neither end is told."""
        self._filter("-A")

    def mend(self) -> None:
        self._filter("-D")

    def _filter(self, change: str) -> None:
        for chain, direction in (("INPUT", "-i"), ("OUTPUT", "-o")):
            self.run("iptables", "-w", change, chain, direction, f"{self.name}-1", "-j", "DROP")

    def remove(self) -> None:
        subprocess.run(["ip", "netns", "del", self.name], check=False)  # the link goes with it


@pytest.fixture
def places() -> Iterator[tuple[Place, Place]]:
    if os.geteuid() != 0 or not all(map(shutil.which, ("ip", "iptables"))):
        pytest.skip("network namespaces need root, ip and iptables")
    number = os.getpid() % 10_000
    found = (Place(f"sb{number}a", "10.77.1.1"), Place(f"sb{number}b", "10.77.2.1"))
    try:
        try:
            for place in found:
                place.make()
            found[0].cut()
            found[0].mend()
        except subprocess.CalledProcessError as error:
            pytest.skip(f"this machine makes no network namespaces with lossy links: {error}")
        yield found
    finally:
        for place in found:
            place.remove()


@pytest.fixture
def server(places: tuple[Place, Place]) -> Iterator[PostgresServer]:
    server = PostgresServer([place.server for place in places])
    yield server
    server.remove()


@pytest.mark.real
@pytest.mark.manual
def test_a_cut_link_loses_nothing_and_throughput_recovers(
    tmp_path: Path, places: tuple[Place, Place], server: PostgresServer
) -> None:
    name = database_of(server.new_database())
    watch, told, services, endpoints = Watch(server, f"/{name}"), list[str](), list[Service](), []
    try:
        for place in places:
            inside = ("ip", "netns", "exec", place.name)
            command = [*inside, sys.executable, "-m", "seedbed.endpoints.scripted_server", "--latency-s", "0.2"]
            endpoints.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            stdout = endpoints[-1].stdout
            assert stdout is not None
            environment = settings(f"postgresql+psycopg://seedbed@{place.server}:{PORT}/{name}")
            folder = tmp_path / place.name
            services.append(Service(folder, stdout.readline().strip(), environment, lost_after_s=10.0, before=inside))
            if len(services) == 1:
                wait_until(lambda: watch.accepted() > STEP, services)
        wait_until(lambda: all(one.told for one in services), services)
        whole = rate(watch)
        recovered = []
        took_s = []
        # The leader's link, then that of the service which does not lead now.
        for is_leader in (True, False):
            epoch = watch.epoch()
            leader = services.index(next(one for one in services if one.process.pid == watch.leader()))
            place = places[leader if is_leader else 1 - leader]
            place.cut()
            began = time.monotonic()
            if is_leader:
                took_s.append(wait_until(lambda epoch=epoch: watch.epoch() > epoch, services))  # type: ignore[misc]
            before = watch.accepted()
            wait_until(lambda before=before: watch.accepted() > before, services)  # type: ignore[misc]
            time.sleep(max(0.0, CUT_S - (time.monotonic() - began)))
            place.mend()
            seen = [len(one.told) for one in services]
            back_s = wait_until(
                lambda seen=seen: all(len(one.told) > most for one, most in zip(services, seen, strict=True)),  # type: ignore[misc]
                services,
            )
            recovered.append((back_s, rate(watch)))
        leader = watch.leader()
        services.sort(key=lambda one: one.process.pid == leader)
        codes = [services[0].stop()]
        wait_until(lambda: watch.undecided() == 0, services[1:])
        codes.append(services[1].stop())
    finally:
        for service in services:
            service.kill()
            told += service.told
        for endpoint in endpoints:
            endpoint.kill()
            endpoint.communicate()
    assert codes == [0, 0]
    url = f"postgresql+psycopg://seedbed@{places[0].server}:{PORT}/{name}"
    stored, runs = check_pool(tmp_path, url, told)
    assert max(took_s) < TAKEOVER_S
    print(
        f"{len(told)} rows told, {stored} stored, 0 lost, 0 twice, {runs} triggers, each once; another led "
        f"{took_s[0]:.2f} s after the leader's link was cut; {whole:.1f} rows/s before; after a link was mended "
        + " and ".join(f"both were told rows after {back_s:.1f} s, {found:.1f} rows/s" for back_s, found in recovered)
    )


def rate(watch: Watch) -> float:
    before, began = watch.accepted(), time.monotonic()
    time.sleep(RATED_S)
    return (watch.accepted() - before) / (time.monotonic() - began)
