"""How well conditioned the system r(h) = 0 of a recurrence is: a bracket of the smallest singular value of dr/dh.

dr/dh is block lower triangular, identities on the diagonal and -J_t below it; the blocks of its inverse are products of
consecutive Jacobians ("windows"). If b e^(lambda k) <= |J_{t+k-1} ... J_t| <= a e^(lambda k) for all windows, then

    (1/a) (e^lambda - 1)/(e^(lambda T) - 1)  <=  sigma_min(dr/dh) = sqrt(mu)  <=  min(e^(-lambda (T-1))/b, 1)

(Gonzalez et al., arXiv 2508.16817). Windows of 1, 2, 4, ... steps are formed at every start; any other window is a
product of those, and its norm at most the product of theirs: so a, and with it the lower bound, holds for all windows.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from workbench import display
from workbench.rnn._cell import AbstractCell
from workbench.rnn._diagnostics import log_growth, lyapunov
from workbench.rnn._door import prepare
from workbench.rnn._function import Function
from workbench.rnn._jacobian import AbstractJacobian, Block, Diagonal
from workbench.rnn._system import bind

SQUARINGS = 5
"""|P| from (tr (P^T P)^32)^(1/64): between |P| and k^(1/64) |P| for a k x k matrix, from products (k = 100: 7 %)."""

STEEPEST = 40.0
"""|lambda| is taken as this at most, in nats a step: any lambda gives a bracket that holds, with its own a and b."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Conditioning:
    """The bracket [lower, upper] of sqrt(mu) = sigma_min(dr/dh) by `lyapunov`, `a` and `b`; a sequence each.

    `sharp_lower` and `sharp_upper` bracket the same without the exponentials: 1 over the sum of the largest window
    norms of all lengths, 1 over the largest window norm. `norms`, (*batch, sizes, 2), are log of the smallest and the
    largest norm of the windows of 1, 2, 4, ... steps. Where a Jacobian is not finite the brackets are [0, 1].
    """

    lyapunov: Float[Array, "*batch"]
    a: Float[Array, "*batch"]
    b: Float[Array, "*batch"]
    lower: Float[Array, "*batch"]
    upper: Float[Array, "*batch"]
    sharp_lower: Float[Array, "*batch"]
    sharp_upper: Float[Array, "*batch"]
    norms: Float[Array, "*batch sizes 2"]

    @property
    def amplification(self) -> Float[Array, "*batch"]:
        """The largest window norm that was seen: what an error may grow by on its way through the sequence."""
        return 1 / self.sharp_upper

    def _facts(self) -> dict[str, str]:
        lower, upper, rate = (np.atleast_1d(np.asarray(v)).ravel() for v in (self.lower, self.upper, self.lyapunov))
        if not lower.size:
            return {"sequences": "none"}
        worst = int(np.argmin(lower))
        return {
            "smallest singular value of dr/dh": f"{display.number(lower[worst])} to {display.number(upper[worst])}",
            "lambda": f"{display.number(rate[worst])} nats a step",
            "a, b": ", ".join(display.number(np.ravel(v)[worst]) for v in (self.a, self.b)),
        }

    def __repr__(self) -> str:
        return "Conditioning(" + ", ".join(f"{name}: {value}" for name, value in self._facts().items()) + ")"

    def _repr_html_(self) -> str:
        return display.card("Conditioning (worst sequence)", self._facts())


def conditioning(cell: AbstractCell | Function | Callable, params: Any, x: Any, h0: Any = None) -> Conditioning:
    """The conditioning of a recurrence along its sequential rollout, before anything is solved; arguments as `solve`.

    O(log T) passes over the Jacobians of all steps, with as much memory again. Raises ValueError as `solve` does.
    """
    problem = prepare(cell, params, x, h0)
    data = (problem.params, problem.x, problem.h0)
    return along_rollout(problem.cell, data)


def exponents(
    cell: AbstractCell | Function | Callable, params: Any, x: Any, h0: Any = None
) -> Float[Array, "*batch time"]:
    """The largest Lyapunov exponent of the first t steps, for every t: (1/t) log|J_t ... J_1 v|, nats a step.

    Along the sequential rollout; arguments as `solve`, the last value is `stats.lyapunov`.
    """
    problem = prepare(cell, params, x, h0)
    grown = log_growth(problem.cell, (problem.params, problem.x, problem.h0))
    steps = jnp.arange(1, grown.shape[-1] + 1, dtype=grown.dtype)
    return grown / steps.reshape((1,) * (grown.ndim - 1) + steps.shape)


