"""What a synthetic task is: strings with their right answers, drawn from a generator of random numbers."""

import dataclasses
from abc import ABC, abstractmethod

import numpy as np

from workbench.checks import integer
from workbench.lm._loss import Batch

_HELD_OUT = 2**31  # no step of training: held-out strings come from generators that training never sees


@dataclasses.dataclass(frozen=True)
class AbstractTask(ABC):
    """A distribution of (tokens, labels, mask) with exact labels; frozen and hashable by value."""

    @property
    @abstractmethod
    def vocab(self) -> int:
        """How many different tokens there are."""

    @property
    @abstractmethod
    def classes(self) -> int:
        """How many different labels there are."""

    @property
    @abstractmethod
    def chance(self) -> float:
        """The accuracy of the best answer that looks at no token, in long strings."""

    @abstractmethod
    def sample(self, rng: np.random.Generator, batch: int, length: int) -> Batch:
        """`batch` fresh strings of `length` tokens: int32 tokens and labels, and where labels count, (batch, length).

        Raises ValueError for a length that the task cannot have.
        """

    def held_out(self, count: int, length: int, *, seed: int = 0) -> Batch:
        """`count` strings to judge by, the same whenever they are asked for, none drawn as training draws."""
        return self.sample(np.random.default_rng([seed, _HELD_OUT, length]), count, length)


@dataclasses.dataclass(frozen=True)
class Samples:
    """A stream of batches of a task for training: `stream(seed, step)` is a pure function.

    `length` is one length for all steps, or a curriculum ((first step, length), ...) from step 0 on. Raises ValueError.
    """

    task: AbstractTask
    batch: int
    length: int | tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        integer("batch", self.batch)
        stages = self._stages
        firsts = [first for first, _ in stages]
        if not stages or firsts[0] != 0 or firsts != sorted(set(firsts)):
            raise ValueError(
                f"length: {self.length!r}, must be a length or stages (step, length) whose steps rise from 0"
            )
        for _, length in stages:
            integer("length", length)

    @property
    def _stages(self) -> tuple[tuple[int, int], ...]:
        return ((0, self.length),) if isinstance(self.length, int) else self.length

    def length_at(self, step: int) -> int:
        """The length of the strings of a step."""
        return next(length for first, length in reversed(self._stages) if first <= step)

    def __call__(self, seed: int, step: int) -> Batch:
        return self.task.sample(np.random.default_rng([seed, step]), self.batch, self.length_at(step))
