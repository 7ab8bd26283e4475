"""The page as its operator uses it, in a browser, against a service that runs."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.parts import PAGES, Service, Watched, environment_of, grave_violations, new_workspace

pytestmark = pytest.mark.real

WAIT_MS = 240_000
"""How long a browser waits for a training of another process; it goes on as soon as it can."""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, scripted_url: str, tiny_model_folder: Path) -> Iterator[Service]:
    bound = {"SEEDBED__DIVERSITY__MIN_DISTINCT_2": "0.99"}  # the scripted endpoint does not reach it
    environment = {**environment_of(tiny_model_folder, 100_000), **bound}
    folder = new_workspace(tmp_path_factory.mktemp("page") / "w", scripted_url, environment)
    running = Service(folder, environment)
    yield running
    running.stop()


def has_enough(service: Service) -> bool:
    """Whether there is what the tests below look for: a near-duplicate, and rows enough to measure diversity."""
    status = service.ask("/v1/status")
    return "rouge.near_duplicate" in status["refused"] and status["decided"] >= 200


def test_a_live_run_rises_without_reloading(watched: Watched, service: Service) -> None:
    page = watched.open("overview")
    expect(page.locator("#line")).to_have_text("live")
    phase = page.locator("dt:text-is('Phase') + dd")
    expect(phase).to_have_text(re.compile("^generating"), timeout=WAIT_MS)
    before = watched.accepted()
    while watched.accepted() <= before + 20:
        page.wait_for_timeout(500)
    expect(page.locator("text=as configured").or_(page.locator("text=starting slowly"))).to_be_visible(timeout=WAIT_MS)
    while not has_enough(service):
        page.wait_for_timeout(500)
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_text("Wanted: paused")).to_be_visible()


def test_a_refusal_is_found_by_its_reason_and_shows_its_neighbour(watched: Watched, service: Service) -> None:
    page = watched.open("funnel")
    page.get_by_role("link", name="near duplicate", exact=True).click(timeout=WAIT_MS)
    page.wait_for_selector("main[data-page=rows]")
    page.locator("table a").first.click()
    expect(page.get_by_role("heading", name="its neighbour")).to_be_visible()
    assert page.locator(".sides .card").nth(1).locator("mark").count() > 0


def test_each_reason_of_the_funnel_leads_to_its_rows(watched: Watched, service: Service) -> None:
    found = service.ask("/v1/pool/funnel")
    reasons = [(stage["filter"], *reason) for stage in found["stages"] for reason in stage["reasons"].items()]
    assert len(reasons) >= 2
    for name, reason, rows in reasons:
        page = watched.open("funnel")
        words = (name.replace("_", " "), reason.replace("_", " "))
        table = page.get_by_role("region", name="Reasons of refusal")
        table.locator("tr").filter(has_text=words[0]).get_by_role("link", name=words[1], exact=True).click()
        page.wait_for_selector("main[data-page=rows] table")
        assert page.locator("td[data-head='refused by']").all_inner_texts() == [": ".join(words)] * min(rows, 50)
        assert page.get_by_label("Reason").input_value() == reason
    for reason, pieces in found["unreadable"].items():
        page = watched.open("funnel")
        page.get_by_role("link", name=reason.replace("_", " "), exact=True).click()
        expect(page.get_by_role("heading", name="Pieces that could not be read")).to_be_visible()
        assert 0 < page.locator("main .card").count() <= pieces


def test_a_row_far_down_the_list_is_shown_from_its_top(watched: Watched) -> None:
    page = watched.open("rows")
    page.locator("table a").last.scroll_into_view_if_needed()
    assert page.evaluate("scrollY") > 0
    page.locator("table a").last.click()
    expect(page.get_by_role("heading", name=re.compile("^Row "))).to_be_in_viewport()


def test_a_row_is_refused_by_hand_with_a_note(watched: Watched, service: Service) -> None:
    page = watched.open("rows?state=accepted")
    page.locator("table a").first.click()
    page.get_by_label("Note").fill("too dull")
    page.get_by_role("button", name="Refuse", exact=True).click()
    expect(page.locator(".standing")).to_contain_text("Refused by person: too dull")
    row = page.url.partition("id=")[2]
    assert service.ask(f"/v1/pool/rows/{row}")["decisions"][-1]["note"] == "too dull"


def test_diversity_tells_what_is_wrong_and_how_instructions_begin(watched: Watched, service: Service) -> None:
    service.ask("/v1/control/start", "POST", {})
    page = watched.open("diversity")
    alarm = page.locator(".alarms li").filter(has_text="Alarm, repeated wording")
    expect(alarm).to_contain_text("diversity.min_distinct_2", timeout=WAIT_MS)
    changes: dict[str, str] = {}
    while "repeated_wording" not in changes:
        page.wait_for_timeout(500)
        changes = {one["cause"]: one["changes"] for one in service.ask("/v1/diversity")["reactions"]}
    expect(alarm).to_contain_text(changes["repeated_wording"], timeout=WAIT_MS)
    service.ask("/v1/control/pause", "POST", {})
    while service.ask("/v1/status")["phase"] != "paused":  # what is in flight comes in first
        page.wait_for_timeout(500)
    expect(page.get_by_text("No alarm stands while nothing is generated")).to_be_visible(timeout=WAIT_MS)
    expect(page.locator("tr", has_text="diversity.min_distinct_2")).to_contain_text("beyond it")
    expect(page.locator("tr", has_text="diversity.max_mean_depth")).to_contain_text("within")
    page.reload()
    page.wait_for_selector("main[data-page=diversity]")
    found = service.ask("/v1/diversity")
    begun = page.get_by_role("region", name="How instructions begin").locator("tbody tr")
    for name, part in (("written", 1), ("kept", 2)):
        word, rows = next(iter(found[name]["leading_words"].items()))
        cells = begun.filter(has=page.get_by_role("cell", name=word, exact=True)).locator("td")
        assert float(cells.nth(part).inner_text().rstrip("%")) == pytest.approx(
            100 * rows / found[name]["rows"], abs=0.06
        )
        title = {"written": "Verbs and their nouns, written lately", "kept": "Verbs and their nouns, kept"}[name]
        verb, nouns = next(iter(found[name]["verb_nouns"].items()))
        cells = page.get_by_role("region", name=title).locator(
            "tr", has=page.get_by_role("cell", name=verb, exact=True)
        )
        expect(cells).to_contain_text(", ".join(f"{noun} {count}" for noun, count in nouns.items()))


@pytest.mark.parametrize("part", PAGES)
def test_every_figure_stands_under_a_name_and_every_drawing_tells_its_unit(watched: Watched, part: str) -> None:
    page = watched.open(part)
    page.wait_for_timeout(1000)
    nameless = "td:not([data-head]):not(:has(button, a)):not(:empty)"
    assert page.locator(nameless).all_inner_texts() == []
    for drawing in page.locator("figure:has(svg)").all():
        assert drawing.locator("figcaption small").inner_text()
    text = page.locator("main").inner_text()
    assert re.findall(r"NaN|undefined|null|Infinity|\[object", text) == []


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
        found += grave_violations(page, part, width)
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
    expect(page.locator("main")).to_be_focused(timeout=WAIT_MS)
    expect(page.get_by_role("heading", name="Diversity")).to_be_visible()
    watched.open("funnel")
    page.locator("main").focus()
    page.keyboard.press("Tab")  # past tables that need no scrolling, to what can be done
    reason = page.get_by_role("region", name="Reasons of refusal").get_by_role("link").first
    expect(reason).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_selector("main[data-page=rows] table")
    page.locator("main").focus()
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('td a')"):
            break
    page.keyboard.press("Enter")
    expect(
        page.get_by_role("heading", name="Verdicts").or_(page.locator("caption", has_text="Verdicts"))
    ).to_be_visible()


def test_a_lost_connection_says_so(service: Service, browser: Browser) -> None:
    opened = service.watched(browser)
    opened.page.context.set_offline(True)
    opened.page.evaluate("window.stop()")
    service.stop()
    expect(opened.page.locator("#line")).to_have_text(re.compile("connection lost"))
    opened.page.context.close()
