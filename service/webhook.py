"""Posting alarms to the operator's webhook, from a thread of its own: a slow receiver holds nothing up."""

import queue
import threading
import time
from collections.abc import Callable

import httpx
from pydantic import SecretStr

from seedbed.core.events import Event, Events
from seedbed.service.console import describe

TOLD = frozenset({"alarm.raised", "alarm.cleared"})
TRIES = 4
FIRST_PAUSE_S = 1.0
TIMEOUT_S = 10.0
CLOSE_WITHIN_S = 15.0


class Webhook:
    """An event sink that posts alarms, one after the other; what cannot be delivered is told to the log.

    The URL carries its own key, so no message and no event names it.
    """

    def __init__(
        self, url: SecretStr, workspace: str, events: Events, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._url, self._workspace, self._events, self._sleep = url, workspace, events, sleep
        self._waiting: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="webhook", daemon=True)
        self._thread.start()

    def __call__(self, event: Event) -> None:
        if event.kind in TOLD:
            self._waiting.put(event)

    def close(self) -> None:
        """Deliver what waits, for a while; then go."""
        self._waiting.put(None)
        self._thread.join(CLOSE_WITHIN_S)

    def _work(self) -> None:
        with httpx.Client(trust_env=False, timeout=TIMEOUT_S, follow_redirects=False) as client:
            while (event := self._waiting.get()) is not None:
                problem = self._delivered(client, event)
                if problem:
                    self._events.emit("webhook.failed", alarm=describe(event), problem=problem)

    def _delivered(self, client: httpx.Client, event: Event) -> str:
        """Post one event, trying again with growing pauses; returns what was wrong, empty where it arrived."""
        text = f"Seedbed, {self._workspace}: {describe(event)}"
        body = {"text": text, "kind": event.kind, "workspace": self._workspace, "at": event.at, **event.fields}
        problem = ""
        for number in range(TRIES):
            if number:
                self._sleep(FIRST_PAUSE_S * 2 ** (number - 1))
            try:
                status = client.post(self._url.get_secret_value(), json=body).status_code
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                problem = type(error).__name__  # its words may hold the URL
                continue
            if status < 300:
                return ""
            problem = f"the receiver answered {status}"
            if status < 500 and status != 429:
                break
        return problem
