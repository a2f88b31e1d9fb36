"""Rows of tokens of different lengths as one array."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int


def rounded(length: int, step: int, limit: int | None) -> int:
    """`length` up to a multiple of `step`, so that the next length rarely compiles anew; at most `limit`."""
    width = -(-length // step) * step
    return width if limit is None else min(width, limit)


def padded(rows: Sequence[Sequence[int]], width: int) -> tuple[Int[np.ndarray, "rows width"], Int[np.ndarray, " rows"]]:
    """(rows filled up to `width` with zeros, their lengths)."""
    tokens = np.zeros((len(rows), width), np.int32)
    for i, row in enumerate(rows):
        tokens[i, : len(row)] = row
    return tokens, np.asarray([len(row) for row in rows], np.int32)
