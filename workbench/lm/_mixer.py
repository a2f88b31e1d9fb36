"""What mixes over time in a block: the interface of a mixer, and a recurrent cell solved by `rnn.solve`."""

import dataclasses
from abc import ABC, abstractmethod
from typing import Any, ClassVar, NamedTuple

from jaxtyping import Array, Bool, DTypeLike, Float, Int, PRNGKeyArray

from workbench import rnn


class SolveStats(NamedTuple):
    """How the recurrences of a forward pass were solved: (layers, batch) each once out of `forward`.

    `residual` is max|f(h_{t-1}, x_t) - h_t|; a step-by-step solve has 0 iterations and residual 0.
    """

    iterations: Int[Array, "..."]
    residual: Float[Array, "..."]
    converged: Bool[Array, "..."]


class Context(NamedTuple):
    """What attention must know of a forward pass beside the tokens themselves. A recurrence needs none of it.

    `positions` (1 or batch, time) of the tokens; `mask` (1 or batch, time, keys): True where a token may see a key,
    keys being the prefix, then the tokens or the slots of the cache. `prefix`: this layer's learned keys and values,
    (tokens, kv_heads, head_dim) each, or None. `cache`: keys and values of all layers, (layers, batch, slots, kv_heads,
    head_dim) each, or None; those of this `layer` are read, and written from `slots` (batch,) on. `eps` of the norms.
    """

    positions: Int[Array, "#batch time"]
    mask: Bool[Array, "#batch time keys"]
    eps: float
    prefix: tuple[Array, Array] | None = None
    cache: tuple[Array, Array] | None = None
    slots: Int[Array, " batch"] | None = None
    layer: Int[Array, ""] | int = 0


class Mixed(NamedTuple):
    """A mixed sequence (batch, time, output_dim), the cache after it, and how its recurrence was solved."""

    y: Float[Array, "batch time output_dim"]
    cache: tuple[Array, Array] | None = None
    stats: SolveStats | None = None


class AbstractMixer(ABC):
    """A map (batch, time, dim) -> (batch, time, output_dim) with parameters of its own; frozen and hashable by value.

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
    def __call__(self, params: Any, x: Float[Array, "batch time dim"], context: Context) -> Mixed:
        """The mixed sequence."""

    def output_dim(self, dim: int) -> int:
        """The width of what comes out."""
        return dim

    def clip(self, dim: int, params: Any) -> Any:
        """The parameters, brought back into the bounds of the mixer; called after each optimiser step."""
        return params


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

    def __call__(self, params: Any, x: Array, context: Context) -> Mixed:
        cell = self.of(x.shape[-1])
        solver = self.solver or (rnn.Sequential() if issubclass(self.cell, rnn.GatedCell) else rnn.Sequential("bptt"))
        solved = rnn.solve(cell, params, x, solver=solver, scan=self.scan or rnn.Serial(), on_failure="return")
        stats = SolveStats(solved.stats.iterations, solved.stats.residual, solved.status.converged)
        return Mixed(solved.outputs.astype(x.dtype), stats=stats)
