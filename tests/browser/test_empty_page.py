"""The page of a workspace in which nothing happened yet: each empty place says what will stand there."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from seedbed.core.config import PoolConfig
from seedbed.pool.pool import Pool
from seedbed.pool.records import Intent, IntentState
from tests.browser.parts import PAGES, Service, environment_of, new_workspace

pytestmark = pytest.mark.real

SAID = {
    "overview": ["opened to generate", "told here as it happens"],
    "funnel": ["as soon as rows are generated", "will lead to its rows", "shown here, by reason"],
    "rows": ["as soon as models write them"],
    "diversity": ["measured when 100 are decided", "will stand here", "will be drawn here"],
    "training": [
        "begins by itself when enough rows are accepted",
        "Each training leaves one here",
        "After each training",
    ],
    "settings": ["will stand here"],
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, scripted_url: str, tiny_model_folder: Path) -> Iterator[Service]:
    environment = environment_of(tiny_model_folder, 100)
    folder = new_workspace(tmp_path_factory.mktemp("empty") / "w", scripted_url, environment)
    with Pool.open(folder, PoolConfig()) as pool:
        pool.set_intent(Intent(state=IntentState.PAUSED))
    running = Service(folder, environment)
    yield running
    running.stop()


@pytest.mark.parametrize("width", [1440, 360])
def test_an_empty_page_says_what_will_stand_there(service: Service, browser: Browser, width: int) -> None:
    opened = service.watched(browser, viewport={"width": width, "height": 900})
    for part in PAGES:
        page = opened.open(part)
        page.wait_for_timeout(500)
        text = page.locator("main").inner_text()
        assert [words for words in SAID[part] if words not in text] == [], part
        assert re.findall(r"NaN|undefined|null|Infinity|\[object", text) == [], part
        assert page.evaluate("document.documentElement.scrollWidth") <= width, part
    opened.page.context.close()
    assert opened.problems == []
