"""Affine scans: the linear recurrence delta_t = J_t delta_{t-1} + b_t, by interchangeable backends.

Affine maps compose as (A2, b2) . (A1, b1) = (A2 A1, A2 b1 + b2), which is associative; that is what lets the recurrence
run in parallel. All backends compute the same function to rounding; derivatives never go through them, because the
recurrence is a linear system whose transpose is the same recurrence backwards (ParaRNN, arXiv 2510.21450, section 3).
"""

import dataclasses
from abc import ABC, abstractmethod
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from workbench.rnn._jacobian import AbstractJacobian, lag


class AbstractScan(ABC):
    """A backend for `affine_scan`; frozen and hashable by value."""

    def __call__(self, J: AbstractJacobian, b: Float[Array, "time ..."], *, reverse: bool = False) -> Array:
        """delta_t = J_t delta_{t-1} + b_t with delta_0 = 0 (in reverse: delta_t = J_t delta_{t+1} + b_t)."""
        return J.join(self.run(J, J.split(b), reverse), b.shape)

    @abstractmethod
    def run(self, J: AbstractJacobian, b: Any, reverse: bool) -> Any:
        """The same of a b that J has split: a pytree of arrays with time in front, as is the result."""


@dataclasses.dataclass(frozen=True)
class Serial(AbstractScan):
    """One step after the other (`lax.scan`): T depth, least work, the reference."""

    def run(self, J: AbstractJacobian, b: Any, reverse: bool) -> Any:
        def body(delta: Any, step: tuple) -> tuple[Any, Any]:
            delta = affine(*step, delta)
            return delta, delta

        return lax.scan(body, jax.tree.map(lambda a: jnp.zeros_like(a[0]), b), (J, b), reverse=reverse)[1]


@dataclasses.dataclass(frozen=True)
class Associative(AbstractScan):
    """Work-efficient tree (`lax.associative_scan`): 2 log2 T depth, about 2T compositions."""

    def run(self, J: AbstractJacobian, b: Any, reverse: bool) -> Any:
        J, b, back = J.for_tree(b)
        return back(lax.associative_scan(combine, (J, b), reverse=reverse)[1])


@dataclasses.dataclass(frozen=True)
class HillisSteele(AbstractScan):
    """The paper's form: ceil(log2 T) rounds of T compositions each, the least depth and T log2 T work.

    For s = 1, 2, 4, ... < T:  b_t <- A_t b_{t-s} + b_t;  A_t <- A_t A_{t-s}, which is 0 where t <= s.
    ParaRNN (arXiv 2510.21450, section 2); Hillis and Steele (1986).
    """

    def run(self, J: AbstractJacobian, b: Any, reverse: bool) -> Any:
        length = jax.tree.leaves(b)[0].shape[0]

        def before(a: Array, s: Array) -> Array:
            """a_{t-s} (in reverse a_{t+s}), 0 where there is none."""
            pair = [a, jnp.zeros_like(a)] if reverse else [jnp.zeros_like(a), a]
            return lax.dynamic_slice_in_dim(jnp.concatenate(pair), s if reverse else length - s, length)

        def body(i: Array, pair: tuple) -> tuple:
            s = jnp.left_shift(1, i)
            return combine(jax.tree.map(lambda a: before(a, s), pair), pair)

        # A loop, not unrolled: XLA would fuse the rounds and repeat each inside the next, 10 times the work on CPU.
        return lax.fori_loop(0, (length - 1).bit_length(), body, (J, b))[1]


@dataclasses.dataclass(frozen=True)
class TwoLevel(AbstractScan):
    """Chunks of `chunk` steps: serial inside, vectorised over chunks; then `carries` over the chunks; then a replay.

    Depth 2*chunk + T/chunk with the default `carries`, work about 3T; the thread/warp/block scheme of the paper's
    kernels (arXiv 2510.21450, section 4). Reads J and b twice and writes once, so that memory bounds it at 5/3 of the
    traffic of `Serial`. Any T: the last chunk is padded with zeros, which change nothing before them.

    Raises ValueError if chunk < 1.
    """

    chunk: int = 32
    carries: AbstractScan = Serial()

    def __post_init__(self) -> None:
        if isinstance(self.chunk, bool) or not isinstance(self.chunk, int) or self.chunk < 1:
            raise ValueError(f"chunk: {self.chunk!r}, must be an integer of at least 1")
        if not isinstance(self.carries, AbstractScan):
            raise ValueError(f"carries: {self.carries!r}, must be a scan backend such as Serial()")  # noqa: TRY004

    def run(self, J: AbstractJacobian, b: Any, reverse: bool) -> Any:
        length = jax.tree.leaves(b)[0].shape[0]
        chunk = min(self.chunk, length)
        steps = jax.tree.map(lambda a: _chunked(a, chunk), (J, b))

        pairs = _fold(steps, reverse)
        delta = jax.tree.map(lambda a: delay(a, 1, reverse), self.carries.run(*pairs, reverse))

        def replay(i: Any, state: tuple) -> tuple:
            delta, out = state
            k = chunk - 1 - i if reverse else i
            delta = affine(*_at(steps, k), delta)
            return delta, jax.tree.map(lambda a, d: lax.dynamic_update_index_in_dim(a, d, k, 1), out, delta)

        _, out = lax.fori_loop(0, chunk, replay, (delta, jax.tree.map(jnp.zeros_like, steps[1])))
        return jax.tree.map(lambda a: a.reshape(a.shape[0] * chunk, *a.shape[2:])[:length], out)


