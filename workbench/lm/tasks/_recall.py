"""Tasks that ask for what stood in the string: associative recall of many pairs, and hops of induction."""

import dataclasses

import numpy as np

from workbench.checks import integer
from workbench.lm._loss import Batch
from workbench.lm.tasks._task import AbstractTask


@dataclasses.dataclass(frozen=True)
class MQAR(AbstractTask):
    """Multi-query associative recall: `pairs` of (key, value), then each key once again, whose value is asked.

    Keys are drawn without repetition from 1 to symbols/2 - 1, values from symbols/2 to symbols - 1. The string is k_1
    v_1 k_2 v_2 ... and then slots of two tokens, of which `pairs` hold a key as a query in their first; slots s are
    drawn with weights (s + 1)^(power - 1), mostly early. All other tokens are random symbols (noise), or 0 without
    `noise`. A label counts at the queries alone: the value of the key. Zoology (arXiv 2312.04927), appendix on MQAR.

    Raises ValueError for symbols too few for the pairs (symbols/2 > pairs) or odd, and strings below 4 * pairs.
    """

    pairs: int = 4
    symbols: int = 32
    power: float = 0.01
    noise: bool = True

    def __post_init__(self) -> None:
        integer("pairs", self.pairs)
        integer("symbols", self.symbols)
        if self.symbols % 2 or self.symbols // 2 <= self.pairs:
            raise ValueError(f"symbols: {self.symbols}, must be even and more than 2 * pairs = {2 * self.pairs}")
        if not self.power > 0:
            raise ValueError(f"power: {self.power!r}, must be greater than 0")

    @property
    def vocab(self) -> int:
        return self.symbols

    @property
    def classes(self) -> int:
        return self.symbols

    @property
    def chance(self) -> float:
        """Any of the values."""
        return 2 / self.symbols

    def sample(self, rng: np.random.Generator, batch: int, length: int) -> Batch:
        if length < 4 * self.pairs:
            raise ValueError(f"length: {length}, must be at least 4 * pairs = {4 * self.pairs}")
        half, context = self.symbols // 2, 2 * self.pairs
        keys = 1 + _distinct(rng, batch, np.ones(half - 1), self.pairs)
        values = half + _distinct(rng, batch, np.ones(half), self.pairs)
        slots = _distinct(rng, batch, np.arange(1.0, (length - context) // 2 + 1) ** (self.power - 1), self.pairs)
        shape = (batch, length)
        tokens = rng.integers(0, self.symbols, shape) if self.noise else np.zeros(shape, np.int64)
        tokens[:, 0:context:2], tokens[:, 1:context:2] = keys, values
        labels, mask = np.zeros(shape, np.int64), np.zeros(shape, bool)
        asked = context + 2 * slots
        np.put_along_axis(tokens, asked, keys, 1)
        np.put_along_axis(labels, asked, values, 1)
        np.put_along_axis(mask, asked, True, 1)
        return Batch(tokens.astype(np.int32), labels.astype(np.int32), mask)


@dataclasses.dataclass(frozen=True)
class KHop(AbstractTask):
    """k-hop induction: from the last token, `hops` times to what followed its latest earlier occurrence.

    find(i) = max{j <= i : x_{j-1} = x_i}, 0 if there is none;  label_i = x_{find applied hops times to i}, and
    `letters` (no such place) once a find fails. With hops = 1 this is the induction head. Every position has a label.
    Sanford et al. (arXiv 2402.09268, section 4). Tokens are uniform in 0 to letters - 1.
    """

    hops: int = 2
    letters: int = 5

    def __post_init__(self) -> None:
        integer("hops", self.hops)
        integer("letters", self.letters)

    @property
    def vocab(self) -> int:
        return self.letters

    @property
    def classes(self) -> int:
        return self.letters + 1

    @property
    def chance(self) -> float:
        """Any letter; strings too short for the hops have "no such place" more often."""
        return 1 / self.letters

    def sample(self, rng: np.random.Generator, batch: int, length: int) -> Batch:
        tokens = rng.integers(0, self.letters, (batch, length))
        find = np.zeros((batch, length + 1), np.int64)  # positions count from 1; 0 is "none", and stays there
        follows = np.zeros((batch, self.letters), np.int64)  # of each letter: the position after its latest place
        rows = np.arange(batch)
        for i in range(1, length + 1):
            find[:, i] = follows[rows, tokens[:, i - 1]]
            follows[rows, tokens[:, i - 1]] = i + 1
        place = np.broadcast_to(np.arange(1, length + 1), tokens.shape)
        for _ in range(self.hops):
            place = np.take_along_axis(find, place, 1)
        known = np.take_along_axis(tokens, np.maximum(place - 1, 0), 1)
        labels = np.where(place > 0, known, self.letters)
        return Batch(tokens.astype(np.int32), labels.astype(np.int32), np.ones(tokens.shape, bool))


def _distinct(rng: np.random.Generator, batch: int, weights: np.ndarray, count: int) -> np.ndarray:
    """`count` different indices a row, drawn one after the other in proportion to the weights left, (batch, count)."""
    # The exponential race: the order of arrival of clocks with these rates is that of draws without replacement.
    arrivals = rng.exponential(size=(batch, weights.size)) / weights
    return np.argsort(arrivals, axis=1)[:, :count]
