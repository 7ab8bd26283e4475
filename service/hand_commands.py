"""Commands of a person's own decisions: rows accepted, refused or quarantined, and what a service is to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer

from seedbed.service.cli import Here, Json, emit
from seedbed.service.work_commands import running_service, work

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from seedbed.core.records import Decision
    from seedbed.pool.records import Intent
    from seedbed.service.client import Client
    from seedbed.service.context import Context
    from seedbed.service.control import Control
    from seedbed.service.exchanged import Quarantined
    from seedbed.service.live import Live
    from seedbed.service.stopping import Stop

T = TypeVar("T")
Action = Literal["start", "pause", "drain", "stop"]
Ids = Annotated[list[str], typer.Argument(metavar="ID...", help="Rows' ids, or their beginnings; whole with --url.")]
Note = Annotated[str, typer.Option(help="Why, for the record.")]
NOTHING = "none"


def rows_accept(ids: Ids, note: Note = "by hand", as_json: Json = False) -> None:
    """Accept rows by hand, whatever the filters said."""
    _decide(ids, note, accepted=True, as_json=as_json)


def rows_refuse(ids: Ids, note: Note = "by hand", as_json: Json = False) -> None:
    """Refuse rows by hand.

    They are kept, and what snapshots and adapters have of them stays.
    """
    _decide(ids, note, accepted=False, as_json=as_json)


def rows_quarantine(
    ancestor: Annotated[str, typer.Argument(metavar="KIND", help="seed (or a row), prompt or model.")],
    name: Annotated[str, typer.Argument(help="A seed's or row's whole id, a prompt's hash, a model's name.")],
    note: Note = "by hand",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count the rows.")] = False,
    as_json: Json = False,
) -> None:
    """Refuse all that descends from something.

    Every accepted row that a seed or a row, a prompt or a model is an ancestor of.
    """
    from seedbed.service.exchanged import QuarantineWanted

    wanted = _checked(QuarantineWanted, ancestor=ancestor, name=name, note=note, dry_run=dry_run)
    if service := running_service():
        from seedbed.service.remote import new_key

        with service:
            found = service.quarantine(wanted.ancestor, name, note, dry_run=dry_run, key=new_key())
    else:

        async def job(context: Context, _: Stop, live: Live) -> dict[str, Any]:
            from seedbed.service.hand_decisions import quarantine_by_hand

            return {"found": await quarantine_by_hand(context, live, wanted)}

        found = work(job, as_json)["found"]
    emit(as_json, found.model_dump(mode="json"), _quarantined(found))


def control_show(as_json: Json = False) -> None:
    """Print what is wanted of this workspace's service."""
    from seedbed.pool.pool import Pool
    from seedbed.service.workspace import open_workspace

    if service := running_service():
        with service:
            intent = service.intent()
    else:
        workspace = open_workspace(Here.workspace)
        with Pool.open(workspace.folder, workspace.config.pool, read_only=True) as pool:
            intent = pool.intent()
    emit(as_json, intent.model_dump(mode="json"), _wanted(intent))


def control_start(as_json: Json = False) -> None:
    """Generate and train, after a pause or a drain."""
    _steer("start", as_json)


def control_pause(as_json: Json = False) -> None:
    """Generate no more; a training that is due goes on."""
    _steer("pause", as_json)


def control_drain(as_json: Json = False) -> None:
    """Begin nothing new at all; the service goes on answering."""
    _steer("drain", as_json)


def control_stop(as_json: Json = False) -> None:
    """End the running service when what is in flight is done."""
    from seedbed.core.errors import InputError
    from seedbed.service.remote import new_key

    service = running_service()
    if service is None:
        raise InputError(f"no service answers in {Here.workspace.resolve()}: there is none to stop")
    with service:
        intent = service.control("stop", key=new_key())
    emit(as_json, intent.model_dump(mode="json"), "the service drains and ends")


def control_target(
    rows: Annotated[str, typer.Argument(metavar="ROWS", help="Accepted rows; none goes on for ever.")],
    as_json: Json = False,
) -> None:
    """Stop generating at so many accepted rows."""
    from seedbed.service.exchanged import TargetWanted
    from seedbed.service.remote import new_key

    target = _checked(TargetWanted, target=_number(rows)).target
    _want(
        lambda service: service.set_target(target, key=new_key()), lambda control: control.set_target(target), as_json
    )


def control_concurrency(
    recipes: Annotated[str, typer.Argument(metavar="RECIPES", help="A number; none goes by the config.")],
    as_json: Json = False,
) -> None:
    """Run so many recipes at once."""
    from seedbed.service.exchanged import ConcurrencyWanted
    from seedbed.service.remote import new_key

    chosen = _checked(ConcurrencyWanted, concurrency=_number(recipes)).concurrency
    _want(
        lambda service: service.set_concurrency(chosen, key=new_key()),
        lambda control: control.set_concurrency(chosen),
        as_json,
    )


