"""The Jacobian algebra: the two structures that a parallel scan can multiply cheaply, behind one set of methods.

A dense Jacobian is a `Block` with a single group. Both are pytrees with any leading axes (time, batch, ...).
"""

import dataclasses
import functools
import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

SMALL_BLOCK = 4
"""Up to this k the k*k entries of a block are arrays of their own, each over all groups: products are then elementwise
over contiguous channels, which XLA vectorises and fuses with its neighbours. A trailing (k, k) puts a stride between
one channel and the next, 10 to 30 times slower on CPU; for larger k there are too many entries."""


_LIBRARY_BLOCK = 8
"""From this k on a product of two blocks is worth the library call that `matmul` makes of each."""


class AbstractJacobian:
    """A structured J = df/dh: what scans and solvers may ask of it."""

    def apply(self, v: Float[Array, "..."]) -> Float[Array, "..."]:
        """J v, in the shape of v."""
        return self.join(self.act(self.split(v)), v.shape)

    def split(self, v: Float[Array, "..."]) -> Any:
        """v in the layout of the products inside a scan: a pytree of arrays with the leading axes of v."""
        return v

    def act(self, parts: Any) -> Any:
        """J v, of a v that was split, and split itself."""
        raise NotImplementedError

    def join(self, parts: Any, shape: tuple[int, ...]) -> Float[Array, "..."]:
        """The array of this shape that `split` takes apart."""
        return parts.reshape(shape)

    def for_tree(self, parts: Any) -> tuple[Any, Any, Callable]:
        """(J, parts) in the form for a tree of compositions, and what brings the parts of the result back."""
        return self, parts, lambda parts: parts

    def compose(self, earlier: Any) -> Any:
        """The product J K: first `earlier` = K, then this."""
        raise NotImplementedError

    def transpose(self) -> Any:
        """The transposed Jacobian (not conjugated; states are real)."""
        raise NotImplementedError

    def identity(self) -> Any:
        """The identity of the same structure and shape."""
        raise NotImplementedError

    def abs(self) -> Any:
        """Entrywise absolute values, for error bounds."""
        return jax.tree.map(jnp.abs, self)

    def zero_first(self) -> Any:
        """J with J_1 = 0 on the leading (time) axis: J_1 multiplies delta_0, which is 0 whatever h_0 is."""
        return jax.tree.map(lambda a: a.at[0].set(0), self)

    def cut(self, mask: Bool[Array, "..."]) -> Any:
        """J with 0 where `mask`, over its leading axes, is true: what comes before does not reach these steps."""

        def zero(a: Array) -> Array:
            return jnp.where(mask.reshape(*mask.shape, *[1] * (a.ndim - mask.ndim)), jnp.zeros((), a.dtype), a)

        return jax.tree.map(zero, self)

    def adjoint(self) -> Any:
        """J_t -> J_{t+1}^T, and 0 at the end.

        `affine_scan(J.adjoint(), g, reverse=True)` is the transpose of `affine_scan(J, b)`.
        """

        return jax.tree.map(lambda a: lag(a, -1), self.transpose())

    def __getitem__(self, index: object) -> Any:
        """Index the leading axes."""
        return jax.tree.map(lambda a: a[index], self)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Diagonal(AbstractJacobian):
    """diag(d): channel i of the new state depends on channel i of the old one only. Acts on states of d's shape."""

    d: Float[Array, "..."]

    def act(self, parts: Float[Array, "..."]) -> Float[Array, "..."]:
        return self.d * parts

    def compose(self, earlier: "Diagonal") -> "Diagonal":
        return Diagonal(self.d * earlier.d)

    def transpose(self) -> "Diagonal":
        return self

    def identity(self) -> "Diagonal":
        return Diagonal(jnp.ones_like(self.d))


