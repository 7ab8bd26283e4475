"""Answers from the student on this machine, with or without an adapter: greedy, in batches."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import peft
import torch
import transformers

from seedbed.core.errors import ConfigError, InputError
from seedbed.prompts.library import PromptLibrary
from seedbed.prompts.training_text import PACKAGED, Form
from seedbed.trainer.encode import has_chat_template, prompt_ids, stop_ids
from seedbed.trainer.model import choose_machine, load_base, load_tokenizer
from seedbed.trainer.quiet import quiet


@dataclass(frozen=True, slots=True)
class Prompted:
    """One question, in the form in which it is put."""

    form: Form
    instruction: str
    input: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model wrote."""

    text: str
    ended: bool
    """It stopped by itself, at an end-of-text or end-of-turn token, and was not cut at the limit."""
    tokens: int
    """Written, the end not counted."""


class LocalModel:
    """A student in memory. Answers are greedy, so equal questions get equal answers."""

    def __init__(
        self,
        folder: Path,
        *,
        adapter: Path | None = None,
        dtype: str = "auto",
        device: str = "auto",
        threads: int = 0,
        prompts: PromptLibrary = PACKAGED,
    ) -> None:
        """Load a Hugging Face folder (see `trainable_folder` for a GGUF), and an adapter on it.

        Raises:
            ConfigError: A GPU is asked for and there is none.
            InputError: A folder holds no model, or no adapter for it.
        """
        machine = choose_machine(device, dtype, threads)
        self._tokenizer, self._prompts = load_tokenizer(folder), prompts
        self._model = load_base(folder, machine)
        self._stops = stop_ids(self._tokenizer, self._model)
        # A folder may bring sampling settings and penalties of its own; what is measured here is plain greedy.
        self._model.generation_config = transformers.GenerationConfig()  # type: ignore[no-untyped-call]
        self._has_adapter = adapter is not None
        if adapter is not None:
            self._model = _with_adapter(self._model, adapter)
        self._model.eval()

    @property
    def has_chat_template(self) -> bool:
        """Tell whether questions may take the form `chat`."""
        return has_chat_template(self._tokenizer)

    @contextmanager
    def base(self) -> Iterator[None]:
        """Switch the adapter off within the block."""
        if not self._has_adapter:
            yield
            return
        with self._model.disable_adapter():
            yield

    def answer(self, prompts: Sequence[Prompted], *, max_new_tokens: int = 128, batch_rows: int = 8) -> list[Answer]:
        """Answer each prompt, in the order given.

        Raises:
            ConfigError: A prompt takes the form `chat` and the student has no chat template.
        """
        encoded = [prompt_ids(self._tokenizer, it.form, it.instruction, it.input, self._prompts) for it in prompts]
        by_length = sorted(range(len(encoded)), key=lambda number: len(encoded[number]))
        answers: dict[int, Answer] = {}
        for at in range(0, len(by_length), batch_rows):
            numbers = by_length[at : at + batch_rows]
            written = self._batch([encoded[number] for number in numbers], max_new_tokens)
            answers |= dict(zip(numbers, written, strict=True))
        return [answers[number] for number in range(len(prompts))]

    def _batch(self, rows: list[list[int]], max_new_tokens: int) -> list[Answer]:
        longest, pad = max(map(len, rows)), self._tokenizer.pad_token_id
        input_ids = torch.tensor([[pad] * (longest - len(row)) + row for row in rows])  # (B, T)
        mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows])
        settings = transformers.GenerationConfig(  # type: ignore[no-untyped-call]
            do_sample=False,
            max_new_tokens=max_new_tokens,
            eos_token_id=list(self._stops),
            pad_token_id=pad,
            use_cache=True,
        )
        device = next(self._model.parameters()).device
        with torch.inference_mode(), quiet():
            written = self._model.generate(
                input_ids=input_ids.to(device), attention_mask=mask.to(device), generation_config=settings
            )
        return [self._read(row[longest:].tolist()) for row in written]

    def _read(self, written: list[int]) -> Answer:
        end = next((at for at, token in enumerate(written) if token in self._stops), None)
        kept = written[:end]
        text = self._tokenizer.decode(kept, skip_special_tokens=True)
        return Answer(text.strip(), end is not None, len(kept))


def _with_adapter(model: Any, adapter: Path) -> Any:
    if not (adapter / "adapter_model.safetensors").exists():
        raise InputError(f"{adapter} is no adapter folder: it has no adapter_model.safetensors")
    try:
        with quiet():
            return peft.PeftModel.from_pretrained(model, str(adapter), local_files_only=True)
    except (RuntimeError, ValueError, KeyError) as error:
        raise ConfigError(f"{adapter} does not fit its base: {str(error).splitlines()[0]}") from error
