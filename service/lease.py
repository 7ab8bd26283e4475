"""The GPU lease: servers that share the GPU sleep while an adapter is trained and evaluated, and are always woken.

Who sleeps stands in `gpu-lease.json` before anyone is put to sleep and until he was seen awake, so that a service that
was killed meanwhile wakes them when it starts again.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import anyio

from seedbed.core.config import EndpointConfig
from seedbed.core.errors import ConfigError, EndpointError, EndpointRejectedError, GpuLeaseError, MissingFileError
from seedbed.core.files import read_json, sync_folder, write_json
from seedbed.endpoints.control import Control, controlling
from seedbed.endpoints.sleep import is_asleep, put_to_sleep, wake_up
from seedbed.service.context import Context

FILE = "gpu-lease.json"
WAKE_TRIES, FIRST_PAUSE_S = 5, 2.0


def sharing(context: Context) -> list[EndpointConfig]:
    """Return the endpoints that share the GPU with training."""
    return [endpoint for endpoint in context.workspace.config.endpoints if endpoint.shares_gpu]


async def check_lease(context: Context) -> None:
    """Make sure, before anything is spent, that the servers which share the GPU can sleep.

    One that does not answer now is left to whoever needs it.

    Raises:
        ConfigError: One has no such call.
    """
    for endpoint in sharing(context):
        try:
            async with _control(context, endpoint) as control:
                await is_asleep(control)
        except EndpointRejectedError as error:
            raise ConfigError(str(error)) from error
        except EndpointError as error:
            context.events.emit("gpu.unchecked", endpoint=endpoint.name, reason=str(error))


@asynccontextmanager
async def leased_gpu(context: Context) -> AsyncIterator[None]:
    """Free the GPU for the block: nothing of ours is in flight, the servers sleep, and are woken however it ends.

    One that cannot be woken stays in the file: `wake_sleepers` tries again.

    Raises:
        GpuLeaseError: A server would not sleep; those that did were woken.
    """
    endpoints = sharing(context)
    if not endpoints:
        yield
        return
    try:
        for endpoint in endpoints:
            await _put_to_sleep(context, endpoint)
        yield
    finally:
        with anyio.CancelScope(shield=True):
            await _wake_patiently(context)


async def wake_sleepers(context: Context) -> dict[str, str]:
    """Wake, once, whom we put to sleep; returns those who may sleep still, with the reason."""
    left = dict[str, str]()
    for name in sleepers(context):
        endpoint = next((one for one in sharing(context) if one.name == name), None)
        if endpoint is None:  # taken out of the config since
            _note(context, [other for other in sleepers(context) if other != name])
            continue
        try:
            async with _control(context, endpoint) as control:
                await wake_up(control)
        except EndpointError as error:
            left[name] = str(error)
        else:
            _note(context, [other for other in sleepers(context) if other != name])
            context.events.emit("gpu.returned", endpoint=name)
    return left


def sleepers(context: Context) -> list[str]:
    """Return the endpoints that we put to sleep, or were about to, and have not seen awake since."""
    try:
        return list(read_json(_file(context))["asleep"])
    except MissingFileError:
        return []


async def _put_to_sleep(context: Context, endpoint: EndpointConfig) -> None:
    _note(context, [*sleepers(context), endpoint.name])
    try:
        async with _control(context, endpoint) as control:
            await put_to_sleep(control)
    except EndpointError as error:
        raise GpuLeaseError(f"the GPU could not be had for training: {error}") from error
    context.events.emit("gpu.leased", endpoint=endpoint.name)


async def _wake_patiently(context: Context) -> None:
    left, pause_s = await wake_sleepers(context), FIRST_PAUSE_S
    for _ in range(WAKE_TRIES - 1):
        if not left:
            return
        await anyio.sleep(pause_s)
        left, pause_s = await wake_sleepers(context), 2 * pause_s
    for name, reason in left.items():
        context.events.emit("gpu.not_returned", endpoint=name, reason=reason)


def _control(context: Context, endpoint: EndpointConfig) -> AbstractAsyncContextManager[Control]:
    return controlling(endpoint.base_url, endpoint.name, context.secrets.api_keys.get(endpoint.name))


def _file(context: Context) -> Path:
    return context.workspace.folder / FILE


def _note(context: Context, names: Sequence[str]) -> None:
    if names:
        write_json(_file(context), {"asleep": list(dict.fromkeys(names))})
    else:
        _file(context).unlink(missing_ok=True)
        sync_folder(context.workspace.folder)
