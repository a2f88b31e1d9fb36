"""What a solve returns: states that say how far they can be trusted."""

import dataclasses
from typing import Any

import jax
import numpy as np
from jax import lax
from jax.core import Tracer
from jaxtyping import Array, Float, Int

from workbench import display
from workbench.rnn._cell import AbstractCell
from workbench.rnn._certify import Certificate, certify
from workbench.rnn._conditioning import Conditioning, along_rollout
from workbench.rnn._diagnostics import error_bounds, lyapunov
from workbench.rnn._solver import AbstractSolver, Code


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Status:
    """How each sequence ended: `code` holds a `Code` a sequence, `converged` the answer most callers want."""

    code: Int[Array, "*batch"]

    @property
    def converged(self) -> Array:
        """Whether each sequence met the tolerance."""
        return self.code == int(Code.CONVERGED)

    def __repr__(self) -> str:
        if isinstance(self.code, Tracer):
            return "status not known while tracing"
        codes = np.asarray(self.code).ravel()
        counts = [(code.name.lower(), int((codes == code).sum())) for code in Code]
        if codes.size == 1 or counts[0][1] == codes.size:
            return "converged" if codes.size == 0 else next(name for name, n in counts if n)
        failures = "; ".join(f"{n} {name}" for name, n in counts[1:] if n)
        return f"{counts[0][1]} of {codes.size} converged; {failures}"


@jax.tree_util.register_pytree_node_class
@dataclasses.dataclass(frozen=True, eq=False)
class Stats:
    """Statistics, a sequence each; they are data, without derivatives.

    `iterations`; `residual`, the final max|f(h_{t-1}, x_t) - h_t| (where time is cut into chunks, the mismatch at their
    joints: inside them the equations hold by construction); `history`, (*batch, max_steps + 1), that residual after
    every iteration, 0 included, nan where there was none. `error_bound`, `lyapunov` and `conditioning` are
    computed on access; `Trajectory.certify()` puts all of them together.
    """

    iterations: Int[Array, "*batch"]
    residual: Float[Array, "*batch"]
    history: Float[Array, "*batch iterates"]
    _solved: tuple | None = dataclasses.field(default=None, repr=False)

    @property
    def error_bound(self) -> Float[Array, "*batch"]:
        """Bound on the error of the states: max_t e_t, e_t = |J_t| e_{t-1} + |r_t| + 4 eps |h_t|, and its remainder.

        One more scan, and an estimate of the second derivative of a step. Infinite where no bound can be given: far
        from the solution, or where |J_t|, entry by entry, multiplies up (`certify` also tries norms).
        """
        problem, states = self._origin()
        return error_bounds(problem.cell, (problem.params, problem.x, problem.h0), states).proved

    @property
    def lyapunov(self) -> Float[Array, "*batch"]:
        """Largest Lyapunov exponent (1/T) log|J_T ... J_1 v| along a sequential rollout; above 0: chaotic."""
        problem, _ = self._origin()
        return lyapunov(problem.cell, (problem.params, problem.x, problem.h0))

    @property
    def conditioning(self) -> Conditioning:
        """A bracket of the smallest singular value of dr/dh along a sequential rollout: see `Conditioning`."""
        problem, _ = self._origin()
        return along_rollout(problem.cell, (problem.params, problem.x, problem.h0))

    def _origin(self) -> tuple:
        if self._solved is None:
            raise RuntimeError(
                "error_bound, lyapunov, conditioning and certify need the problem, which a result does not carry out "
                "of jit, vmap or jax.tree.map; read them where solve was called"
            )
        return self._solved

    def tree_flatten(self) -> tuple:
        """Children only: params and x would be copied by every vmap that returns a result."""
        return (self.iterations, self.residual, self.history), None

    @classmethod
    def tree_unflatten(cls, _: None, children: tuple) -> "Stats":
        return cls(*children)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Trajectory:
    """The solution of a recurrence: `states` (..., time, *state), with `status` and `stats` for each sequence.

    States are one array; for a plain function whose h0 is a pytree, that pytree with time first on every leaf.
    """

    states: Any
    status: Status
    stats: Stats
    cell: AbstractCell = dataclasses.field(metadata={"static": True})
    solver: AbstractSolver = dataclasses.field(metadata={"static": True})

    @property
    def time_axis(self) -> int:
        """The axis of `states` that is time."""
        packed = jax.ShapeDtypeStruct(self.cell.state_shape, "float32")
        states, one = (jax.tree.leaves(t)[0] for t in (self.states, jax.eval_shape(self.cell.unpack, packed)))
        return states.ndim - one.ndim - 1

    @property
    def final(self) -> Any:
        """The last state, (..., *state)."""
        return jax.tree.map(lambda a: lax.index_in_dim(a, -1, self.time_axis, keepdims=False), self.states)

    @property
    def outputs(self) -> Any:
        """What the cell reads out of its states (ParaLSTM: h without c)."""
        return self.cell.read(self.states)

    def certify(self) -> Certificate:
        """What is proved about each sequence, what is estimated, and what is refused; prints itself, and plots.

        Costs about as much as one Newton iteration, a sequential rollout and log2 T more passes. Raises RuntimeError
        inside a transformation of JAX, where no value is known.
        """
        problem, states = self.stats._origin()
        if isinstance(self.status.code, Tracer):
            raise RuntimeError("certify needs values, and there are none while tracing; call it on what solve returned")  # noqa: TRY004
        record = (self.status.converged, self.stats.iterations, self.stats.residual)
        return certify(problem.cell, (problem.params, problem.x, problem.h0), states, record)

    def plot(self) -> Any:
        """The residual by iteration on a log axis: the worst sequence and the median one (HoloViews)."""
        from workbench.rnn._plot import convergence

        return convergence(np.asarray(self.stats.history), str(self.solver))

    def _facts(self) -> list[tuple[str, str]]:
        shapes = ", ".join(f"{a.dtype}{list(a.shape)}" for a in jax.tree.leaves(self.states))
        facts = [("states", shapes), ("solver", str(self.solver))]
        if isinstance(self.status.code, Tracer):
            return facts
        iterations, residual = np.asarray(self.stats.iterations), np.asarray(self.stats.residual)
        if not iterations.size:
            return [*facts, ("sequences", "none")]
        low, high = iterations.min(), iterations.max()
        return [
            *facts,
            ("status", str(self.status)),
            ("iterations", f"{low}" if low == high else f"{low} to {high}"),
            ("residual", display.number(residual.max())),
        ]

    def __repr__(self) -> str:
        return "Trajectory(" + ", ".join(f"{name}: {value}" for name, value in self._facts()) + ")"

    def _repr_html_(self) -> str:
        return display.card("Trajectory", dict(self._facts()))
