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

from workbench.rnn._blocks import MEMORY_LIMIT_BYTES, check_limit, refuse_large, restrict
from workbench.rnn._cell import AbstractCell
from workbench.rnn._elementwise import is_elementwise, sub_jaxprs
from workbench.rnn._jacobian import AbstractJacobian, Block, Diagonal
from workbench.rnn._packing import Packing

Structure = Literal["auto", "diagonal", "block", "dense"]

PROBES = 4
"""At how many times a declared structure is compared with the true Jacobian."""


@dataclasses.dataclass(frozen=True)
class Function:
    """A plain function `f(h, x, params) -> h'` with the structure of its Jacobian df/dh.

    The state is one array or a pytree of them. `structure`: "auto" (diagonal if every operation between h and h' is
    elementwise, else dense), "diagonal", "block" (state (groups, k): no group sees another), "dense". Leaves of one
    shape, such as (c, h), count as stacked on a last axis: elementwise operations between them are "block". A declared
    structure is probed (J v against the structured J v, random v) and a wrong one raises ValueError, because it would
    give a wrong gradient without a sign of it.
    A dense Jacobian of T steps takes T * D^2 numbers; above `memory_limit_bytes` it is refused before it is allocated.
    """

    f: Callable[[Any, Any, Any], Any]
    structure: Structure = "auto"
    memory_limit_bytes: int = MEMORY_LIMIT_BYTES

    def __post_init__(self) -> None:
        if not callable(self.f):
            raise ValueError(f"f: {self.f!r}, must be a function (h, x, params) -> h")  # noqa: TRY004
        if self.structure not in ("auto", "diagonal", "block", "dense"):
            raise ValueError(f"structure: {self.structure!r}, must be 'auto', 'diagonal', 'block' or 'dense'")
        check_limit(self.memory_limit_bytes)

    def bind(self, params: Any, x: Any, h0: Any) -> tuple["FunctionCell", Any]:
        """The cell and its parameters (params, closed-over values); a declared structure is probed."""
        cell, bound = self.trace(params, x, h0)
        if self.structure not in ("auto", "dense", _found(cell.program.jaxpr, cell.packing)):
            _probe(cell, bound, x, cell.pack(h0))
        return cell, bound

    def trace(self, params: Any, x: Any, h0: Any) -> tuple["FunctionCell", Any]:
        """Trace on one step's shapes, without the probe: for who takes steps only."""
        _length(x)
        step = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), x)
        # A fresh function for every trace: JAX would otherwise hand out an earlier trace, with the values of then.
        fresh = lambda h, x, params: self.f(h, x, params)
        closed, out = jax.make_jaxpr(fresh, return_shape=True)(h0, step, params)
        if jax.tree.structure(out) != jax.tree.structure(h0) or _signature(out) != _signature(h0):
            raise ValueError(f"f: returns {_signature(out)} for a state h0 of {_signature(h0)}, must return the same")
        packing = Packing.of(h0)
        structure = _found(closed.jaxpr, packing) if self.structure == "auto" else self.structure
        if self.structure == "block" and len(packing.shape) < 2:
            raise ValueError(f"structure: 'block', needs a state of shape (groups, k); h0 has shape {packing.shape}")
        cell = FunctionCell(packing, structure, self.memory_limit_bytes, _Program(self.f, closed))
        return cell, (params, tuple(closed.consts))


def _found(jaxpr: core.Jaxpr, packing: Packing) -> str:
    """The structure that a reading of the program shows."""
    if math.prod(packing.shape) == 1:
        return "diagonal"
    if not packing.alike or not is_elementwise(jaxpr, packing.shapes[0], len(packing.shapes)):
        return "dense"
    return "diagonal" if len(packing.shapes) == 1 else "block"


def _signature(tree: Any) -> str:
    return ", ".join(f"{a.dtype}{list(a.shape)}" for a in jax.tree.leaves(tree))


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

    packing: Packing
    structure: str
    memory_limit_bytes: int
    program: _Program = dataclasses.field(repr=False)

    @property
    def state_shape(self) -> tuple[int, ...]:
        return self.packing.shape

    def pack(self, states: Any) -> Array:
        return self.packing.pack(states)

    def unpack(self, states: Array) -> Any:
        return self.packing.unpack(states)

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
        lead = h.shape[: h.ndim - len(self.state_shape)]
        refuse_large(self.structure, lead, (groups, k), h.dtype, self.memory_limit_bytes)
        # One push-forward a column of a block: every group moves along its j-th axis at once.
        basis = jnp.broadcast_to(jnp.eye(k, dtype=h.dtype)[:, None, :], (k, groups, k)).reshape(k, *self.state_shape)

        def one(h: Array, u: Any) -> tuple[Array, Array]:
            push = lambda v: jax.jvp(lambda h: self._call(params, h, u), (h,), (v,))
            return jax.vmap(push, out_axes=(None, 0))(basis)

        values, columns = self._vectorise(one, h)(h, u)
        if self.structure == "diagonal":
            return values, Diagonal(columns.reshape(h.shape))
        return values, Block(jnp.moveaxis(columns.reshape(*lead, k, groups, k), -3, -1))

    def block_diagonal(self, params: Any, h: Array, u: Any, k: int = 1) -> tuple[Array, AbstractJacobian]:
        if self.structure == "dense":
            return super().block_diagonal(params, h, u, k)
        values, J = self.step_and_jacobian(params, h, u)
        return values, restrict(J, self.state_shape, k)

    def _call(self, params: Any, h: Array, u: Any) -> Array:
        given, consts = params
        out = eval_jaxpr(self.program.jaxpr, consts, *jax.tree.leaves((self.unpack(h), u, given)))
        return self.pack(jax.tree.unflatten(self.packing.treedef, out))

    def _vectorise(self, one: Callable, h: Array) -> Callable:
        for _ in range(h.ndim - len(self.state_shape)):
            one = jax.vmap(one)
        return one

    def _blocks(self) -> tuple[int, int]:
        """(groups, k): how many diagonal blocks of which size."""
        size = math.prod(self.state_shape)
        k = {"diagonal": 1, "block": self.state_shape[-1] if self.state_shape else 1, "dense": size}[self.structure]
        return size // k, k


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
    largest = lambda a: jnp.where(jnp.isfinite(a), jnp.abs(a), 0).max(initial=0)
    return largest(error) / (1 + largest(true))


def _synthetic(tree: Any) -> Any:
    rng = np.random.default_rng(0)

    def draw(a: Any) -> np.ndarray:
        if not isinstance(a, Tracer):
            return a
        return np.asarray(rng.uniform(0.1, 0.9, a.shape)).astype(a.dtype)

    return jax.tree.map(draw, tree)
