"""The cascade: filters in order, cheap first, the first refusal wins, counted and timed."""

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import chain, takewhile
from pathlib import Path
from types import MappingProxyType
from typing import Protocol, runtime_checkable

from seedbed.core.batches import batched
from seedbed.core.errors import ConfigError, FilterError
from seedbed.core.filter_config import FiltersConfig
from seedbed.core.records import Candidate, Proposal, SeedTask, Verdict
from seedbed.filters.correct import CorrectFilter
from seedbed.filters.duplicate import DuplicateFilter
from seedbed.filters.held_out import CategoryOf, HeldOutFilter
from seedbed.filters.protocol import Filter, Memory, as_candidate
from seedbed.filters.quality import QualityFilter
from seedbed.filters.references import Reference
from seedbed.filters.wellformed import InstructionFilter, WellformedFilter

_LOAD_ROWS = 4096
_NOTHING_AHEAD: Mapping[str, Verdict] = MappingProxyType({})
_NOTHING_SETTLED: Mapping[str, bool] = MappingProxyType({})

ORDER = ("wellformed", "duplicate", "contamination", "minhash", "rouge", "held_out", "correct", "quality")


@dataclass(slots=True)
class Tally:
    """What one filter did so far."""

    checked: int = 0
    refused: int = 0
    seconds: float = 0.0
    """Wall time in its checks; adding to its memory not counted."""
    reasons: Counter[str] = field(default_factory=Counter)
    """Refusals by reason."""


@runtime_checkable
class SeesBatch(Protocol):
    """A filter that wants to see, before its checks, all candidates of a batch that have come as far as it."""

    def see_batch(self, candidates: Sequence[Candidate]) -> None: ...


@runtime_checkable
class ChecksMany(Protocol):
    """A filter that checks many candidates faster together than one by one.

    A memory answers None for a candidate whose verdict earlier ones of the batch could change, were they accepted; it
    is then checked by itself when its turn comes.
    """

    @property
    def name(self) -> str: ...

    def check_many(self, candidates: Sequence[Candidate]) -> Sequence[Verdict | None]: ...


@runtime_checkable
class AddsMany(Protocol):
    """A memory that adds many candidates faster together than one by one."""

    def add_many(self, candidates: Sequence[Candidate]) -> None: ...


@runtime_checkable
class Loads(Protocol):
    """A memory that takes many candidates at once faster than one by one, confirmed."""

    def load(self, candidates: Iterable[Candidate]) -> None: ...


@runtime_checkable
class Warms(Protocol):
    """A filter with something to compile or load before its first check."""

    def warm(self) -> None: ...


