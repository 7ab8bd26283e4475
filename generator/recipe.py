"""What a recipe is: a coroutine that turns one assignment into candidates, and the assignment it is given."""

import json
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import Any, Protocol, TypeAlias

from seedbed.core.config import GenerationConfig
from seedbed.core.records import Candidate, Completion, Lineage, Message, Proposal, Request, Sampling, SeedTask
from seedbed.prompts.library import PromptLibrary

Ask: TypeAlias = Callable[[Request], Awaitable[Completion]]
"""Send one request; limits and retries are inside. Raises EndpointError kinds, and StoppedError while draining."""

Screen: TypeAlias = Callable[[Sequence[Proposal]], Awaitable[list[bool]]]
"""Tell which instructions are novel, so that nothing is paid for an instance of one that is not."""

Emit: TypeAlias = Callable[[Sequence[Candidate]], Awaitable[None]]
"""Hand candidates over to be decided; waits while too many are undecided."""

NoteUnreadable: TypeAlias = Callable[[Request, str, str], Awaitable[None]]
"""Keep a piece of a completion that gave no row: its request, the reason, the raw text."""


_LONG_WORD = re.compile(r"[^\W\d_]{3,}")


class StoppedError(Exception):
    """No request may be sent any more: the run drains. A recipe lets it through, or stops asking."""


@lru_cache(maxsize=8192)  # the same few hundred are shown again and again
def _topic_of(instruction: str, input: str) -> str:
    words: list[str] = _LONG_WORD.findall(f"{instruction} {input}")
    return max(words[1:] or words or ["anything"], key=len).lower()


@lru_cache(maxsize=64)
def _sampling_of(temperature: float, top_p: float | None, presence_penalty: float | None, max_tokens: int) -> Sampling:
    return Sampling(temperature=temperature, top_p=top_p, presence_penalty=presence_penalty, max_tokens=max_tokens)


def _without_schema(sampling: Sampling) -> Sampling:
    """Return how an answer was written; rows share it, as nearly all are written alike."""
    if sampling.stop or sampling.frequency_penalty is not None:
        return sampling.model_copy(update={"json_schema": None})
    return _sampling_of(sampling.temperature, sampling.top_p, sampling.presence_penalty, sampling.max_tokens)


@dataclass(frozen=True, slots=True)
class Demonstration:
    """A triple shown to the model: a seed task or an accepted row."""

    id: str
    instruction: str
    input: str
    output: str
    is_classification: bool = False
    depth: int = 0
    """How many generations of machine-written rows lie behind it; a seed task has 0."""

    @property
    def topic(self) -> str:
        """What it is about, roughly: the longest word after the first of instruction and input.

        Answers name their topic before anything else, so what is shown must name one too.
        """
        return _topic_of(self.instruction, self.input[:200])

    def triple(self) -> dict[str, str]:
        """The demonstration in the form of an answer to `triples_schema`."""
        return {"topic": self.topic, "instruction": self.instruction, "input": self.input, "output": self.output}

    def proposal(self) -> dict[str, str]:
        """The demonstration in the form of an answer to `instructions_schema`."""
        return {"topic": self.topic, "instruction": self.instruction}

    def instance(self, *, is_output_first: bool) -> dict[str, str]:
        """The demonstration in the form of an answer to `instances_schema`."""
        fields = {"input": self.input, "output": self.output}
        return dict(reversed(fields.items())) if is_output_first else fields

    @classmethod
    def of_seed(cls, seed: SeedTask) -> "Demonstration":
        return cls(seed.id, seed.instruction, seed.input, seed.output, seed.is_classification)

    @classmethod
    def of_candidate(cls, candidate: Candidate) -> "Demonstration":
        return cls(
            candidate.id, candidate.instruction, candidate.input, candidate.output, depth=candidate.lineage.depth
        )


@dataclass(frozen=True, slots=True)
class Brought:
    """An instruction that the user brings, to be answered."""

    instruction: str
    input: str = ""
    category: str = ""
    """Empty: any."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """One piece of work for one recipe, complete in itself: what is asked, with what, and how."""

    number: int
    """Counts the assignments of a plan."""
    recipe: str
    requested_category: str
    category_description: str
    demonstrations: tuple[Demonstration, ...]
    topics: tuple[str, ...]
    """One for each row to be asked for, drawn at random: without, small models repeat themselves."""
    is_classification: bool | None
    """What the seed tasks of the category say in unison; None where they differ, so that the model is asked."""
    label_examples: tuple[Demonstration, ...]
    """Seed tasks of both kinds, shown when the model is asked whether an instruction is classification."""
    seed: str
    """What its randomness derives from; a generator for each of thousands in flight would take 2.5 KB."""
    settings: GenerationConfig
    use_json_schema: bool
    prompts: PromptLibrary
    new_id: Callable[[], str]
    brought: Brought | None = None
    """What the recipe `answer` is to answer."""

    def request(
        self,
        step: str,
        *,
        demonstrations: Sequence[Demonstration],
        sampling: Sampling | None = None,
        schema: dict[str, Any] | None = None,
        **values: object,
    ) -> Request:
        """Render the template `generation/STEP` and make it a request; `demonstrations` go into it too."""
        template = self.prompts.get(f"generation/{step}")
        text = template.render(
            demonstrations=demonstrations,
            category=self.requested_category.replace("_", " "),
            description=self.category_description,
            is_json=self.use_json_schema,
            **values,
        )
        how = sampling or self.sampling()
        return Request(
            id=self.new_id(),
            purpose=self.recipe if step == self.recipe else f"{self.recipe}.{step}",
            messages=(Message(role="user", content=text),),
            sampling=how.model_copy(update={"json_schema": schema}) if self.use_json_schema and schema else how,
            prompt_sha256=template.sha256,
            demonstration_ids=tuple(shown.id for shown in demonstrations),
            requested_category=self.requested_category,
        )

    def rng(self, purpose: str) -> Random:
        """Make the source of randomness for one purpose; the same each time."""
        return Random(f"{self.seed}/{purpose}")

    def sampling(self) -> Sampling:
        """The configured way of writing; a presence penalty of 0 is left out, since some servers know none."""
        how = self.settings
        return _sampling_of(how.temperature, how.top_p, how.presence_penalty or None, how.max_tokens)

    def lineage(self, request: Request, completion: Completion, *earlier: str) -> Lineage:
        """Say where a row of `completion` came from; `earlier` are the ids of the requests before this one."""
        return Lineage(
            recipe=self.recipe,
            request_ids=(*earlier, request.id),
            demonstration_ids=tuple(shown.id for shown in self.demonstrations),
            prompt_sha256=request.prompt_sha256,
            model=completion.model,
            sampling=_without_schema(request.sampling),
            depth=1 + max((shown.depth for shown in self.demonstrations), default=0),
        )


def as_json(value: object) -> str:
    """Write an example of the demanded form (Jinja2's own filter escapes what HTML needs escaped)."""
    return json.dumps(value, ensure_ascii=False)


class Recipe(Protocol):
    """A way of asking. One file, one line in `recipes.RECIPES`, one test."""

    async def __call__(
        self, ask: Ask, screen: Screen, assignment: Assignment, emit: Emit, note: NoteUnreadable
    ) -> None: ...
