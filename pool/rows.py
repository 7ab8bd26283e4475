"""Records to database rows and back."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, TypeAdapter
from pydantic_core import PydanticSerializationError
from sqlalchemy import Row

from seedbed.core.records import (
    Candidate,
    Completion,
    Decider,
    Decision,
    FinishReason,
    Lineage,
    Message,
    Proposal,
    Request,
    RunState,
    Sampling,
    Subject,
    TrainingRun,
    Verdict,
)
from seedbed.pool.records import SpentFor

Values = dict[str, Any]
Records = TypeVar("Records", tuple[Message, ...], tuple[Verdict, ...])

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_VERDICTS = TypeAdapter(tuple[Verdict, ...])
_MESSAGES = TypeAdapter(tuple[Message, ...])


def storable(text: str) -> str:
    """Replace NUL and lone surrogates, which not every database takes, by U+FFFD; as `canonical` does for the id."""
    return text if text.isascii() and "\0" not in text else _UNSTORABLE.sub("\ufffd", text)


def as_json(value: BaseModel | Sequence[BaseModel] | Mapping[str, float] | Sequence[str]) -> str:
    """Write a record, or several, or plain values, as JSON that the database can take."""
    try:
        if isinstance(value, BaseModel):
            return value.model_dump_json()
        return orjson.dumps(value, default=_dumped).decode()
    except (PydanticSerializationError, TypeError):
        return orjson.dumps(_plain(value)).decode()


def _all_as_json(kind: TypeAdapter[Records], records: Records) -> str:
    """Write records of one kind as `as_json` does, in a sixth of the time."""
    try:
        return kind.dump_json(records).decode()
    except PydanticSerializationError:
        return as_json(records)


def _dumped(value: object) -> object:
    """Let orjson write a record inside a list."""
    if isinstance(value, BaseModel):
        return value.model_dump()
    raise TypeError(f"{type(value).__name__} is no JSON")


def _plain(value: Any) -> Any:
    """Rebuild a value that holds text with lone surrogates, which no JSON writer takes."""
    if isinstance(value, str):
        return storable(str(value))
    if isinstance(value, BaseModel):
        return {name: _plain(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, Mapping):
        return {storable(str(key)): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return value


def recipe_of(purpose: str) -> str:
    """Return the recipe of a request's purpose: `self_instruct` of `self_instruct.propose`."""
    return purpose.partition(".")[0]


def spent_key(endpoint: str, recipe: str, category: str) -> str:
    """Name the counter of what an endpoint answered to a recipe for a category."""
    return f"{endpoint}/{recipe}/{category}"


def to_spent_for(key: str) -> SpentFor:
    """Read the name of such a counter; only a category may have a slash in it."""
    return SpentFor(*key.split("/", 2))


def request_row(request: Request, asked_at: float, node: str) -> Values:
    """Write a request that has no answer yet, and which service asks."""
    return {
        "id": request.id,
        "purpose": request.purpose,
        "requested_category": request.requested_category,
        "prompt_sha256": request.prompt_sha256,
        "demonstration_ids": as_json(request.demonstration_ids),
        "messages": _all_as_json(_MESSAGES, request.messages),
        "sampling": as_json(request.sampling),
        "state": "waiting",
        "asked_at": asked_at,
        "node": node,
    }


def to_request(row: Row[Any]) -> Request:
    """Read a request."""
    return Request(
        id=row.id,
        purpose=row.purpose,
        messages=_MESSAGES.validate_json(row.messages),
        sampling=Sampling.model_validate_json(row.sampling),
        prompt_sha256=row.prompt_sha256,
        demonstration_ids=orjson.loads(row.demonstration_ids),
        requested_category=row.requested_category,
    )


def completion_row(completion: Completion, received_at: float) -> Values:
    """Write a completion."""
    return {
        "request_id": completion.request_id,
        "text": storable(completion.text),
        "finish_reason": completion.finish_reason.value,
        "prompt_tokens": completion.prompt_tokens,
        "completion_tokens": completion.completion_tokens,
        "is_usage_counted": int(completion.is_usage_counted),
        "model": storable(completion.model),
        "endpoint": completion.endpoint,
        "latency_s": completion.latency_s,
        "received_at": received_at,
    }


