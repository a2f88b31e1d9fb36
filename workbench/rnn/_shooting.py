"""Chunks of time rolled out side by side by the true cell: multiple shooting, and its warm start by overlaps."""

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from workbench.rnn._jacobian import AbstractJacobian
from workbench.rnn._scan import AbstractScan, affine_scan
from workbench.rnn._solver import PATIENCE, Iterate, IterativeSolver, check_integer
from workbench.rnn._system import System

COALESCED_UNITS = 64
"""Two rollouts this many units of rounding apart (relative to 1 + max|h|) have forgotten where they started."""


class ShootingSolver(IterativeSolver):
    """Time in `chunks` pieces, the last one shorter if need be; no piece is empty, so there may be fewer pieces.

    The unknowns are the states s_c that the pieces start from; s_0 = h_0. With e_c the end of piece c and
    P_c = de_c/ds_c the product of its Jacobians, Newton's iteration for s_{c+1} = e_c(s_c) is the linear recurrence

    delta_{c+1} = P_c delta_c + e_c - s_{c+1}, delta_0 = 0;  s <- s + delta
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer("chunks", getattr(self, "chunks", 1), 1)

    def pieces(self, system: System) -> tuple[int, int]:
        """(pieces, their length)."""
        time = jax.tree.leaves(system.inputs)[0].shape[0]
        length = -(-time // getattr(self, "chunks", 1))
        return -(-time // length), length

    def lanes(self, system: System) -> Any:
        """The inputs as (length, pieces, *batch, ...): pieces are lanes, like a batch. The last step fills the rest."""
        pieces, length = self.pieces(system)

        def split(a: Array) -> Array:
            missing = pieces * length - a.shape[0]
            if missing:
                a = jnp.concatenate([a, jnp.broadcast_to(a[-1:], (missing, *a.shape[1:]))])
            return jnp.swapaxes(a.reshape(pieces, length, *a.shape[1:]), 0, 1)

        return jax.tree.map(split, system.inputs)

    def starts(self, system: System, states: Float[Array, "time ..."]) -> Float[Array, "pieces ..."]:
        """What the pieces start from along a path."""
        pieces, length = self.pieces(system)
        return jnp.concatenate([system.initial[None], states[length - 1 : (pieces - 1) * length : length]])

    def path(self, system: System, starts: Array, lanes: Any) -> tuple[Float[Array, "time ..."], Array]:
        """The states at all times, rolled out from the starts, and the mismatch e_{c-1} - s_c at every joint."""

        def body(h: Array, u: Any) -> tuple[Array, Array]:
            h = system.cell.step(system.params, h, u)
            return h, h

        ends, states = lax.scan(body, starts, lanes)
        time = jax.tree.leaves(system.inputs)[0].shape[0]
        states = jnp.swapaxes(states, 0, 1).reshape(-1, *system.initial.shape)[:time]
        return states, _mismatch(starts, ends)

    def linearise(self, system: System, starts: Array) -> tuple[Array, AbstractJacobian]:
        """The mismatch at every joint, and P_{c-1} beside it: the two sides of the recurrence over pieces."""
        inputs, cell, params = self.lanes(system), system.cell, system.params

        def body(carry: tuple, u: Any) -> tuple[tuple, None]:
            h, P = carry
            h, J = cell.step_and_jacobian(params, h, u)
            return (h, J.compose(P)), None

        like = jax.eval_shape(cell.jacobian, params, starts, jax.tree.map(lambda a: a[0], inputs))
        eye = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), like).identity()
        (ends, P), _ = lax.scan(body, (starts, eye), inputs)
        return _mismatch(starts, ends), jax.tree.map(lambda a: jnp.roll(a, 1, axis=0), P)


@dataclasses.dataclass(frozen=True)
class MultipleShooting(ShootingSolver):
    """Newton's method on the states between `chunks` pieces of time; the true cell is rolled out over all at once.

    delta_{c+1} = P_c delta_c + e_c(s_c) - s_{c+1}, delta_0 = 0;  s <- s + delta

    The residual is the mismatch max|e_c(s_c) - s_{c+1}| at the joints; inside a piece the recurrence holds exactly. A
    contraction inside the pieces makes P vanish, so that 1 or 2 iterations do; after k iterations k pieces are exact.
    Memory during the iterations is that of `chunks` states and Jacobians, not T. The guess is read at the joints.
    `steps` and `patience` as for `Newton`.

    Raises ValueError for chunks < 1, and as `Newton` does.
    """

    chunks: int
    steps: int | None = None
    patience: int | None = PATIENCE

    def init(self, system: System, guess: Array, scan: AbstractScan) -> Iterate:
        return self._iterate(system, self.starts(system, guess))

    def step(self, system: System, iterate: Iterate, scan: AbstractScan) -> Iterate:
        mismatch, P = iterate.carry
        return self._iterate(system, iterate.states + affine_scan(P, mismatch, backend=scan))

    def finish(self, system: System, iterate: Iterate) -> Array:
        return self.path(system, iterate.states, self.lanes(system))[0]

    def _iterate(self, system: System, starts: Array) -> Iterate:
        mismatch, P = self.linearise(system, starts)
        return Iterate(starts, system.norm(mismatch), (mismatch, P))


@dataclasses.dataclass(frozen=True)
class WarmStart(ShootingSolver):
    """One parallel pass: each of `chunks` pieces starts `overlap` steps early from `start` and forgets it on the way.

    Iteration 0 is that pass. The mismatch at the joints is its certificate: where the products of `overlap` Jacobians
    are below rounding it is 0 and nothing is left to do; where it is above the tolerance, the iterations of
    `MultipleShooting` follow. `start`: "zeros", or "guess", the guess at the time of the early start.

    `guard` runs the overlaps from a second, different start too (2 * overlap * chunks steps in all); unless both arrive
    at the same states, so that there is hope, all of it is rolled out one step after the other: exact after 0
    iterations, at the cost of `lax.scan` plus the check. `steps` and `patience` as for `Newton`.

    Raises ValueError for chunks < 1, overlap < 0, an unknown start, and as `Newton` does.
    """

    chunks: int
    overlap: int = 64
    start: Literal["zeros", "guess"] = "zeros"
    guard: bool = False
    steps: int | None = None
    patience: int | None = PATIENCE

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer("overlap", self.overlap, 0)
        if self.start not in ("zeros", "guess"):
            raise ValueError(f"start: {self.start!r}, must be 'zeros' or 'guess'")

    def init(self, system: System, guess: Array, scan: AbstractScan) -> Iterate:
        early = self._early(system, guess)

        def parallel(starts: Array, lanes: Any) -> tuple[Array, Array, Array]:
            return starts, *self.path(system, starts, lanes)

        def serial(_: Array, __: Any) -> tuple[Array, Array, Array]:
            states = system.rollout()
            starts = self.starts(system, states)
            return starts, states, jnp.zeros_like(starts)

        # Outside the branch: there XLA would neither fuse it with the projection nor run it on several threads.
        lanes = self.lanes(system)
        if not self.guard:
            starts, states, mismatch = parallel(self._run_up(system, early[None])[0], lanes)
        else:
            # Other signs and sizes in every entry, so that no symmetry of the cell brings the two together.
            size = early[0].size
            other = (1.3 * jnp.cos(1.0 + 2.0 * jnp.arange(size, dtype=early.dtype))).reshape(early[0].shape)
            one, two = self._run_up(system, jnp.stack([early, early + other[None]]))
            apart = COALESCED_UNITS * jnp.finfo(one.dtype).eps * (1 + jnp.abs(one))
            starts, states, mismatch = lax.cond((jnp.abs(one - two) <= apart).all(), parallel, serial, one, lanes)
        return Iterate(states, system.norm(mismatch), (starts, mismatch))

    def step(self, system: System, iterate: Iterate, scan: AbstractScan) -> Iterate:
        starts, _ = iterate.carry
        mismatch, P = self.linearise(system, starts)
        starts = starts + affine_scan(P, mismatch, backend=scan)
        states, mismatch = self.path(system, starts, self.lanes(system))
        return Iterate(states, system.norm(mismatch), (starts, mismatch))

    def _early(self, system: System, guess: Array) -> Float[Array, "pieces ..."]:
        """Where each piece starts early from."""
        pieces, length = self.pieces(system)
        if self.start == "zeros":
            return jnp.zeros((pieces, *system.initial.shape), system.initial.dtype)
        return guess[np.maximum(np.arange(pieces) * length - self.overlap - 1, 0)]

    def _run_up(self, system: System, early: Float[Array, "runs pieces ..."]) -> Float[Array, "runs pieces ..."]:
        """The states `overlap` steps later, where the pieces start; before time 0 lies h_0."""
        runs, (pieces, length) = early.shape[0], self.pieces(system)
        times = np.arange(pieces) * length + np.arange(-self.overlap, 0)[:, None]  # (overlap, pieces)

        def gather(a: Array) -> Array:
            a = a[np.maximum(times, 0)]
            return jnp.broadcast_to(a[:, None], (self.overlap, runs, *a.shape[1:]))

        def body(h: Array, step: tuple) -> tuple[Array, None]:
            t, u = step
            there = (t >= 0).reshape(1, pieces, *[1] * system.initial.ndim)
            return jnp.where(there, system.cell.step(system.params, h, u), h), None

        first = (np.arange(pieces) * length <= self.overlap).reshape(1, pieces, *[1] * system.initial.ndim)
        h = jnp.where(first, system.initial[None, None], early)
        return lax.scan(body, h, (times, jax.tree.map(gather, system.inputs)))[0]


def _mismatch(starts: Array, ends: Array) -> Array:
    return jnp.concatenate([jnp.zeros_like(starts[:1]), ends[:-1] - starts[1:]])
