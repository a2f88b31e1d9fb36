"""States that are pytrees: packed into one array for the solvers, unpacked for the function and for the user."""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array


@dataclasses.dataclass(frozen=True)
class Packing:
    """How a pytree of arrays lies in one array, with any leading axes.

    One leaf: the leaf itself. Leaves of one shape: stacked on a new last axis, so that a function that works entry by
    entry, such as an LSTM's (c, h) with diagonal weights, has blocks. Else: flattened one after the other.
    """

    treedef: Any
    shapes: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, tree: Any) -> "Packing":
        """The packing of states like this one."""
        leaves, treedef = jax.tree.flatten(tree)
        return cls(treedef, tuple(a.shape for a in leaves))

    @property
    def alike(self) -> bool:
        """Whether all leaves have one shape."""
        return len(set(self.shapes)) == 1

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one packed state."""
        if len(self.shapes) == 1:
            return self.shapes[0]
        return (*self.shapes[0], len(self.shapes)) if self.alike else (sum(map(math.prod, self.shapes)),)

    def pack(self, tree: Any) -> Array:
        """One array (*lead, *shape) from a pytree of (*lead, *leaf)."""
        leaves = self.treedef.flatten_up_to(tree)
        if len(leaves) == 1:
            return leaves[0]
        if self.alike:
            return jnp.stack(leaves, -1)
        lead = leaves[0].shape[: leaves[0].ndim - len(self.shapes[0])]
        return jnp.concatenate([a.reshape(*lead, -1) for a in leaves], -1)

    def unpack(self, array: Array) -> Any:
        """The pytree of (*lead, *leaf) in an array (*lead, *shape)."""
        if len(self.shapes) == 1:
            return jax.tree.unflatten(self.treedef, [array])
        if self.alike:
            return jax.tree.unflatten(self.treedef, [array[..., i] for i in range(len(self.shapes))])
        leaves, start = [], 0
        for shape in self.shapes:
            stop = start + math.prod(shape)
            leaves.append(array[..., start:stop].reshape(*array.shape[:-1], *shape))
            start = stop
        return jax.tree.unflatten(self.treedef, leaves)
