"""The embedded server answers with the adapter in service where a request asks for it, on the real 0.5B."""

from dataclasses import replace
from pathlib import Path

import anyio
import httpx
import pytest

from seedbed.core.files import sha256_of, write_json
from seedbed.core.load import parse_config
from seedbed.core.records import Adapter, Serving, ServingState
from seedbed.service.context import Context, writing
from seedbed.service.init import create_workspace
from seedbed.service.live import Live
from seedbed.service.promotion import promote
from seedbed.service.serving import EMBEDDED_ASKS, bring_into_service, gguf_of
from seedbed.service.teachers import opened_teacher
from seedbed.service.workspace import open_workspace
from seedbed.trainer.convert import trainable_folder
from seedbed.trainer.gguf_adapter import write_gguf_adapter
from seedbed.weights.resolve import cache_folder, resolve

pytestmark = [
    pytest.mark.real,
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning"),  # of peft's
]
STUDENT = "qwen2.5-coder-0.5b"


def add_adapter(context: Context) -> Adapter:
    """Add an adapter of random weights, as PEFT writes it and as llama.cpp takes it."""
    import peft
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    base = trainable_folder(resolve(STUDENT), cache_folder())
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16)
    tuned = peft.get_peft_model(model, peft.LoraConfig(r=8, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"))
    for name, parameter in tuned.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    folder = context.workspace.adapters / "round-0000" / "adapter"
    tuned.save_pretrained(str(folder))
    write_json(folder / "manifest.json", {"adapter_sha256": sha256_of(folder / "adapter_model.safetensors")})
    adapter = Adapter(
        id="round-0000",
        round=0,
        snapshot_id="s",
        base=STUDENT,
        base_sha256=resolve(STUDENT).base_sha256,
        path="adapters/round-0000/adapter",
        created_at=0.0,
    )
    write_gguf_adapter(folder, base, gguf_of(context.workspace.folder, adapter))
    context.pool.add_adapter(adapter)
    return adapter


async def answer(url: str, **more: object) -> str:
    body = {"model": STUDENT, "prompt": "The capital of France is", "max_tokens": 12, "temperature": 0, **more}
    async with httpx.AsyncClient(timeout=120, trust_env=False) as client:
        reply = await client.post(f"{url}/completions", json=body)
    text: str = reply.json()["choices"][0]["text"]
    return text


def test_the_embedded_server_takes_the_adapter_at_its_next_start(tmp_path: Path) -> None:
    create_workspace(tmp_path / "w", base_url="http://unused/v1", model="m")
    endpoint = {"name": "local", "managed": "llama.cpp", "model": STUDENT, "max_in_flight": 2}
    settings: dict[str, object] = {"teacher": "local", "serving": "local", "endpoints": [endpoint]}
    config = parse_config(settings, "test")

    async def look(context: Context) -> tuple[Serving, str, str]:
        """Open the teacher; return how it stands, and what it answers as it is and where the adapter is asked for."""
        async with opened_teacher(context, Live()) as fleet:
            url = fleet.base_urls["local"]
            serving = await bring_into_service(context, url)
            if serving.state is ServingState.LOADED:
                assert await bring_into_service(context, url) == serving
            return serving, await answer(url), await answer(url, lora=[{"id": 0, "scale": 1}])

    async def main() -> None:
        with writing(replace(open_workspace(tmp_path / "w"), config=config)) as context:
            adapter = add_adapter(context)
            serving, before, _ = await look(context)
            assert serving.state is ServingState.BASE
            promote(context, adapter, "by hand")
            assert (await bring_into_service(context)).state is ServingState.WAITING
            serving, at_rest, asked = await look(context)
            assert serving.state is ServingState.LOADED
            assert EMBEDDED_ASKS in serving.reason
            assert at_rest == before
            assert asked != before
            settings["generation"] = {"generate_with": "promoted"}
            written = replace(context.workspace, config=parse_config(settings, "test"))
            promoted = replace(context, workspace=written)
            assert (await look(promoted))[1] == asked

    anyio.run(main)
