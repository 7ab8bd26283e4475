"""Disk use, a prune by hand, and rows whose text is gone: told as such, usable by all, and no hostile note runs."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from seedbed.core.config import PoolConfig
from seedbed.core.records import (
    Adapter,
    Candidate,
    Completion,
    Decision,
    FinishReason,
    Lineage,
    Message,
    Request,
    Subject,
    Verdict,
)
from seedbed.pool.pool import Pool
from seedbed.pool.records import Decided, Intent, IntentState, Unreadable
from seedbed.service.disk import in_bytes
from tests.browser.parts import Service, Watched, environment_of, grave_violations, new_workspace
from tests.browser.test_hostile_text import ACTIVE, PAYLOADS

pytestmark = pytest.mark.real

WAIT_MS = 60_000
OLD, KEPT = 1.0, "A young question about rivers"


def row(number: int, instruction: str) -> Candidate:
    payload = PAYLOADS[number]
    lineage = Lineage(recipe="alpaca", request_ids=(f"request-{number}",), model=payload)
    return Candidate.of(instruction, "", f"{payload} said", lineage=lineage, requested_category=payload[:60])


ROWS = [row(number, f"{payload} {number}") for number, payload in enumerate(PAYLOADS)]


def fill(folder: Path) -> None:
    """Store refused rows of long ago with hostile names and notes, and one accepted row."""
    with Pool.open(folder, PoolConfig(), now=lambda: OLD) as pool:
        pool.set_intent(Intent(state=IntentState.PAUSED))
        for number, one in enumerate(ROWS):
            text = PAYLOADS[number]
            asked = Request(id=f"request-{number}", purpose="ask", messages=(Message(role="user", content=text),))
            pool.add_requests([asked])
            pool.add_completions(
                [
                    Completion(
                        request_id=asked.id,
                        text=text,
                        finish_reason=FinishReason.STOP,
                        prompt_tokens=1,
                        completion_tokens=1,
                        model=text,
                        endpoint="local",
                        latency_s=1.0,
                    )
                ]
            )
            pool.add_unreadable([Unreadable(request_id=asked.id, reason="no_json", text=text)])
            refusal = Verdict(filter="rouge", accepted=False, reason="near_duplicate", evidence=(text,))
            pool.commit([decided(one, refusal, note=text)])
        pool.commit([decided(row(0, KEPT), None, note="")])
        pool.add_adapter(
            Adapter(
                id="round-0000",
                round=0,
                snapshot_id="s",
                base="b",
                base_sha256="0" * 64,
                path="adapters/round-0000/adapter",
                created_at=OLD,
            )
        )


def decided(one: Candidate, refusal: Verdict | None, *, note: str) -> Decided:
    decision = Decision(
        subject=Subject.CANDIDATE,
        subject_id=one.id,
        sequence=0,
        accepted=refusal is None,
        verdicts=() if refusal is None else (refusal,),
        note=note,
        decided_at=OLD,
    )
    return Decided(one, decision)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, scripted_url: str, tiny_model_folder: Path) -> Iterator[Service]:
    environment = environment_of(tiny_model_folder, 100_000)
    folder = new_workspace(tmp_path_factory.mktemp("old") / "w", scripted_url, environment)
    fill(folder)
    running = Service(folder, environment)
    yield running
    running.stop()


@pytest.fixture
def watched(service: Service, browser: Browser) -> Iterator[Watched]:
    opened = service.watched(browser)
    opened.page.evaluate("() => { window.alert = () => { window.hasRun = true; }; }")
    yield opened
    assert opened.page.evaluate("window.hasRun") is None
    opened.page.context.close()
    assert opened.problems == []


def test_disk_use_is_told_by_kind_and_in_all(watched: Watched, service: Service) -> None:
    page = watched.open("settings")
    table = page.get_by_role("region", name="Disk use")
    used = service.ask("/v1/status")["disk"]
    shown = {
        line.locator("td").nth(0).inner_text(): line.locator("td").nth(1).inner_text()
        for line in table.locator("tbody tr").all()
    }
    assert set(shown) == set(used)
    assert used["database"] > 0
    for kind in ("database", "snapshots", "backups"):  # logs and the cache grow between the two looks
        assert shown[kind] == in_bytes(used[kind]), kind
    page = watched.open("overview")
    expect(page.locator("dt:text-is('Disk') + dd")).to_contain_text(f"database {in_bytes(used['database'])}")


def test_what_is_old_is_looked_at_and_removed_and_then_told_as_such(watched: Watched, service: Service) -> None:
    page = watched.open("settings")
    page.get_by_role("button", name="What is old?").click()
    found = page.get_by_role("region", name="Would be removed")
    rows = found.locator("tr", has=page.get_by_role("cell", name="refused rows", exact=True)).locator("td")
    expect(rows.nth(1)).to_have_text(str(len(ROWS)), timeout=WAIT_MS)
    texts = sum(len(f"{one.instruction}{one.output}".replace("\0", "\ufffd").encode()) for one in ROWS)
    expect(rows.nth(2)).to_have_text(in_bytes(texts))
    page.get_by_role("button", name="Remove these").click()
    expect(page.get_by_text("removed", exact=False).filter(has_text="B removed").first).to_be_visible(timeout=WAIT_MS)
    page.get_by_role("button", name="What is old?").click()
    expect(page.get_by_text("Nothing is old enough to be removed.")).to_be_visible(timeout=WAIT_MS)

    page = watched.open("rows?state=refused")
    said = page.locator("td:first-child").all_inner_texts()
    assert set(said) == {"(its text was removed: it is old)"}
    page = watched.open("rows?state=accepted")
    assert page.locator("td:first-child").all_inner_texts() == [KEPT]


def test_a_row_without_its_text_says_so_and_cannot_be_accepted(watched: Watched, service: Service) -> None:
    for number, one in enumerate(ROWS):
        page = watched.open(f"rows?id={one.id}")
        page.wait_for_selector(f"h2:has-text('{one.id[:12]}')")
        expect(page.locator(".sides .card").first).to_contain_text("Its text was removed since it is old")
        assert page.get_by_role("button", name="Accept", exact=True).count() == 0
        page.get_by_text("The request: ask").click()
        assert page.locator("details pre").count() == 0
        expect(page.locator("details")).to_contain_text("Its text was removed since it is old")
        note = PAYLOADS[number].replace("\0", "\ufffd")
        shown = page.locator(".standing").evaluate("(one) => one.textContent")
        assert f"Refused by cascade: {note}" in shown, number
        assert page.locator(f"main :is({ACTIVE})").count() == 0
    page = watched.open(f"rows?id={row(0, KEPT).id}")
    expect(page.get_by_role("button", name="Accept", exact=True)).to_be_visible()
    assert "was removed" not in page.locator(".sides .card").first.inner_text()
    page = watched.open("funnel?unreadable=no_json")
    cards = page.locator("main .card").all_inner_texts()
    assert len(cards) == min(50, len(ROWS))
    assert all("Its text was removed" in one for one in cards)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 360])
def test_axe_finds_nothing_serious_where_text_is_gone(
    service: Service, browser: Browser, theme: str, width: int
) -> None:
    opened = service.watched(browser, color_scheme=theme, viewport={"width": width, "height": 900})
    found = []
    parts = ("overview", "settings", "rows?state=refused", f"rows?id={ROWS[1].id}", "funnel?unreadable=no_json")
    for part in parts:
        page = opened.open(part)
        if part == "settings":
            page.get_by_role("button", name="What is old?").click()
            page.get_by_text("old enough").wait_for()
        found += grave_violations(page, part, width)
    opened.page.context.close()
    assert found == []
    assert opened.problems == []


def test_a_prune_is_reached_and_done_by_keyboard(watched: Watched) -> None:
    page = watched.open("settings")
    look = page.get_by_role("button", name="What is old?")
    look.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_text("Nothing is old enough to be removed.")).to_be_visible(timeout=WAIT_MS)
    expect(look).to_be_focused()


def test_a_snapshot_is_frozen_and_led_to(watched: Watched, service: Service) -> None:
    page = watched.open("training")
    page.get_by_role("button", name="Freeze a snapshot of what is accepted").click()
    page.locator("p a", has_text="snapshot").click(timeout=WAIT_MS)
    (frozen,) = service.ask("/v1/snapshots")
    expect(page.get_by_role("heading", name=f"Snapshot {frozen['id'][:12]}")).to_be_visible()
    expect(page.locator("dt:text-is('Rows to train on') + dd")).to_have_text("1")


def test_an_evaluation_that_fails_is_asked_for_and_told_as_an_alarm(watched: Watched, service: Service) -> None:
    page = watched.open("training")
    page.get_by_role("button", name="Evaluate round-0000").click()
    expect(page.get_by_text("begins when what runs has drained")).to_be_visible(timeout=WAIT_MS)
    page = watched.open("overview")
    alarm = page.locator(".alarms li")
    expect(alarm).to_contain_text("adapter round-0000 could not be evaluated", timeout=WAIT_MS)
    expect(alarm).to_contain_text("is no adapter folder")
