"""Which key a query may see: boolean arrays (queries, keys), True where it may."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from workbench.checks import integer


def causal(n: int) -> Bool[np.ndarray, "n n"]:
    """Every token sees itself and what came before."""
    integer("n", n)
    return np.tri(n, dtype=bool)


def full(n: int) -> Bool[np.ndarray, "n n"]:
    """Every token sees all."""
    integer("n", n)
    return np.ones((n, n), bool)


def padded(lengths: Int[np.ndarray, " batch"], n: int) -> Bool[np.ndarray, "batch n n"]:
    """Every token sees the first `lengths` of its own sequence: for encoders, over sequences filled up to n."""
    lengths = np.asarray(lengths)
    if lengths.ndim != 1 or (lengths < 1).any() or (lengths > n).any():
        raise ValueError(f"lengths: {lengths}, must be numbers in 1 to {n}")
    keys = np.arange(n)[None, None] < lengths[:, None, None]
    return np.broadcast_to(keys, (lengths.size, n, n))


def segments(ids: Int[np.ndarray, " n"], *, prompt: int, summary: int) -> Bool[np.ndarray, "n n"]:
    """Paths side by side: a token sees, among those stored up to it, the prompt, its own segment, and as summary all.

    `ids` names the segment of each token; negative ones are padding, which nobody sees. ParaThinker's two-phase mask.
    """
    ids = np.asarray(ids)
    if ids.ndim != 1 or ids.size == 0:
        raise ValueError(f"ids: shape {ids.shape}, must be one number a token")
    q, k = ids[:, None], ids[None, :]
    return causal(ids.size) & ((k == prompt) | (q == k) | (q == summary)) & (k >= 0)


def tree(parents: Int[np.ndarray, " n"]) -> Bool[np.ndarray, "n n"]:
    """Every token sees itself and its ancestors; a parent of -1 is a root. For drafts that branch.

    Raises ValueError unless each parent is stored before its child.
    """
    parents = np.asarray(parents)
    if parents.ndim != 1 or (parents >= np.arange(parents.size)).any() or (parents < -1).any():
        raise ValueError(f"parents: {parents}, must each be -1 or the index of an earlier token")
    seen = np.zeros((parents.size, parents.size), bool)
    for child, parent in enumerate(parents):
        seen[child, child] = True
        if parent >= 0:
            seen[child] |= seen[parent]
    return seen


def prefix(mask: Bool[Array | np.ndarray, "*lead keys"], tokens: int) -> Bool[Array | np.ndarray, "*lead more"]:
    """A mask for keys behind `tokens` prefix tokens, which every query sees."""
    xp = np if isinstance(mask, np.ndarray) else jnp
    return xp.concatenate([xp.ones((*mask.shape[:-1], tokens), bool), mask], axis=-1)
