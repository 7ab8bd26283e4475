"""The page as its operator uses it, in a browser, against a service that runs."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, expect

from tests.browser.parts import PAGES, Service, Watched, environment_of, new_workspace

pytestmark = pytest.mark.real

WAIT_MS = 240_000
"""How long a browser waits for a training of another process; it goes on as soon as it can."""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, scripted_url: str, tiny_model_folder: Path) -> Iterator[Service]:
    environment = environment_of(tiny_model_folder, 100_000)
    folder = new_workspace(tmp_path_factory.mktemp("page") / "w", scripted_url, environment)
    running = Service(folder, environment)
    yield running
    running.stop()


@pytest.fixture
def watched(service: Service, browser: Browser) -> Iterator[Watched]:
    opened = service.watched(browser)
    yield opened
    opened.page.context.close()
    assert opened.problems == []


def accepted(watched: Watched) -> int:
    text = watched.page.locator("dt:text-is('Accepted rows') + dd").inner_text()
    return int(re.split(r"\D", text.replace(",", ""), maxsplit=1)[0])


def test_a_live_run_rises_without_reloading(watched: Watched) -> None:
    page = watched.open("overview")
    expect(page.locator("#line")).to_have_text("live")
    phase = page.locator("dt:text-is('Phase') + dd")
    expect(phase).to_have_text(re.compile("^generating"), timeout=WAIT_MS)
    before = accepted(watched)
    while accepted(watched) <= before + 20:
        page.wait_for_timeout(500)
    expect(page.locator("text=as configured").or_(page.locator("text=starting slowly"))).to_be_visible(timeout=WAIT_MS)
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_text("Wanted: paused")).to_be_visible()


def test_a_refusal_is_found_by_its_reason_and_shows_its_neighbour(watched: Watched, service: Service) -> None:
    page = watched.open("funnel")
    page.get_by_role("link", name="near duplicate", exact=True).click(timeout=WAIT_MS)
    page.wait_for_selector("main[data-page=rows]")
    page.locator("table a").first.click()
    expect(page.get_by_role("heading", name="its neighbour")).to_be_visible()
    assert page.locator(".sides .card").nth(1).locator("mark").count() > 0


def test_a_row_is_refused_by_hand_with_a_note(watched: Watched, service: Service) -> None:
    page = watched.open("rows?state=accepted")
    page.locator("table a").first.click()
    page.get_by_label("Note").fill("too dull")
    page.get_by_role("button", name="Refuse", exact=True).click()
    expect(page.locator(".standing")).to_contain_text("Refused by person: too dull")
    row = page.url.partition("id=")[2]
    assert service.ask(f"/v1/pool/rows/{row}")["decisions"][-1]["note"] == "too dull"


def test_limits_are_changed_while_it_runs_and_shown_as_such(watched: Watched, service: Service) -> None:
    page = watched.open("settings")
    page.get_by_label("Recipes at once").fill("7")
    page.get_by_role("button", name="Set concurrency").click()
    expect(page.get_by_text("done")).to_be_visible()
    page.get_by_label("Budget in tokens").fill("5000000")
    page.get_by_role("button", name="Set budget").click()
    expect(page.get_by_text("done")).to_have_count(2)
    intent = service.ask("/v1/control")
    assert (intent["concurrency"], intent["max_tokens"], intent["max_cost"]) == (7, 5_000_000, None)
    page.reload()
    page.get_by_label("Find a setting").fill("generation.concurrency")
    expect(page.locator("tr", has_text="generation.concurrency")).to_contain_text("changed here")


def test_training_is_started_its_loss_seen_its_adapter_promoted_and_rolled_back(watched: Watched) -> None:
    page = watched.open("training")
    page.get_by_role("button", name="Train now").click()
    loss = page.get_by_role("img", name=re.compile("Loss of round 0"))
    expect(loss).to_be_visible(timeout=WAIT_MS)
    expect(page.get_by_role("heading", name="Held out: round-0000")).to_be_visible(timeout=WAIT_MS)
    page.get_by_role("button", name="Promote round-0000").click()
    expect(page.get_by_text("promoted, in service")).to_be_visible(timeout=WAIT_MS)
    page.get_by_role("button", name="Roll back").click()
    expect(page.get_by_role("cell", name="rolled back", exact=True)).to_be_visible(timeout=WAIT_MS)
    page.get_by_role("link", name="answers").click()
    expect(page.get_by_role("heading", name=re.compile("base, score")).first).to_be_visible()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 360])
def test_axe_finds_nothing_serious_and_no_page_is_too_wide(
    service: Service, browser: Browser, theme: str, width: int
) -> None:
    opened = service.watched(browser, color_scheme=theme, viewport={"width": width, "height": 900})
    found = []
    for part in PAGES:
        page = opened.open(part)
        violations = Axe().run(page).response["violations"]
        grave = [one for one in violations if one["impact"] in {"serious", "critical"}]
        found += [(part, one["id"], one["nodes"][0]["html"]) for one in grave]
        assert page.evaluate("document.documentElement.scrollWidth") <= width, part
    opened.page.context.close()
    assert found == []
    assert opened.problems == []


def test_the_page_is_walked_by_keyboard(watched: Watched) -> None:
    page = watched.open("overview")
    page.reload()
    page.wait_for_selector("main[data-page=overview]")
    page.keyboard.press("Tab")
    expect(page.locator("#skip")).to_be_focused()
    page.locator('nav a[href="#diversity"]').focus()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    expect(page.get_by_role("heading", name="Diversity")).to_be_visible()


def test_a_lost_connection_says_so(service: Service, browser: Browser) -> None:
    opened = service.watched(browser)
    opened.page.context.set_offline(True)
    opened.page.evaluate("window.stop()")
    service.stop()
    expect(opened.page.locator("#line")).to_have_text(re.compile("connection lost"))
    opened.page.context.close()
