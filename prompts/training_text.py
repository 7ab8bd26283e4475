"""The text a model is trained on: which form a row takes, and the words before its response.

Varied forms keep a model from learning one wording (FLAN 2021 uses ten templates for each data set, Self-Instruct
seven with input and six without). One form is never trained on, so that evaluation can tell the two apart.
"""

from enum import StrEnum

from seedbed.core.config import TrainingTemplate
from seedbed.core.records import Message
from seedbed.core.text import content_id
from seedbed.prompts.library import PromptLibrary


class Form(StrEnum):
    """One way of writing instruction and input down. The value is the template's name in `prompts/training/`."""

    ALPACA = "alpaca"
    """The two templates of Stanford Alpaca, byte for byte."""
    CHAT = "chat"
    """The tokenizer's own chat template; the only one that is not in `prompts/training/`."""
    BARE = "bare"
    """Nothing but instruction, input and blank lines."""
    LABELS = "labels"
    QUESTION = "question"
    TASK = "task"
    DIALOGUE = "dialogue"
    BRIEFING = "briefing"
    INPUT_FIRST = "input_first"
    HEADINGS = "headings"
    ERRAND = "errand"


MIXED_FORMS = (
    Form.ALPACA,
    Form.BARE,
    Form.LABELS,
    Form.QUESTION,
    Form.TASK,
    Form.DIALOGUE,
    Form.BRIEFING,
    Form.INPUT_FIRST,
    Form.HEADINGS,
)
"""The forms of `template = "mixed"`. Changing their order changes the form of every row."""

KEPT_BACK_FORM = Form.ERRAND
"""Never trained on; evaluation reports the score lost on it."""

PACKAGED = PromptLibrary()


def choose_form(template: TrainingTemplate, row_id: str, seed: int) -> Form:
    """Return the form of a row; under `mixed` it follows from a hash of the row's id and the seed alone."""
    if template is TrainingTemplate.ALPACA:
        return Form.ALPACA
    if template is TrainingTemplate.CHAT:
        return Form.CHAT
    return MIXED_FORMS[int(content_id((row_id, str(seed))), 16) % len(MIXED_FORMS)]


def training_prompt(form: Form, instruction: str, input: str, library: PromptLibrary = PACKAGED) -> str:
    """Return the text that precedes the response, which follows without any separator.

    Raises:
        ValueError: For `Form.CHAT`, whose text only the tokenizer can make; see `chat_turns`.
    """
    if form is Form.CHAT:
        raise ValueError("the chat form has no text of its own: give chat_turns() to the tokenizer's chat template")
    return library.get(f"training/{form}").render(instruction=instruction, input=input)


def chat_turns(instruction: str, input: str) -> tuple[Message, ...]:
    """Return the one user turn of a row, for the tokenizer's own chat template."""
    content = f"{instruction}\n\n{input}" if input else instruction
    return (Message(role="user", content=content),)
