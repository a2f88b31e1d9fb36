"""A language model of bytes: batches of windows of a corpus, and bits a byte on its held-out part."""

import dataclasses

import numpy as np

from workbench import data
from workbench.checks import integer
from workbench.lm._loss import Batch, evaluate
from workbench.lm._model import Model

EVALUATION_BATCH = 32  # windows a forward pass


@dataclasses.dataclass(frozen=True)
class Windows:
    """A stream of random windows of a corpus, (batch, length) each: every byte is to be told from those before it.

    `stream(seed, step)` is the batch of that step, the same whenever it is asked. Raises ValueError for numbers below 1
    or a corpus too short for a window and the byte after it.
    """

    corpus: data.Corpus
    batch: int
    length: int

    def __post_init__(self) -> None:
        integer("batch", self.batch)
        integer("length", self.length)
        if self.corpus.bytes.size <= self.length:
            raise ValueError(f"length: {self.length}, must be below the corpus's {self.corpus.bytes.size} bytes")

    def __call__(self, seed: int, step: int) -> Batch:
        drawn = np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)[0]
        return next_byte(self.corpus.windows(self.length + 1, self.batch, seed=int(drawn)))


def next_byte(windows: np.ndarray) -> Batch:
    """Windows (batch, length + 1) as a batch: all bytes but the last in, all but the first to be told."""
    windows = windows.astype(np.int32)
    return Batch(windows[:, :-1], windows[:, 1:], np.ones(windows[:, 1:].shape, bool))


def held_out(corpus: data.Corpus, *, length: int, windows: int = 256, seed: int = 0) -> list[Batch]:
    """Fixed random windows of a corpus, the same for every model that is judged on them, in batches."""
    drawn = corpus.windows(length + 1, windows, seed=seed)
    return [next_byte(drawn[i : i + EVALUATION_BATCH]) for i in range(0, windows, EVALUATION_BATCH)]


def bits_per_byte(model: Model, corpus: data.Corpus, *, length: int, windows: int = 256, seed: int = 0) -> float:
    """-log2 p(byte | the bytes before it in its window), the mean over fixed random windows of a held-out corpus.

    A window starts without context, as in training.
    """
    return float(evaluate(model, held_out(corpus, length=length, windows=windows, seed=seed)).bits)
