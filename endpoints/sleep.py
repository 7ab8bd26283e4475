"""Putting a vLLM to sleep and waking it, so that its GPU is free meanwhile. Its development mode has these calls.

https://docs.vllm.ai/en/stable/features/sleep_mode/: level 1 keeps the weights in the host's memory.
"""

from seedbed.core.errors import EndpointRejectedError
from seedbed.endpoints.control import Control, ControlReply
from seedbed.endpoints.wire import error_of

SLEEP = "//sleep?level=1&mode=wait"
"""`wait` lets what is in flight finish."""
LIMIT_S = 600.0


async def is_asleep(control: Control) -> bool:
    """Tell whether a server sleeps.

    Raises:
        EndpointRejectedError: It has no such call; the message says how to start it.
        EndpointError: It does not answer.
    """
    reply = await control.get("//is_sleeping")
    body = _checked(control, "//is_sleeping", reply).json()
    return bool(body.get("is_sleeping")) if isinstance(body, dict) else False


async def put_to_sleep(control: Control) -> None:
    """Put a server to sleep and make sure that it does.

    Raises:
        EndpointRejectedError: It has no such call, or goes on as if nothing had been said.
        EndpointError: It does not answer, or fails.
    """
    _checked(control, SLEEP, await control.post(SLEEP, {}, LIMIT_S))
    if not await is_asleep(control):
        raise EndpointRejectedError(control.address(SLEEP).says("was put to sleep and is awake"), 200)


async def wake_up(control: Control) -> None:
    """Wake a server and make sure that it is awake; one that is awake stays so.

    Raises:
        EndpointError: It does not answer, fails, or sleeps on.
    """
    if not await is_asleep(control):
        return
    _checked(control, "//wake_up", await control.post("//wake_up", {}, LIMIT_S))
    if await is_asleep(control):
        raise EndpointRejectedError(control.address("//wake_up").says("was woken and sleeps on"), 200)


def _checked(control: Control, path: str, reply: ControlReply) -> ControlReply:
    if reply.status == 200:
        return reply
    if reply.status in {404, 405}:
        raise EndpointRejectedError(
            control.address(path).says(
                f"has no such call ({reply.status}); shares_gpu needs vLLM started with --enable-sleep-mode and "
                "VLLM_SERVER_DEV_MODE=1, on loopback (docs/serving.md)"
            ),
            reply.status,
        )
    raise error_of(reply.status, reply.headers, reply.body, control.address(path))
