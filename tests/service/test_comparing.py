"""A judge after an evaluation: its preference is in the report, the pool and the page for people."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from seedbed.core.errors import ConfigError, EndpointRejectedError
from seedbed.core.files import read_json, write_json
from seedbed.core.load import parse_config
from seedbed.core.records import Adapter, Request
from seedbed.core.reports import EvalReport
from seedbed.endpoints.scripted import Answer
from seedbed.endpoints.scripted_server import serve_scripted
from seedbed.evaluation.answers import AnswerLine
from seedbed.evaluation.spec import EvaluationSpec
from seedbed.evaluation.tasks import HeldOutTask
from seedbed.service.comparing import PREFERENCES, compare_answers
from seedbed.service.context import Context, writing
from seedbed.service.init import create_workspace
from seedbed.service.live import Live
from seedbed.service.stopping import Stop
from seedbed.service.workspace import open_workspace

ADAPTER = Adapter(
    id="round-0000",
    round=0,
    snapshot_id="s",
    base="b",
    base_sha256="0" * 64,
    path="adapters/round-0000/adapter",
    created_at=0.0,
)
REPORT = EvalReport(
    adapter_id="round-0000",
    snapshot_id="s",
    base_sha256="0" * 64,
    held_out_categories=("qa",),
    scores=(),
    differences=(),
    decision="hold_worse",
    reason="worse",
    created_at=5.0,
)


def evaluated(context: Context, rows: int) -> None:
    """Lay the files of an evaluation: on even rows the adapter is right, on odd ones nobody is."""
    folder = context.workspace.reports / ADAPTER.id
    folder.mkdir(parents=True)
    tasks = tuple(
        HeldOutTask(
            id=f"row {number}", task=f"task {number}", category="qa", instruction=f"Do {number}", references=("r",)
        )
        for number in range(rows)
    )
    spec = EvaluationSpec(adapter_id=ADAPTER.id, adapter=folder, snapshot=folder, student="b", tasks=tasks)
    write_json(folder / "spec.json", spec.model_dump(mode="json"))
    lines = [
        AnswerLine(
            key="k",
            arm=arm,
            id=task.id,
            part="held_out",
            instruction=task.instruction,
            input="",
            answer="right" if arm == "adapter" and number % 2 == 0 else f"wrong by {arm}",
        )
        for arm in ("base", "adapter")
        for number, task in enumerate(tasks)
    ]
    (folder / "answers.jsonl").write_text("".join(line.model_dump_json() + "\n" for line in lines))
    (folder / "report.md").write_text("# Adapter\n")
    write_json(folder / "report.json", REPORT.model_dump(mode="json"))
    context.pool.add_report(REPORT)


def by_rightness(request: Request) -> str:
    text = request.messages[-1].content
    first, second = (text.split(f"Answer {name}: ")[1].split("\n===")[0] == "right" for name in "AB")
    better = "tie" if first == second else "A" if first else "B"
    return json.dumps({"why": "it is right", "better": better})


def judged(folder: Path, answer: Answer, look: Callable[[Context, EvalReport], None]) -> None:
    create_workspace(folder, base_url="http://unused/v1", model="m")

    async def main() -> None:
        async with serve_scripted(answer, model="grader") as url:
            settings = {
                "judge": "j",
                "evaluation": {"judge_answers": True},
                "endpoints": [{"name": "j", "base_url": url, "model": "grader"}],
            }
            config = parse_config(settings, "test")
            with writing(replace(open_workspace(folder), config=config)) as context:
                evaluated(context, 6)
                look(context, await compare_answers(context, ADAPTER, REPORT, Stop(), Live()))

    anyio.run(main)


def test_what_the_judge_prefers_is_in_the_report_wherever_it_is_kept(tmp_path: Path) -> None:
    def look(context: Context, report: EvalReport) -> None:
        found, folder = report.preference, context.workspace.reports / ADAPTER.id
        assert found is not None
        assert (found.judge, found.n, found.wins, found.ties, found.losses) == ("grader", 6, 3, 3, 0)
        assert (found.share, found.orders_agree) == (0.75, 1.0)
        assert report.decision == REPORT.decision
        assert EvalReport.model_validate(read_json(folder / "report.json")) == report
        assert context.pool.reports() == [report]
        page = (folder / "report.md").read_text()
        assert page.startswith("# Adapter\n\n## What a judge prefers\n")
        assert "| 6 | 3 | 3 | 0 | 75.0 (" in page
        assert len((folder / PREFERENCES).read_text().splitlines()) == 6
        assert context.pool.counts().requests == 12

    judged(tmp_path / "w", by_rightness, look)


def test_a_judge_that_fails_leaves_the_report_as_it_was(tmp_path: Path) -> None:
    def look(context: Context, report: EvalReport) -> None:
        assert report == REPORT
        assert context.pool.reports() == [REPORT]
        log = (context.workspace.logs / "events.jsonl").read_text()
        assert "evaluation.unjudged" in log

    judged(tmp_path / "w", lambda _: EndpointRejectedError("no key", status=401), look)


def test_who_wants_answers_judged_must_name_a_judge() -> None:
    with pytest.raises(ConfigError, match=r"judge_answers is on, and judge names no endpoint"):
        parse_config({"evaluation": {"judge_answers": True}}, "test")
