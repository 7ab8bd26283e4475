"""An adapter in service is in the serving endpoint: loaded, tried, kept for a rollback, put right after any death."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from seedbed.core.errors import ConfigError
from seedbed.core.files import read_json, write_json
from seedbed.core.load import parse_config
from seedbed.core.records import Adapter, Serving, ServingState
from seedbed.endpoints.managed import launch_of
from seedbed.endpoints.scripted_server import Fault, Reply, serve_scripted
from seedbed.endpoints.scripted_vllm import ScriptedVllm
from seedbed.service import serving as serving_module
from seedbed.service.adapted import with_adapter
from seedbed.service.by_hand import promote_by_hand, roll_back_by_hand
from seedbed.service.context import Context, writing
from seedbed.service.in_service import IN_SERVICE, read_in_service, write_in_service
from seedbed.service.init import create_workspace
from seedbed.service.promotion import promote, roll_back
from seedbed.service.serving import bring_into_service
from seedbed.service.tainting import mark_tainted
from seedbed.service.teachers import teachers_of
from seedbed.service.workspace import open_workspace
from seedbed.weights.catalogue import packaged_catalogue
from seedbed.weights.resolve import Weights

BASE = "qwen2.5-coder-0.5b"
BASE_SHA256 = packaged_catalogue().find(BASE).sha256  # type: ignore[union-attr]
PATH = "/v1/load_lora_adapter"


def served_name(number: int) -> str:
    content = hashlib.sha256(f"tensors {number}".encode()).hexdigest()
    return f"round-{number:04d}-{content[:12]}"


def add_adapter(context: Context, number: int, base_sha256: str = BASE_SHA256) -> Adapter:
    name = f"round-{number:04d}"
    folder = context.workspace.adapters / name / "adapter"
    folder.mkdir(parents=True)
    (folder / "adapter_model.safetensors").write_text(f"tensors {number}")
    content = hashlib.sha256(f"tensors {number}".encode()).hexdigest()
    write_json(folder / "manifest.json", {"adapter_sha256": content})
    adapter = Adapter(
        id=name,
        round=number,
        snapshot_id="s",
        base=BASE,
        base_sha256=base_sha256,
        path=f"adapters/{name}/adapter",
        created_at=0.0,
    )
    context.pool.add_adapter(adapter)
    return adapter


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEEDBED_CACHE", str(tmp_path / "cache"))
    create_workspace(tmp_path / "w", base_url="http://127.0.0.1:9/v1", model="base")
    return tmp_path / "w"


def configure(folder: Path, base_url: str, **more: str) -> None:
    endpoint = {"name": "vllm", "base_url": base_url, "model": "base", "weights": BASE, **more}
    lines = [f"{key} = {json.dumps(value)}" for key, value in endpoint.items()]
    (folder / "seedbed.toml").write_text(
        'teacher = "vllm"\nserving = "vllm"\n[[endpoints]]\n' + "\n".join(lines) + "\n"
    )


@pytest.fixture
def context(folder: Path) -> Iterator[Context]:
    configure(folder, "http://127.0.0.1:9/v1")
    with writing(open_workspace(folder)) as context:
        for number in range(3):
            add_adapter(context, number)
        yield context


def with_server(context: Context, server: ScriptedVllm, *steps: object, **more: str) -> list[Serving]:
    """Run steps against a server: a callable is called with the workspace, then it is brought into service."""

    async def run() -> list[Serving]:
        async with serve_scripted(respond=server) as base_url:
            configure(context.workspace.folder, base_url, **more)
            opened = open_workspace(context.workspace.folder)
            now = Context(opened, context.pool, context.events, context.secrets, context.prompts)
            seen = []
            for step in steps:
                assert callable(step)
                step(now)
                seen.append(await bring_into_service(now))
            return seen

    return anyio.run(run)


def promoting(number: int) -> object:
    return lambda context: promote(
        context, next(one for one in context.pool.adapters() if one.round == number), "better"
    )


def rolling_back(context: Context) -> None:
    roll_back(context, "worse after all")


def looking(context: Context) -> None:
    """Do nothing, and look."""


def test_a_promoted_adapter_is_loaded_under_a_name_of_its_round_and_content_and_tried(context: Context) -> None:
    server = ScriptedVllm()
    (serving,) = with_server(context, server, promoting(0))
    assert (serving.state, serving.endpoint, serving.model) == (ServingState.LOADED, "vllm", served_name(0))
    assert serving.reason == "3 of 3 answers differ from the base's"
    assert server.adapters == {served_name(0): str(context.workspace.adapters / "round-0000" / "adapter")}


def test_the_one_before_stays_for_a_rollback_and_older_ones_leave(context: Context) -> None:
    server = ScriptedVllm()
    with_server(context, server, promoting(0), promoting(1))
    assert set(server.adapters) == {served_name(0), served_name(1)}
    with_server(context, server, promoting(2))
    assert set(server.adapters) == {served_name(1), served_name(2)}
    (back,) = with_server(context, server, rolling_back)
    assert (back.state, back.model) == (ServingState.LOADED, served_name(1))
    assert served_name(2) not in server.adapters


def test_rolling_the_last_one_back_leaves_the_base_alone(context: Context) -> None:
    server = ScriptedVllm()
    *_, alone = with_server(context, server, promoting(0), rolling_back)
    assert (alone.state, alone.model, server.adapters) == (ServingState.BASE, "", {})
    assert read_in_service(context.workspace).ours == {}


def test_a_server_that_was_started_anew_gets_its_adapter_at_the_next_look(context: Context) -> None:
    server = ScriptedVllm()
    seen = with_server(context, server, promoting(0), lambda _: server.restart())
    assert [one.state for one in seen] == [ServingState.LOADED] * 2
    assert list(server.adapters) == [served_name(0)]


def test_a_person_and_the_service_that_look_at_once_load_it_once(context: Context) -> None:
    server = ScriptedVllm()

    async def run() -> None:
        async with serve_scripted(respond=server) as base_url:
            configure(context.workspace.folder, base_url)
            opened = open_workspace(context.workspace.folder)
            now = Context(opened, context.pool, context.events, context.secrets, context.prompts)
            promote(now, next(one for one in now.pool.adapters() if one.round == 0), "better")
            async with anyio.create_task_group() as tasks:
                for _ in range(3):
                    tasks.start_soon(bring_into_service, now)

    anyio.run(run)
    assert sum(call.startswith("POST /v1/load_lora_adapter") for call in server.calls) == 1


def test_a_look_at_what_is_in_order_asks_for_the_list_alone(context: Context) -> None:
    server = ScriptedVllm()
    with_server(context, server, promoting(0), lambda _: server.calls.clear())
    assert server.calls == ["GET /v1/models"]


def test_nothing_is_asked_where_nothing_was_ever_promoted(context: Context) -> None:
    server = ScriptedVllm()
    (serving,) = with_server(context, server, looking)
    assert (serving.state, server.calls) == (ServingState.BASE, [])


def test_an_adapter_that_changes_nothing_is_taken_out_and_the_one_before_goes_on(context: Context) -> None:
    server = ScriptedVllm(has_effect=lambda path: "round-0001" not in path)
    first, second = with_server(context, server, promoting(0), promoting(1))
    assert first.state is ServingState.LOADED
    assert (second.state, second.model) == (ServingState.REFUSED, served_name(0))
    assert "changes nothing" in second.reason
    assert "0 of 3 answers differ" in second.reason
    assert list(server.adapters) == [served_name(0)]


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply(b'{"detail":"Not Found"}', 404), "VLLM_ALLOW_RUNTIME_LORA_UPDATING=True"),
        (Reply(b'{"error":{"message":"No adapter found for /x"}}', 404), "adapters_folder"),
        (Reply(b'{"error":{"message":"LoRA rank 32 is greater than max_lora_rank 16"}}', 500), "--max-lora-rank"),
    ],
)
def test_a_refusal_says_what_to_change(context: Context, reply: Reply, words: str) -> None:
    server = ScriptedVllm()
    server.faults[PATH].append(reply)
    refused, mended = with_server(context, server, promoting(0), looking)
    assert refused.state is ServingState.REFUSED
    assert words in refused.reason
    assert mended.state is ServingState.LOADED


def test_another_base_is_published_as_files_and_said_so(context: Context) -> None:
    server = ScriptedVllm()
    add_adapter(context, 7, base_sha256="0" * 64)
    (serving,) = with_server(context, server, promoting(7))
    assert serving.state is ServingState.FILES
    assert f"serves {BASE}" in serving.reason
    assert server.calls == []
    assert read_json(context.workspace.adapters / IN_SERVICE)["in_service"]["adapter"] == "round-0007"


@pytest.mark.parametrize(("weights", "words"), [("", "set weights"), ("no-such-weights", "is not known")])
def test_an_endpoint_of_unknown_base_gets_files(context: Context, weights: str, words: str) -> None:
    (serving,) = with_server(context, ScriptedVllm(), promoting(0), weights=weights)
    assert serving.state is ServingState.FILES
    assert words in serving.reason


def test_the_path_is_told_as_the_server_sees_it(context: Context) -> None:
    server = ScriptedVllm()
    with_server(context, server, promoting(0), adapters_folder="/data/adapters")
    assert server.adapters == {served_name(0): "/data/adapters/round-0000/adapter"}


def test_a_changed_file_is_not_loaded(context: Context) -> None:
    server = ScriptedVllm()
    (context.workspace.adapters / "round-0000" / "adapter" / "adapter_model.safetensors").write_text("other")
    (serving,) = with_server(context, server, promoting(0))
    assert serving.state is ServingState.REFUSED
    assert "changed since" in serving.reason
    assert server.adapters == {}


def test_a_file_that_is_gone_is_said(context: Context) -> None:
    shutil.rmtree(context.workspace.adapters / "round-0000")
    (serving,) = with_server(context, ScriptedVllm(), promoting(0))
    assert serving.state is ServingState.REFUSED
    assert "not whole" in serving.reason


def test_a_tainted_adapter_leaves_the_server_though_its_successor_cannot_be_loaded(
    context: Context,
) -> None:
    server = ScriptedVllm()
    with_server(context, server, promoting(0), promoting(1))
    shutil.rmtree(context.workspace.adapters / "round-0000")
    tainted = context.pool.adapters()[1].model_copy(update={"is_tainted": True})
    context.pool.update_adapter(tainted)
    (serving,) = with_server(context, server, lambda now: roll_back(now, "tainted"))
    assert serving.state is ServingState.REFUSED
    assert served_name(1) not in server.adapters


def test_what_was_found_tainted_is_unloaded(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    server = ScriptedVllm()
    with_server(context, server, promoting(0))
    monkeypatch.setattr("seedbed.service.tainting.overlapping_rows", lambda *_: ["row"])
    (serving,) = with_server(context, server, mark_tainted)
    assert (serving.state, server.adapters) == (ServingState.BASE, {})


def test_an_endpoint_that_does_not_answer_is_waited_for(context: Context) -> None:
    promote(context, context.pool.adapters()[0], "better")
    serving = anyio.run(bring_into_service, context)
    assert serving.state is ServingState.WAITING
    assert "does not answer" in serving.reason
    (later,) = with_server(context, ScriptedVllm(), looking)
    assert later.state is ServingState.LOADED


@pytest.mark.parametrize("path", ["/v1/models", PATH, "/v1/completions", "/v1/unload_lora_adapter"])
@pytest.mark.parametrize("fault", [Reply(b"", fault=Fault.RESET), Reply(b"{}", 500), Reply(b"{}", 503)])
def test_a_fault_at_any_call_is_put_right_by_the_next_look(context: Context, path: str, fault: Reply) -> None:
    server = ScriptedVllm()
    with_server(context, server, promoting(0), promoting(1))
    server.faults[path].append(fault)
    failed, after = with_server(context, server, promoting(2), looking)
    assert failed.state in {ServingState.WAITING, ServingState.REFUSED}
    assert failed.reason
    assert (after.state, after.model) == (ServingState.LOADED, served_name(2))
    assert set(server.adapters) == {served_name(1), served_name(2)}


class Killed(BaseException):
    """The process died here."""


STEPS = ["loaded_models", "load_adapter", "effect_of", "unload_adapter", "write_in_service"]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("is_after", [False, True])
def test_a_death_before_or_after_any_step_is_put_right_by_the_next_process(
    context: Context, monkeypatch: pytest.MonkeyPatch, step: str, is_after: bool
) -> None:
    server = ScriptedVllm()
    with_server(context, server, promoting(0), promoting(1))
    real = getattr(serving_module, step)

    async def dies(*arguments: object, **more: object) -> None:
        if is_after:
            await real(*arguments, **more)
        raise Killed

    def dies_at_once(*arguments: object) -> None:
        if is_after:
            real(*arguments)
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(serving_module, step, dies_at_once if step == "write_in_service" else dies)
        with pytest.raises(Killed):
            with_server(context, server, promoting(2))
    (after,) = with_server(context, server, looking)
    assert (after.state, after.model) == (ServingState.LOADED, served_name(2))
    assert set(server.adapters) == {served_name(1), served_name(2)}
    assert read_in_service(context.workspace).ours == {served_name(1): "round-0001", served_name(2): "round-0002"}


def test_promoting_and_rolling_back_by_hand_say_where_it_answers(context: Context) -> None:
    server = ScriptedVllm()

    async def run() -> tuple[dict[str, object], dict[str, object]]:
        async with serve_scripted(respond=server) as base_url:
            configure(context.workspace.folder, base_url)
            opened = open_workspace(context.workspace.folder)
            now = Context(opened, context.pool, context.events, context.secrets, context.prompts)
            return await promote_by_hand(now, "round-0001", "why not"), await roll_back_by_hand(now, "that is why")

    promoted, rolled_back = anyio.run(run)
    assert f'endpoint "vllm" answers with it as model {served_name(1)}' in str(promoted["said"])
    assert rolled_back["adapter"] == ""
    assert rolled_back["said"] == "the base alone answers"
    assert server.adapters == {}


EMBEDDED = {"name": "local", "managed": "llama.cpp", "model": BASE}
OWN = {"name": "vllm", "base_url": "http://127.0.0.1:9/v1", "model": "base", "weights": BASE}


def configured(context: Context, endpoint: dict[str, str], **settings: object) -> Context:
    name = endpoint["name"]
    values = {"teacher": name, "serving": name, "endpoints": [endpoint], **settings}
    return replace(context, workspace=replace(context.workspace, config=parse_config(values, "test")))


def start_arguments(context: Context, *, writes_with_it: bool = False) -> tuple[str, ...]:
    (endpoint,) = with_adapter(context, teachers_of(context.workspace), writes_with_it=writes_with_it)
    return endpoint.arguments


def gguf(context: Context, number: int) -> Path:
    path = context.workspace.adapters / f"round-{number:04d}" / "adapter.gguf"
    path.write_text("as llama.cpp takes it")
    return path.resolve()


def test_the_embedded_server_starts_with_the_adapter_in_service_at_rest(context: Context) -> None:
    context = configured(context, EMBEDDED)
    first, second = gguf(context, 0), gguf(context, 1)
    assert start_arguments(context) == ()
    promote(context, context.pool.adapters()[0], "better")
    assert start_arguments(context) == ("--lora", str(first), "--lora-at-rest")
    promote(context, context.pool.adapters()[1], "better still")
    assert start_arguments(context) == ("--lora", str(second), "--lora-at-rest")
    roll_back(context, "worse after all")
    assert start_arguments(context) == ("--lora", str(first), "--lora-at-rest")
    assert start_arguments(context, writes_with_it=True) == ("--lora", str(first))
    (endpoint,) = with_adapter(context, teachers_of(context.workspace))
    weights = Weights(name=BASE, path=Path("base.gguf"), format="gguf", base_sha256="", licence="", is_instruct=True)
    assert launch_of(endpoint, weights, 1234).command[-3:] == ("--lora", str(first), "--lora-at-rest")


def test_without_its_file_or_of_another_base_the_server_starts_alone(context: Context) -> None:
    context = configured(context, EMBEDDED)
    promote(context, context.pool.adapters()[0], "better")
    assert start_arguments(context) == ()
    other = add_adapter(context, 3, base_sha256="f" * 64)
    gguf(context, 3)
    promote(context, other, "of another base")
    assert start_arguments(context) == ()


def test_a_vllm_is_asked_for_the_adapter_by_name_where_it_writes(context: Context) -> None:
    context = configured(context, OWN)
    promote(context, context.pool.adapters()[0], "better")
    assert [one.model for one in with_adapter(context, teachers_of(context.workspace), writes_with_it=True)] == ["base"]
    served = Serving(state=ServingState.LOADED, endpoint="vllm", model="round-0000-abc")
    record = read_in_service(context.workspace).model_copy(update={"serving": served})
    write_in_service(context.workspace, record)
    names = [
        with_adapter(context, teachers_of(context.workspace), writes_with_it=with_it)[0].model
        for with_it in (True, False)
    ]
    assert names == ["round-0000-abc", "base"]


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"teacher": "vllm", "endpoints": [OWN]}, "needs serving to name an endpoint of teacher"),
        (
            {"teacher": "m", "serving": "m", "endpoints": [{"name": "m", "managed": "vllm", "model": "/m"}]},
            "a managed vLLM has it later",
        ),
    ],
)
def test_the_adapter_can_only_write_where_it_is_served_in_time(settings: dict[str, object], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        parse_config({**settings, "generation": {"generate_with": "promoted"}}, "test")
