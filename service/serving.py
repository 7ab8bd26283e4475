"""Bringing the adapter in service into the serving endpoint: load, try, keep the one before, unload older ones.

It may be called at any time and as often as one likes: what to do follows from the pool (which adapter is promoted),
from the server (what it has loaded) and from `adapters/in-service.json`, where every name stands before it is loaded.
A process that dies between two steps, or a server that was started anew, is put right by the next call.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

import anyio.to_thread

from seedbed.core.config import EndpointConfig
from seedbed.core.errors import EndpointError, EndpointRejectedError, InputError, MissingFileError, SeedbedError
from seedbed.core.files import read_json
from seedbed.core.records import Adapter, Serving, ServingState
from seedbed.endpoints.adapters import effect_of, load_adapter, loaded_models, started_with, unload_adapter
from seedbed.endpoints.control import Control, controlling
from seedbed.prompts.training_text import Form, training_prompt
from seedbed.service.context import Context
from seedbed.service.in_service import read_in_service, sentence_of, write_in_service
from seedbed.service.promotion import promoted, publish
from seedbed.weights.cache import remembered_sha256
from seedbed.weights.resolve import base_sha256_of, cache_folder

QUESTIONS = 3
EMBEDDED_ASKS = '"lora": [{"id": 0, "scale": 1}]'
TENSORS = "adapter_model.safetensors"
ADAPTERS = "adapters"


async def bring_into_service(context: Context, base_url: str = "", *, again: bool = False) -> Serving:
    """Make the serving endpoint hold what the pool says is in service, and write down how it stands.

    Args:
        context: The workspace, open for writing.
        base_url: Where a managed endpoint answers now; empty where its server does not run.
        again: Load it again, even where the server says that it has it: after its memory was given away.

    Raises:
        InputError: `adapters/in-service.json` was damaged.
        PoolError: The database failed.
    """
    async with context.serving_lock:
        return await _brought(context, base_url, again=again)


async def _brought(context: Context, base_url: str, *, again: bool) -> Serving:
    publish(context)
    adapters, record = context.pool.adapters(), read_in_service(context.workspace)
    name = context.workspace.config.serving
    if record.serving.endpoint != name:
        record = record.model_copy(update={"serving": Serving(endpoint=name), "ours": {}})
    wanted = promoted(adapters)
    if not name:
        serving = Serving(state=ServingState.FILES, reason="serving names no endpoint") if wanted else Serving()
        return _written(context, serving, wanted)
    if not wanted and not record.ours:
        return _written(context, Serving(endpoint=name), wanted)
    work = _Work(context, context.workspace.config.endpoint(name), wanted, record.serving, dict(record.ours), again)
    try:
        serving = await work.do(base_url)
    except EndpointRejectedError as error:
        serving = work.standing(ServingState.REFUSED, str(error))
    except EndpointError as error:
        what = "" if wanted else "its adapters could not be unloaded: "
        serving = work.standing(ServingState.WAITING, f"{what}{error}")
    work.write_ours()
    return _written(context, serving, wanted)


def _written(context: Context, serving: Serving, wanted: Sequence[Adapter]) -> Serving:
    """Write how it stands, and tell of it where it changed."""
    record = read_in_service(context.workspace)
    if record.serving == serving:
        return serving
    write_in_service(context.workspace, record.model_copy(update={"serving": serving}))
    adapter = wanted[0].id if wanted else ""
    kind = {ServingState.LOADED: "adapter.loaded", ServingState.BASE: "adapter.none_served"}
    context.events.emit(
        kind.get(serving.state, "adapter.not_loaded"),
        adapter=adapter,
        endpoint=serving.endpoint,
        model=serving.model,
        state=str(serving.state),
        reason=serving.reason,
        said=sentence_of(serving),
    )
    return serving


@dataclass(slots=True)
class _Work:
    """One call's way through the steps."""

    context: Context
    endpoint: EndpointConfig
    wanted: Sequence[Adapter]
    """Promoted, the one in service first."""
    before: Serving
    ours: dict[str, str]
    again: bool

    async def do(self, base_url: str) -> Serving:
        """Take all steps.

        Raises:
            EndpointRejectedError: The server refuses the adapter, or the adapter changes nothing.
            EndpointError: It does not answer.
        """
        current = self.wanted[0] if self.wanted else None
        reason = await self._why_files(current) if current else ""
        if reason and not self._must_go():
            return self.standing(ServingState.FILES, reason)
        url = self.endpoint.base_url or base_url
        if not url:
            return self.standing(ServingState.WAITING, "its server runs while rows are generated")
        async with controlling(
            url, self.endpoint.name, self.context.secrets.api_keys.get(self.endpoint.name)
        ) as control:
            for name in self._must_go():
                await self._unload(control, name)
            if current is None:
                await self._unload_all_but(control, ())
                return Serving(endpoint=self.endpoint.name)
            if reason:
                return self.standing(ServingState.FILES, reason)
            if self.endpoint.managed == "llama.cpp":
                return await self._embedded(control, current)
            return await self._served(control, current)

    def standing(self, state: ServingState, reason: str) -> Serving:
        """Return how it stands while the adapter in service is not served: what answered before still does."""
        model = self.before.model if self.before.model in self.ours else ""
        return Serving(state=state, endpoint=self.endpoint.name, model=model, reason=reason)

    def write_ours(self) -> None:
        """Write the names that may be loaded."""
        record = read_in_service(self.context.workspace)
        if record.ours != self.ours or record.serving.endpoint != self.endpoint.name:
            update = {"ours": dict(self.ours), "serving": self.before}
            write_in_service(self.context.workspace, record.model_copy(update=update))

    async def _served(self, control: Control, current: Adapter) -> Serving:
        name = await anyio.to_thread.run_sync(self._name_of, current)
        listed = await loaded_models(control)
        is_there = name in listed
        if is_there and not self.again and self.before.state is ServingState.LOADED and self.before.model == name:
            await self._unload_stale(control, name)
            return self.before
        self.ours[name] = current.id
        self.write_ours()
        if self.again or not is_there:
            await load_adapter(control, name, self._path_of(current), replaces=is_there)
        effect = await effect_of(control, {"model": self.endpoint.model}, {"model": name}, self._prompts())
        if not effect.is_seen:
            await self._unload(control, name)
            raise EndpointRejectedError(
                f"the adapter was loaded and taken out again, since it changes nothing there: {effect}; does the "
                f"server apply adapters to {self.endpoint.model}, and did the training move it?"
            )
        await self._unload_stale(control, name)
        return Serving(state=ServingState.LOADED, endpoint=self.endpoint.name, model=name, reason=str(effect))

    async def _embedded(self, control: Control, current: Adapter) -> Serving:
        """Look whether the embedded server was started with the adapter, and try it."""
        file = gguf_of(self.context.workspace.folder, current)
        if str(file) not in await started_with(control):
            return self.standing(ServingState.WAITING, "its server takes it when it starts next")
        if self.before.state is ServingState.LOADED and self.before.reason.startswith(f"{current.id}: "):
            return self.before
        base, adapter = ({"model": self.endpoint.model, "lora": [{"id": 0, "scale": scale}]} for scale in (0, 1))
        effect = await effect_of(control, base, adapter, self._prompts())
        if not effect.is_seen:
            raise EndpointRejectedError(f"the adapter {current.id} changes nothing there: {effect}")
        reason = f"{current.id}: {effect}; a request asks for it by {EMBEDDED_ASKS}"
        return Serving(state=ServingState.LOADED, endpoint=self.endpoint.name, model=self.endpoint.model, reason=reason)

    async def _unload_stale(self, control: Control, name: str) -> None:
        """Unload all of ours but the one in service and the one that a rollback would bring."""
        await self._unload_all_but(control, [name, *(n for n, a in self.ours.items() if a == self._previous)])

    async def _unload_all_but(self, control: Control, kept: Sequence[str]) -> None:
        for name in [name for name in self.ours if name not in kept]:
            await self._unload(control, name)

    async def _unload(self, control: Control, name: str) -> None:
        await unload_adapter(control, name)
        adapter = self.ours.pop(name)
        self.write_ours()
        self.context.events.emit("adapter.unloaded", adapter=adapter, endpoint=self.endpoint.name, model=name)

    @property
    def _previous(self) -> str:
        return self.wanted[1].id if len(self.wanted) > 1 else ""

    def _must_go(self) -> list[str]:
        """Names of tainted adapters: these leave, whatever else becomes of the call."""
        tainted = {adapter.id for adapter in self.context.pool.adapters() if adapter.is_tainted}
        return [name for name, adapter in self.ours.items() if adapter in tainted]

    async def _why_files(self, adapter: Adapter) -> str:
        folder = self.context.workspace.folder
        return await anyio.to_thread.run_sync(partial(why_files_only, self.endpoint, adapter, folder))

    def _name_of(self, adapter: Adapter) -> str:
        """Name an adapter by round and content: a server may go on with old weights under a name that is used twice.

        Raises:
            EndpointRejectedError: Its files are gone or changed.
        """
        folder = self.context.workspace.folder / adapter.path
        try:
            found = remembered_sha256(folder / TENSORS, cache_folder())
            trained = read_json(folder / "manifest.json")["adapter_sha256"]
        except (FileNotFoundError, MissingFileError, InputError, KeyError) as error:
            raise EndpointRejectedError(f"the files of adapter {adapter.id} are not whole: {error}") from error
        if found != trained:
            raise EndpointRejectedError(
                f"{folder / TENSORS} has SHA-256 {found[:12]}, trained was {trained[:12]}: it was changed since"
            )
        return f"{adapter.id}-{found[:12]}"

    def _path_of(self, adapter: Adapter) -> str:
        """Return the adapter's folder as the server sees it."""
        if not self.endpoint.adapters_folder:
            return str((self.context.workspace.folder / adapter.path).resolve())
        return str(PurePosixPath(self.endpoint.adapters_folder) / PurePosixPath(adapter.path).relative_to(ADAPTERS))

    def _prompts(self) -> list[str]:
        """Return questions in a form that adapters are trained on, of categories that they are trained on."""
        seeds = self.context.workspace.trained_seeds[:QUESTIONS]
        return [training_prompt(Form.ALPACA, one.instruction, one.input, self.context.prompts) for one in seeds]


def gguf_of(workspace: Path, adapter: Adapter) -> Path:
    """Return where the trainer puts an adapter in llama.cpp's format, beside the folder in PEFT's."""
    return (workspace / adapter.path).resolve().with_suffix(".gguf")


def why_files_only(endpoint: EndpointConfig, adapter: Adapter, workspace: Path) -> str:
    """Say why an adapter cannot be loaded into an endpoint whatever its state; empty where it can."""
    base = endpoint.model if endpoint.managed else endpoint.weights
    if not base:
        return f'endpoint "{endpoint.name}" does not say what it serves; if it is {adapter.base}, set weights to that'
    try:
        served = base_sha256_of(base)
    except SeedbedError as error:
        return f'what endpoint "{endpoint.name}" serves is not known: {error}'
    if served == adapter.base_sha256:
        file = gguf_of(workspace, adapter)
        if endpoint.managed != "llama.cpp" or file.exists():
            return ""
        return f"{file} is not there; `seedbed convert {adapter.id} {file}` writes it"
    return (
        f'endpoint "{endpoint.name}" serves {base} (SHA-256 {served[:12]}…), and the adapter belongs to {adapter.base} '
        f"({adapter.base_sha256[:12]}…)"
    )
