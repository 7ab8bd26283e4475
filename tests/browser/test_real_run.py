"""A live run on real weights, watched in the browser: the embedded server writes, the page shows it rise and train."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.parts import Service, Watched, environment_of

pytestmark = pytest.mark.real

MODEL = "qwen2.5-coder-0.5b"
ROWS = 6
"""Accepted rows that start the training."""
WAIT_MS = 900_000
"""How long a browser waits for a model on two cores; it goes on as soon as it can."""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path) -> Iterator[Service]:
    """Its teacher is the embedded server with real weights; its student is tiny, so that a training takes seconds."""
    environment = {**environment_of(tiny_model_folder, ROWS), "SEEDBED__POOL__STEP": "1000"}
    folder = tmp_path_factory.mktemp("real") / "w"
    subprocess.run(
        [sys.executable, "-m", "seedbed", "init", str(folder)], env=environment, check=True, capture_output=True
    )
    running = Service(folder, environment)
    yield running
    running.stop()


def test_a_run_of_the_embedded_model_rises_is_decided_by_hand_trains_and_is_promoted(
    watched: Watched, service: Service
) -> None:
    page = watched.open("overview")
    phase = page.locator("dt:text-is('Phase') + dd")
    expect(phase).to_have_text(re.compile("^generating"), timeout=WAIT_MS)
    expect(page.get_by_role("region", name="Endpoints").locator("td").first).to_have_text("local", timeout=WAIT_MS)
    seen = {watched.accepted()}
    while max(seen) < ROWS or not service.ask("/v1/status")["refused"]:
        page.wait_for_timeout(500)
        seen.add(watched.accepted())
        assert service.process.poll() is None, (service.folder / "serve.log").read_text()
    assert len(seen) > 2, "it rose in steps, without reloading"
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_text("Wanted: paused")).to_be_visible()

    page = watched.open("rows?state=refused")
    page.locator("table a").first.click()
    expect(page.get_by_role("region", name="Verdicts")).to_be_visible(timeout=WAIT_MS)
    refused = service.ask(f"/v1/pool/rows/{page.url.partition('id=')[2]}")
    verdict = refused["decisions"][-1]["verdicts"][-1]
    expect(page.locator(".standing")).to_contain_text("Refused by cascade")
    expect(page.get_by_role("region", name="Verdicts")).to_contain_text(verdict["reason"].replace("_", " "))

    page = watched.open("rows?state=accepted")
    page.locator("table a").first.click()
    expect(page.locator(".standing")).to_contain_text("Accepted by cascade", timeout=WAIT_MS)
    subject = service.ask(f"/v1/pool/rows/{page.url.partition('id=')[2]}")["subject"]
    assert subject["lineage"]["model"] == MODEL
    shown = page.locator(".sides .card").first.locator("pre").last.evaluate("(one) => one.textContent")
    assert shown == subject["output"]
    expect(page.get_by_text(f"model {MODEL}")).to_be_visible()
    page.get_by_label("Note").fill("not to be learned")
    page.get_by_role("button", name="Refuse", exact=True).click()
    expect(page.locator(".standing")).to_contain_text("Refused by person: not to be learned", timeout=WAIT_MS)

    page = watched.open("training")
    expect(page.get_by_role("img", name=re.compile("Loss of round 0"))).to_be_visible(timeout=WAIT_MS)
    expect(page.get_by_role("heading", name="Held out: round-0000")).to_be_visible(timeout=WAIT_MS)
    page.get_by_role("button", name="Promote round-0000").click()
    expect(page.get_by_text("promoted, in service")).to_be_visible(timeout=WAIT_MS)
    page.get_by_role("button", name="Roll back").click()
    expect(page.get_by_role("cell", name="rolled back", exact=True)).to_be_visible(timeout=WAIT_MS)
