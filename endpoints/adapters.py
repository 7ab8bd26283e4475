"""Adapters of a server: which it has, load, unload, and whether one does anything.

vLLM loads them while it runs: https://docs.vllm.ai/en/stable/features/lora/ ("Dynamically serving LoRA Adapters").
llama.cpp takes them when it starts, and applies them as each request says (its server's README, "lora-adapters").
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from seedbed.core.errors import EndpointRejectedError, EndpointResponseError
from seedbed.endpoints.control import Control, ControlReply
from seedbed.endpoints.site import listed_models
from seedbed.endpoints.wire import error_of, excerpt

Asked: TypeAlias = Mapping[str, Any]
"""What a request says beside its prompt to be answered by a model."""

LOAD, UNLOAD = "/load_lora_adapter", "/unload_lora_adapter"
LOAD_LIMIT_S = 300.0
ANSWER_LIMIT_S = 600.0
"""For 16 tokens: a server at work on thousands of requests lets a new one wait."""
ANSWER_TOKENS = 16
NOISE_FACTOR, LEAST_SHIFT = 5.0, 0.001
"""An adapter moves log probabilities by more than this many times what they move between two equal requests."""


async def loaded_models(control: Control) -> tuple[str, ...]:
    """Return the names a server answers to: its base model's and its adapters'.

    Raises:
        EndpointError: It does not answer, or refuses the key.
    """
    return await listed_models(control)


async def load_adapter(control: Control, name: str, path: str, *, replaces: bool = False) -> None:
    """Load an adapter from a folder that the server sees.

    Args:
        control: The server.
        name: What it will be asked for by. vLLM refuses a name it has, unless `replaces`.
        path: The folder, as the server sees it.
        replaces: Load it again under a name the server has.

    Raises:
        EndpointRejectedError: It cannot or will not; the message says what to change.
        EndpointError: It does not answer.
    """
    body: dict[str, Any] = {"lora_name": name, "lora_path": path}
    reply = await control.post(LOAD, body | ({"load_inplace": True} if replaces else {}), LOAD_LIMIT_S)
    if reply.status != 200:
        raise EndpointRejectedError(control.address(LOAD).says(_why_not_loaded(reply, name, path)), reply.status)


async def unload_adapter(control: Control, name: str) -> None:
    """Unload an adapter; one that the server has not got is as good as unloaded.

    Raises:
        EndpointError: It does not answer, or refuses.
    """
    reply = await control.post(UNLOAD, {"lora_name": name})
    if reply.status not in {200, 404}:
        raise error_of(reply.status, reply.headers, reply.body, control.address(UNLOAD, name))


async def started_with(control: Control) -> tuple[str, ...]:
    """Return the files of the adapters that a llama.cpp server was started with.

    Raises:
        EndpointError: It does not answer, or tells no adapters.
    """
    reply = await control.get("//lora-adapters")
    address = control.address("//lora-adapters")
    if reply.status != 200:
        raise error_of(reply.status, reply.headers, reply.body, address)
    try:
        return tuple(str(one["path"]) for one in reply.json())
    except (TypeError, KeyError) as error:
        raise EndpointResponseError(address.says(f"sent no list of adapters: {excerpt(reply.body)}")) from error


def _why_not_loaded(reply: ControlReply, name: str, path: str) -> str:
    seen = f"{reply.status} {excerpt(reply.body)}"
    body = reply.json()
    if reply.status in {404, 405} and not (isinstance(body, dict) and "error" in body):
        return (
            f"takes no adapters while it runs ({seen}); start vLLM with --enable-lora and "
            "VLLM_ALLOW_RUNTIME_LORA_UPDATING=True"
        )
    if reply.status == 404:
        return f"finds no adapter at {path} ({seen}); if it sees that folder elsewhere, set adapters_folder"
    if b"max_lora_rank" in reply.body or b"greater than max" in reply.body:
        return f"has no room for adapter {name} ({seen}); start it with --max-lora-rank of training.rank or more"
    return f"did not load adapter {name} from {path}: {seen}"


@dataclass(frozen=True, slots=True)
class Effect:
    """How the answers to the same questions differ between a base and its adapter."""

    questions: int
    steady: int
    """Questions to which the base gave the same answer twice; only these are compared."""
    differing: int
    """Of these, answered otherwise by the adapter."""
    shift: float | None = None
    """Largest mean change of a token's log probability, over answers that read the same; None where untold."""
    noise: float = 0.0
    """The same between the base's own two answers."""

    @property
    def is_seen(self) -> bool:
        """Whether the adapter does something."""
        return self.differing > 0 or (self.shift or 0.0) > max(LEAST_SHIFT, NOISE_FACTOR * self.noise)

    def __str__(self) -> str:
        said = f"{self.differing} of {self.steady} answers differ from the base's"
        if self.differing or self.shift is None:
            return said
        return f"{said}; their log probabilities by {self.shift:.4f} (noise {self.noise:.4f})"


@dataclass(frozen=True, slots=True)
class _Answer:
    text: str
    logprobs: tuple[float, ...]
    """Of its tokens; empty where the server tells none."""


async def effect_of(control: Control, base: Asked, adapter: Asked, prompts: Sequence[str]) -> Effect:
    """Ask base, base again and adapter the same few questions, greedily, and compare.

    Args:
        control: The server.
        base: How the base is asked: `{"model": NAME}` and what else a request to it needs.
        adapter: How the adapter is asked.
        prompts: Texts to complete.

    Raises:
        EndpointError: It does not answer.
    """
    triples = [tuple([await _answer(control, asked, prompt) for asked in (base, base, adapter)]) for prompt in prompts]
    steady = [(first, again, tuned) for first, again, tuned in triples if first.text == again.text]
    alike = [triple for triple in steady if triple[0].text == triple[2].text]
    shifts = [shift for first, _, tuned in alike if (shift := _shift(first, tuned)) is not None]
    noises = [noise for first, again, _ in alike if (noise := _shift(first, again)) is not None]
    return Effect(
        questions=len(triples),
        steady=len(steady),
        differing=len(steady) - len(alike),
        shift=max(shifts, default=None),
        noise=max(noises, default=0.0),
    )


def _shift(one: _Answer, other: _Answer) -> float | None:
    if not one.logprobs or len(one.logprobs) != len(other.logprobs):
        return None
    return sum(abs(a - b) for a, b in zip(one.logprobs, other.logprobs, strict=True)) / len(one.logprobs)


async def _answer(control: Control, asked: Asked, prompt: str) -> _Answer:
    path = "/completions"
    body = {**asked, "prompt": prompt, "max_tokens": ANSWER_TOKENS, "temperature": 0, "logprobs": 1}
    reply = await control.post(path, body, ANSWER_LIMIT_S)
    address = control.address(path, str(asked["model"]))
    if reply.status != 200:
        raise error_of(reply.status, reply.headers, reply.body, address)
    try:
        choice = reply.json()["choices"][0]
        told = (choice.get("logprobs") or {}).get("token_logprobs") or ()
        return _Answer(str(choice["text"]), tuple(float(value) for value in told if value is not None))
    except (TypeError, KeyError, IndexError, AttributeError, ValueError) as error:
        raise EndpointResponseError(address.says(f"sent an answer without choices: {excerpt(reply.body)}")) from error
