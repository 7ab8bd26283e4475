"""The lifecycle's own decisions, without a phase of it."""

from pathlib import Path

import anyio
import pytest

from seedbed.core.errors import TrainingError
from seedbed.service.context import writing
from seedbed.service.init import create_workspace
from seedbed.service.live import Live
from seedbed.service.rounds import Rounds
from seedbed.service.stopping import Stop
from seedbed.service.workspace import open_workspace


def test_a_round_that_is_given_up_stands_as_an_alarm_until_a_later_one_is_decided(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_workspace(tmp_path / "w", base_url="http://127.0.0.1:9/v1", model="m")
    live, seen = Live(), []

    async def round_of(_: Rounds, number: int) -> bool:
        seen.append(live.alarms.standing)
        if number == 0:
            raise TrainingError("no torch here")
        return number < 3

    monkeypatch.setattr(Rounds, "_round", round_of)

    async def main() -> None:
        with writing(open_workspace(tmp_path / "w")) as context:
            await Rounds(context, Stop(), live).run()

    anyio.run(main)
    assert seen == [(), ("round 0 is given up: no torch here",), (), ()]
