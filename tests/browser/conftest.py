"""A real browser (Debian's Chromium) and the scripted endpoint for services that it looks at."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.browser.parts import Service, Watched, chromium, scripted_server


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def scripted_url() -> Iterator[str]:
    with scripted_server() as url:
        yield url


@pytest.fixture
def watched(service: Service, browser: Browser) -> Iterator[Watched]:
    """Open the page of the service that a file of tests has; what goes wrong in it fails the test."""
    opened = service.watched(browser)
    yield opened
    opened.page.context.close()
    assert opened.problems == []
