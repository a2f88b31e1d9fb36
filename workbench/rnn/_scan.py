"""Affine scans: the linear recurrence delta_t = J_t delta_{t-1} + b_t, by interchangeable backends.

Affine maps compose as (A2, b2) . (A1, b1) = (A2 A1, A2 b1 + b2), which is associative; that is what lets the recurrence
run in parallel. All backends compute the same function to rounding; derivatives never go through them, because the
recurrence is a linear system whose transpose is the same recurrence backwards (ParaRNN, arXiv 2510.21450, section 3).
"""

import dataclasses
from abc import ABC, abstractmethod

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from workbench.rnn._jacobian import AbstractJacobian


class AbstractScan(ABC):
    """A backend for `affine_scan`; frozen and hashable by value."""

    @abstractmethod
    def __call__(self, J: AbstractJacobian, b: Float[Array, "time ..."], *, reverse: bool = False) -> Array:
        """delta_t = J_t delta_{t-1} + b_t with delta_0 = 0 (in reverse: delta_t = J_t delta_{t+1} + b_t)."""


@dataclasses.dataclass(frozen=True)
class Serial(AbstractScan):
    """One step after the other (`lax.scan`): T depth, least work, the reference."""

    def __call__(self, J: AbstractJacobian, b: Float[Array, "time ..."], *, reverse: bool = False) -> Array:
        return _serial(J, b, jnp.zeros_like(b[0]), reverse)


@dataclasses.dataclass(frozen=True)
class Associative(AbstractScan):
    """Work-efficient tree (`lax.associative_scan`): 2 log2 T depth, about 2T compositions."""

    def __call__(self, J: AbstractJacobian, b: Float[Array, "time ..."], *, reverse: bool = False) -> Array:
        return lax.associative_scan(_combine, (J, b), reverse=reverse)[1]


@dataclasses.dataclass(frozen=True)
class TwoLevel(AbstractScan):
    """Chunks of `chunk` steps: serial inside, vectorised over chunks; then `carries` over the chunks; then a replay.

    Depth 2*chunk + T/chunk with the default `carries`, work about 3T; the thread/warp/block scheme of the paper's
    kernels (arXiv 2510.21450, section 4). Any T: the last chunk is padded with zeros, which change nothing before them.

    Raises ValueError if chunk < 1.
    """

    chunk: int = 32
    carries: AbstractScan = Serial()

    def __post_init__(self) -> None:
        if isinstance(self.chunk, bool) or not isinstance(self.chunk, int) or self.chunk < 1:
            raise ValueError(f"chunk: {self.chunk!r}, must be an integer of at least 1")

    def __call__(self, J: AbstractJacobian, b: Float[Array, "time ..."], *, reverse: bool = False) -> Array:
        if reverse:
            J, b = jax.tree.map(lambda a: jnp.flip(a, 0), (J, b))
        J_chunks, b_chunks = jax.tree.map(lambda a: _split(a, self.chunk), (J, b))

        def summarise(carry: tuple, step: tuple) -> tuple:
            return _combine(carry, step), None

        start = (J_chunks[0].identity(), jnp.zeros_like(b_chunks[0]))
        (P, d), _ = lax.scan(summarise, start, (J_chunks, b_chunks))
        ends = self.carries(P, d)
        carry_in = jnp.concatenate([jnp.zeros_like(ends[:1]), ends[:-1]])
        delta = _join(_serial(J_chunks, b_chunks, carry_in, reverse=False), b.shape[0])
        return jnp.flip(delta, 0) if reverse else delta


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
        zero = jnp.zeros_like(delta[:1])
        before = jnp.concatenate([delta[1:], zero] if reverse else [zero, delta[:-1]])
        return delta - J.apply(before)

    def solve(_: object, rhs: Array) -> Array:
        return backend(J, rhs, reverse=reverse)

    def transpose_solve(_: object, rhs: Array) -> Array:
        return backend(_adjoint(J, reverse), rhs, reverse=not reverse)

    return lax.custom_linear_solve(matvec, b, solve, transpose_solve)


def _adjoint(J: AbstractJacobian, reverse: bool) -> AbstractJacobian:
    """The Jacobians of the transposed recurrence; transposing a reversed scan shifts the other way."""
    if not reverse:
        return J.adjoint()
    return jax.tree.map(lambda a: jnp.concatenate([jnp.zeros_like(a[:1]), a[:-1]]), J.transpose())


def _combine(earlier: tuple, later: tuple) -> tuple:
    (A1, b1), (A2, b2) = earlier, later
    return A2.compose(A1), A2.apply(b1) + b2


def _serial(J: AbstractJacobian, b: Array, initial: Array, reverse: bool) -> Array:
    def body(delta: Array, step: tuple) -> tuple[Array, Array]:
        J_t, b_t = step
        delta = J_t.apply(delta) + b_t
        return delta, delta

    return lax.scan(body, initial, (J, b), reverse=reverse)[1]


def _split(a: Array, chunk: int) -> Array:
    """(time, ...) -> (chunk, chunks, ...): position inside the chunk first, for the scan that runs over it."""
    chunks = -(-a.shape[0] // chunk)
    padding = [(0, chunks * chunk - a.shape[0])] + [(0, 0)] * (a.ndim - 1)
    return jnp.swapaxes(jnp.pad(a, padding).reshape(chunks, chunk, *a.shape[1:]), 0, 1)


def _join(a: Array, time: int) -> Array:
    return jnp.swapaxes(a, 0, 1).reshape(a.shape[0] * a.shape[1], *a.shape[2:])[:time]


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