class Cascade:
    """Decides candidates one after another; each sees those accepted before it.

    What `screen` and `decide` accept is in the memories tentatively, until `confirm` or `undo`. When a filter breaks,
    all that is tentative is taken back before the `FilterError` leaves. Not thread-safe: one thread owns it.

    Args:
        filters: In the order of checking.
        screening: The filters a proposal passes; those of them that are memories hold it by its instruction.
        now: Clock for the tallies, in seconds.
    """

    def __init__(
        self,
        filters: Sequence[Filter],
        screening: Sequence[Filter] = (),
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._arrange(filters)
        self._screening, self._now = tuple(screening), now
        self._memories = tuple(one for one in self._filters if isinstance(one, Memory))
        self._holding = tuple(one for one in self._screening if isinstance(one, Memory))
        self._all_memories = (*self._memories, *(one for one in self._holding if one not in self._memories))
        self._adding_many = tuple(one for one in self._memories if isinstance(one, AddsMany))
        self._adding_one = tuple(one for one in self._memories if not isinstance(one, AddsMany))
        self._pending: list[Candidate] = []
        self._held: set[str] = set()
        self._held_tentatively: list[str] = []
        self._tallies = {one.name: Tally() for one in self._filters}
        self._screen_tallies = {one.name: Tally() for one in self._screening}

    @property
    def names(self) -> tuple[str, ...]:
        """The filters at work, in order."""
        return tuple(one.name for one in self._filters)

    @property
    def tallies(self) -> dict[str, Tally]:
        """What each filter did to candidates, in order. Live: it changes as the cascade works."""
        return self._tallies

    @property
    def screen_tallies(self) -> dict[str, Tally]:
        """What each filter did to proposals."""
        return self._screen_tallies

    def screen(self, proposals: Sequence[Proposal]) -> list[tuple[Verdict, ...]]:
        """Check proposals by their instructions; accepted ones are held under their id, against twins in flight."""
        with self._undone_on_error():
            return [self._screen_one(as_candidate(proposal)) for proposal in proposals]

    def decide(
        self, candidates: Sequence[Candidate], settled: Mapping[str, bool] = _NOTHING_SETTLED
    ) -> list[tuple[Verdict, ...]]:
        """Check candidates in order. The first refusal ends a row's verdicts; accepted rows join the memories.

        Args:
            candidates: In the order in which they came.
            settled: By id, rows that are in (True) or out whatever the verdicts say, as a person decided them: they
                are checked like all others, but whether they join the memories follows this.
        """
        first, rest = self._split
        with self._undone_on_error():
            early = [_check(first, candidate, self._tallies, self._now) for candidate in candidates]
            arrived = [one for one, verdicts in zip(candidates, early, strict=True) if _is_accepted(verdicts)]
            for one in self._seeing_batch:
                one.see_batch(arrived)
            is_settled = bool(settled) and any(one.id in settled for one in candidates)
            ahead = iter(self._check_ahead(arrived, is_asking_memories=not is_settled))
            decided = [
                self._finish(rest, candidate, verdicts, ahead, settled.get(candidate.id))
                for candidate, verdicts in zip(candidates, early, strict=True)
            ]
            self._add_pending()
            return decided

    def would_pass(self, candidates: Sequence[Candidate], without: Collection[str] = ()) -> list[bool]:
        """Tell which candidates would be accepted now but for the filters left out; nothing is counted or remembered.

        For what costs too much to be found out about a row that is refused anyway. It may err: rows of one batch do
        not see each other here.
        """
        filters = [one for one in self._filters if one.name not in without]
        tallies = {one.name: Tally() for one in filters}
        return [_is_accepted(_check(filters, candidate, tallies, self._now)) for candidate in candidates]

    def confirm(self) -> None:
        """Keep what was accepted since the last `confirm` or `undo`."""
        self._held_tentatively.clear()
        for memory in self._all_memories:
            memory.confirm()

    def undo(self) -> None:
        """Take back what was accepted since the last `confirm` or `undo`."""
        self._pending.clear()
        self._held.difference_update(self._held_tentatively)
        self._held_tentatively.clear()
        for memory in self._all_memories:
            memory.undo()

    def release(self, task_ids: Iterable[str]) -> None:
        """Forget proposals that were held; the candidates made from them stay. Ids not held change nothing."""
        for task_id in task_ids:
            if task_id in self._held:
                self._held.discard(task_id)
                for memory in self._holding:
                    memory.remove(task_id)

    def remove(self, candidate_id: str) -> None:
        """Forget an accepted candidate."""
        for memory in self._memories:
            memory.remove(candidate_id)

    def load(self, seeds: Sequence[SeedTask], accepted: Iterable[Candidate]) -> None:
        """Put seeds, and then what is in the pool, into the memories without checking them."""
        with self._undone_on_error():
            for chunk in batched(chain(map(as_candidate, seeds), accepted), _LOAD_ROWS):
                for memory in self._memories:
                    _load(memory, chunk)
        self.confirm()

    def replace(self, fresh: Filter) -> None:
        """Put a filter that remembers nothing in the place of the one of its name, where there is one."""
        assert not isinstance(fresh, Memory)
        self._arrange([fresh if one.name == fresh.name else one for one in self._filters])

    def _arrange(self, filters: Sequence[Filter]) -> None:
        """Settle once what every batch would otherwise ask each filter: how it checks."""
        self._filters = tuple(filters)
        self._split = _split(self._filters)
        self._seeing_batch = tuple(one for one in self._split[1] if isinstance(one, SeesBatch))
        self._checking_many = tuple(
            (one, isinstance(one, Memory)) for one in self._split[1] if isinstance(one, ChecksMany)
        )

    def warm(self) -> None:
        """Compile and load what the first check would otherwise wait for."""
        for one in self._filters:
            if isinstance(one, Warms):
                one.warm()

    def _screen_one(self, candidate: Candidate) -> tuple[Verdict, ...]:
        verdicts = _check(self._screening, candidate, self._screen_tallies, self._now)
        if _is_accepted(verdicts):
            _add(self._holding, candidate)
            self._held.add(candidate.id)
            self._held_tentatively.append(candidate.id)
        return verdicts

    def _check_ahead(self, candidates: Sequence[Candidate], *, is_asking_memories: bool) -> list[dict[str, Verdict]]:
        """Let filters check a batch at once, each what those before it leave; each row's verdicts, by filter.

        Memories are not asked where a row may join them that was refused: they would not have looked for its kin.
        """
        ahead: list[dict[str, Verdict]] = [{} for _ in candidates]
        left = list(range(len(candidates)))
        for one, is_memory in self._checking_many:
            if not left or (is_memory and not is_asking_memories):
                continue
            started = self._now()
            try:
                verdicts = one.check_many([candidates[place] for place in left])
            except Exception as error:
                raise _broken(one, candidates[left[0]], error) from error
            self._tallies[one.name].seconds += self._now() - started
            ahead_of_one = [(place, verdict) for place, verdict in zip(left, verdicts, strict=True) if verdict]
            for place, verdict in ahead_of_one:
                ahead[place][one.name] = verdict
            gone = {place for place, verdict in ahead_of_one if not verdict.accepted}
            left = [place for place in left if place not in gone]
        return ahead

    def _finish(
        self,
        rest: Sequence[Filter],
        candidate: Candidate,
        verdicts: tuple[Verdict, ...],
        ahead: Iterator[Mapping[str, Verdict]],
        is_in: bool | None,
    ) -> tuple[Verdict, ...]:
        if _is_accepted(verdicts):
            known = next(ahead)
            if self._pending and any(one.name not in known for one in self._adding_many):
                self._add_pending()
            verdicts += _check(rest, candidate, self._tallies, self._now, known)
        if _is_accepted(verdicts) if is_in is None else is_in:
            _add(self._adding_one, candidate)
            self._pending.append(candidate)
        return verdicts

    def _add_pending(self) -> None:
        """Add what was accepted to the memories that take many at once."""
        for memory in self._adding_many if self._pending else ():
            try:
                memory.add_many(self._pending)
            except Exception as error:
                raise _broken(memory, self._pending[0], error) from error
        self._pending.clear()

    @contextmanager
    def _undone_on_error(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.undo()
            raise


def _split(filters: tuple[Filter, ...]) -> tuple[tuple[Filter, ...], tuple[Filter, ...]]:
    """Split before the first filter that depends on other rows."""
    alone = tuple(takewhile(lambda one: not isinstance(one, Memory | SeesBatch), filters))
    return alone, filters[len(alone) :]


def _check(
    filters: Sequence[Filter],
    candidate: Candidate,
    tallies: dict[str, Tally],
    now: Callable[[], float],
    ahead: Mapping[str, Verdict] = _NOTHING_AHEAD,
) -> tuple[Verdict, ...]:
    verdicts: list[Verdict] = []
    for one in filters:
        tally = tallies[one.name]
        verdict = ahead.get(one.name)
        if verdict is None:
            started = now()
            try:
                verdict = one.check(candidate)
            except Exception as error:
                raise _broken(one, candidate, error) from error
            tally.seconds += now() - started
        tally.checked += 1
        verdicts.append(verdict)
        if not verdict.accepted:
            tally.refused += 1
            tally.reasons[verdict.reason] += 1
            break
    return tuple(verdicts)


def _add(memories: Sequence[Memory], candidate: Candidate) -> None:
    for memory in memories:
        try:
            memory.add(candidate)
        except Exception as error:
            raise _broken(memory, candidate, error) from error


def _load(memory: Memory, candidates: Sequence[Candidate]) -> None:
    if isinstance(memory, Loads):
        memory.load(candidates)
        return
    for candidate in candidates:
        memory.add(candidate)


def _is_accepted(verdicts: tuple[Verdict, ...]) -> bool:
    return not verdicts or verdicts[-1].accepted


def _broken(one: Filter, candidate: Candidate, error: Exception) -> FilterError:
    return FilterError(
        f"the filter {one.name} broke on candidate {candidate.id} ({type(error).__name__}: {error}); "
        "nothing passes a broken filter, so the run stops: this is a fault of the filter, please report it"
    )


def build_cascade(
    config: FiltersConfig,
    *,
    held_out: Collection[str] = (),
    category_of: CategoryOf | None = None,
    references: Sequence[Path] = (),
    reference_fields: Sequence[str] = (),
    loaded: Sequence[Reference] = (),
    only: Collection[str] = (),
) -> Cascade:
    """Build the filters that the config switches on, in `ORDER`.

    Args:
        config: The section `[filters]`. Its `contamination.references` are not read: relative to a workspace, they are
            the caller's to resolve.
        held_out: Categories kept for evaluation; without any, `held_out` is left out.
        category_of: Tells what a row looks like, so that `held_out` does not depend on its label.
        references: Files and folders of benchmarks to keep out, besides the shipped digests.
        reference_fields: The fields of them to compare with; empty: the reader's choice.
        loaded: Texts to keep out that are read already, such as the held-out tasks.
        only: Names of the filters to build; empty: all.

    Raises:
        ConfigError: A name in `only` is unknown, or a setting is wrong.
        InputError: A reference cannot be read.
    """
    wanted = _wanted(config, held_out, only)
    held = HeldOutFilter(held_out, category_of)
    filters = [_build(name, config, held, references, reference_fields, loaded) for name in ORDER if name in wanted]
    screening: list[Filter] = [InstructionFilter(config.wellformed)] if "wellformed" in wanted else []
    screening += [one for one in filters if one.name == "rouge"]
    if config.minhash.on_instructions:
        screening += [one for one in filters if one.name == "minhash"]
    return Cascade(filters, screening)


def _wanted(config: FiltersConfig, held_out: Collection[str], only: Collection[str]) -> set[str]:
    for name in only:
        if name not in ORDER:
            near = get_close_matches(name, ORDER, 1)
            hint = f'; did you mean "{near[0]}"?' if near else ""
            raise ConfigError(f'there is no filter "{name}"{hint} The filters are {", ".join(ORDER)}')
    off = {
        "contamination": not config.contamination.enabled,
        "minhash": not config.minhash.enabled,
        "rouge": not config.rouge.enabled,
        "held_out": not held_out,
        "quality": not config.quality.is_on,
    }
    return {name for name in ORDER if (not only or name in only) and not off.get(name, False)}


def _build(
    name: str,
    config: FiltersConfig,
    held_out: HeldOutFilter,
    references: Sequence[Path],
    reference_fields: Sequence[str],
    loaded: Sequence[Reference],
) -> Filter:
    """Build one filter; those that compile kernels are imported here, so that others do not wait for numba."""
    match name:
        case "wellformed":
            return WellformedFilter(config.wellformed)
        case "duplicate":
            return DuplicateFilter()
        case "contamination":
            from seedbed.filters.contamination import ContaminationFilter

            return ContaminationFilter(
                config.contamination, references=references, fields=reference_fields, loaded=loaded
            )
        case "minhash":
            from seedbed.filters.minhash import MinHashFilter

            return MinHashFilter(config.minhash)
        case "rouge":
            from seedbed.filters.rouge_filter import RougeFilter

            return RougeFilter(config.rouge)
        case "held_out":
            return held_out
        case "correct":
            return CorrectFilter()
        case _:
            return QualityFilter(config.quality)
