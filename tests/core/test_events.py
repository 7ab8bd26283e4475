"""Events reach every sink, and telling never stops doing."""

import json
from pathlib import Path

from seedbed.core.events import Event, EventFile, Events


def test_a_sink_that_fails_is_taken_out_and_the_others_still_hear() -> None:
    heard: list[Event] = []

    def broken(event: Event) -> None:
        raise OSError("no space")

    events = Events(now=lambda: 5.0)
    events.add(broken)
    events.add(heard.append)
    events.emit("request.failed", endpoint="local")
    events.emit("request.failed", endpoint="local")
    assert heard == [Event("request.failed", 5.0, {"endpoint": "local"})] * 2


def test_the_event_file_is_bounded(tmp_path: Path) -> None:
    sink = EventFile(tmp_path / "events.jsonl", max_bytes=200, keep=2)
    for number in range(100):
        sink(Event("tick", number, {"number": number}))
    sink.close()
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["events.jsonl", "events.jsonl.1", "events.jsonl.2"]
    lines = [json.loads(line) for name in files for line in (tmp_path / name).read_text().splitlines()]
    assert max(line["number"] for line in lines) == 99
    assert sum((tmp_path / name).stat().st_size for name in files) < 3 * 300
