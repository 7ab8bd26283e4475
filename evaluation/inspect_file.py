"""The held-out tasks as a task of inspect-ai, for people who evaluate with that harness."""

from collections.abc import Sequence
from pathlib import Path

from seedbed.core.files import write_atomic
from seedbed.evaluation.tasks import HeldOutTask

ROWS, TASK = "held_out.jsonl", "held_out.py"

_TASK = '''"""Seedbed's held-out tasks: `pip install seedbed inspect-ai`, then `inspect eval held_out.py --model MODEL`.

Answers are scored as Seedbed scores them; the standard error takes the rows of a task together.
"""

from pathlib import Path

from inspect_ai import Task, task
from inspect_ai.dataset import Sample, json_dataset
from inspect_ai.model import GenerateConfig
from inspect_ai.scorer import Score, Scorer, Target, grouped, mean, scorer, stderr
from inspect_ai.solver import TaskState, generate

from seedbed.evaluation.checks import follows
from seedbed.evaluation.scoring import scored_row
from seedbed.evaluation.tasks import HeldOutTask

ROWS = Path(__file__).with_name("{rows}")


def sample(record: dict) -> Sample:
    row = HeldOutTask.model_validate(record)
    return Sample(
        id=row.id,
        input=f"{{row.instruction}}\\n\\n{{row.input}}".strip(),
        target=list(row.references),
        metadata={{"task": row.task, "category": row.category, "row": record}},
    )


@scorer(metrics=[grouped(mean(), "category"), mean(), stderr(cluster="task")])
def as_seedbed() -> Scorer:
    async def score(state: TaskState, target: Target) -> Score:
        answer = state.output.completion
        found = scored_row(HeldOutTask.model_validate(state.metadata["row"]), answer, None, follows)
        return Score(value=found.score.value, answer=answer, metadata=state.metadata)

    return score


@task
def held_out() -> Task:
    return Task(
        dataset=json_dataset(str(ROWS), sample),
        solver=generate(),
        scorer=as_seedbed(),
        config=GenerateConfig(max_tokens={max_new_tokens}, temperature=0.0),
    )
'''


def write_inspect(tasks: Sequence[HeldOutTask], out: Path, max_new_tokens: int) -> None:
    """Write `held_out.jsonl` and `held_out.py`.

    Args:
        tasks: The rows.
        out: The folder for the two files.
        max_new_tokens: The longest answer, as in the evaluation.
    """
    write_atomic(out / ROWS, b"".join(task.model_dump_json().encode() + b"\n" for task in tasks))
    write_atomic(out / TASK, _TASK.format(rows=ROWS, max_new_tokens=max_new_tokens))
