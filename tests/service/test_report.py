"""The report: figures as they stand in the pool, hostile text as text, and a page that needs nothing else."""

import base64
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from seedbed.core.errors import InputError
from seedbed.service import plots
from seedbed.service.report import Report, report_of, visible, write_report
from tests.service.exported import ROWS, Filled, decided, filled, row

HOSTILE = (
    ("<script>alert('instruction')</script> Say $x_1$ & more.", "</pre><img src=x onerror=alert(1)>", "\"'><b>bold"),
    ("Turn \u202eround\u202c and ring \x07 twice.", "", "{{ 7 * 7 }} {% raw %} $\\frac{1}{2}$"),
)


@pytest.fixture(scope="module")
def pond(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filled]:
    rows = [*ROWS, *(row(*texts, category="$odd$ <category>") for texts in HOSTILE)]
    with filled(tmp_path_factory.mktemp("pond") / "w", rows) as found:
        refused = [row(f"Refused number {number}.", "", "no") for number in range(30)]
        found.pool.commit([decided(one, accepted=False, score=0.9) for one in refused])
        yield found


@pytest.fixture(scope="module")
def report(pond: Filled) -> Report:
    return report_of(pond.workspace, pond.pool, seed=7)


class Elements(HTMLParser):
    """What a browser would make of the page: its elements with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_the_figures_are_those_of_the_pool(report: Report) -> None:
    figures = report.figures
    accepted = len(ROWS) + len(HOSTILE)
    assert (figures.funnel.accepted, figures.funnel.decided) == (accepted, accepted + 31)
    rouge = next(one for one in figures.funnel.stages if one.filter == "rouge")
    assert rouge.reasons == {"near_duplicate": 31}
    assert figures.spread.similarity.accepted.counts[10] == accepted  # each was stored with 0.5
    assert figures.seeds.tasks > 200
    assert figures.selftest["false_positives"] == 0


def test_twenty_rows_and_twenty_refusals_are_drawn_by_the_seed(pond: Filled, report: Report) -> None:
    assert (len(report.accepted), len(report.refused)) == (20, 20)
    assert {one.filter for one in report.refused} == {"rouge"}
    assert {one.filter for one in report.accepted} == {""}
    again, other = (report_of(pond.workspace, pond.pool, seed) for seed in (7, 8))
    assert (again.accepted, again.refused) == (report.accepted, report.refused)
    assert other.accepted != report.accepted


def test_a_page_runs_nothing_and_fetches_nothing(pond: Filled, report: Report, tmp_path: Path) -> None:
    shown = report.model_copy(update={"accepted": report_of_rows(pond, report)})
    page = write_report(shown, tmp_path / "data.html")[0].read_text()
    elements = Elements(page)
    tags = {tag for tag, _ in elements.found}
    assert not tags & {"script", "b", "link", "iframe", "object", "form", "base"}
    for tag, attributes in elements.found:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href"):
            target = attributes.get(name)
            assert target is None or target.startswith(("#", "data:image/svg+xml;base64,")), (tag, target)
    text = "".join(elements.texts)
    assert "<script>alert('instruction')</script> Say $x_1$ & more." in text
    assert "{{ 7 * 7 }} {% raw %}" in text
    assert "Turn \\u202eround\\u202c and ring \\u0007 twice." in text
    policy = next(one["content"] for tag, one in elements.found if one.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'")


def report_of_rows(pond: Filled, report: Report) -> tuple[object, ...]:
    """Every accepted row as a report shows it, so that the hostile ones are among them."""
    shape = report.accepted[0]
    return tuple(
        shape.model_copy(
            update={"id": one.id, "instruction": one.instruction, "input": one.input, "output": one.output}
        )
        for one in pond.pool.accepted()
    )


def test_every_plot_is_a_png_beside_the_page_and_an_svg_in_it(report: Report, tmp_path: Path) -> None:
    page, *beside = write_report(report, tmp_path / "data.html")
    assert [one.name for one in beside] == [
        f"data-{name}.png" for name in ("funnel", "categories", "similarity", "verbs", "lengths", "selftest")
    ]
    for path in beside:
        with Image.open(path) as image:
            assert image.width >= 1000
            assert len(image.convert("L").getcolors(256) or []) > 10, "the plot is empty"
    sources = re.findall(r'src="data:image/svg\+xml;base64,([^"]+)"', page.read_text())
    assert len(sources) == len(beside)
    for source in sources:
        svg = base64.b64decode(source).decode()
        assert "prefers-color-scheme:dark" in svg
        assert not re.search(r"#(?:010203|040506|070809|0a0b0c|0d0e0f|101112)", svg)
    categories = base64.b64decode(sources[1]).decode()
    assert "$odd$ &lt;category&gt;" in categories


def test_without_matplotlib_the_page_has_its_tables(
    report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plots, "find_spec", lambda _: None)
    files = write_report(report, tmp_path / "data.html")
    assert len(files) == 1
    page = files[0].read_text()
    assert "pip install &#39;seedbed[report]&#39;" in page or "pip install 'seedbed[report]'" in page
    assert "near duplicate" in page


def test_a_report_replaces_an_earlier_one_but_no_other_file(report: Report, tmp_path: Path) -> None:
    write_report(report, tmp_path / "data.html")
    write_report(report, tmp_path / "data.html")
    (tmp_path / "notes.html").write_text("my notes")
    with pytest.raises(InputError, match="is no report of Seedbed's"):
        write_report(report, tmp_path / "notes.html")
    assert (tmp_path / "notes.html").read_text() == "my notes"


def test_an_empty_pool_has_a_report(tmp_path: Path) -> None:
    with filled(tmp_path / "w", ROWS[:1]) as pond:
        pond.refuse(ROWS[0])
        page = write_report(report_of(pond.workspace, pond.pool), tmp_path / "data.html")[0].read_text()
    assert "0 accepted rows drawn at random" in page
    assert "2 refused rows drawn at random" in page


def test_what_hides_or_turns_text_is_shown_by_its_number() -> None:
    assert visible("a\u200bb\u202ec\nd\te") == "a\\u200bb\\u202ec\nd\te"
    assert visible("你好 ça 🐦") == "你好 ça 🐦"


def test_the_command_writes_the_page_and_tells_the_figures(tmp_path: Path) -> None:
    with filled(tmp_path / "w"):
        pass
    command = [sys.executable, "-m", "seedbed", "-w", str(tmp_path / "w"), "report", "--json", "--seed", "3"]
    told = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert told["figures"]["funnel"]["accepted"] == len(ROWS)
    assert (told["seed"], len(told["accepted"]), len(told["refused"])) == (3, 20, 1)
    assert told["files"][0] == str(tmp_path / "w" / "reports" / "data.html")
    assert all(Path(one).is_file() for one in told["files"])
