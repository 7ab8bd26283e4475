"""A scripted vLLM: a base model, adapters that are loaded and unloaded while it runs, sleep, and faults at will.

    python -m seedbed.endpoints.scripted_vllm --port 8000 --model NAME

It answers as vLLM 0.32 does (statuses and error messages), and opens no file: an adapter is a name and a path.
"""

import argparse
from collections import defaultdict
from collections.abc import Callable

import anyio
import orjson

from seedbed.core.errors import EndpointError
from seedbed.core.records import Request
from seedbed.endpoints.scripted import Answer, plausible_answers
from seedbed.endpoints.scripted_server import Received, Reply, ScriptedServer, serve_scripted


class ScriptedVllm:
    """To be given to `serve_scripted(respond=…)`."""

    def __init__(
        self,
        model: str = "base",
        *,
        answer: Answer | None = None,
        is_development: bool = True,
        has_effect: Callable[[str], bool] = lambda _: True,
    ) -> None:
        """Take `has_effect` to decide by an adapter's path whether its answers differ from the base's."""
        self._model, self._answer = model, answer or plausible_answers(0)
        self._is_development, self._has_effect = is_development, has_effect
        self.adapters: dict[str, str] = {}
        """Name to path."""
        self.is_asleep = False
        self.calls: list[str] = []
        """`METHOD PATH`, and the adapter's name where one was named."""
        self.faults: defaultdict[str, list[Reply]] = defaultdict(list)
        """Path to replies that it gives instead of acting, first to last."""

    def restart(self) -> None:
        """Forget what a new process would not know."""
        self.adapters.clear()
        self.is_asleep = False

    def __call__(self, received: Received) -> Reply:
        path = received.path.partition("?")[0]
        asked = _json_of(received.body)
        self.calls.append(f"{received.method} {path} {asked.get('lora_name', '')}".strip())
        if self.faults[path]:
            return self.faults[path].pop(0)
        if path in {"/sleep", "/wake_up", "/is_sleeping"}:
            return self._development(path)
        if path == "/health":
            return Reply(b"{}")
        if path == "/v1/models":
            names = [self._model, *self.adapters]
            return _json({"object": "list", "data": [{"id": name, "object": "model"} for name in names]})
        if self.is_asleep:
            return _failure(500, "the engine sleeps", "InternalServerError")
        if path == "/v1/load_lora_adapter":
            return self._load(asked)
        if path == "/v1/unload_lora_adapter":
            return self._unload(asked)
        return self._complete(received, str(asked.get("model")))

    def _load(self, asked: dict[str, object]) -> Reply:
        name, path = str(asked["lora_name"]), str(asked["lora_path"])
        if name in self.adapters and not asked.get("load_inplace"):
            return _failure(400, f"The lora adapter '{name}' has already been loaded.", "InvalidUserInput")
        self.adapters[name] = path
        return Reply(f"Success: LoRA adapter '{name}' added successfully.".encode())

    def _unload(self, asked: dict[str, object]) -> Reply:
        name = str(asked["lora_name"])
        if self.adapters.pop(name, None) is None:
            return _failure(404, f"The lora adapter '{name}' cannot be found.", "NotFoundError")
        return Reply(f"Success: LoRA adapter '{name}' removed successfully.".encode())

    def _development(self, path: str) -> Reply:
        if not self._is_development:
            return _json({"detail": "Not Found"}, 404)
        if path == "/is_sleeping":
            return _json({"is_sleeping": self.is_asleep})
        self.is_asleep = path == "/sleep"
        return _json({"status": "sleeping" if self.is_asleep else "awake"})

    def _complete(self, received: Received, model: str) -> Reply:
        if model not in {self._model, *self.adapters}:
            return _failure(404, f"The model `{model}` does not exist.", "NotFoundError")
        is_tuned = model in self.adapters and self._has_effect(self.adapters[model])
        answer = _tuned(self._answer) if is_tuned else self._answer
        return ScriptedServer(answer, model=model)(received)


def _tuned(answer: Answer) -> Answer:
    def tuned(request: Request) -> str | EndpointError:
        text = answer(request)
        return text if isinstance(text, EndpointError) else f"Indeed. {text}"

    return tuned


def _json_of(body: bytes) -> dict[str, object]:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def _json(value: object, status: int = 200) -> Reply:
    return Reply(orjson.dumps(value), status)


def _failure(status: int, message: str, kind: str) -> Reply:
    return _json({"error": {"message": message, "type": kind, "param": None, "code": status}}, status)


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--model", default="base")
    chosen = parser.parse_args()

    async def serve() -> None:
        async with serve_scripted(respond=ScriptedVllm(chosen.model), host=chosen.host, port=chosen.port) as base_url:
            print(base_url, flush=True)
            await anyio.sleep_forever()

    anyio.run(serve)


if __name__ == "__main__":
    main()
