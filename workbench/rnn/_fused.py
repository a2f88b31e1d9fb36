"""Newton's method on a tile of channels in one kernel: cell, Jacobian and scan together (Pallas, for GPUs)."""

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from workbench.rnn._cell import AbstractCell
from workbench.rnn._cells import GatedCell
from workbench.rnn._jacobian import AbstractJacobian, Block, Diagonal
from workbench.rnn._scan import AbstractScan, affine, combine
from workbench.rnn._solver import PATIENCE, Iterate, IterativeSolver, check_integer
from workbench.rnn._system import System


@dataclasses.dataclass(frozen=True)
class FusedNewton(IterativeSolver):
    """Newton's method in one kernel (Pallas, GPU): `iterations` of them a launch, for cells whose channels are apart.

    delta_t = J_t delta_{t-1} + f(h_{t-1}, x_t) - h_t, delta_0 = 0;  h <- h + delta

    A program of the kernel owns one sequence and `channels` channels for all times. Time lies in `chunks` lanes: within
    a lane one step after the other, between lanes a tree; Jacobians and residuals never leave the registers. The
    residual is computed after each launch, outside the kernel, and launches repeat until it is below the tolerance;
    what the statistics count is launches. `scan` serves the derivatives alone. ParaRNN (arXiv 2510.21450, section 4).

    `interpret` runs the kernel as plain JAX operations, for tests on any device. `patience` as for `Newton`.

    Raises ValueError for numbers below 1, for chunks or channels that are no power of 2, for a cell that is no
    `GatedCell` (`resets` and `lengths` make it none), and without a GPU unless it interprets.
    """

    iterations: int = 3
    chunks: int = 64
    channels: int = 16
    interpret: bool = False
    patience: int | None = PATIENCE

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer("iterations", self.iterations, 1)
        for name in ("chunks", "channels"):
            value = getattr(self, name)
            check_integer(name, value, 1)
            if value & (value - 1):
                raise ValueError(f"{name}: {value}, must be a power of 2")

    def init(self, system: System, guess: Array, scan: AbstractScan) -> Iterate:
        _channelwise(system.cell)
        if not self.interpret and jax.default_backend() != "gpu":
            raise ValueError(
                f"solver: FusedNewton needs a GPU, the default backend is {jax.default_backend()!r}; use Newton(), or "
                "FusedNewton(interpret=True) to run the kernel slowly as plain operations"
            )
        return Iterate(guess, system.norm(system.residuals(guess)), None)

    def step(self, system: System, iterate: Iterate, scan: AbstractScan) -> Iterate:
        states = launch(self, system, iterate.states)
        return Iterate(states, system.norm(system.residuals(states)), None)


def _channelwise(cell: AbstractCell) -> GatedCell:
    if isinstance(cell, GatedCell):
        return cell
    raise ValueError(
        f"cell: {type(cell).__name__}, must be a GatedCell such as ParaGRU, without resets or lengths: the kernel of "
        "FusedNewton takes channels apart"
    )


