"""Endpoints as they are opened while an adapter is in service: started with it, or asked for it."""

from collections.abc import Sequence

from seedbed.core.config import EndpointConfig
from seedbed.core.records import ServingState
from seedbed.service.context import Context
from seedbed.service.in_service import read_in_service
from seedbed.service.promotion import in_service
from seedbed.service.serving import gguf_of, why_files_only


def with_adapter(
    context: Context, endpoints: Sequence[EndpointConfig], *, writes_with_it: bool = False
) -> list[EndpointConfig]:
    """Return endpoints, of which the serving one holds the adapter in service.

    The embedded llama.cpp server is started with it; it applies it to every request where the adapter writes the rows,
    else to those that ask for it. A vLLM that runs by itself has it already and is asked for it by name.

    Args:
        context: The workspace.
        endpoints: As configured.
        writes_with_it: Whether the promoted adapter answers instead of its base.
    """
    serving = context.workspace.config.serving
    return [_held(context, one, writes_with_it) if one.name == serving else one for one in endpoints]


def _held(context: Context, endpoint: EndpointConfig, writes_with_it: bool) -> EndpointConfig:
    adapter = in_service(context.pool.adapters())
    if adapter is None:
        return endpoint
    folder = context.workspace.folder
    if endpoint.managed == "llama.cpp" and not why_files_only(endpoint, adapter, folder):
        at_rest = () if writes_with_it else ("--lora-at-rest",)
        return endpoint.model_copy(
            update={"arguments": ("--lora", str(gguf_of(folder, adapter)), *at_rest, *endpoint.arguments)}
        )
    served = read_in_service(context.workspace).serving
    if writes_with_it and served.state is ServingState.LOADED and served.endpoint == endpoint.name:
        return endpoint.model_copy(update={"model": served.model})
    return endpoint
