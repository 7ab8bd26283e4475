"""The arms of the comparison: which model answers, and in which form the question is put."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from seedbed.core.config import TrainingConfig
from seedbed.evaluation.tasks import HeldOutTask
from seedbed.prompts.training_text import KEPT_BACK_FORM, Form, choose_form


@dataclass(frozen=True, slots=True)
class Arm:
    """One way of getting an answer from a model."""

    name: str
    uses_adapter: bool
    form: Callable[[str], Form]
    """The form of a row, by its id."""


def generated_arms(training: TrainingConfig, *, has_chat_template: bool, with_unseen_form: bool = False) -> list[Arm]:
    """Return the arms in which a model writes.

    `base` is asked as its makers meant it: by its chat template where it has one, else in plain text. `base_template`
    and `adapter` are asked in the form that the training would have chosen for the row, so they differ by the adapter
    alone. `adapter_unseen_form` is asked in the form that no training uses.
    """

    def trained_form(row_id: str) -> Form:
        return choose_form(training.template, row_id, training.seed)

    natural = Form.CHAT if has_chat_template else Form.BARE
    arms = [
        Arm("base", uses_adapter=False, form=lambda _: natural),
        Arm("base_template", uses_adapter=False, form=trained_form),
        Arm("adapter", uses_adapter=True, form=trained_form),
    ]
    if with_unseen_form:
        arms.append(Arm("adapter_unseen_form", uses_adapter=True, form=lambda _: KEPT_BACK_FORM))
    return arms


def copied_inputs(tasks: Sequence[HeldOutTask]) -> list[str]:
    """Return what a model scores with that repeats its input, or the instruction where there is none.

    On Super-NaturalInstructions this has ROUGE-L 14.2 (Wang et al. 2022).
    """
    return [task.input or task.instruction for task in tasks]


def copied_demonstrations(tasks: Sequence[HeldOutTask]) -> list[str]:
    """Return for each row the answer of another row of its task, or of its category where the task has no other.

    What a model scores with that repeats an example it was shown: ROUGE-L 28.5 on Super-NaturalInstructions (Wang et
    al. 2022). A row that has no fellow gets an empty answer.
    """
    by_task, by_category = defaultdict[str, list[int]](list), defaultdict[str, list[int]](list)
    for number, task in enumerate(tasks):
        by_task[task.task].append(number)
        by_category[task.category].append(number)
    copied = []
    for number, task in enumerate(tasks):
        fellows = by_task[task.task] if len(by_task[task.task]) > 1 else by_category[task.category]
        other = fellows[fellows.index(number) - 1]
        shown = tasks[other].references
        copied.append(shown[0] if shown and other != number else "")
    return copied
