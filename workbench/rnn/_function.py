"""A plain function f(h, x, params) as a cell: values it closes over become arguments, the structure of df/dh is found.

The function is traced once a call; arrays and tracers that it closes over are hoisted into the parameters, so that
gradients with respect to them are right and a changed value is never served from a stale compilation.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer, eval_jaxpr
from jax.extend import core
from jaxtyping import Array

from workbench.rnn._cell import AbstractCell
from workbench.rnn._elementwise import is_elementwise, sub_jaxprs
from workbench.rnn._jacobian import AbstractJacobian, Block, Diagonal

Structure = Literal["auto", "diagonal", "block", "dense"]

PROBES = 4
"""At how many times a declared structure is compared with the true Jacobian."""


@dataclasses.dataclass(frozen=True)
class Function:
    """A plain function `f(h, x, params) -> h'` with the structure of its Jacobian df/dh.

    `structure`: "auto" (diagonal if every operation between h and h' is elementwise, else dense), "diagonal", "block"
    (state (groups, k): no group sees another), "dense". A declared structure is probed (J v against the structured J v,
    random v) and a wrong one raises ValueError, because it would give a wrong gradient without a sign of it.
    A dense Jacobian of T steps takes T * D^2 numbers; above `memory_limit_bytes` it is refused before it is allocated.
    """

    f: Callable[[Any, Any, Any], Any]
    structure: Structure = "auto"
    memory_limit_bytes: int = 2 * 1024**3

    def __post_init__(self) -> None:
        if not callable(self.f):
            raise ValueError(f"f: {self.f!r}, must be a function (h, x, params) -> h")  # noqa: TRY004
        if self.structure not in ("auto", "diagonal", "block", "dense"):
            raise ValueError(f"structure: {self.structure!r}, must be 'auto', 'diagonal', 'block' or 'dense'")
        if not self.memory_limit_bytes > 0:
            raise ValueError(f"memory_limit_bytes: {self.memory_limit_bytes!r}, must be greater than 0")

    def bind(self, params: Any, x: Any, h0: Array) -> tuple["FunctionCell", Any]:
        """Trace on one step's shapes: the cell, and its parameters (params, closed-over values)."""
        _length(x)
        step = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), x)
        # A fresh function for every trace: JAX would otherwise hand out an earlier trace, with the values of then.
        fresh = lambda h, x, params: self.f(h, x, params)
        closed, out = jax.make_jaxpr(fresh, return_shape=True)(h0, step, params)
        leaves = jax.tree.leaves(out)
        if len(leaves) != 1 or leaves[0].shape != h0.shape or leaves[0].dtype != h0.dtype:
            found = ", ".join(f"{a.dtype}{list(a.shape)}" for a in leaves)
            raise ValueError(f"f: returns {found} for a state h0 of {h0.dtype}{list(h0.shape)}, must return the same")
        structure = self._structure(closed.jaxpr, h0.shape)
        cell = FunctionCell(h0.shape, structure, self.memory_limit_bytes, _Program(self.f, closed))
        bound = (params, tuple(closed.consts))
        if structure == self.structure != "dense" and not is_elementwise(closed.jaxpr, h0.shape):
            _probe(cell, bound, x, h0)
        return cell, bound

    def _structure(self, jaxpr: core.Jaxpr, shape: tuple[int, ...]) -> str:
        if self.structure == "block" and len(shape) < 2:
            raise ValueError(f"structure: 'block', needs a state of shape (groups, k); h0 has shape {shape}")
        if self.structure != "auto":
            return self.structure
        return "diagonal" if math.prod(shape) == 1 or is_elementwise(jaxpr, shape) else "dense"


class _Program:
    """A traced function, equal to another when both would compile to the same thing.

    What counts: the code object, the printed program, and the identity of whatever printing does not show (constants
    inside an inner jit; rules of custom derivatives, for which the function itself has to stand in).
    """

    def __init__(self, f: Callable, closed: core.ClosedJaxpr) -> None:
        self.jaxpr = closed.jaxpr
        inner = list(sub_jaxprs(closed.jaxpr))
        self._hidden = [c for j in inner for c in getattr(j, "consts", ())]  # held, so that their ids stay theirs
        custom = any(eqn.primitive.name.startswith("custom_") for j in [closed.jaxpr, *inner] for eqn in j.eqns)
        code = getattr(f, "__code__", None)
        self._owner = f if custom or code is None else code
        self._key = (str(closed.jaxpr), id(self._owner), tuple(map(id, self._hidden)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Program) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)