def along_rollout(cell: AbstractCell, data: tuple) -> Conditioning:
    """`conditioning` of a problem that is already settled."""
    return _bracket(cell, data, lyapunov(cell, data), None)


def along(cell: AbstractCell, data: tuple, states: Array, where: Array) -> Conditioning:
    """The same along `states` for the sequences in `where`, which has the shape of the batch."""
    return _bracket(cell, data, lyapunov(cell, data), (states, where))


@functools.partial(jax.jit, static_argnums=0)
def _bracket(cell: AbstractCell, data: tuple, rate: Array, given: tuple | None) -> Conditioning:
    system = bind(cell, *data)
    path = system.rollout()
    if given is not None:
        states, where = given
        mask = where.reshape(1, *where.shape, *(1,) * len(cell.state_shape))
        path = jnp.where(mask, jnp.moveaxis(states, system.batch_ndim, 0), path)
    _, J = system.evaluate(path)
    T = jax.tree.leaves(J)[0].shape[0]
    finite = jnp.isfinite(rate) | (rate == -jnp.inf)
    for a in jax.tree.leaves(J):
        finite &= jnp.isfinite(a).all((0, *range(1 + system.batch_ndim, a.ndim)))
    J = jax.tree.map(lambda a: jnp.where(jnp.isfinite(a), a, 0), J)
    growth = jnp.where(finite, jnp.clip(rate, -STEEPEST, STEEPEST), 0)[None]
    if T == 1:  # dr/dh is the identity
        one = jnp.ones_like(rate)
        return Conditioning(rate, one, one, one, one, one, one, jnp.zeros((*rate.shape, 0, 2), rate.dtype))
    low, high, full_low, full_high = _windows(J[1:], system.batch_ndim)
    sizes = 2 ** jnp.arange(low.shape[0])
    column = lambda k: k.reshape(-1, *(1,) * rate.ndim).astype(rate.dtype)
    all_high = _all_lengths(high, T - 1).at[T - 1].min(full_high)
    a = (all_high - growth * column(jnp.arange(T))).max(0)
    b = jnp.minimum((low[:, 0] - growth * column(sizes)).min(0), full_low - growth[0] * (T - 1))
    b = jnp.minimum(b, 0.0)  # the window of no steps
    seen = jnp.maximum(jnp.maximum(low[:, 1].max(0), full_low), 0.0)
    lower, upper = -a - _log_geometric_sum(growth[0], T), jnp.minimum(-growth[0] * (T - 1) - b, 0.0)
    sharp = -jax.nn.logsumexp(all_high, axis=0)
    known = lambda value, else_: jnp.where(finite, jnp.exp(value), else_)
    norms = jnp.moveaxis(jnp.stack([low[:, 0], high], -1), 0, -2)
    return Conditioning(
        rate, known(a, jnp.inf), known(b, 0.0), known(lower, 0.0), known(upper, 1.0), known(sharp, 0.0),
        known(-seen, 1.0), norms,
    )  # fmt: skip


