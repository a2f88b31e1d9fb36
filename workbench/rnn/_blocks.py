"""Diagonal blocks of Jacobians: smaller structures taken out of larger ones, and the refusal of what is too large."""

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from workbench.rnn._jacobian import AbstractJacobian, Block, Diagonal

MEMORY_LIMIT_BYTES = 2 * 1024**3
"""Dense Jacobians of T steps take T * D^2 numbers; above this they are refused unless the caller raises the limit."""


def refuse_large(structure: str, lead: tuple[int, ...], blocks: tuple[int, int], dtype: Any, limit: int) -> None:
    """Raise ValueError if Jacobians of (groups, k) `blocks` at all steps of `lead` exceed `limit` bytes."""
    groups, k = blocks
    size = math.prod(lead) * groups * k * k * np.dtype(dtype).itemsize
    if k > 1 and size > limit:
        raise ValueError(
            f"memory: the {structure} Jacobians of {math.prod(lead)} steps take {size / 1e9:.1f} GB "
            f"({groups} x {k} x {k} numbers a step), above the limit of {limit / 1e9:.1f} GB; nothing was allocated. "
            "Use solver=QuasiNewton(), MultipleShooting(chunks=...) or Sequential(), which never hold them, declare a "
            "smaller structure or raise memory_limit_bytes"
        )


def check_limit(limit: object) -> None:
    """Raise ValueError for a memory limit that allows nothing."""
    if isinstance(limit, bool) or not isinstance(limit, int | float) or not limit > 0:
        raise ValueError(f"memory_limit_bytes: {limit!r}, must be greater than 0")


def check_block(k: object, size: int) -> None:
    """Raise ValueError unless k is a block size that a state of `size` entries has."""
    if isinstance(k, bool) or not isinstance(k, int) or k < 1 or size % k:
        raise ValueError(f"k: {k!r}, must be an integer of at least 1 that divides the size of the state, {size}")


def diagonal_blocks(m: Float[Array, "*lead groups j j"], k: int) -> Float[Array, "*lead blocks k k"]:
    """The k x k blocks on the diagonal of a block-diagonal matrix; one of j and k must divide the other."""
    *lead, groups, j, _ = m.shape
    if k == j:
        return m
    if j % k == 0:
        pieces = m.reshape(*lead, groups, j // k, k, j // k, k)
        inside = jnp.moveaxis(jnp.diagonal(pieces, axis1=-4, axis2=-2), -1, -3)
        return inside.reshape(*lead, groups * (j // k), k, k)
    if k % j or groups % (k // j):
        raise ValueError(f"k: {k}, must divide or be a multiple of the size of a block, {j}")
    r = k // j
    spread = m.reshape(*lead, groups // r, r, j, 1, j) * jnp.eye(r, dtype=m.dtype).reshape(
        (1,) * (len(lead) + 1) + (r, 1, r, 1)
    )
    return spread.reshape(*lead, groups // r, k, k)


def as_jacobian(m: Float[Array, "*lead groups k k"], state_shape: tuple[int, ...]) -> AbstractJacobian:
    """Blocks as a Jacobian: a `Diagonal` where k = 1."""
    return Diagonal(m.reshape(*m.shape[:-3], *state_shape)) if m.shape[-1] == 1 else Block(m)


def restrict(J: Any, state_shape: tuple[int, ...], k: int) -> AbstractJacobian:
    """The k x k blocks on the diagonal of J, over the flattened state; ValueError if k does not fit."""
    check_block(k, math.prod(state_shape))
    if isinstance(J, Diagonal):
        if k == 1:
            return J
        lead = J.d.shape[: J.d.ndim - len(state_shape)]
        return Block(diagonal_blocks(J.d.reshape(*lead, -1, 1, 1), k))
    return as_jacobian(diagonal_blocks(J.m, k), state_shape)
