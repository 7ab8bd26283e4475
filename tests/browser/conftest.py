"""A real browser (Debian's Chromium) and the scripted endpoint for services that it looks at."""

import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = shutil.which("chromium")
    if path is None:
        pytest.fail("these tests need Chromium: `make browser` (or `apt-get install chromium`) installs it")
    with sync_playwright() as playwright:
        # Chromium's sandbox needs what containers do not have; what is shown here is our own page.
        opened = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def scripted_url() -> Iterator[str]:
    command = [sys.executable, "-m", "seedbed.endpoints.scripted_server", "--port", "0", "--latency-s", "0.5"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield server.stdout.readline().strip()
        server.kill()
