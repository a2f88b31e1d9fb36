"""Tasks that ask for the state of a finite automaton: parity, a walk on a cycle, arithmetic, the group A5."""

import dataclasses
import functools
import itertools
from typing import ClassVar, Literal

import numpy as np

from workbench.lm._loss import Batch
from workbench.lm.tasks._task import AbstractTask


@dataclasses.dataclass(frozen=True)
class StateTracking(AbstractTask):
    """A task whose label is the state of an automaton that reads the tokens; states are equally likely.

    `labels`: it is asked at every "prefix", or at the "last" position only, which is much harder to learn. Raises
    ValueError for another.
    """

    labels: Literal["prefix", "last"] = "prefix"

    symbols: ClassVar[int]
    states: ClassVar[int]

    def __post_init__(self) -> None:
        if self.labels not in ("prefix", "last"):
            raise ValueError(f"labels: {self.labels!r}, must be 'prefix' or 'last'")

    @property
    def vocab(self) -> int:
        return self.symbols

    @property
    def classes(self) -> int:
        return self.states

    @property
    def chance(self) -> float:
        return 1 / self.states

    def _batch(self, tokens: np.ndarray, states: np.ndarray, valid: np.ndarray | None = None) -> Batch:
        """The batch whose labels are the states, where `valid` and asked for."""
        mask = np.ones(tokens.shape, bool) if valid is None else np.broadcast_to(valid, tokens.shape).copy()
        if self.labels == "last":
            mask[:, :-1] = False
        return Batch(tokens.astype(np.int32), np.where(mask, states, 0).astype(np.int32), mask)


@dataclasses.dataclass(frozen=True)
class Parity(StateTracking):
    """Whether the bits so far hold an odd number of ones: label_t = (x_1 + ... + x_t) mod 2."""

    symbols: ClassVar[int] = 2
    states: ClassVar[int] = 2

    def sample(self, rng: np.random.Generator, batch: int, length: int) -> Batch:
        tokens = rng.integers(0, 2, (batch, length))
        return self._batch(tokens, np.cumsum(tokens, 1) % 2)


@dataclasses.dataclass(frozen=True)
class CycleNavigation(StateTracking):
    """The position on a cycle of 5 after moves: token 0 stays, 1 goes one up, 2 one down; it starts at position 0.

    label_t = sum over s <= t of (0, +1, -1)[x_s], mod 5. Deletang et al. (arXiv 2207.02098), Beck et al. (xLSTM, arXiv
    2405.04517).
    """

    symbols: ClassVar[int] = 3
    states: ClassVar[int] = 5

    def sample(self, rng: np.random.Generator, batch: int, length: int) -> Batch:
        tokens = rng.integers(0, 3, (batch, length))
        return self._batch(tokens, np.cumsum(np.array([0, 1, -1])[tokens], 1) % 5)


@dataclasses.dataclass(frozen=True)
class ModularArithmetic(StateTracking):
    """The value mod 5 of a + b * c - d ..., without brackets: digits are tokens 0 to 4, then + is 5, - is 6, * is 7.

    Digits stand at even positions, operators between them; a label counts at every digit (the value of the expression
    up to it) or at the last alone. `order` "precedence" multiplies first, as Deletang et al. (arXiv 2207.02098) do;
    "left" goes from left to right. Lengths must be odd.
    """

    order: Literal["precedence", "left"] = "precedence"

    symbols: ClassVar[int] = 8
    states: ClassVar[int] = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.order not in ("precedence", "left"):
            raise ValueError(f"order: {self.order!r}, must be 'precedence' or 'left'")

    @property
    def chance(self) -> float:
        """From left to right 0 is likelier, for a product keeps it: p = 2/3 * 1/5 + 1/3 * (p + (1 - p) / 5)."""
        return 3 / 11 if self.order == "left" else super().chance

    def sample(self, rng: np.random.Generator, batch: int, length: int) -> Batch:
        if length % 2 == 0:
            raise ValueError(f"length: {length}, must be odd: digits with operators between them")
        tokens = np.empty((batch, length), np.int64)
        tokens[:, 0::2] = rng.integers(0, 5, (batch, (length + 1) // 2))
        tokens[:, 1::2] = rng.integers(5, 8, (batch, length // 2))
        values = np.zeros_like(tokens)
        # The expression is total + term: the term still takes what multiplies it, unless order is left to right.
        total, term = np.zeros(batch, np.int64), tokens[:, 0]
        values[:, 0] = term
        for t in range(2, length, 2):
            times, sign = tokens[:, t - 1] == 7, np.where(tokens[:, t - 1] == 6, -1, 1)
            if self.order == "left":
                total, term = np.zeros_like(total), total + term
            total = np.where(times, total, total + term) % 5
            term = np.where(times, term * tokens[:, t], sign * tokens[:, t]) % 5
            values[:, t] = (total + term) % 5
        return self._batch(tokens, values, valid=np.arange(length)[None] % 2 == 0)


@dataclasses.dataclass(frozen=True)
class A5(StateTracking):
    """The word problem of A5, the 60 even permutations of 5 things: which permutation is the product so far?

    Permutations i -> p_i are numbered in lexicographic order (0: the identity). The label is the number of x_t after
    ... after x_1: the first token acts first. Tokens are all 60, each its own number, or with `generators` two that
    generate the group: token 0 the five-cycle (1, 2, 3, 4, 0), token 1 the three-cycle (1, 2, 0, 3, 4); the same 60
    states with less to learn by heart. A5 is not solvable, so its word problem is complete for NC1: no diagonal linear
    recurrence of fixed depth tracks it at all lengths (Merrill et al., arXiv 2404.08819).
    """

    generators: bool = False

    symbols: ClassVar[int] = 60
    states: ClassVar[int] = 60

    @property
    def vocab(self) -> int:
        return 2 if self.generators else self.symbols

    def sample(self, rng: np.random.Generator, batch: int, length: int) -> Batch:
        tokens, after = rng.integers(0, self.vocab, (batch, length)), after_table()
        moves = np.array([_number((1, 2, 3, 4, 0)), _number((1, 2, 0, 3, 4))])[tokens] if self.generators else tokens
        products, product = np.empty_like(tokens), np.zeros(batch, np.int64)
        for t in range(length):
            product = after[moves[:, t], product]
            products[:, t] = product
        return self._batch(tokens, products)


def elements() -> np.ndarray:
    """The even permutations of 0 to 4 in lexicographic order, (60, 5)."""
    every = np.array(list(itertools.permutations(range(5))))
    inversions = sum((every[:, i] > every[:, j]).astype(int) for i, j in itertools.combinations(range(5), 2))
    return every[inversions % 2 == 0]


@functools.cache
def after_table() -> np.ndarray:
    """Entry [g, h]: the number of g after h, i -> g(h(i))."""
    group = elements()
    base = 5 ** np.arange(5)
    numbers = {code: i for i, code in enumerate((group * base).sum(1).tolist())}
    products = group[:, group]  # [g, h, i] = g(h(i))
    table = np.vectorize(numbers.__getitem__)((products * base).sum(-1))
    table.setflags(write=False)
    return table


def _number(permutation: tuple[int, ...]) -> int:
    return elements().tolist().index(list(permutation))
