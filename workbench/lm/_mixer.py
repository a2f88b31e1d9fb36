"""What mixes over time in a block: attention, or a recurrent cell solved by `rnn.solve`."""

import dataclasses
from abc import ABC, abstractmethod
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, DTypeLike, Float, Int, PRNGKeyArray

from workbench import rnn
from workbench.lm._layers import matrix, rms_norm


class SolveStats(NamedTuple):
    """How the recurrences of a forward pass were solved: (layers, batch) each once out of `forward`.

    `residual` is max|f(h_{t-1}, x_t) - h_t|; a step-by-step solve has 0 iterations and residual 0.
    """

    iterations: Int[Array, "..."]
    residual: Float[Array, "..."]
    converged: Bool[Array, "..."]


class AbstractMixer(ABC):
    """A causal map (batch, time, dim) -> the same shape, with parameters of its own; frozen and hashable by value.

    `gated` mixers stand in the recurrent block (projection, convolution, gate around them), others take the normalised
    residual stream as it is.
    """

    gated: ClassVar[bool] = True

    @abstractmethod
    def check(self, dim: int) -> None:
        """Raise ValueError if the mixer cannot have this width."""

    @abstractmethod
    def init(self, dim: int, key: PRNGKeyArray, dtype: DTypeLike) -> Any:
        """Fresh parameters."""

    @abstractmethod
    def __call__(self, params: Any, x: Float[Array, "batch time dim"]) -> tuple[Array, SolveStats | None]:
        """The mixed sequence, and how its recurrence was solved if there is one."""

    def clip(self, dim: int, params: Any) -> Any:
        """The parameters, brought back into the bounds of the mixer; called after each optimiser step."""
        return params


