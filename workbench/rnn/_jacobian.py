"""The Jacobian algebra: the two structures that a parallel scan can multiply cheaply, behind one set of methods.

A dense Jacobian is a `Block` with a single group. Both are pytrees with any leading axes (time, batch, ...).
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# Up to this size a k x k product is written as a sum of elementwise products: XLA fuses that with its neighbours,
# while a batched matmul of tiny matrices is one call a matrix on CPU.
_FUSED_BLOCK = 4


class AbstractJacobian:
    """A structured J = df/dh: what scans and solvers may ask of it."""

    def apply(self, v: Float[Array, "..."]) -> Float[Array, "..."]:
        """J v, in the shape of v."""
        raise NotImplementedError

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

    def adjoint(self) -> Any:
        """J_t -> J_{t+1}^T, and 0 at the end.

        `affine_scan(J.adjoint(), g, reverse=True)` is the transpose of `affine_scan(J, b)`.
        """

        def shift(a: Array) -> Array:
            return jnp.concatenate([a[1:], jnp.zeros_like(a[:1])])

        return jax.tree.map(shift, self.transpose())

    def __getitem__(self, index: object) -> Any:
        """Index the leading axes."""
        return jax.tree.map(lambda a: a[index], self)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Diagonal(AbstractJacobian):
    """diag(d): channel i of the new state depends on channel i of the old one only. Acts on states of d's shape."""

    d: Float[Array, "..."]

    def apply(self, v: Float[Array, "..."]) -> Float[Array, "..."]:
        return self.d * v

    def compose(self, earlier: "Diagonal") -> "Diagonal":
        return Diagonal(self.d * earlier.d)

    def transpose(self) -> "Diagonal":
        return self

    def identity(self) -> "Diagonal":
        return Diagonal(jnp.ones_like(self.d))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Block(AbstractJacobian):
    """Block-diagonal: G blocks of k x k. Acts on states (..., G, k), or any trailing shape that flattens to G*k."""

    m: Float[Array, "*lead groups k k"]

    def apply(self, v: Float[Array, "..."]) -> Float[Array, "..."]:
        w = v.reshape(self.m.shape[:-1])
        if self.m.shape[-1] <= _FUSED_BLOCK:
            out = (self.m * w[..., None, :]).sum(-1)
        else:
            out = jnp.matmul(self.m, w[..., None], precision=jax.lax.Precision.HIGHEST)[..., 0]
        return out.reshape(v.shape)

    def compose(self, earlier: "Block") -> "Block":
        if self.m.shape[-1] <= _FUSED_BLOCK:
            return Block((self.m[..., :, :, None] * earlier.m[..., None, :, :]).sum(-2))
        return Block(jnp.matmul(self.m, earlier.m, precision=jax.lax.Precision.HIGHEST))

    def transpose(self) -> "Block":
        return Block(jnp.swapaxes(self.m, -1, -2))

    def identity(self) -> "Block":
        return Block(jnp.broadcast_to(jnp.eye(self.m.shape[-1], dtype=self.m.dtype), self.m.shape))
