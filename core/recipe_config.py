"""The settings of single recipes, which are tables of `[generation]`."""

from typing import Annotated, Literal

from pydantic import Field

from seedbed.core.section import Section, Share

Temperature = Annotated[float, Field(ge=0, le=2)]
MaxTokens = Annotated[int, Field(ge=16)]


class ChainOfThoughtConfig(Section):
    """Problems with a worked solution that ends in "The answer is …"."""

    categories: tuple[str, ...] = ("mathematics", "reasoning")
    """Where it is used, beside other recipes."""
    temperature: Temperature = 0.7
    """Of a solution (self-consistency, Wang et al. 2022: 0.7)."""
    second_sample: Literal["always", "unless_recomputed", "never"] = "unless_recomputed"
    """Solve a problem twice and compare the answers; `unless_recomputed` spares it where its sums could be checked."""
    second_temperature: Temperature = 0.3
    """Of the second solution, so that both do not make one mistake by the same draw."""
    max_tokens: MaxTokens = 512
    """Of a solution. Small models take 60 to 250."""


class EvolveConfig(Section):
    """Rows made from rows: deeper, more constrained, more concrete, or broader (Evol-Instruct, Xu et al. 2023)."""

    temperature: Temperature = 1.0
    """Of the new instruction (Evol-Instruct: 1)."""
    max_tokens: MaxTokens = 384
    """Of the new instruction with its input."""
    max_depth: Annotated[int, Field(ge=1, le=16)] = 4
    """Rows with so many generations behind them are evolved no more (Evol-Instruct: 4 rounds)."""


class RefusalConfig(Section):
    """Requests to decline kindly, and at least as many harmless look-alikes that are answered."""

    categories: tuple[str, ...] = ("safety",)
    """Written by this recipe alone, where it has a weight."""
    share_cap: Share = 0.05
    """Most of the pool that these categories may have (Bianchi et al. 2024: 3% help, many more over-refuse)."""
    temperature: Temperature = 1.0
    """As Alpaca writes triples."""
    max_words: Annotated[int, Field(ge=10)] = 80
    """Of a refusal; longer ones lecture."""


class UnanswerableConfig(Section):
    """Questions that lack what is needed or that nobody can know, and answers that say so."""

    categories: tuple[str, ...] = ("unanswerable",)
    """Written by this recipe alone, where it has a weight."""
    temperature: Temperature = 1.0
    """As Alpaca writes triples."""


class ChecksConfig(Section):
    """What is checked of an answer before it is decided; the filter `correct` refuses what was found wrong."""

    formats: bool = True
    """Parse JSON, CSV and XML where the instruction asks for it."""
    labels: bool = True
    """Where an instruction gives labels to choose from, the answer must be among them."""
    run_code: bool = False
    """Run the Python of `coding` rows, in a sandbox without network; needs bubblewrap (docs/recipes.md)."""
    grade_rows: bool = False
    """Let the endpoint that `judge` names mark each row that the other filters would accept (docs/recipes.md)."""
    code_time_s: Annotated[float, Field(gt=0, le=60)] = 5.0
    """Seconds that a program may run."""
    code_memory_mb: Annotated[int, Field(ge=32, le=4096)] = 256
    """Memory that a program may take."""


class AnswerConfig(Section):
    """Answers to instructions that you bring, and the answers of `evolve`."""

    instructions: str = ""
    """JSON lines of instruction, input and category (the last two optional), relative to the workspace."""
    temperature: Temperature = 0.0
    """Of an answer (Self-Instruct writes instances at 0)."""
    max_tokens: MaxTokens = 768
    """Of an answer; a longer one is cut and so not kept."""
    best_of: Annotated[int, Field(ge=1, le=16)] = 1
    """Answers written to one instruction; the one that agrees most with the others is kept, all are paid for."""
    best_of_temperature: Temperature = 0.7
    """Of each of several answers (self-consistency, Wang et al. 2022: 0.7)."""
