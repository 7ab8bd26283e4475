"""Where an endpoint is: its transport, and the check that it answers, takes the key and serves the model."""

from dataclasses import dataclass

from pydantic import SecretStr

from seedbed.core.config import EndpointConfig
from seedbed.core.errors import EndpointRejectedError, EndpointThrottledError, EndpointUnreachableError
from seedbed.endpoints.control import Control, ControlReply, controlling
from seedbed.endpoints.protocol import Endpoint
from seedbed.endpoints.wire import Address, error_of, in_words_of


@dataclass(frozen=True, slots=True)
class Site:
    """An endpoint's config with what only the moment knows: where a managed one answers, and the key."""

    config: EndpointConfig
    base_url: str
    key: SecretStr | None = None


def transport_to(site: Site) -> Endpoint:
    """Make the transport that the config chooses; inside a running event loop."""
    if site.config.transport == "openai":
        from seedbed.endpoints.openai_transport import OpenaiEndpoint  # its import takes half a second

        return OpenaiEndpoint(site.config, site.base_url, site.key)
    from seedbed.endpoints.aiohttp_transport import AiohttpEndpoint

    return AiohttpEndpoint(site.config, site.base_url, site.key)


async def check(site: Site) -> None:
    """Make sure of an endpoint before work begins.

    Where a key is used, or the server lists no models, one token is asked for: many servers list to everybody.

    Raises:
        EndpointUnreachableError: It does not answer.
        EndpointRejectedError: It refuses the key, or does not serve the model.
        EndpointError: It answers with something else than a completion.
    """
    async with controlling(site.base_url, site.config.name, site.key) as control:
        address = control.address("/models", site.config.model)
        models = await _listed(control, address)
        if models and not _is_served(site.config.model, models):
            raise EndpointRejectedError(
                address.says(f'does not serve model "{site.config.model}"; it serves {_shown(models)}'), 404
            )
        if site.key or not models or "*" in "".join(models):
            await _ask_one_token(control, site)


async def listed_models(control: Control) -> tuple[str, ...]:
    """Return the names that /models lists, none where the server has no such list.

    Raises:
        EndpointRejectedError: It refuses the key.
        EndpointError: It does not answer, or answers with a server's error.
    """
    return await _listed(control, control.address("/models"))


async def _listed(control: Control, address: Address) -> tuple[str, ...]:
    try:
        reply = await control.get("/models")
    except EndpointUnreachableError as error:
        raise EndpointUnreachableError(f"{error}; is the server running, and base_url right?") from error
    if reply.status in {404, 405, 501}:
        return ()
    if reply.status != 200:
        raise error_of(reply.status, reply.headers, reply.body, address)
    return _names_in(reply)


async def _ask_one_token(control: Control, site: Site) -> None:
    path = "/chat/completions"
    body = {"model": site.config.model, "max_tokens": 1, "messages": [{"role": "user", "content": "Hello"}]}
    reply = await control.post(path, in_words_of(site.config, body), site.config.first_byte_timeout_s)
    if reply.status != 200:
        error = error_of(reply.status, reply.headers, reply.body, control.address(path, site.config.model))
        if not isinstance(error, EndpointThrottledError):  # it is there, and busy
            raise error


def _names_in(reply: ControlReply) -> tuple[str, ...]:
    listed = reply.json()
    entries = listed.get("data") if isinstance(listed, dict) else None
    names: list[str] = []
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict) and isinstance(entry.get("id"), str):
            names.append(entry["id"])
            names += [alias for alias in entry.get("aliases") or () if isinstance(alias, str)]
    return tuple(dict.fromkeys(names))


def _is_served(model: str, models: tuple[str, ...]) -> bool:
    """Whether a model is among those listed; Ollama takes "NAME" for "NAME:latest"."""
    return model in models or f"{model}:latest" in models or any("*" in name for name in models)


def _shown(models: tuple[str, ...]) -> str:
    names = ", ".join(f'"{name}"' for name in models[:10])
    return names if len(models) <= 10 else f"{names} and {len(models) - 10} more"