@dataclasses.dataclass(frozen=True)
class FunctionCell(AbstractCell):
    """A traced function as a cell; its parameters are (params, closed-over values). Made by `Function.bind`."""

    shape: tuple[int, ...]
    structure: str
    memory_limit_bytes: int
    program: _Program = dataclasses.field(repr=False)

    @property
    def state_shape(self) -> tuple[int, ...]:
        return self.shape

    def check(self, params: Any, x: Any) -> tuple[tuple[int, ...], int]:
        return (), _length(x)

    def project(self, params: Any, x: Any) -> Any:
        return x

    def time_first(self, x: Any) -> Any:
        return x

    def step(self, params: Any, h: Array, u: Any) -> Array:
        return self._vectorise(lambda h, u: self._call(params, h, u), h)(h, u)

    def step_and_jacobian(self, params: Any, h: Array, u: Any) -> tuple[Array, AbstractJacobian]:
        groups, k = self._blocks()
        self._refuse_if_too_large(h.shape[: h.ndim - len(self.shape)], groups, k, h.dtype)
        # One push-forward a column of a block: every group moves along its j-th axis at once.
        basis = jnp.broadcast_to(jnp.eye(k, dtype=h.dtype)[:, None, :], (k, groups, k)).reshape(k, *self.shape)

        def one(h: Array, u: Any) -> tuple[Array, Array]:
            push = lambda v: jax.jvp(lambda h: self._call(params, h, u), (h,), (v,))
            return jax.vmap(push, out_axes=(None, 0))(basis)

        values, columns = self._vectorise(one, h)(h, u)
        if self.structure == "diagonal":
            return values, Diagonal(columns.reshape(h.shape))
        lead = h.shape[: h.ndim - len(self.shape)]
        return values, Block(jnp.moveaxis(columns.reshape(*lead, k, groups, k), -3, -1))

    def _call(self, params: Any, h: Array, u: Any) -> Array:
        given, consts = params
        (out,) = eval_jaxpr(self.program.jaxpr, consts, *jax.tree.leaves((h, u, given)))
        return out

    def _vectorise(self, one: Callable, h: Array) -> Callable:
        for _ in range(h.ndim - len(self.shape)):
            one = jax.vmap(one)
        return one

    def _blocks(self) -> tuple[int, int]:
        """(groups, k): how many diagonal blocks of which size."""
        size = math.prod(self.shape)
        k = {"diagonal": 1, "block": self.shape[-1] if self.shape else 1, "dense": size}[self.structure]
        return size // k, k

    def _refuse_if_too_large(self, lead: tuple[int, ...], groups: int, k: int, dtype: np.dtype) -> None:
        size = math.prod(lead) * groups * k * k * jnp.dtype(dtype).itemsize
        if k > 1 and size > self.memory_limit_bytes:
            raise ValueError(
                f"memory: the {self.structure} Jacobians of {math.prod(lead)} steps take {size / 1e9:.1f} GB "
                f"({groups} x {k} x {k} numbers a step), above the limit of {self.memory_limit_bytes / 1e9:.1f} GB; "
                "nothing was allocated. Declare a smaller structure, use solver=Sequential() or raise "
                "Function(memory_limit_bytes=)"
            )


def _length(x: Any) -> int:
    lengths = {a.shape[0] if a.ndim else -1 for a in jax.tree.leaves(x)}
    if len(lengths) != 1 or -1 in lengths:
        shapes = [a.shape for a in jax.tree.leaves(x)]
        raise ValueError(f"x: shapes {shapes}, must be (time, ...) with one length for all")
    return lengths.pop()


def _probe(cell: FunctionCell, params: Any, x: Any, h0: Array) -> None:
    """Raise ValueError where the declared structure is not the function's: J v against structured J v, random v."""
    length = _length(x)
    times = np.unique(np.linspace(0, max(length - 1, 0), PROBES).astype(int)) if length else np.zeros(0, int)
    data = (params, h0, x)
    if any(isinstance(a, Tracer) for a in jax.tree.leaves(data)):
        data = _synthetic(data)  # values are not known while tracing; the structure can still be held against others
    with jax.ensure_compile_time_eval():
        params, h0, x = data
        error = float(_mismatch(cell, params, h0, jax.tree.map(lambda a: a[times], x)))
    if error > math.sqrt(jnp.finfo(h0.dtype).eps):
        raise ValueError(
            f"structure: {cell.structure!r} was declared, but J v differs from the structured J v by {error:.1e} "
            "(relative); a wrong structure gives wrong gradients. Declare 'dense', or 'auto' to have it found"
        )


@jax.jit(static_argnums=0)
def _mismatch(cell: FunctionCell, params: Any, h0: Array, u: Any) -> Array:
    key_h, key_v = jax.random.split(jax.random.key(0))
    h = h0[None] + 0.5 * jax.random.normal(key_h, (_length(u), *h0.shape), h0.dtype)
    v = jax.random.normal(key_v, h.shape, h.dtype)
    _, true = jax.jvp(lambda h: cell.step(params, h, u), (h,), (v,))
    error = jnp.abs(true - cell.jacobian(params, h, u).apply(v))
    # Not-a-number on both sides says nothing about structure; x with nan is the status's business.
    return jnp.where(jnp.isfinite(error), error, 0).max(initial=0) / (
        1 + jnp.where(jnp.isfinite(true), true, 0).max(initial=0)
    )


def _synthetic(tree: Any) -> Any:
    rng = np.random.default_rng(0)

    def draw(a: Any) -> np.ndarray:
        if not isinstance(a, Tracer):
            return a
        return np.asarray(rng.uniform(0.1, 0.9, a.shape)).astype(a.dtype)

    return jax.tree.map(draw, tree)