def affine_scan(
    J: AbstractJacobian,
    b: Float[Array, "time ..."],
    *,
    initial: Float[Array, "..."] | None = None,
    reverse: bool = False,
    backend: AbstractScan | None = None,
) -> Float[Array, "time ..."]:
    """Solve the linear recurrence delta_t = J_t delta_{t-1} + b_t for all t at once.

    `b` is (time, ...); `J` a `Diagonal` or `Block` with the same leading axes; `initial` is delta_0 (default 0), of the
    shape of one b_t. In reverse the recurrence is delta_t = J_t delta_{t+1} + b_t from the end, with `initial` beyond
    the last step; with `J.adjoint()` that is the exact transpose of the forward scan. `backend`: default `TwoLevel()`.

    Linear and transposable in `b` and `initial`, differentiable in `J` (any order): both through the same backend run
    backwards, so no intermediate of the scan is ever stored. Raises ValueError for lengths or shapes that disagree.
    """
    _check_scan(J, b, initial)
    backend = TwoLevel() if backend is None else backend
    edge = -1 if reverse else 0
    if initial is not None:
        b = b.at[edge].add(J[edge].apply(initial))
    # What stands at the edge multiplies a zero; if it is inf or nan it must not get the chance to.
    J = jax.tree.map(lambda a: a.at[edge].set(0), J)

    def matvec(delta: Array) -> Array:
        return delta - J.apply(delay(delta, 1, reverse))

    def solve(_: object, rhs: Array) -> Array:
        return backend(J, rhs, reverse=reverse)

    def transpose_solve(_: object, rhs: Array) -> Array:
        return backend(_adjoint(J, reverse), rhs, reverse=not reverse)

    return lax.custom_linear_solve(matvec, b, solve, transpose_solve)


def _adjoint(J: AbstractJacobian, reverse: bool) -> AbstractJacobian:
    """The Jacobians of the transposed recurrence; transposing a reversed scan shifts the other way."""
    if not reverse:
        return J.adjoint()
    return jax.tree.map(lambda a: delay(a, 1, reverse=False), J.transpose())


def combine(earlier: tuple, later: tuple) -> tuple:
    """The affine map `later` after `earlier`, each a pair (A, b), b split."""
    (A1, b1), (A2, b2) = earlier, later
    return A2.compose(A1), affine(A2, b2, b1)


def total(J: AbstractJacobian, b: Any, reverse: bool, chunk: int = 32) -> tuple:
    """All T affine maps composed to one pair (A, b), b split; in reverse the last map acts first."""
    length = jax.tree.leaves(b)[0].shape[0]
    pairs = (J, b)
    while length > 1:
        chunk = min(chunk, length)
        missing = -length % chunk
        neutral = (pairs[0].identity(), jax.tree.map(jnp.zeros_like, pairs[1]))
        pairs = jax.tree.map(lambda a, e, n=missing: jnp.concatenate([a, e[:n]]), pairs, neutral)
        pairs = _fold(jax.tree.map(lambda a, c=chunk: _chunked(a, c), pairs), reverse)
        length = (length + missing) // chunk
    return jax.tree.map(lambda a: a[0], pairs)


def affine(A: AbstractJacobian, b: Any, delta: Any) -> Any:
    """A delta + b, all of it split."""
    return jax.tree.map(jnp.add, A.act(delta), b)


def delay(a: Array, steps: int, reverse: bool) -> Array:
    """a_{t-steps} (in reverse a_{t+steps}), and 0 where there is none."""
    return lag(a, -steps if reverse else steps)


def _fold(steps: tuple, reverse: bool) -> tuple:
    """The maps of every chunk composed to one: pairs with leading axis chunks."""
    chunk = jax.tree.leaves(steps)[0].shape[1]

    def body(i: Array, pair: tuple) -> tuple:
        return combine(pair, _at(steps, chunk - 1 - i if reverse else i))

    return lax.fori_loop(1, chunk, body, _at(steps, chunk - 1 if reverse else 0))


def _at(steps: Any, i: Any) -> Any:
    """Step i of every chunk, indexed as it lies in memory: a transposed copy would cost as much as the scan."""
    return jax.tree.map(lambda a: lax.dynamic_index_in_dim(a, i, 1, keepdims=False), steps)


def _chunked(a: Array, chunk: int) -> Array:
    """(time, ...) -> (chunks, chunk, ...), padded with zeros at the end."""
    chunks = -(-a.shape[0] // chunk)
    padding = [(0, chunks * chunk - a.shape[0])] + [(0, 0)] * (a.ndim - 1)
    return jnp.pad(a, padding).reshape(chunks, chunk, *a.shape[1:])


def _check_scan(J: AbstractJacobian, b: Array, initial: Array | None) -> None:
    if not isinstance(J, AbstractJacobian):
        raise ValueError(f"J: {type(J).__name__}, must be a Diagonal or a Block")  # noqa: TRY004 (the house raises ValueError)
    if b.ndim < 1 or b.shape[0] < 1:
        raise ValueError(f"b: shape {b.shape}, must have a leading time axis of length 1 or more")
    for leaf in jax.tree.leaves(J):
        if leaf.shape[0] != b.shape[0]:
            raise ValueError(f"J: {leaf.shape[0]} steps, must have as many as b, which has {b.shape[0]}")
    if initial is not None and jnp.shape(initial) != b.shape[1:]:
        raise ValueError(f"initial: shape {jnp.shape(initial)}, must be the shape of one step, {b.shape[1:]}")
