"""What is remembered between runs saves requests, and its loss harms nothing."""

import logging
from pathlib import Path

import anyio
import pytest

from seedbed.core.config import BudgetConfig, EndpointConfig, Secrets
from seedbed.core.events import Events
from seedbed.core.records import Completion
from seedbed.endpoints.memory import ProbeMemory, StoredAnswers
from seedbed.endpoints.opening import open_fleet
from seedbed.endpoints.probe import probe
from seedbed.endpoints.scripted_server import Received, Reply, ScriptedServer, serve_scripted
from tests.endpoints.parts import make_completion, make_config, make_request
from tests.endpoints.test_probe import ALL, Server


def recall(path: Path, key: str) -> Completion | None:
    answers = StoredAnswers(path)
    found = anyio.run(answers.get, key)
    answers.close()
    return found


def test_an_answer_is_there_for_the_next_process(tmp_path: Path) -> None:
    path, completion = tmp_path / "cache" / "answers.sqlite3", make_completion(make_request(), "blue")
    answers = StoredAnswers(path)
    anyio.run(answers.put, "one", completion)
    answers.close()
    assert recall(path, "one") == completion
    assert recall(path, "two") is None


def test_the_answers_used_longest_ago_are_dropped_first(tmp_path: Path) -> None:
    times = iter(range(100))
    answers = StoredAnswers(tmp_path / "a", now=lambda: float(next(times)))
    for key in ("one", "two", "three"):
        anyio.run(answers.put, key, make_completion(make_request()))
    anyio.run(answers.get, "one")
    answers.close()
    StoredAnswers(tmp_path / "a", max_answers=2).close()
    assert [key for key in ("one", "two", "three") if recall(tmp_path / "a", key)] == ["one", "three"]


@pytest.mark.parametrize("damage", [b"no database at all, but long enough to be taken for one" * 40, None])
def test_a_damaged_file_is_told_once_and_costs_nothing_but_requests(
    tmp_path: Path, damage: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "answers"
    if damage is None:
        path.mkdir()
    else:
        path.write_bytes(damage)
    with caplog.at_level(logging.WARNING):
        answers = StoredAnswers(path)
        for _ in range(3):
            anyio.run(answers.put, "one", make_completion(make_request()))
            assert anyio.run(answers.get, "one") is None
    assert len(caplog.records) == 1
    assert str(path) in caplog.text


def test_a_deterministic_request_of_an_earlier_run_is_not_sent_again(tmp_path: Path) -> None:
    sent: list[Received] = []

    async def run_once(temperature: float) -> list[str]:
        scripted = ScriptedServer()

        def respond(received: Received) -> Reply:
            if received.method == "POST":
                sent.append(received)
            return scripted(received)

        answers = StoredAnswers(tmp_path / "answers")
        async with serve_scripted(respond=respond) as url:
            config = make_config(base_url=url)
            async with open_fleet(
                [config],
                secrets=Secrets(),
                budget=BudgetConfig(),
                max_attempts=1,
                log_folder=tmp_path,
                events=Events(),
                cache=answers,
            ) as fleet:
                texts = [(await fleet.ask(make_request(temperature=temperature))).text for _ in range(2)]
        answers.close()
        return texts

    first, second = anyio.run(run_once, 0), anyio.run(run_once, 0)
    assert len(sent) == 1
    assert len({*first, *second}) == 1
    anyio.run(run_once, 0.7)
    assert len(sent) == 3


def probe_requests(server: Server, config: EndpointConfig, memory: ProbeMemory) -> int:
    async def main() -> int:
        before = len(server.asked)
        async with serve_scripted(respond=server) as base_url:
            found = await probe(config, base_url, memory=memory)
        assert found.json_schema
        assert found.models == ("scripted", "other")
        return len(server.asked) - before

    return anyio.run(main)


def test_a_server_is_tried_once_for_each_version_and_model(tmp_path: Path) -> None:
    server, path = Server(*ALL), tmp_path / "capabilities.json"
    memory = ProbeMemory(path)
    tries = probe_requests(server, make_config(), memory)
    assert tries > 0
    assert probe_requests(server, make_config(), memory) == 0
    assert probe_requests(server, make_config(model="other"), memory) == tries
    assert probe_requests(server, make_config(), ProbeMemory(path, is_renewed=True)) == tries
    server.version = "0.33.0"
    assert probe_requests(server, make_config(), memory) == tries
    server.version = ""
    assert probe_requests(server, make_config(), memory) == tries
    assert probe_requests(server, make_config(), memory) == tries
    path.write_text("[1, 2")
    server.version = "0.33.0"
    assert probe_requests(server, make_config(), memory) == tries
