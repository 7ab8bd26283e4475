"""What a model writes is text: no payload of the corpus runs, opens anything or asks anyone, wherever it is shown."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser

from seedbed.core.config import PoolConfig
from seedbed.core.records import Candidate, Decider, Decision, Lineage, Message, Request, Subject, Verdict
from seedbed.pool.pool import Pool
from seedbed.pool.records import Decided, Intent, IntentState, Unreadable
from tests.browser.parts import Service, environment_of, new_workspace

pytestmark = pytest.mark.real

ACTIVE = "script, img, iframe, object, embed, link, base, meta, style, video, audio"
PAYLOADS = (
    "<script>alert(1)</script>",
    "<ScRiPt src=//outside.invalid/x.js></ScRiPt>",
    "<img src=x onerror=alert(1)>",
    "<img src=http://outside.invalid/x.png>",
    "<svg onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "<svg><animate onbegin=alert(1) attributeName=x dur=1s>",
    "<math><mi//xlink:href='data:x,<script>alert(1)</script>'>",
    "<iframe src=javascript:alert(1)></iframe>",
    "<iframe srcdoc='<script>parent.alert(1)</script>'></iframe>",
    "<object data=http://outside.invalid/x></object>",
    "<embed src=http://outside.invalid/x>",
    "<link rel=stylesheet href=http://outside.invalid/x.css>",
    "<link rel=prefetch href=http://outside.invalid/x>",
    "<base href=http://outside.invalid/>",
    "<meta http-equiv=refresh content='0;url=http://outside.invalid/'>",
    "<body onload=alert(1)>",
    "<input autofocus onfocus=alert(1)>",
    "<details open ontoggle=alert(1)>x</details>",
    "<video><source onerror=alert(1)></video>",
    "<audio src=x onerror=alert(1)>",
    "<form action=http://outside.invalid/><button>x</button></form>",
    "<a href=javascript:alert(1)>x</a>",
    "javascript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    '"><script>alert(1)</script>',
    "'-alert(1)-'",
    '" onmouseover="alert(1)',
    "`${alert(1)}`",
    "{{constructor.constructor('alert(1)')()}}",
    "</textarea><script>alert(1)</script>",
    "</title><script>alert(1)</script>",
    "--><script>alert(1)</script><!--",
    "]]><script>alert(1)</script>",
    "<style>@import 'http://outside.invalid/x.css';</style>",
    "<div style=background:url(http://outside.invalid/x)>",
    "<template><script>alert(1)</script></template>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "\u202e<script>alert(1)</script>",
    "\x00<script>alert(1)</script>",
    "<!--#exec cmd=x--><?xml version='1.0'?><x/>",
    "event: status\ndata: {}\n\n<script>alert(1)</script>",
)


@pytest.fixture(scope="module")
def rows() -> list[Candidate]:
    return [
        Candidate.of(
            f"{payload} {number}",
            payload,
            payload,
            lineage=Lineage(recipe="alpaca", request_ids=(f"request-{number}",), model=payload),
            requested_category=payload[:60],
        )
        for number, payload in enumerate(PAYLOADS)
    ]


@pytest.fixture(scope="module")
def service(
    tmp_path_factory: pytest.TempPathFactory, scripted_url: str, tiny_model_folder: Path, rows: list[Candidate]
) -> Iterator[Service]:
    environment = environment_of(tiny_model_folder, 100_000)
    folder = new_workspace(tmp_path_factory.mktemp("hostile") / "w", scripted_url, environment)
    with Pool.open(folder, PoolConfig()) as pool:
        pool.set_intent(Intent(state=IntentState.PAUSED))
        for number, row in enumerate(rows):
            text = PAYLOADS[number]
            asked = Request(
                id=f"request-{number}", purpose="alpaca.ask", messages=(Message(role="user", content=text),)
            )
            pool.add_requests([asked])
            refusal = Verdict(
                filter="rouge",
                accepted=False,
                reason="near_duplicate",
                score=0.9,
                threshold=0.7,
                neighbour_id=rows[number - 1].id if number else None,
                evidence=(text,),
            )
            decision = Decision(
                subject=Subject.CANDIDATE,
                subject_id=row.id,
                sequence=0,
                accepted=number % 2 == 0,
                verdicts=() if number % 2 == 0 else (refusal,),
                by=Decider.PERSON,
                note=text,
                decided_at=1.0,
            )
            pool.commit([Decided(row, decision)])
            pool.add_unreadable([Unreadable(request_id=asked.id, reason="no_json", text=text)])
    running = Service(folder, environment)
    yield running
    running.stop()


def stored(text: str) -> str:
    """Return a text as a pool gives it back: no NUL, of which PostgreSQL takes none."""
    return text.replace("\0", "\ufffd")


def test_no_payload_runs_or_asks_anyone_and_each_is_shown_as_text(
    service: Service, browser: Browser, rows: list[Candidate]
) -> None:
    assert len(PAYLOADS) >= 30
    opened = service.watched(browser)
    page = opened.page
    page.evaluate("() => { window.alert = () => { window.hasRun = true; }; }")
    for part in ("rows", "funnel?unreadable=no_json", "diversity", "overview", "funnel", "settings"):
        opened.open(part)
    opened.open("diversity")
    shown = {cell.strip() for cell in page.locator("tbody td:first-child").all_text_contents()}
    assert {" ".join(stored(row.requested_category).replace("_", " ").split()) for row in rows} <= {
        " ".join(cell.split()) for cell in shown
    }
    for number, row in enumerate(rows):
        opened.open(f"rows?id={row.id}")
        page.wait_for_selector(f"h2:has-text('{row.id[:12]}')")
        shown = page.locator(".sides .card").first.locator("pre").last.evaluate("(one) => one.textContent")
        assert shown == stored(row.output), number
        assert page.locator(f"main :is({ACTIVE})").count() == 0
    for payload in PAYLOADS:
        page.goto(f"{service.url}/#{quote(payload)}?{quote(payload)}")
        page.goto(f"{service.url}/#rows?text={quote(payload)}")
    assert page.evaluate("window.hasRun") is None
    page.context.close()
    assert opened.problems == []