def launch(method: FusedNewton, system: System, guess: Float[Array, "time ..."]) -> Float[Array, "time ..."]:
    """The states after `method.iterations` Newton iterations from the guess: one launch of the kernel."""
    from jax.experimental import pallas as pl
    from jax.experimental.pallas import triton

    cell, C, width = _channelwise(system.cell), method.chunks, method.channels
    time, sequences = guess.shape[0], math.prod(system.initial.shape[: system.batch_ndim])
    steps, tiles = -(-time // C), -(-cell.hidden_dim // width)

    def lanes(a: Array, tail: int) -> Array:
        """(time, *batch, tail axes, hidden) -> (chunks, steps, sequences, ..., hidden), padded with zeros."""
        a = a.reshape(time, sequences, *a.shape[a.ndim - tail :])
        padding = [(0, C * steps - time)] + [(0, 0)] * (a.ndim - 2) + [(0, tiles * width - cell.hidden_dim)]
        return jnp.pad(a, padding).reshape(C, steps, *a.shape[1:-1], tiles * width)

    split = lambda a: [a] if len(cell.state_shape) == 1 else [a[..., i] for i in range(cell.state_shape[-1])]
    u = lanes(system.inputs, 2)
    h = [lanes(a, 1) for a in split(guess)]
    first = [lanes(jnp.broadcast_to(a, guess.shape[:1] + a.shape), 1)[:1, 0] for a in split(system.initial)]
    starts = [jnp.concatenate([a, b[:-1, -1]]) for a, b in zip(first, h, strict=True)]
    weights = [jnp.pad(a, (0, tiles * width - cell.hidden_dim)) for name in cell.recurrent for a in system.params[name]]

    of_weights = pl.BlockSpec((width,), lambda b, j: (j,))
    of_u = pl.BlockSpec((C, steps, None, cell.gates, width), lambda b, j: (0, 0, b, 0, j))
    of_starts = pl.BlockSpec((C, None, width), lambda b, j: (0, b, j))
    of_h = pl.BlockSpec((C, steps, None, width), lambda b, j: (0, 0, b, j))
    given = [*weights, u, *starts]
    out = pl.pallas_call(
        functools.partial(_kernel, cell, method.iterations, None if method.interpret else triton.debug_barrier),
        [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in h],
        grid=(sequences, tiles),
        in_specs=[of_weights] * len(weights) + [of_u] + [of_starts] * len(starts) + [of_h] * len(h),
        out_specs=[of_h] * len(h),
        input_output_aliases={len(given) + i: i for i in range(len(h))},
        interpret=method.interpret,
        compiler_params=None if method.interpret else triton.CompilerParams(num_warps=4),
        name="fused_newton",
    )(*given, *h)
    parts = [a.reshape(C * steps, sequences, -1)[:time, :, : cell.hidden_dim] for a in out]
    states = parts[0] if len(parts) == 1 else jnp.stack(parts, -1)
    return states.reshape(guess.shape)


def _kernel(cell: GatedCell, iterations: int, barrier: Any, *refs: Any) -> None:
    """One sequence, one tile of channels: all arrays inside are (chunks, channels)."""
    k = 1 if len(cell.state_shape) == 1 else cell.state_shape[-1]
    n = sum(cell.recurrent.values())
    weights, u, starts, h = [w[...][None] for w in refs[:n]], refs[n], refs[n + 1 : n + 1 + k], refs[-k:]
    steps = u.shape[1]

    def equation(i: Array | int, before: list) -> tuple[list, AbstractJacobian, Any]:
        """States, Jacobian and residual of step i of every lane."""
        value, entries = cell.channelwise(weights, before, [u[:, i, g, :] for g in range(cell.gates)])
        now = [a[:, i, :] for a in h]
        J = Diagonal(entries[0]) if k == 1 else Block.from_entries(k, entries)
        return now, J, _split([a - b for a, b in zip(value, now, strict=True)])

    def summarise(i: Array, carry: tuple) -> tuple:
        before, pair = carry
        now, J, residual = equation(i, before)
        return now, combine(pair, (J, residual))

    def replay(i: Array, carry: tuple) -> tuple:
        before, delta = carry
        now, J, residual = equation(i, before)
        delta = affine(J, residual, delta)
        for a, old, change in zip(h, now, jax.tree.leaves(delta), strict=True):
            a[:, i, :] = old + change
        return now, delta

    def newton(_: Array, before: list) -> list:
        now, J, residual = equation(0, before)
        _, pair = lax.fori_loop(1, steps, summarise, (now, (J, residual)))
        enters = _exclusive(pair)
        lax.fori_loop(0, steps, replay, (before, enters))
        if barrier is not None:
            barrier()
        return [a + b for a, b in zip(before, jax.tree.leaves(enters), strict=True)]

    lax.fori_loop(0, iterations, newton, [a[...] for a in starts])


def _exclusive(pair: tuple) -> Any:
    """The state that enters every lane, from the affine maps of the lanes (axis 0): up the tree, and down again."""
    if jax.tree.leaves(pair)[0].shape[0] == 1:
        return jax.tree.map(jnp.zeros_like, pair[1])
    even, odd = (jax.tree.map(functools.partial(_every_second, j), pair) for j in (0, 1))
    enters = _exclusive(combine(even, odd))
    return jax.tree.map(_interleave, enters, affine(*even, enters))


def _every_second(j: int, a: Array) -> Array:
    """a[j::2], by operations that a kernel has."""
    pairs = a.reshape(a.shape[0] // 2, 2, *a.shape[1:])
    return jnp.where(lax.broadcasted_iota(jnp.int32, pairs.shape, 1) == j, pairs, 0).sum(1)


def _interleave(a: Array, b: Array) -> Array:
    """a_0 b_0 a_1 b_1 ..."""
    shape = (a.shape[0], 2, *a.shape[1:])
    a, b = (jnp.broadcast_to(c[:, None], shape) for c in (a, b))
    return jnp.where(lax.broadcasted_iota(jnp.int32, shape, 1) == 0, a, b).reshape(-1, *shape[2:])


def _split(parts: list) -> Any:
    """Parts in the layout of the Jacobian's products."""
    return parts[0] if len(parts) == 1 else tuple(parts)
