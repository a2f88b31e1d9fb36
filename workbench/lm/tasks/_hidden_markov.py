"""A language whose exact next-token distribution is known: tokens of a hidden Markov chain, and its oracle."""

import dataclasses
import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from workbench.checks import integer
from workbench.lm._loss import Batch
from workbench.lm.tasks._task import AbstractTask


@dataclasses.dataclass(frozen=True)
class HiddenMarkov(AbstractTask):
    """The next token of a hidden Markov chain: state z moves by A[z, z'], and each state speaks token x by B[z, x].

    The rows of A and B are drawn once, from symmetric Dirichlet distributions of the given concentrations (the lower,
    the more predictable), by `language`, a seed; z starts uniform. Every position has a label, the token that comes
    next. What the best possible model would say, and so the entropy, is known: `oracle`. Raises ValueError for numbers
    of states or symbols below 1, and concentrations that are not positive.
    """

    states: int = 16
    symbols: int = 32
    movement: float = 0.1
    speech: float = 0.1
    language: int = 0

    def __post_init__(self) -> None:
        integer("states", self.states)
        integer("symbols", self.symbols)
        for name in ("movement", "speech"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: {getattr(self, name)!r}, must be greater than 0")

    @property
    def vocab(self) -> int:
        return self.symbols

    @property
    def classes(self) -> int:
        return self.symbols

    @property
    def chance(self) -> float:
        """Always the token that is most frequent in long strings."""
        moves, speaks = self.matrices
        often = np.full(self.states, 1 / self.states)
        for _ in range(1000):
            often = (often + often @ moves) / 2  # the mean with itself: a chain that circles converges too
        return float((often @ speaks).max())

    @property
    def matrices(self) -> tuple[np.ndarray, np.ndarray]:
        """A (states, states) and B (states, symbols), whose rows are distributions."""
        return _matrices(self)

    @property
    def oracle(self) -> "Oracle":
        """The exact model of this language."""
        moves, speaks = (jnp.asarray(rows) for rows in self.matrices)
        return Oracle(moves, speaks)

    def sample(self, rng: np.random.Generator, batch: int, length: int) -> Batch:
        moves, speaks = (np.cumsum(rows, 1) for rows in self.matrices)
        state = rng.integers(0, self.states, batch)
        tokens = np.empty((batch, length + 1), np.int32)
        for t, chance in enumerate(rng.random((length + 1, 2, batch))):
            tokens[:, t] = _drawn(speaks[state], chance[0])
            state = _drawn(moves[state], chance[1])
        return Batch(tokens[:, :-1], tokens[:, 1:], np.ones((batch, length), bool))


class Oracle(eqx.Module):
    """What the language itself would say next: a `lm.LogitSource`, by the forward algorithm (Rabiner 1989, eq. 19-20).

    a_t ~ (a_{t-1} A) * B[:, x_t], scaled to 1;  p(x_{t+1} | x_1 ... x_t) = a_t A B.
    """

    moves: Float[Array, "states states"]
    speaks: Float[Array, "states vocab"]

    def logits(self, tokens: Int[Array | np.ndarray, "batch time"]) -> Float[Array, "batch time vocab"]:
        """log p(next token | the tokens up to here), exact."""

        def read(state: Array, token: Array) -> tuple[Array, Array]:
            held = state * self.speaks[:, token]
            state = (held / held.sum()) @ self.moves
            return state, jnp.log(state @ self.speaks)

        start = jnp.full_like(self.moves[0], 1 / len(self.moves))
        return jax.vmap(lambda row: jax.lax.scan(read, start, row)[1])(jnp.asarray(tokens))


@functools.lru_cache(maxsize=16)
def _matrices(task: HiddenMarkov) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(task.language)
    sizes = ((task.states, task.movement), (task.symbols, task.speech))
    moves, speaks = (rng.dirichlet(np.full(size, concentration), task.states) for size, concentration in sizes)
    # No outcome is impossible: where a draw is smaller than any float, the oracle's logarithm still is a number.
    floored = [np.maximum(rows, 1e-12) for rows in (moves, speaks)]
    moves, speaks = (rows / rows.sum(1, keepdims=True) for rows in floored)
    return moves, speaks


def _drawn(cumulative: np.ndarray, chance: np.ndarray) -> np.ndarray:
    """The outcome of each row whose cumulative distribution first exceeds its number in [0, 1)."""
    return np.minimum((cumulative <= chance[:, None]).sum(1), cumulative.shape[1] - 1)
