"""A service in a process of its own, and its page as a browser shows it."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Dialog, Page, Request, sync_playwright

PAGES = ("overview", "funnel", "rows", "diversity", "training", "settings")


@contextmanager
def chromium() -> Iterator[Browser]:
    path = shutil.which("chromium")
    if path is None:
        message = "this needs Chromium: `make browser` (or `apt-get install chromium`) installs it"
        raise FileNotFoundError(message)
    with sync_playwright() as playwright:
        # Chromium's sandbox needs what containers do not have; what is shown here is our own page.
        opened = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield opened
        opened.close()


@contextmanager
def scripted_server(latency_s: float = 0.5) -> Iterator[str]:
    command = [sys.executable, "-m", "seedbed.endpoints.scripted_server", "--port", "0", "--latency-s", str(latency_s)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.kill()


@dataclass
class Watched:
    """A page of the service, and what went wrong in it."""

    page: Page
    url: str
    problems: list[str] = field(default_factory=list)

    def on_console(self, said: ConsoleMessage) -> None:
        if said.type in {"error", "warning"}:
            self.problems.append(said.text)

    def on_dialog(self, dialog: Dialog) -> None:
        self.problems.append(f"a dialog: {dialog.message}")
        dialog.dismiss()

    def on_request(self, request: Request) -> None:
        if not request.url.startswith(self.url):
            self.problems.append(f"a request to {request.url}")

    def open(self, part: str) -> Page:
        """Go to a part and wait until it is shown."""
        self.page.goto(f"{self.url}/#{part}")
        self.page.wait_for_selector(f"main[data-page={part.partition('?')[0]}]")
        return self.page

    def accepted(self) -> int:
        """Return the accepted rows as the overview tells them."""
        text = self.page.locator("dt:text-is('Accepted rows') + dd").inner_text()
        return int(re.split(r"\D", text.replace(",", ""), maxsplit=1)[0])


def environment_of(student: Path, target: int) -> dict[str, str]:
    return {
        **os.environ,
        "SEEDBED__STUDENT": str(student),
        "SEEDBED__POOL__FIRST_TARGET": str(target),
        "SEEDBED__TRAINING__EPOCHS": "1",
        "SEEDBED__TRAINING__DTYPE": "float32",
        "SEEDBED__EVALUATION__MAX_NEW_TOKENS": "4",
        "SEEDBED__EVALUATION__TRAINED_ROWS": "0",
        "SEEDBED__EVALUATION__UNSEEN_FORM": "false",
        "OMP_NUM_THREADS": "1",
    }


class Service:
    """`seedbed serve` on a workspace, in a process of its own."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        log = (folder / "serve.log").open("wb")
        command = [sys.executable, "-m", "seedbed", "-w", str(folder), "serve", "--port", "0"]
        self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        log.close()
        while not (folder / "service.json").exists():
            assert self.process.poll() is None, (folder / "serve.log").read_text()
            time.sleep(0.1)
        access = json.loads((folder / "service.json").read_text())
        self.url, self.token = access["url"], access["token"]

    def ask(self, path: str, method: str = "GET", body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"authorization": f"Bearer {self.token}", "content-type": "application/json"}
        asked = urllib.request.Request(self.url + path, data=data, method=method, headers=headers)
        with urllib.request.urlopen(asked) as answer:
            return json.load(answer)

    def watched(self, browser: Browser, **options: Any) -> Watched:
        """Log in by a one-time link, and write down what a sound page never has."""
        context = browser.new_context(**options)
        page = context.new_page()
        watched = Watched(page, self.url)
        page.on("console", watched.on_console)
        page.on("pageerror", lambda error: watched.problems.append(str(error)))
        page.on("dialog", watched.on_dialog)
        page.on("request", watched.on_request)
        page.goto(self.url + self.ask("/v1/login-links", "POST")["path"])
        page.wait_for_selector("main[data-page=overview]")
        return watched

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


def new_workspace(folder: Path, url: str, environment: dict[str, str]) -> Path:
    command = [sys.executable, "-m", "seedbed", "init", str(folder), "--base-url", url, "--model", "scripted"]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    return folder


def grave_violations(page: Page, part: str, width: int) -> list[tuple[str, str, str]]:
    """Return what axe finds serious in a page, which must not be wider than the window."""
    violations = Axe().run(page).response["violations"]
    assert page.evaluate("document.documentElement.scrollWidth") <= width, part
    return [
        (part, one["id"], one["nodes"][0]["html"]) for one in violations if one["impact"] in {"serious", "critical"}
    ]
