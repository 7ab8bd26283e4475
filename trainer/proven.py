"""What a model must be for packing and the chunked loss; anything else is trained plainly, and says so."""

from typing import Any

import torch

from seedbed.prompts.training_text import Form
from seedbed.trainer.batches import packed
from seedbed.trainer.data import Row
from seedbed.trainer.loss import model_inputs


def reason_against_packing(model: Any) -> str:
    """Say why rows of this model are padded instead of packed; empty where packing is proven."""
    config = model.config
    layers = set(getattr(config, "layer_types", None) or ["full_attention"])
    if layers != {"full_attention"}:
        return f"layers of {', '.join(sorted(layers - {'full_attention'}))} are unproven with packing"
    if getattr(config, "num_experts", None) or getattr(config, "num_local_experts", None):
        return "mixtures of experts are unproven with packing"
    if getattr(config, "attn_logit_softcapping", None):
        return "capped attention scores are unproven with packing"
    if getattr(model, "is_quantized", False):
        return "a quantised base is unproven with packing"
    if not are_documents_isolated(model):
        return "this model lets packed documents see each other"
    return ""


def reason_against_chunked_loss(model: Any) -> str:
    """Say why this model's loss is taken from all its logits; empty where the chunked one is exact."""
    head = model.get_output_embeddings()
    if head is None or type(head) is not torch.nn.Linear or head.bias is not None:
        return "the output head is not a plain matrix"
    if any(getattr(model.config, key, None) for key in ("final_logit_softcapping", "logit_scale", "logits_scaling")):
        return "the model caps or scales its logits"
    return ""


def are_documents_isolated(model: Any) -> bool:
    """Try it: what stands in the first of two packed documents must not change the second by a single bit."""
    size = min(64, model.config.vocab_size - 1)
    second = _row(tuple(range(1, 8)))
    answers = []
    for first in (_row((1,) * 6), _row((size,) * 6)):
        batch = packed([first, second], 1.0).to(model.device)
        with torch.no_grad():
            logits = model(**model_inputs(model, batch)).logits
        answers.append(logits[0, len(first) :])
    return torch.equal(answers[0], answers[1])


def _row(tokens: tuple[int, ...]) -> Row:
    return Row("", Form.ALPACA, tokens, 1)