def to_completion(row: Row[Any]) -> Completion:
    """Read a completion."""
    return Completion(
        request_id=row.request_id,
        text=row.text,
        finish_reason=FinishReason(row.finish_reason),
        prompt_tokens=row.prompt_tokens,
        completion_tokens=row.completion_tokens,
        is_usage_counted=bool(row.is_usage_counted),
        model=row.model,
        endpoint=row.endpoint,
        latency_s=row.latency_s,
    )


def proposal_row(proposal: Proposal) -> Values:
    """Write a proposal, without the decision on it."""
    return {
        "id": proposal.id,
        "instruction": storable(proposal.instruction),
        "requested_category": storable(proposal.requested_category),
        "is_classification": None if proposal.is_classification is None else int(proposal.is_classification),
        "lineage": as_json(proposal.lineage),
    }


def to_proposal(row: Row[Any]) -> Proposal:
    """Read a proposal."""
    return Proposal(
        id=row.id,
        instruction=row.instruction,
        requested_category=row.requested_category,
        is_classification=None if row.is_classification is None else bool(row.is_classification),
        lineage=Lineage.model_validate_json(row.lineage),
    )


def candidate_row(candidate: Candidate) -> Values:
    """Write a candidate, without the decision on it."""
    return {
        "id": candidate.id,
        "task_id": storable(candidate.task_id),
        "instruction": storable(candidate.instruction),
        "input": storable(candidate.input),
        "output": storable(candidate.output),
        "requested_category": storable(candidate.requested_category),
        "category": storable(candidate.category),
        "grades": as_json(candidate.grades),
        "lineage": as_json(candidate.lineage),
        "recipe": storable(candidate.lineage.recipe),
        "effective_category": storable(candidate.category or candidate.requested_category),
    }


def to_candidate(row: Row[Any]) -> Candidate:
    """Read a candidate; its own columns are trusted, since a million are read at a start."""
    return Candidate.model_construct(
        id=row.id,
        task_id=row.task_id,
        instruction=row.instruction,
        input=row.input,
        output=row.output,
        requested_category=row.requested_category,
        category=row.category,
        grades=orjson.loads(row.grades) if row.grades != "{}" else {},
        lineage=Lineage.model_validate_json(row.lineage),
    )


def refusal_of(decision: Decision) -> tuple[str, str]:
    """Return the filter and the reason of a refusal: who decided, where no verdict refused; empty where accepted."""
    if decision.accepted:
        return "", ""
    if decision.deciding is None:
        return decision.by.value, "refused"
    return storable(decision.deciding.filter), storable(decision.deciding.reason)


def decision_row(decision: Decision) -> Values:
    """Write a decision, with the filter and the reason that refused in columns of their own."""
    filter_name, reason = refusal_of(decision)
    return {
        "subject": decision.subject.value,
        "subject_id": decision.subject_id,
        "sequence": decision.sequence,
        "is_accepted": int(decision.accepted),
        "filter": filter_name,
        "reason": reason,
        "verdicts": _all_as_json(_VERDICTS, decision.verdicts),
        "decided_by": decision.by.value,
        "note": storable(decision.note),
        "decided_at": decision.decided_at,
    }


def to_decision(row: Row[Any]) -> Decision:
    """Read a decision."""
    return Decision(
        subject=Subject(row.subject),
        subject_id=row.subject_id,
        sequence=row.sequence,
        accepted=bool(row.is_accepted),
        verdicts=_VERDICTS.validate_json(row.verdicts),
        by=Decider(row.decided_by),
        note=row.note,
        decided_at=row.decided_at,
    )


def run_row(run: TrainingRun) -> Values:
    """Write a training run."""
    return {**run.model_dump(), "state": run.state.value, "last_error": storable(run.last_error)}


def to_run(row: Row[Any]) -> TrainingRun:
    """Read a training run."""
    return TrainingRun(**{**row._asdict(), "state": RunState(row.state)})