def control_budget(
    max_tokens: Annotated[str | None, typer.Option(help="0 has no limit, none goes by the config.")] = None,
    max_cost: Annotated[str | None, typer.Option(help="In your currency; 0 and none as for tokens.")] = None,
    as_json: Json = False,
) -> None:
    """Limit what is spent; what is not named stays as it is."""
    from seedbed.core.errors import ConfigError
    from seedbed.service.exchanged import BudgetWanted
    from seedbed.service.remote import new_key

    if max_tokens is None and max_cost is None:
        raise ConfigError("name --max-tokens, --max-cost or both")

    def chosen(intent: Intent) -> BudgetWanted:
        tokens = intent.max_tokens if max_tokens is None else _number(max_tokens)
        cost = intent.max_cost if max_cost is None else _number(max_cost, float)
        return _checked(BudgetWanted, max_tokens=tokens, max_cost=cost)

    def ask(service: Client) -> Intent:
        wanted = chosen(service.intent())
        return service.set_budget(wanted.max_tokens, wanted.max_cost, key=new_key())

    async def store(control: Control) -> Intent:
        wanted = chosen(control.intent)
        return await control.set_budget(wanted.max_tokens, wanted.max_cost)

    _want(ask, store, as_json)


def _decide(ids: Sequence[str], note: str, *, accepted: bool, as_json: bool) -> None:
    from seedbed.service.exchanged import Noted

    whole, note = _whole(ids), _checked(Noted, note=note).note
    decisions = []
    for decision in _decided_there(whole, note, accepted) or _decided_here(whole, note, accepted, as_json):
        decisions.append(decision.model_dump(mode="json"))
        if not as_json:
            typer.echo(f"{decision.subject_id} is {'accepted' if decision.accepted else 'refused'}")
    emit(as_json, {"decisions": decisions}, "")


def _decided_there(ids: Sequence[str], note: str, accepted: bool) -> Iterator[Decision] | None:
    """Decide through the running service; None where there is none."""
    from seedbed.service.remote import new_key

    service = running_service()
    if service is None:
        return None

    def one_by_one() -> Iterator[Decision]:
        with service:
            for identity in ids:
                decide = service.accept if accepted else service.refuse
                yield decide(identity, note, key=new_key())

    return one_by_one()


def _decided_here(ids: Sequence[str], note: str, accepted: bool, as_json: bool) -> list[Decision]:
    async def job(context: Context, _: Stop, live: Live) -> dict[str, Any]:
        from seedbed.service.hand_decisions import decide_by_hand

        return {"all": [await decide_by_hand(context, live, one, accepted=accepted, note=note) for one in ids]}

    found: list[Decision] = work(job, as_json)["all"]
    return found


def _whole(ids: Sequence[str]) -> list[str]:
    """Return whole ids; a service elsewhere is asked by whole ones only."""
    from seedbed.pool.pool import Pool
    from seedbed.service.explain import the_one
    from seedbed.service.workspace import open_workspace

    if Here.url:
        return list(ids)
    workspace = open_workspace(Here.workspace)
    with Pool.open(workspace.folder, workspace.config.pool, read_only=True) as pool:
        return [the_one(pool, identity) for identity in ids]


def _steer(action: Action, as_json: bool) -> None:
    from seedbed.pool.records import IntentState
    from seedbed.service.remote import new_key

    states = {"start": IntentState.RUNNING, "pause": IntentState.PAUSED, "drain": IntentState.DRAINING}
    _want(
        lambda service: service.control(action, key=new_key()),
        lambda control: control.set_state(states[action]),
        as_json,
    )


def _want(ask: Callable[[Client], Intent], store: Callable[[Control], Awaitable[Intent]], as_json: bool) -> None:
    """Tell the running service; where none runs, store it for the next."""
    if service := running_service():
        with service:
            intent, told = ask(service), "the service is told"
    else:

        async def job(context: Context, stop: Stop, _: Live) -> dict[str, Any]:
            from seedbed.service.control import Control

            return {"intent": await store(Control(context.pool, context.events, stop))}

        intent, told = work(job, as_json)["intent"], "no service runs here: the next run goes by it"
    emit(as_json, intent.model_dump(mode="json"), f"{_wanted(intent)}; {told}")


def _wanted(intent: Intent) -> str:
    parts = [f"wanted: {intent.state}"]
    if intent.target is not None:
        parts.append(f"stop at {intent.target} accepted rows")
    if intent.concurrency is not None:
        parts.append(f"{intent.concurrency} recipes at once")
    if intent.max_tokens is not None:
        parts.append(f"budget {intent.max_tokens or 'without limit'} in tokens")
    if intent.max_cost is not None:
        parts.append(f"budget {intent.max_cost or 'without limit'} in money")
    return ", ".join(parts)


def _quarantined(found: Quarantined) -> str:
    verb = "would be refused" if found.was_dry else "refused"
    more = f"\nand {found.rows - len(found.ids)} more" if found.rows > len(found.ids) else ""
    return "\n".join([f"{found.rows} accepted rows {verb}", *(f"  {one}" for one in found.ids)]) + more


def _number(text: str, kind: type[Any] = int) -> Any:
    """Return the number that was given, None for the word.

    Raises:
        ConfigError: It is neither.
    """
    from seedbed.core.errors import ConfigError

    if text == NOTHING:
        return None
    try:
        return kind(text)
    except ValueError as error:
        raise ConfigError(f'a number or "{NOTHING}" is wanted, got "{text}"') from error


def _checked(kind: type[T], **values: Any) -> T:
    """Hold options to what the service takes.

    Raises:
        ConfigError: One is not of the form.
    """
    from pydantic import ValidationError

    from seedbed.core.errors import ConfigError

    try:
        return kind(**values)
    except ValidationError as error:
        first = error.errors()[0]
        given = values[str(first["loc"][0])]
        raise ConfigError(f'{first["loc"][0]} "{given}": {first["msg"]}') from error
