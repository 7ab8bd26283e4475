"""`adapters/in-service.json`: which adapter is in service, where it answers, and what was loaded by us."""

from pydantic import Field, ValidationError

from seedbed.core.errors import InputError, MissingFileError
from seedbed.core.files import read_json, write_json
from seedbed.core.records import Record, Serving, ServingState
from seedbed.service.workspace import Workspace

IN_SERVICE = "in-service.json"


class Published(Record):
    """The adapter in service, for whoever loads it."""

    adapter: str
    path: str
    """Its folder, relative to the workspace."""
    base: str


class InService(Record):
    """The file."""

    in_service: Published | None = None
    """None: the base alone."""
    serving: Serving = Serving()
    """As it was at the last look at the endpoint."""
    ours: dict[str, str] = Field(default_factory=dict)
    """Names that we loaded into the endpoint, or were about to when we last wrote, to their adapters."""


def read_in_service(workspace: Workspace) -> InService:
    """Read the file; one that is not there says that nothing is in service.

    Raises:
        InputError: It was changed to something else.
    """
    path = workspace.adapters / IN_SERVICE
    try:
        return InService.model_validate(read_json(path))
    except MissingFileError:
        return InService()
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]["msg"]
        raise InputError(f"{path} is not as Seedbed writes it ({problem}); delete it, and it is written anew") from None


def write_in_service(workspace: Workspace, record: InService) -> None:
    """Replace the file."""
    write_json(workspace.adapters / IN_SERVICE, record.model_dump(mode="json"))


def sentence_of(serving: Serving) -> str:
    """Say how an adapter is served, for people."""
    where = f'endpoint "{serving.endpoint}"'
    said = {
        ServingState.BASE: "the base alone answers",
        ServingState.FILES: f"published as files: {serving.reason}",
        ServingState.LOADED: f"{where} answers with it as model {serving.model}: {serving.reason}",
        ServingState.WAITING: f"{where} does not have it yet: {serving.reason}",
        ServingState.REFUSED: f"{where} does not serve it: {serving.reason}",
    }[serving.state]
    is_other = serving.model and serving.state in {ServingState.WAITING, ServingState.REFUSED}
    return f"{said}; model {serving.model} was the last that answered there" if is_other else said
