"""What an evaluation is told: one JSON file, so that it runs alone from the command line."""

from pathlib import Path

from pydantic import Field, ValidationError

from seedbed.core.config import EvaluationConfig, TrainingConfig
from seedbed.core.errors import InputError
from seedbed.core.files import read_json
from seedbed.core.records import Record
from seedbed.evaluation.tasks import HeldOutTask, SafetyTask, first_problem


class EvaluationSpec(Record):
    """Which adapter is compared with its base, on what."""

    adapter_id: str = Field(min_length=1)
    adapter: Path
    """Folder with `adapter_model.safetensors` and `adapter_config.json`."""
    snapshot: Path
    """Folder of the snapshot it was trained on; rows of its `val.jsonl` give the scores per trained category."""
    student: str = Field(min_length=1)
    """The base weights, by name or path."""
    tasks: tuple[HeldOutTask, ...]
    """Held-out rows, see `held_out_tasks`; without any the answer is "not enough rows to tell"."""
    safety: tuple[SafetyTask, ...] = ()
    """See `safety_tasks`; empty: safety is not compared."""
    held_out_categories: tuple[str, ...] = ()
    """For the report."""
    training: TrainingConfig = TrainingConfig()
    """As it was trained: the template and seed choose each row's form; device, dtype and threads are used too."""
    evaluation: EvaluationConfig = EvaluationConfig()
    """Lengths, draws, and what the promotion needs."""
    is_tainted: bool = False
    """The adapter was trained on rows that were later taken out for benchmark overlap."""
    with_unseen_form: bool = False
    """Put the questions to the adapter also in the form that is never trained on: a third more time."""
    prompts: Path | None = None
    """Folder of prompt templates that replace the packaged ones."""
    cache: Path | None = None
    """Folder of fetched and converted weights; None: the usual one."""
    accept_licence: tuple[str, ...] = ()
    """Licences that were accepted, for weights that ask for it."""


def read_spec(path: Path) -> EvaluationSpec:
    """Read a spec.

    Raises:
        MissingFileError: There is no such file.
        InputError: It is no spec; the message names the first field that is wrong.
    """
    try:
        return EvaluationSpec.model_validate(read_json(path))
    except ValidationError as error:
        raise InputError(f"{path} is no evaluation spec: {first_problem(error)}") from error
