"""Observations that a law is fitted to: the loss of runs of known size and number of streams."""

import dataclasses
from typing import Any

import numpy as np

from workbench import data, display

DISTINCT = 4
"""A law of N and P has four parameters: with fewer different runs than that there is nothing to fit."""

SOURCES = {
    "parscale-stack": ("stack", "Chen et al. 2025 (ParScale, arXiv 2505.10475), figure 2, Stack-V2-Python"),
    "parscale-pile": ("pile", "Chen et al. 2025 (ParScale, arXiv 2505.10475), figure 2, Pile"),
}


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Losses:
    """The final loss of each of n runs; float64 arrays (n,), read only.

    `parameters` N, a count, embeddings left out; `streams` P, a whole number; `loss` in nats a token; `tokens` that
    each run was trained on, if known. `evidence` says how the figures came about and chooses their colour in plots:
    "measured", "simulated", "modelled" or "published".

    Raises ValueError, naming the argument, for N <= 0, P < 1 or not whole, a loss that is not finite and above 0,
    lengths that differ, and fewer than 4 different (N, P).
    """

    parameters: np.ndarray
    streams: np.ndarray
    loss: np.ndarray
    tokens: np.ndarray | None = None
    name: str = "losses"
    source: str = ""
    evidence: str = "measured"

    def __post_init__(self) -> None:
        for name in ("parameters", "streams", "loss", "tokens"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, _column(name, getattr(self, name)))
        _check(self)

    def __len__(self) -> int:
        return self.loss.size

    def _facts(self) -> dict[str, str]:
        columns = {"parameters": self.parameters, "streams": self.streams, "loss": self.loss}
        facts = {"runs": str(len(self))} | {name: _span(column) for name, column in columns.items()}
        return facts | ({"source": self.source} if self.source else {})

    def __repr__(self) -> str:
        return f"Losses({self.name}: " + ", ".join(f"{name} {value}" for name, value in self._facts().items()) + ")"

    def _repr_html_(self) -> str:
        return display.card(f"Losses: {self.name}", self._facts())


def published(name: str) -> Losses:
    """Losses that a paper printed: "parscale-stack" or "parscale-pile", 24 runs each, N from 0.5B to 4.4B, P 1 to 8.

    N holds the parameters that streams add (prefixes and aggregation). Raises ValueError for another name.
    """
    if name not in SOURCES:
        raise ValueError(f"name: {name!r}, must be one of {', '.join(SOURCES)}")
    corpus, source = SOURCES[name]
    rows = data.published("parscale-losses").filter(corpus=corpus)
    columns = {column: rows[column].to_numpy() for column in ("parameters", "streams", "loss")}
    return Losses(**columns, name=name, source=source, evidence="published")


def positive(name: str, value: Any, whole: bool = False) -> np.ndarray:
    """`value` as float64, any shape; ValueError, naming it, unless all is finite and above 0 (`whole`: 1, 2, …)."""
    try:
        array = np.array(value, np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name}: {value!r}, must be numbers") from None
    sound = np.isfinite(array) & (array > 0)
    if whole:
        sound &= array == np.round(array)
    if not sound.all():
        at = tuple(int(i) for i in np.argwhere(~sound)[0])
        where = f" at {at[0] if len(at) == 1 else at}" if at else ""
        must = "a whole number, at least 1" if whole else "finite and above 0"
        raise ValueError(f"{name}: {float(array[at])}{where}, must be {must}")
    return array


def _column(name: str, value: Any) -> np.ndarray:
    array = positive(name, value, whole=name == "streams")
    if array.ndim != 1:
        raise ValueError(f"{name}: shape {array.shape}, must be one number a run")
    array.setflags(write=False)
    return array


def _check(losses: Losses) -> None:
    for name in ("streams", "loss", "tokens"):
        column = getattr(losses, name)
        if column is not None and column.size != losses.parameters.size:
            raise ValueError(f"{name}: {column.size} values, must be as many as parameters, {losses.parameters.size}")
    different = np.unique(np.stack([losses.parameters, losses.streams]), axis=1).shape[1]
    if different < DISTINCT:
        raise ValueError(f"parameters: {different} different (parameters, streams), must be at least {DISTINCT}")
    if losses.evidence not in display.EVIDENCE:
        raise ValueError(f"evidence: {losses.evidence!r}, must be one of {', '.join(display.EVIDENCE)}")


def _span(column: np.ndarray) -> str:
    low, high = (display.number(value) for value in (column.min(), column.max()))
    return low if low == high else f"{low} to {high}"
