"""Screenshots of every part of the page, light and dark, wide and narrow, from a scripted run on a tiny student.

    python -m tests.browser.screenshots [--out docs/screenshots]

It starts a scripted endpoint and a service of its own, waits for rows, a training and its report, and stops both.
"""

import argparse
import io
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import cast

from PIL import Image
from playwright.sync_api import Browser, Page

from tests.browser.parts import PAGES, Service, chromium, environment_of, new_workspace, scripted_server
from tests.conftest import write_model, write_tokenizer

THEMES = ("light", "dark")
SIZES = {1440: 1600, 360: 1800}
"""Width of the window to the most of the page's height that is kept."""

NEAR_DUPLICATES = "/v1/pool/rows?filter=rouge&reason=near_duplicate"
COLOURS = 160
LATENCY_S = 6.0
"""Of the scripted endpoint: slow enough for the pictures to show one run."""
STEP = 2500
"""Accepted rows from the first training to the next, which does not begin while pictures are taken."""


def fill(service: Service, rows: int) -> None:
    """Wait for the first training and its report, then for as many rows again, and for a near-duplicate."""
    while not service.ask("/v1/reports"):
        assert service.process.poll() is None, (service.folder / "serve.log").read_text()
        time.sleep(1)
    while service.ask("/v1/status")["accepted"] < 2 * rows or not service.ask(NEAR_DUPLICATES)["rows"]:
        time.sleep(1)


def write_picture(page: Page, path: Path, width: int, most: int) -> None:
    """Write what stands there, cut at its most height, in a palette."""
    height = min(most, page.evaluate("document.documentElement.scrollHeight"))
    shot = page.screenshot(full_page=True, clip={"x": 0, "y": 0, "width": width, "height": height})
    in_palette(Image.open(io.BytesIO(shot)).convert("RGB")).save(path, optimize=True)


def in_palette(picture: Image.Image) -> Image.Image:
    """Bring a picture to its commonest colours, which stay as they are: a page has few but for the edges of letters."""
    found = sorted(picture.getcolors(picture.width * picture.height) or (), reverse=True)[:COLOURS]
    palette = Image.new("P", (1, 1))
    palette.putpalette([part for _, colour in found for part in cast("tuple[int, int, int]", colour)])
    return picture.quantize(palette=palette, dither=Image.Dither.NONE)


def take(service: Service, browser: Browser, out: Path) -> None:
    """Write a picture of each part, and of one refused row, in each theme at each width."""
    (refused, *_) = service.ask(NEAR_DUPLICATES)["rows"]
    parts = {**{part: part for part in PAGES}, "row": f"rows?id={refused['candidate']['id']}"}
    for theme in THEMES:
        for width, most in SIZES.items():
            opened = service.watched(browser, color_scheme=theme, viewport={"width": width, "height": 900})
            for name, part in parts.items():
                page = opened.open(part)
                page.wait_for_timeout(1500)
                write_picture(page, out / f"{name}-{theme}-{width}.png", width, most)
            opened.page.context.close()
            assert opened.problems == []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/screenshots"))
    parser.add_argument("--rows", type=int, default=150, help="accepted rows that start the training")
    arguments = parser.parse_args()
    out = arguments.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    above = Path(tempfile.mkdtemp())
    os.chdir(above)  # so that no picture shows where this machine keeps what
    student = Path("student")
    student.mkdir()
    write_tokenizer(student)
    write_model(student)
    environment = {**environment_of(student, arguments.rows), "SEEDBED__POOL__STEP": str(STEP)}
    with scripted_server(LATENCY_S) as url, chromium() as browser:
        service = Service(new_workspace(Path("w"), url, environment), environment)
        try:
            fill(service, arguments.rows)
            take(service, browser, out)
        finally:
            service.stop()
    shutil.rmtree(above)
    pictures = sorted(out.glob("*.png"))
    print(f"{len(pictures)} pictures, {sum(one.stat().st_size for one in pictures) / 1e6:.2f} MB, in {out}")


if __name__ == "__main__":
    main()