@dataclasses.dataclass(frozen=True)
class Attention(AbstractMixer):
    """Causal softmax attention with rotary positions (RoPE) and normalised queries and keys, as in DCLM's Transformer.

    y_t = sum_{s <= t} softmax_s(q_t . k_s / sqrt(head_dim)) v_s;  q, k = RoPE(RMSNorm(x W)). params["qkv"] is
    (dim, 3 dim); the output projection belongs to the block. Raises ValueError unless the width is a multiple of
    2 * heads. Sources: RoPE (arXiv 2104.09864); DCLM (arXiv 2406.11794).
    """

    heads: int = 4
    rope_theta: float = 1e4

    gated: ClassVar[bool] = False

    def __post_init__(self) -> None:
        natural("heads", self.heads)
        if not self.rope_theta > 1:
            raise ValueError(f"rope_theta: {self.rope_theta!r}, must be greater than 1")

    def check(self, dim: int) -> None:
        if dim % (2 * self.heads):
            raise ValueError(
                f"hidden_dim: {dim}, must be a multiple of 2 * heads = {2 * self.heads} (rotary positions act on pairs)"
            )

    def init(self, dim: int, key: PRNGKeyArray, dtype: DTypeLike) -> dict[str, Array]:
        ones = jnp.ones(dim // self.heads, dtype)
        return {"qkv": matrix(key, dim, 3 * dim, dtype), "norm_q": ones, "norm_k": ones}

    def __call__(self, params: dict[str, Array], x: Array) -> tuple[Array, None]:
        time, dim = x.shape[-2:]
        q, k, v = jnp.moveaxis((x @ params["qkv"]).reshape(*x.shape[:-1], 3, self.heads, dim // self.heads), -3, 0)
        positions = jnp.arange(time)
        q, k = (rope(rms_norm(a, params[w]), positions, self.rope_theta) for a, w in ((q, "norm_q"), (k, "norm_k")))
        scores = jnp.einsum("...thd,...shd->...hts", q, k) * (q.shape[-1] ** -0.5)
        visible = positions[:, None] >= positions[None, :]
        scores = jnp.where(visible.reshape((1,) * (scores.ndim - 2) + visible.shape), scores, -jnp.inf)
        y = jnp.einsum("...hts,...shd->...thd", jax.nn.softmax(scores, axis=-1), v)
        return y.reshape(x.shape), None


def rope(
    x: Float[Array, "*batch time heads head_dim"], positions: Int[Array, " time"], theta: float
) -> Float[Array, "*batch time heads head_dim"]:
    """Rotate the pair (x_i, x_{i + head_dim/2}) by the angle position * theta^(-2i / head_dim)."""
    half = x.shape[-1] // 2
    rate = theta ** (-jnp.arange(half, dtype=x.dtype) / half)
    angle = positions.astype(x.dtype)[:, None] * rate[None, :]
    cos, sin = (f(angle).reshape((1,) * (x.ndim - 3) + (positions.size, 1, half)) for f in (jnp.cos, jnp.sin))
    a, b = x[..., :half], x[..., half:]
    return jnp.concatenate([a * cos - b * sin, a * sin + b * cos], -1)


@dataclasses.dataclass(frozen=True, repr=False)
class Recurrent(AbstractMixer):
    """A recurrent cell of `workbench.rnn` (its class, or one of yours) as a mixer: y = read(h), h_t = f(h_{t-1}, x_t).

    `cell(input_dim=, hidden_dim=)` also gets `heads`, `clip_at` and `initialisation` where they are not None; a cell
    that does not know one raises. `solver` and `scan` go to `rnn.solve`: Newton(steps=K) trains with K iterations; None
    takes what is fastest for training on a CPU, Sequential with its gradient by one reversed linear scan (of a dense
    cell by backpropagation through time, which spares its dense Jacobians), and Serial.
    """

    cell: type[rnn.AbstractCell] = rnn.ParaGRU
    heads: int | None = None
    clip_at: float | None = None
    initialisation: str | None = None
    solver: rnn.AbstractSolver | None = None
    scan: rnn.AbstractScan | None = None

    def __post_init__(self) -> None:
        if not (isinstance(self.cell, type) and issubclass(self.cell, rnn.AbstractCell)):
            raise ValueError(f"cell: {self.cell!r}, must be the class of a cell, such as rnn.ParaGRU")  # noqa: TRY004 (the house raises ValueError)
        if self.solver is not None and not isinstance(self.solver, rnn.AbstractSolver):
            raise ValueError(f"solver: {self.solver!r}, must be None or a solver object such as rnn.Newton(steps=3)")
        if self.scan is not None and not isinstance(self.scan, rnn.AbstractScan):
            raise ValueError(f"scan: {self.scan!r}, must be None or a scan backend such as rnn.TwoLevel()")

    def __repr__(self) -> str:
        given = [(f.name, getattr(self, f.name)) for f in dataclasses.fields(self)[1:]]
        return f"Recurrent({', '.join([self.cell.__name__, *(f'{n}={v!r}' for n, v in given if v is not None)])})"

    def of(self, dim: int) -> Any:
        """The cell of this width."""
        given = {name: getattr(self, name) for name in ("heads", "clip_at", "initialisation")}
        given = {name: value for name, value in given.items() if value is not None}
        known = {f.name for f in dataclasses.fields(self.cell)} if dataclasses.is_dataclass(self.cell) else set(given)
        for name in given.keys() - known:
            raise ValueError(f"{name}: {given[name]!r}, must be None: {self.cell.__name__} does not have it")
        return self.cell(input_dim=dim, hidden_dim=dim, **given)  # ty: ignore[unknown-argument]

    def check(self, dim: int) -> None:
        self.of(dim)

    def init(self, dim: int, key: PRNGKeyArray, dtype: DTypeLike) -> Any:
        return self.of(dim).init(key, dtype)

    def clip(self, dim: int, params: Any) -> Any:
        clip = getattr(self.of(dim), "clip", None)
        return params if clip is None else clip(params)

    def __call__(self, params: Any, x: Array) -> tuple[Array, SolveStats]:
        cell = self.of(x.shape[-1])
        solver = self.solver or (rnn.Sequential() if issubclass(self.cell, rnn.GatedCell) else rnn.Sequential("bptt"))
        solved = rnn.solve(cell, params, x, solver=solver, scan=self.scan or rnn.Serial(), on_failure="return")
        stats = SolveStats(solved.stats.iterations, solved.stats.residual, solved.status.converged)
        return solved.outputs.astype(x.dtype), stats


def natural(name: str, value: object) -> None:
    """Raise ValueError unless `value` is a whole number of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name}: {value!r}, must be an integer of at least 1")
