"""Screenshots of every part of the page, light and dark, wide and narrow, from a scripted run on a tiny student.

    python -m tests.browser.screenshots [--out docs/page]

It starts a scripted endpoint and a service of its own, waits for rows, a training and its report, and stops both.
"""

import argparse
import io
import shutil
import tempfile
import time
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page

from tests.browser.parts import PAGES, Service, chromium, environment_of, new_workspace, scripted_server
from tests.conftest import write_model, write_tokenizer

THEMES = ("light", "dark")
SIZES = {1440: 1600, 360: 1800}
"""Width of the window to the most of the page's height that is kept."""

COLOURS = 64


def fill(service: Service, rows: int) -> None:
    """Wait for rows, then train on them, and for the report."""
    while service.ask("/v1/status")["accepted"] < rows:
        time.sleep(1)
    service.ask("/v1/runs", "POST", {})
    while not service.ask("/v1/reports")["items"]:
        assert service.process.poll() is None, (service.folder / "serve.log").read_text()
        time.sleep(1)
    while service.ask("/v1/status")["accepted"] < 2 * rows:
        time.sleep(1)


def write_picture(page: Page, path: Path, width: int, most: int) -> None:
    """Write what stands there, cut at its most height, in a palette."""
    height = min(most, page.evaluate("document.documentElement.scrollHeight"))
    shot = page.screenshot(full_page=True, clip={"x": 0, "y": 0, "width": width, "height": height})
    Image.open(io.BytesIO(shot)).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)


def take(service: Service, browser: Browser, out: Path) -> None:
    """Write a picture of each part in each theme at each width."""
    for theme in THEMES:
        for width, most in SIZES.items():
            opened = service.watched(browser, color_scheme=theme, viewport={"width": width, "height": 900})
            for part in PAGES:
                page = opened.open(part)
                page.wait_for_timeout(1500)
                write_picture(page, out / f"{part}-{theme}-{width}.png", width, most)
            opened.page.context.close()
            assert opened.problems == []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/page"))
    parser.add_argument("--rows", type=int, default=150, help="accepted rows to train on; twice as many are waited for")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    above = Path(tempfile.mkdtemp())
    student = above / "student"
    student.mkdir()
    write_tokenizer(student)
    write_model(student)
    environment = environment_of(student, 100_000)
    with scripted_server() as url, chromium() as browser:
        service = Service(new_workspace(above / "w", url, environment), environment)
        try:
            fill(service, arguments.rows)
            take(service, browser, arguments.out)
        finally:
            service.stop()
    shutil.rmtree(above)
    pictures = sorted(arguments.out.glob("*.png"))
    print(f"{len(pictures)} pictures, {sum(one.stat().st_size for one in pictures) / 1e6:.2f} MB, in {arguments.out}")


if __name__ == "__main__":
    main()
