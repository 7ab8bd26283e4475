"""The lifecycle's own decisions, without a phase of it."""

import errno
import os
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


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT])
def test_a_file_that_the_disk_refuses_is_waited_for_as_the_pool_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    create_workspace(tmp_path / "w", base_url="http://127.0.0.1:9/v1", model="m")
    monkeypatch.setattr("seedbed.service.rounds.POOL_PAUSE_S", 0.01)
    live, seen = Live(), []

    async def round_of(_: Rounds, round_number: int) -> bool:
        seen.append(round_number)
        if len(seen) == 1:
            raise OSError(number, os.strerror(number), "training.json")
        return False

    monkeypatch.setattr(Rounds, "_round", round_of)

    async def main() -> None:
        with writing(open_workspace(tmp_path / "w")) as context:
            await Rounds(context, Stop(), live).run()

    anyio.run(main)
    assert seen == [0, 0]
    assert live.alarms.standing == ()


def test_an_error_that_is_not_of_the_disk_ends_the_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create_workspace(tmp_path / "w", base_url="http://127.0.0.1:9/v1", model="m")

    async def round_of(*_: object) -> bool:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(Rounds, "_round", round_of)

    async def main() -> None:
        with writing(open_workspace(tmp_path / "w")) as context:
            await Rounds(context, Stop(), Live()).run()

    with pytest.raises(PermissionError):
        anyio.run(main)
