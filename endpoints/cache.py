"""Answers to deterministic requests, so that a run repeated after an unrelated change costs nothing for them."""

from collections import OrderedDict
from collections.abc import Collection
from typing import Protocol

import orjson

from seedbed.core.records import Completion, Request
from seedbed.core.text import content_id
from seedbed.endpoints.wire import payload_of


class AnswerCache(Protocol):
    """Where answers are kept; the pool may offer one that lasts."""

    async def get(self, key: str) -> Completion | None:
        """Return what was put under this key, or None."""
        ...

    async def put(self, key: str, completion: Completion) -> None:
        """Keep a completion."""
        ...


class MemoryCache:
    """Keeps the answers used last, for this process."""

    def __init__(self, max_answers: int = 10_000) -> None:
        self._answers: OrderedDict[str, Completion] = OrderedDict()
        self._max_answers = max_answers

    async def get(self, key: str) -> Completion | None:
        completion = self._answers.get(key)
        if completion is not None:
            self._answers.move_to_end(key)
        return completion

    async def put(self, key: str, completion: Completion) -> None:
        self._answers[key] = completion
        self._answers.move_to_end(key)
        if len(self._answers) > self._max_answers:
            self._answers.popitem(last=False)


def is_deterministic(request: Request) -> bool:
    """Whether the same request may be answered from the cache: at temperature 0 only."""
    return request.sampling.temperature == 0


def cache_key(request: Request, models: Collection[str]) -> str:
    """Hash what is sent and to which models; ids, purpose and prompt names do not count."""
    payload = orjson.dumps(payload_of(request, ""), option=orjson.OPT_SORT_KEYS)
    return content_id((payload.decode(), *sorted(models)))


def recalled(completion: Completion, request: Request) -> Completion:
    """Return a cached completion as the answer to this request; it cost no tokens now."""
    costs = {"prompt_tokens": 0, "completion_tokens": 0, "latency_s": 0.0}
    return completion.model_copy(update={"request_id": request.id, **costs})
