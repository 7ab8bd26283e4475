"""What is found out about a row before it is decided: its category, as verified."""

from collections.abc import Sequence

from seedbed.core.records import Candidate
from seedbed.filters.held_out import CategoryOf
from seedbed.generator.engine import Check
from seedbed.seeds.classifier import Row
from seedbed.service.workspace import Workspace


def checker(workspace: Workspace) -> Check:
    """Return what looks at the rows of a run."""

    async def check(candidates: Sequence[Candidate]) -> Sequence[Candidate]:
        return [verified(workspace, candidate) for candidate in candidates]

    return check


def verified(workspace: Workspace, candidate: Candidate) -> Candidate:
    """Return a row with its verified category.

    A held-out category is told whatever the row was asked for as; a recipe that makes sure of the category itself
    has said so on the row already.
    """
    if workspace.config.generation.verify_category == "off":
        return candidate
    found = workspace.classifier.named(_row(candidate), candidate.category or candidate.requested_category)
    category = candidate.category if candidate.category and found not in workspace.held_out else found
    return candidate.model_copy(update={"category": category})


def held_out_category(workspace: Workspace) -> CategoryOf | None:
    """Return what tells the held-out rows for the filter; None where the config wants nobody to."""
    if workspace.config.generation.verify_category == "off":
        return None
    classifier = workspace.classifier
    return lambda candidate: classifier.named(_row(candidate), candidate.category or candidate.requested_category)


def _row(candidate: Candidate) -> Row:
    return Row(candidate.instruction, candidate.input, candidate.output)
