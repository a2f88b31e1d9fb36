"""The figure of a solve; imports the plotting library, so it is imported only when a figure is asked for."""

import warnings
from typing import Any

import numpy as np

from workbench import display


def convergence(history: np.ndarray, title: str) -> Any:
    """Residual by iteration, log axis: the worst and the median sequence of `history`, (*batch, iterations)."""
    hv = display.holoviews()
    by_sequence = history.reshape(-1, history.shape[-1])
    used = np.isfinite(by_sequence).any(0)
    iterations = np.flatnonzero(used)
    if not iterations.size:
        raise ValueError("history: no finite residual, there is nothing to plot")
    # A sequence that is done keeps its last residual: the median then runs over all of them at every iteration.
    held = _hold_last(by_sequence)[:, iterations]
    smallest = np.finfo(history.dtype).tiny
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a sequence without any finite residual has no median
        curves = {"worst sequence": np.nanmax(held, 0), "median sequence": np.nanmedian(held, 0)}
    colours = {"worst sequence": display.PALETTE["measured"], "median sequence": display.PALETTE["measured"]}
    dashes = {"worst sequence": "solid", "median sequence": "dashed"}
    lines = [
        hv.Curve((iterations, np.maximum(y, smallest)), "iteration", "residual", label=name).opts(
            color=colours[name], line_dash=dashes[name]
        )
        for name, y in curves.items()
    ]
    return hv.Overlay(lines).opts(
        hv.opts.Curve(logy=True),
        hv.opts.Overlay(xlabel="iteration", ylabel="max |f(h, x) - h|", title=title, legend_position="top_right"),
    )


def _hold_last(history: np.ndarray) -> np.ndarray:
    index = np.where(np.isfinite(history), np.arange(history.shape[-1]), 0)
    return np.take_along_axis(history, np.maximum.accumulate(index, -1), -1)
