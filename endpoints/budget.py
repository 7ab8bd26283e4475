"""The budget of tokens and money: reserved before a request goes, settled when it ends, never passed knowingly."""

from dataclasses import dataclass
from typing import Literal

from seedbed.core.config import BudgetConfig, EndpointConfig
from seedbed.core.records import Completion, Request, Spent


@dataclass(frozen=True, slots=True)
class Charge:
    """Tokens and money of one request, expected or counted."""

    prompt_tokens: int
    completion_tokens: int
    cost: float

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


NOTHING = Charge(0, 0, 0.0)


def expected_charge(prompt_tokens: int, request: Request, config: EndpointConfig) -> Charge:
    """Return the most that a request is likely to cost: its prompt by estimate, and all the tokens it may write."""
    return _charge(prompt_tokens, request.sampling.max_tokens, config)


def counted_charge(completion: Completion, config: EndpointConfig) -> Charge:
    """Return what a completion cost."""
    return _charge(completion.prompt_tokens, completion.completion_tokens, config)


class Budget:
    """What is spent, what is reserved by requests in flight, and whether another one fits."""

    def __init__(self, config: BudgetConfig, spent: Spent) -> None:
        self._config = config
        self._tokens = spent.prompt_tokens + spent.completion_tokens
        self._cost = spent.cost
        self._reserved_tokens, self._reserved_cost = 0, 0.0

    def room_for(self, charge: Charge) -> Literal["now", "later", "never"]:
        """Say whether `charge` fits; "later" when it may, once requests in flight took less than they reserved."""
        if self._fits(charge.tokens + self._reserved_tokens, charge.cost + self._reserved_cost):
            return "now"
        return "later" if self._fits(charge.tokens, charge.cost) and self._reserved_tokens else "never"

    def reserve(self, charge: Charge) -> None:
        self._reserved_tokens += charge.tokens
        self._reserved_cost += charge.cost

    def settle(self, reserved: Charge, used: Charge) -> None:
        self._reserved_tokens -= reserved.tokens
        self._reserved_cost -= reserved.cost
        self._tokens += used.tokens
        self._cost += used.cost

    def follow(self, spent: Spent) -> None:
        """Learn what all who share the budget have spent; what is counted here and not stored yet stays counted."""
        self._tokens = max(self._tokens, spent.prompt_tokens + spent.completion_tokens)
        self._cost = max(self._cost, spent.cost)

    @property
    def spent_share(self) -> float:
        """What is spent of the budget that is nearest to its end, 0 where there is no limit."""
        tokens = self._tokens / self._config.max_tokens if self._config.max_tokens else 0.0
        return max(tokens, self._cost / self._config.max_cost if self._config.max_cost else 0.0)

    def exhausted_message(self) -> str:
        """Say what is spent of what, for the error."""
        parts = []
        if self._config.max_tokens:
            parts.append(f"{self._tokens} of {self._config.max_tokens} tokens (budget.max_tokens)")
        if self._config.max_cost:
            parts.append(f"{self._cost:.4f} of {self._config.max_cost:g} in money (budget.max_cost)")
        return f"the budget has no room for another request: spent are {' and '.join(parts)}; raise it to go on"

    def _fits(self, tokens: int, cost: float) -> bool:
        """Whether so much beyond what is spent stays within both limits."""
        max_tokens, max_cost = self._config.max_tokens, self._config.max_cost
        fits_tokens = not max_tokens or self._tokens + tokens <= max_tokens
        return fits_tokens and (not max_cost or self._cost + cost <= max_cost)


def _charge(prompt_tokens: int, completion_tokens: int, config: EndpointConfig) -> Charge:
    cost = prompt_tokens * config.price_per_million_prompt_tokens
    cost += completion_tokens * config.price_per_million_completion_tokens
    return Charge(prompt_tokens, completion_tokens, cost / 1e6)