@jax.tree_util.register_pytree_node_class
class Block(AbstractJacobian):
    """Block-diagonal: G blocks of k x k, `m` (..., G, k, k). Acts on states (..., G, k), or any trailing shape of G*k.

    Held as `entries`, row by row, each (..., G), while k is small, else as the one array: see `SMALL_BLOCK`.
    Raises ValueError for blocks that are not square.
    """

    k: int
    entries: tuple[Array, ...]

    def __init__(self, m: Float[Array, "*lead groups k k"]) -> None:
        if m.ndim < 3 or m.shape[-1] != m.shape[-2]:
            raise ValueError(f"m: shape {m.shape}, must be (..., groups, k, k)")
        self.k = k = m.shape[-1]
        self.entries = tuple(m[..., i, j] for i in range(k) for j in range(k)) if k <= SMALL_BLOCK else (m,)

    @classmethod
    def from_entries(cls, k: int, entries: tuple[Any, ...]) -> "Block":
        """From its leaves: k*k arrays (..., groups), row by row, for k <= SMALL_BLOCK; else m alone."""
        block = object.__new__(cls)
        block.k, block.entries = k, tuple(entries)
        return block

    def tree_flatten(self) -> tuple:
        return self.entries, self.k

    @classmethod
    def tree_unflatten(cls, k: int, children: tuple) -> "Block":
        return cls.from_entries(k, children)

    @property
    def m(self) -> Float[Array, "*lead groups k k"]:
        """All blocks as one array."""
        if self.k > SMALL_BLOCK:
            return self.entries[0]
        return jnp.stack(self.entries, -1).reshape(self.shape)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of m, known of abstract leaves as well."""
        a = self.entries[0]
        return a.shape if self.k > SMALL_BLOCK else (*a.shape, self.k, self.k)

    @property
    def dtype(self) -> Any:
        """Dtype of the entries."""
        return self.entries[0].dtype

    def split(self, v: Float[Array, "..."]) -> Any:
        lead = len(self.shape) - 3
        w = v.reshape(*v.shape[:lead], *self.shape[-3:-1])
        return w if self.k > SMALL_BLOCK else tuple(w[..., i] for i in range(self.k))

    def act(self, parts: Any) -> Any:
        if self.k > SMALL_BLOCK:
            return _matmul(self.entries[0], parts[..., None])[..., 0]
        return tuple(_dot(row, parts) for row in self._rows())

    def join(self, parts: Any, shape: tuple[int, ...]) -> Float[Array, "..."]:
        return (parts if self.k > SMALL_BLOCK else jnp.stack(parts, -1)).reshape(shape)

    def compose(self, earlier: "Block") -> "Block":
        if self.k > SMALL_BLOCK:
            return self.from_entries(self.k, (_matmul(self.entries[0], earlier.entries[0]),))
        columns = tuple(zip(*earlier._rows(), strict=True))
        return self.from_entries(self.k, tuple(_dot(row, column) for row in self._rows() for column in columns))

    def transpose(self) -> "Block":
        if self.k > SMALL_BLOCK:
            return self.from_entries(self.k, (jnp.swapaxes(self.entries[0], -1, -2),))
        return self.from_entries(self.k, tuple(a for column in zip(*self._rows(), strict=True) for a in column))

    def identity(self) -> "Block":
        if self.k > SMALL_BLOCK:
            m = self.entries[0]
            return self.from_entries(self.k, (jnp.broadcast_to(jnp.eye(self.k, dtype=m.dtype), m.shape),))
        diagonal = range(0, self.k**2, self.k + 1)
        entries = (jnp.ones_like(a) if i in diagonal else jnp.zeros_like(a) for i, a in enumerate(self.entries))
        return self.from_entries(self.k, tuple(entries))

    def for_tree(self, parts: Any) -> tuple[Any, Any, Callable]:
        if self.k > SMALL_BLOCK:
            return super().for_tree(parts)
        planes = jnp.stack([jnp.stack(row, -2) for row in self._rows()], -3)
        back = lambda parts: tuple(parts[..., i, :] for i in range(self.k))
        return Planes(planes), jnp.stack(parts, -2), back

    def _rows(self) -> tuple[tuple[Array, ...], ...]:
        k = self.k
        return tuple(self.entries[i * k : (i + 1) * k] for i in range(k))

    def __repr__(self) -> str:
        return f"Block(k={self.k}, {self.entries})"


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Planes(AbstractJacobian):
    """Small blocks as one array; acts on (..., k, groups).

    Of entries apart, XLA would repeat every level of a tree inside each of the k*k products of the next one: a minute
    to compile for k = 3.
    """

    m: Float[Array, "*lead k k groups"]

    def act(self, parts: Float[Array, "*lead k groups"]) -> Float[Array, "*lead k groups"]:
        return _sum([self.m[..., :, j, :] * parts[..., j : j + 1, :] for j in range(self.m.shape[-2])])

    def compose(self, earlier: "Planes") -> "Planes":
        k = self.m.shape[-2]
        return Planes(_sum([self.m[..., :, j : j + 1, :] * earlier.m[..., j : j + 1, :, :] for j in range(k)]))


def lag(a: Float[Array, "time ..."], steps: int) -> Float[Array, "time ..."]:
    """a_{t - steps}, and 0 where there is none; `steps` may be negative."""
    return lax.pad(a, jnp.zeros((), a.dtype), [(steps, -steps, 0)] + [(0, 0, 0)] * (a.ndim - 1))


def _dot(row: tuple[Array, ...], column: tuple[Array, ...]) -> Array:
    return _sum([a * b for a, b in zip(row, column, strict=True)])


def _sum(arrays: list[Array]) -> Array:
    return functools.reduce(operator.add, arrays)


def _matmul(a: Array, b: Array) -> Array:
    if a.shape[-1] < _LIBRARY_BLOCK:
        return _sum([a[..., :, j : j + 1] * b[..., j : j + 1, :] for j in range(a.shape[-1])])
    return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)
