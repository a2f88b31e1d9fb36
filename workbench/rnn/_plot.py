"""The figures of the room; they import the plotting library, so this is imported only when a figure is asked for."""

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from workbench import display
from workbench.rnn._region import largest_exponent

DRAWN = 1e-300, 1e300
"""Norms beyond these are drawn at them."""

MARKERS = ("circle", "square", "triangle", "diamond", "inverted_triangle", "star")


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


def windows(certificate: Any) -> Any:
    """Smallest and largest norm of products of k consecutive Jacobians over k, and the theory's envelope around them.

    Of the worst conditioned sequence; both axes logarithmic.
    """
    hv = display.holoviews()
    known, shape = certificate.conditioning, certificate.converged.shape
    if not certificate.converged.size or not known.norms.shape[-2]:
        raise ValueError("length: no product of Jacobians to plot; there must be a sequence, and 2 steps at least")
    worst = np.unravel_index(int(np.argmin(known.sharp_lower)), shape)
    smallest, largest = (_drawn(known.norms[worst][:, i]) for i in (0, 1))
    sizes = 2 ** np.arange(largest.size)
    rate, a, b = (float(value[worst]) for value in (known.lyapunov, known.a, known.b))
    with np.errstate(divide="ignore", invalid="ignore"):
        envelope = [_drawn(np.log(factor) + rate * sizes) for factor in (b, a)]
    lines = [
        hv.Curve((sizes, y), "steps multiplied", "norm", label=name).opts(
            color=display.PALETTE[evidence], line_dash=dash
        )
        for name, y, evidence, dash in (
            ("largest norm", largest, "measured", "solid"),
            ("smallest norm", smallest, "measured", "dashed"),
            ("a e^(lambda k), above all windows", envelope[1], "modelled", "solid"),
            ("b e^(lambda k)", envelope[0], "modelled", "dashed"),
        )
    ]
    sequence = f"sequence {', '.join(map(str, worst))}: " if shape else ""
    title = f"{sequence}lambda = {display.number(rate)} nats a step, {certificate.length} steps"
    return hv.Overlay(lines).opts(
        hv.opts.Curve(logx=True, logy=True),
        hv.opts.Overlay(
            xlabel="consecutive Jacobians multiplied", ylabel="norm", title=title, legend_position="bottom_left"
        ),
    )


def region(points: Mapping[str, np.ndarray], dtype: Any, title: str) -> Any:
    """Measured runs over (lambda, T), coloured by iterations over T, on the region where success is predicted."""
    hv = display.holoviews()
    rate, length = points["lyapunov"], points["length"]
    share, done = points["iterations"] / length, points["converged"].astype(bool)
    low, high = length.min() / 1.5, length.max() * 4  # room for the legend
    left, right = rate.min() - 0.05 * np.ptp(rate) - 1e-3, rate.max() + 0.05 * np.ptp(rate) + 1e-3
    x = np.unique(
        np.concatenate([np.linspace(left, right, 400), largest_exponent(np.geomspace(low, high, 100), dtype)])
    )
    with np.errstate(divide="ignore"):
        reach = np.where(x <= 0, high, np.clip(largest_exponent(1, dtype) / np.maximum(x, 0), low, high))
    inside = x <= right
    shade = hv.Area((x[inside], reach[inside], np.full(inside.sum(), low)), "lambda", ["steps", "from"]).opts(
        color=display.PALETTE["modelled"], alpha=0.15, line_alpha=0
    )
    axes = (["lambda", "steps"], ["iterations / T"])
    solved = hv.Points((rate[done], length[done], share[done]), *axes, label="converged").opts(
        color="iterations / T", cmap=display.SEQUENTIAL, clim=(0, 1), colorbar=True, marker="circle", size=9
    )
    refused = hv.Points((rate[~done], length[~done], share[~done]), *axes, label="not converged").opts(
        color=display.PALETTE["contradiction"], marker="x", size=10, line_width=2
    )
    edge = hv.VLine(0).opts(color=display.PALETTE["published"], line_dash="dashed", line_width=1)
    return (shade * edge * solved * refused).opts(
        xlabel="largest Lyapunov exponent (nats a step)",
        ylabel=f"steps T{_seeds(points)}",
        xlim=(left, right), ylim=(low, high), logy=True, title=title, legend_position="top_left",
    )  # fmt: skip


def iterations(points: Mapping[str, np.ndarray], over: str, title: str) -> Any:
    """Iterations by solver over `over`, log axis: a mark a run, a line through the medians; hollow where it failed."""
    hv = display.holoviews()
    layers = []
    for i, solver in enumerate(dict.fromkeys(points["solver"].tolist())):
        colour = display.CATEGORICAL[i % len(display.CATEGORICAL)]
        mine = points["solver"] == solver
        x, y, done = (
            points[over][mine],
            np.maximum(points["iterations"][mine], 1),
            points["converged"][mine].astype(bool),
        )
        group = points["g"][mine] if "g" in points else x
        middles = [(np.median(x[group == g]), np.median(y[group == g])) for g in np.unique(group)]
        layers.append(hv.Curve(sorted(middles), over, "iterations", label=solver).opts(color=colour))
        for which, fill in ((done, 1.0), (~done, 0.0)):
            layers.append(
                hv.Points((x[which], y[which]), [over, "iterations"]).opts(
                    marker=MARKERS[i % len(MARKERS)], color=colour, fill_alpha=fill, size=7
                )
            )
    label = {"lyapunov": "largest Lyapunov exponent (nats a step)", "g": "gain g"}.get(over, over)
    return hv.Overlay(layers).opts(
        hv.opts.Curve(logy=True),
        hv.opts.Points(logy=True),
        hv.opts.Overlay(
            xlabel=f"{label}{_seeds(points)}", ylabel="iterations (hollow: not converged)", title=title,
            legend_position="top_left", padding=0.05, ylim=(0.7, 10 * float(points["iterations"].max())),
        ),
    )  # fmt: skip


def _seeds(points: Mapping[str, np.ndarray]) -> str:
    return f" ({np.unique(points['seed']).size} seeds)" if "seed" in points else ""


def _drawn(log_norm: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return np.clip(np.exp(np.asarray(log_norm, float)), *DRAWN)


def _hold_last(history: np.ndarray) -> np.ndarray:
    index = np.where(np.isfinite(history), np.arange(history.shape[-1]), 0)
    return np.take_along_axis(history, np.maximum.accumulate(index, -1), -1)