def _windows(J: AbstractJacobian, batch_ndim: int) -> tuple[Array, Array, Array, Array]:
    """Logarithms of norms of windows of J_1 .. J_n: of 2^j steps (levels first), and of the one of all n steps.

    (lower bounds on the smallest and the largest norm (levels, 2, *batch), upper bound on the largest (levels, *batch),
    lower and upper bound of the full window).
    """
    n = jax.tree.leaves(J)[0].shape[0]
    levels = n.bit_length()
    lead = jax.tree.leaves(J)[0].shape[: 1 + batch_ndim]
    P, scale = _normalise(J, jnp.zeros(lead, jax.tree.leaves(J)[0].dtype))
    full, full_scale = J[0].identity(), jnp.zeros(lead[1:], scale.dtype)
    tables = (jnp.zeros((levels, 2, *lead[1:]), scale.dtype), jnp.zeros((levels, *lead[1:]), scale.dtype))
    column = lambda mask: mask.reshape(-1, *(1,) * batch_ndim)

    def level(j: Array, carry: tuple) -> tuple:
        P, scale, full, full_scale, offset, (lows, highs) = carry
        size = 1 << j
        valid = column(jnp.arange(n) + size <= n)
        low, high = _log_norms(P, scale, 1 + batch_ndim)
        smallest = jnp.where(valid, low, jnp.inf).min(0)
        largest = jnp.where(valid, low, -jnp.inf).max(0)
        tables = (
            lows.at[j].set(jnp.stack([smallest, largest])),
            highs.at[j].set(jnp.where(valid, high, -jnp.inf).max(0)),
        )
        taken = (n >> j) & 1 == 1  # the full window, from the binary digits of its length
        longer = _normalise(P[offset].compose(full), scale[offset] + full_scale)
        full, full_scale = jax.tree.map(lambda a, b: jnp.where(taken, a, b), longer, (full, full_scale))
        later = jax.tree.map(lambda a: jnp.roll(a, -size, 0), (P, scale))
        P, scale = _normalise(later[0].compose(P), later[1] + scale)
        return P, scale, full, full_scale, offset + jnp.where(taken, size, 0), tables

    start = (P, scale, full, full_scale, jnp.int32(0), tables)
    *_, full, full_scale, _, (lows, highs) = lax.fori_loop(0, levels, level, start)
    return lows, highs, *_log_norms(full, full_scale, batch_ndim)


def _normalise(J: AbstractJacobian, scale: Array) -> tuple[AbstractJacobian, Array]:
    """J divided by its largest entry, `scale` (a logarithm) grown by it: no product over- or underflows."""
    lead = scale.ndim
    sizes = [jnp.abs(a).max(tuple(range(lead, a.ndim))) for a in jax.tree.leaves(J)]
    size = functools.reduce(jnp.maximum, sizes)
    divisor = jnp.where(size == 0, 1, size)
    divided = jax.tree.map(lambda a: a / divisor.reshape(*size.shape, *(1,) * (a.ndim - lead)), J)
    return divided, scale + jnp.log(size)


def _log_norms(J: Any, scale: Array, lead: int) -> tuple[Array, Array]:
    """Lower and upper bound of log |J| (spectral), + scale; equal where J is diagonal."""
    if isinstance(J, Diagonal):
        norm = jnp.log(jnp.abs(J.d).max(tuple(range(lead, J.d.ndim)))) + scale
        return norm, norm

    def divide(S: Block, total: Array) -> tuple[Block, Array]:
        m = S.m
        trace = jnp.trace(m, axis1=-2, axis2=-1)
        return Block(m / jnp.where(trace == 0, 1, trace)[..., None, None]), total + jnp.log(trace)

    first = divide(J.transpose().compose(J), jnp.zeros(J.shape[:-2], J.dtype))
    _, total = lax.fori_loop(0, SQUARINGS, lambda _, now: divide(now[0].compose(now[0]), 2 * now[1]), first)
    upper = total.max(tuple(range(lead, total.ndim))) / 2 ** (SQUARINGS + 1) + scale
    return upper - jnp.log(jnp.asarray(J.k, upper.dtype)) / 2 ** (SQUARINGS + 1), upper


def _all_lengths(high: Array, n: int) -> Array:
    """Upper bounds on log of the largest norm of the windows of 0, 1, .., n steps, by their binary digits."""
    k = jnp.arange(n + 1).reshape(-1, *(1,) * (high.ndim - 1))
    add = lambda j, total: total + jnp.where((k >> j) & 1 == 1, high[j], 0)
    return lax.fori_loop(0, high.shape[0], add, jnp.zeros((n + 1, *high.shape[1:]), high.dtype))


def _log_geometric_sum(rate: Array, T: int) -> Array:
    """log(1 + e^rate + ... + e^(rate (T-1)))."""
    r = -jnp.abs(rate)
    falling = jnp.log(jnp.expm1(T * r) / jnp.expm1(jnp.where(r == 0, -1, r)))
    return jnp.where(r == 0, jnp.log(jnp.asarray(T, r.dtype)), falling + jnp.where(rate > 0, rate * (T - 1), 0))
