"""Language models of text: batches of windows of a corpus, in bytes or a tokenizer's tokens, and its held-out part."""

import dataclasses
import functools

import numpy as np

from workbench import data
from workbench.checks import integer
from workbench.lm._loss import Batch, evaluate
from workbench.lm._model import Model
from workbench.lm._tokenizer import AbstractTokenizer, Bytes

BYTES = Bytes()
EVALUATION_BATCH = 32  # windows a forward pass


@dataclasses.dataclass(frozen=True)
class Windows:
    """A stream of random windows of a corpus, (batch, length) each: every token is to be told from those before it.

    `stream(seed, step)` is the batch of that step, the same whenever it is asked. A token is a byte, or the
    `tokenizer`'s. Raises ValueError for numbers below 1 or a corpus too short for a window and the token after it.
    """

    corpus: data.Corpus
    batch: int
    length: int
    tokenizer: AbstractTokenizer = BYTES

    def __post_init__(self) -> None:
        integer("batch", self.batch)
        integer("length", self.length)
        size = _tokens(self.corpus, self.tokenizer).bytes.size
        if size <= self.length:
            raise ValueError(f"length: {self.length}, must be below the corpus's {size} tokens")

    def __call__(self, seed: int, step: int) -> Batch:
        drawn = np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)[0]
        tokens = _tokens(self.corpus, self.tokenizer)
        return next_token(tokens.windows(self.length + 1, self.batch, seed=int(drawn)))


def next_token(windows: np.ndarray) -> Batch:
    """Windows (batch, length + 1) as a batch: all tokens but the last in, all but the first to be told."""
    windows = windows.astype(np.int32)
    return Batch(windows[:, :-1], windows[:, 1:], np.ones(windows[:, 1:].shape, bool))


def held_out(
    corpus: data.Corpus, *, length: int, windows: int = 256, seed: int = 0, tokenizer: AbstractTokenizer = BYTES
) -> list[Batch]:
    """Fixed random windows of a corpus, the same for every model that is judged on them, in batches."""
    drawn = _tokens(corpus, tokenizer).windows(length + 1, windows, seed=seed)
    return [next_token(drawn[i : i + EVALUATION_BATCH]) for i in range(0, windows, EVALUATION_BATCH)]


def bits_per_byte(model: Model, corpus: data.Corpus, *, length: int, windows: int = 256, seed: int = 0) -> float:
    """-log2 p(byte | the bytes before it in its window), the mean over fixed random windows of a held-out corpus.

    A window starts without context, as in training.
    """
    return float(evaluate(model, held_out(corpus, length=length, windows=windows, seed=seed)).bits)


def _tokens(corpus: data.Corpus, tokenizer: AbstractTokenizer) -> data.Corpus:
    """The corpus with tokens in the place of its bytes."""
    return corpus if isinstance(tokenizer, Bytes) else _tokenized(corpus, tokenizer)


@functools.lru_cache(maxsize=8)
def _tokenized(corpus: data.Corpus, tokenizer: AbstractTokenizer) -> data.Corpus:
    """File by file; characters that are no UTF-8 are replaced."""
    bounds = zip(corpus.offsets[:-1], corpus.offsets[1:], strict=True)
    files = [tokenizer.encode(corpus.bytes[i:j].tobytes().decode(errors="replace")) for i, j in bounds]
    offsets = np.cumsum([0, *map(len, files)])
    return dataclasses.replace(corpus, bytes=np.concatenate(files).astype(np.int32), offsets=offsets)
