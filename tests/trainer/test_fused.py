"""The fused LoRA gives what PEFT gives, keeps less, and steps aside where it is unproven."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers

from seedbed.trainer.fused import fuse, reason_against_fusing
from seedbed.trainer.quiet import quiet

TOKENS = torch.arange(3, 83).reshape(2, 40)


def adapted(folder: Path, dtype: torch.dtype = torch.float32, **settings: Any) -> Any:
    """Return the tiny model with an adapter of PEFT's own making, every matrix random."""
    base = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
    wanted = {"r": 4, "lora_alpha": 12, "target_modules": "all-linear", "task_type": "CAUSAL_LM", **settings}
    with quiet():  # PEFT asks transformers the old way
        model = peft.get_peft_model(base, peft.LoraConfig(**wanted))
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    return model.train()


def loss_and_gradients(model: Any) -> tuple[float, dict[str, torch.Tensor]]:
    model.zero_grad()
    loss = model(input_ids=TOKENS, labels=TOKENS, use_cache=False).loss
    loss.backward()
    return loss.item(), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def kept_bytes(model: Any) -> int:
    """Return the bytes that autograd keeps between forward and backward, model weights left out."""
    weights = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = model(input_ids=TOKENS, use_cache=False).logits
    del output
    return sum(kept.values())


def test_loss_and_every_gradient_equal_those_of_peft(tiny_model_folder: Path) -> None:
    model = adapted(tiny_model_folder)
    expected_loss, expected = loss_and_gradients(model)
    assert fuse(model) == ""
    loss, found = loss_and_gradients(model)
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    assert found.keys() == expected.keys()
    assert len(found) == 2 * 7 * 2, "two matrices on seven layers in each of two blocks"
    for name, gradient in expected.items():
        assert float((found[name] - gradient).norm() / gradient.norm()) <= 1e-5, name


def test_gradients_in_bfloat16_are_as_near_to_float32_as_those_of_peft(tiny_model_folder: Path) -> None:
    _, exact = loss_and_gradients(adapted(tiny_model_folder))
    model, off = adapted(tiny_model_folder, torch.bfloat16), []
    for _ in range(2):
        _, found = loss_and_gradients(model)
        assert {gradient.dtype for gradient in found.values()} == {torch.float32}
        away = sum(float((found[name] - gradient).square().sum()) for name, gradient in exact.items())
        off.append(away / sum(float(gradient.square().sum()) for gradient in exact.values()))
        assert fuse(model) == ""
    assert off[1] <= 1.5 * off[0]


def test_what_the_optimiser_changed_is_used(tiny_model_folder: Path) -> None:
    """The casts to the base's numbers are kept from pass to pass, but not past a step."""
    model = adapted(tiny_model_folder, torch.bfloat16)
    fuse(model)
    parameters = [parameter for name, parameter in model.named_parameters() if "lora_" in name]
    optimiser = torch.optim.SGD(parameters, lr=0.5)
    before, _ = loss_and_gradients(model)
    again, _ = loss_and_gradients(model)
    optimiser.step()
    after, _ = loss_and_gradients(model)
    assert before == again
    assert after < before - 0.01


def test_the_first_layer_with_a_trained_input_passes_its_gradient_on(tiny_model_folder: Path) -> None:
    """Where the embeddings ask for a gradient, the slope of x flows through every layer."""
    model = adapted(tiny_model_folder)
    slopes = []
    for _ in range(2):
        embedded = model.get_input_embeddings()(TOKENS).detach().requires_grad_()
        model(inputs_embeds=embedded, labels=TOKENS, use_cache=False).loss.backward()
        slopes.append(embedded.grad)
        fuse(model)
    assert float((slopes[0] - slopes[1]).norm() / slopes[0].norm()) <= 1e-5


def test_no_float32_copy_of_an_activation_is_kept(tiny_model_folder: Path) -> None:
    model = adapted(tiny_model_folder, torch.bfloat16)
    plain = kept_bytes(model)
    fuse(model)
    fused = kept_bytes(model)
    # In each of 2 blocks PEFT keeps float32 copies of 5 inputs of 64, one of 64 and one of 128 numbers a token, and
    # seven products of rank 4; the fused way keeps the two normed inputs and the inner 128 numbers, in bfloat16.
    copies = 2 * TOKENS.numel() * (4 * (5 * 64 + 64 + 128) + 7 * 4 * 4)
    inputs = 2 * TOKENS.numel() * 2 * (2 * 64 + 128)
    assert plain - fused == pytest.approx(copies - inputs, rel=0.1)


def test_a_disabled_or_merged_adapter_answers_as_in_peft(tiny_model_folder: Path) -> None:
    plain, fused = adapted(tiny_model_folder).eval(), adapted(tiny_model_folder).eval()
    assert fuse(fused) == ""
    with torch.no_grad():
        with plain.disable_adapter(), fused.disable_adapter():
            assert torch.equal(plain(TOKENS).logits, fused(TOKENS).logits)
        before = fused(TOKENS).logits
        assert torch.allclose(before, plain(TOKENS).logits, atol=1e-5)
        merged = fused.merge_and_unload()
        assert torch.allclose(before, merged(TOKENS).logits, atol=1e-4)


def second_adapter(folder: Path) -> Any:
    model = adapted(folder)
    model.add_adapter("second", peft.LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM"))
    model.base_model.set_adapter(["default", "second"])
    return model


def half_bytes(folder: Path) -> Any:
    model = adapted(folder)
    for layer in model.modules():
        if isinstance(layer, peft.tuners.lora.Linear):
            layer.get_base_layer().weight.data = layer.get_base_layer().weight.data.to(torch.float8_e4m3fn)
    return model


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda folder: adapted(folder, use_dora=True), "DoRA"),
        (lambda folder: adapted(folder, lora_dropout=0.1), "lora_dropout"),
        (lambda folder: adapted(folder, lora_bias=True), "biases"),
        (lambda folder: adapted(folder, target_modules=["embed_tokens", "q_proj"]), "Embedding"),
        (second_adapter, "2 adapters are active"),
        (half_bytes, "quantised"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_what_is_unproven_is_left_to_peft_and_said(
    tiny_model_folder: Path, make: Callable[[Path], Any], said: str
) -> None:
    model = make(tiny_model_folder)
    assert said in fuse(model)
    layers = [module for module in model.modules() if isinstance(module, peft.tuners.lora.LoraLayer)]
    assert all("forward" not in vars(layer) for layer in layers), "nothing is changed by halves"


def test_biases_of_the_base_are_kept(tiny_model_folder: Path) -> None:
    model = adapted(tiny_model_folder)
    layer = next(module for name, module in model.named_modules() if name.endswith("q_proj"))
    torch.nn.init.normal_(layer.get_base_layer().bias)
    assert reason_against_fusing(layer) == ""
    x = torch.randn(3, 64)
    expected = layer(x)
    fuse(model)
    assert torch.allclose(layer(x), expected, atol=1e-5)
