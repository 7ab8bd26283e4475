"""Serving against a real vLLM, by hand: it takes an environment of its own and minutes to start.

    SEEDBED_VLLM_PYTHON=/path/to/vllm-env/bin/python pytest -m manual tests/service/test_real_vllm.py

or `SEEDBED_VLLM_URL=http://127.0.0.1:8000/v1 SEEDBED_VLLM_MODEL=NAME` for one that serves the 0.5B already.
"""

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from seedbed.core.config import BudgetConfig, EndpointConfig, Secrets
from seedbed.core.errors import EndpointRejectedError
from seedbed.core.events import Events
from seedbed.core.files import sha256_of, write_json
from seedbed.core.records import Adapter, Serving, ServingState
from seedbed.endpoints.adapters import load_adapter, loaded_models, unload_adapter
from seedbed.endpoints.control import Control, controlling
from seedbed.endpoints.opening import open_fleet
from seedbed.service.context import Context, writing
from seedbed.service.init import create_workspace
from seedbed.service.promotion import promote, roll_back
from seedbed.service.serving import bring_into_service
from seedbed.service.workspace import open_workspace
from seedbed.trainer.convert import trainable_folder
from seedbed.weights.resolve import cache_folder, resolve

pytestmark = [
    pytest.mark.manual,
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning"),  # of peft's
    pytest.mark.skipif(not {"SEEDBED_VLLM_PYTHON", "SEEDBED_VLLM_URL"} & set(os.environ), reason="no vLLM is named"),
]
STUDENT = "qwen2.5-coder-0.5b"


@asynccontextmanager
async def running_vllm(folder: Path, logs: Path) -> AsyncIterator[EndpointConfig]:
    """Yield an endpoint with its address: one that runs, or one that is started for the test."""
    if url := os.environ.get("SEEDBED_VLLM_URL"):
        model = os.environ.get("SEEDBED_VLLM_MODEL", STUDENT)
        yield EndpointConfig(name="vllm", base_url=url, model=model, weights=STUDENT)
        return
    arguments = ("--max-model-len", "2048", "--max-cpu-loras", "4")
    python = os.environ["SEEDBED_VLLM_PYTHON"]
    managed = EndpointConfig(name="vllm", managed="vllm", model=str(folder), python=python, arguments=arguments)
    opening = open_fleet(
        [managed], secrets=Secrets(), budget=BudgetConfig(), max_attempts=1, log_folder=logs, events=Events()
    )
    async with opening as fleet:
        yield EndpointConfig(name="vllm", base_url=fleet.base_urls["vllm"], model=str(folder), weights=STUDENT)


def write_adapter(context: Context, base: Path, number: int, scale: float) -> Adapter:
    """Write a LoRA adapter of random weights as PEFT does; with a scale of 0 it changes nothing."""
    import peft
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(number)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16)
    tuned = peft.get_peft_model(model, peft.LoraConfig(r=8, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"))
    for name, parameter in tuned.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=scale)
    folder = context.workspace.adapters / f"round-{number:04d}" / "adapter"
    tuned.save_pretrained(str(folder))
    write_json(folder / "manifest.json", {"adapter_sha256": sha256_of(folder / "adapter_model.safetensors")})
    adapter = Adapter(
        id=f"round-{number:04d}",
        round=number,
        snapshot_id="s",
        base=STUDENT,
        base_sha256=resolve(STUDENT).base_sha256,
        path=f"adapters/round-{number:04d}/adapter",
        created_at=0.0,
    )
    context.pool.add_adapter(adapter)
    return adapter


@pytest.fixture
def student() -> Path:
    return trainable_folder(resolve(STUDENT), cache_folder())


async def names_of(control: Control) -> set[str]:
    return {name for name in await loaded_models(control) if name.startswith("round-")}


def test_adapters_are_loaded_tried_rolled_back_and_unloaded(tmp_path: Path, student: Path) -> None:
    async def run() -> None:
        async with running_vllm(student, tmp_path / "logs") as endpoint:
            create_workspace(tmp_path / "w", base_url=endpoint.base_url, model=endpoint.model)
            keys = {"name": "vllm", "base_url": endpoint.base_url, "model": endpoint.model, "weights": STUDENT}
            lines = [f"{key} = {json.dumps(value)}" for key, value in keys.items()]
            head = ['teacher = "vllm"', 'serving = "vllm"', "[[endpoints]]"]
            (tmp_path / "w" / "seedbed.toml").write_text("\n".join([*head, *lines]) + "\n")
            with writing(open_workspace(tmp_path / "w")) as context:
                async with controlling(endpoint.base_url, "vllm") as control:
                    await walk(context, control, student)

    anyio.run(run)


async def walk(context: Context, control: Control, base: Path) -> None:
    others = await names_of(control)
    first, second, idle = (write_adapter(context, base, 900 + n, scale) for n, scale in enumerate((0.05, 0.05, 0.0)))

    async def served(adapter: Adapter) -> Serving:
        promote(context, adapter, "by hand")
        return await bring_into_service(context)

    one = await served(first)
    assert one.state is ServingState.LOADED, one.reason
    two = await served(second)
    assert two.state is ServingState.LOADED, two.reason
    assert await names_of(control) - others == {one.model, two.model}

    with pytest.raises(EndpointRejectedError, match="already been loaded"):
        await load_adapter(control, two.model, str(context.workspace.folder / first.path))
    with pytest.raises(EndpointRejectedError, match=r"adapters_folder|did not load"):
        await load_adapter(control, "round-nowhere", "/nowhere/at/all")

    three = await served(idle)
    assert three.state is ServingState.REFUSED
    assert three.model == two.model
    print(one.reason, "|", two.reason, "|", three.reason)

    roll_back(context, "it does nothing")
    back = await bring_into_service(context)
    assert (back.state, back.model) == (ServingState.LOADED, two.model)

    await unload_adapter(control, two.model)  # as a server that was started anew
    assert (await bring_into_service(context)).state is ServingState.LOADED
    assert two.model in await names_of(control)

    for _ in range(2):
        roll_back(context, "done")
        last = await bring_into_service(context)
    assert last.state is ServingState.BASE
    assert await names_of(control) == others
