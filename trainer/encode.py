"""From a row's words to token ids, the same way for training and for answering.

Prompt and response are encoded apart and joined, because that is how a model meets them when it answers: a token
that straddles the border would be trained and never seen.
"""

from typing import Any

from seedbed.core.errors import ConfigError, TrainingError
from seedbed.prompts.library import PromptLibrary
from seedbed.prompts.training_text import PACKAGED, Form, chat_turns, training_prompt

# Ends of a turn in the chat formats of today; a model may stop at any of them that it has.
_TURN_ENDS = ("<|im_end|>", "<|eot_id|>", "<end_of_turn>", "<|endoftext|>", "<|end_of_text|>", "<|end|>", "<|eom_id|>")
_SENTINEL = "seedbed"


def prompt_ids(
    tokenizer: Any, form: Form, instruction: str, input: str, library: PromptLibrary = PACKAGED
) -> list[int]:
    """Return the tokens that precede the response, with the beginning-of-text token where the model has one.

    Raises:
        ConfigError: The form is `chat` and the tokenizer has no chat template.
    """
    if form is Form.CHAT:
        return _chat_ids(tokenizer, instruction, input)
    return list(tokenizer(training_prompt(form, instruction, input, library)).input_ids)


def response_ids(tokenizer: Any, form: Form, output: str) -> list[int]:
    """Return the response's tokens and the one that ends it."""
    return [*tokenizer(output, add_special_tokens=False).input_ids, end_id(tokenizer, form)]


def end_id(tokenizer: Any, form: Form) -> int:
    """Return the token that ends a response: the chat template's end of turn, else the end of text.

    Raises:
        TrainingError: The tokenizer has no end-of-text token, so no model could learn to stop.
    """
    if form is Form.CHAT and (turn_end := _turn_end_id(tokenizer)) is not None:
        return turn_end
    if tokenizer.eos_token_id is None:
        raise TrainingError("the tokenizer has no end-of-text token, so a model could not learn to stop")
    return int(tokenizer.eos_token_id)


def stop_ids(tokenizer: Any, model: Any | None = None) -> tuple[int, ...]:
    """Return every token at which an answer ends: end of text, end of turn, and what the model itself names."""
    found = {tokenizer.eos_token_id, _turn_end_id(tokenizer) if has_chat_template(tokenizer) else None}
    vocabulary = tokenizer.get_vocab()
    found |= {vocabulary.get(token) for token in _TURN_ENDS}
    named = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    found |= set(named) if isinstance(named, list) else {named}
    return tuple(sorted(int(token) for token in found if token is not None))


def has_chat_template(tokenizer: Any) -> bool:
    """Tell whether the form `chat` can be used."""
    return bool(tokenizer.chat_template)


def _messages(instruction: str, input: str) -> list[dict[str, str]]:
    return [message.model_dump() for message in chat_turns(instruction, input)]


def _chat_ids(tokenizer: Any, instruction: str, input: str) -> list[int]:
    if not has_chat_template(tokenizer):
        raise ConfigError('the student has no chat template: set template = "mixed" or "alpaca" in [training]')
    text = tokenizer.apply_chat_template(_messages(instruction, input), add_generation_prompt=True, tokenize=False)
    return list(tokenizer(text, add_special_tokens=False).input_ids)


def _turn_end_id(tokenizer: Any) -> int | None:
    """Return the token that the chat template writes after an answer, None where it writes none."""
    messages = [*_messages("question", ""), {"role": "assistant", "content": _SENTINEL}]
    text = tokenizer.apply_chat_template(messages, tokenize=False)
    after = tokenizer(text.rpartition(_SENTINEL)[2].strip(), add_special_tokens=False).input_ids
    return int(after[0]) if after else None
