"""The figure of a law; it loads the plotting library, so this is imported only when a figure is asked for."""

from typing import TYPE_CHECKING, Any

import numpy as np

from workbench import display

if TYPE_CHECKING:
    from workbench.scaling._law import Law

UNITS = ((1e9, " (billions)"), (1e6, " (millions)"), (1.0, ""))
"""The size's unit on the axis: the first of which the largest run has one at least."""

MARGIN = 1.25
"""The curves reach this factor beyond the smallest and the largest run."""


def curves(law: "Law") -> Any:
    """Loss over parameters, log x axis: a curve for every number of streams, marks for the runs by their evidence."""
    hv = display.holoviews()
    runs = law.losses
    unit, told = next(pair for pair in UNITS if runs.parameters.max() >= pair[0] or pair[0] == 1)
    N = np.geomspace(runs.parameters.min() / MARGIN, runs.parameters.max() * MARGIN, 100)
    lines = [
        hv.Curve((N / unit, law.predict(parameters=N, streams=P).value), "parameters", "loss", label=f"P = {P:g}").opts(
            color=display.CATEGORICAL[i % len(display.CATEGORICAL)], line_width=2
        )
        for i, P in enumerate(np.unique(runs.streams))
    ]
    marks = hv.Points((runs.parameters / unit, runs.loss), ["parameters", "loss"], label=runs.evidence).opts(
        color=display.PALETTE[runs.evidence], marker="circle", size=7
    )
    return hv.Overlay([*lines, marks]).opts(
        hv.opts.Curve(logx=True),
        hv.opts.Points(logx=True),
        hv.opts.Overlay(
            xlabel=f"parameters without embeddings{told}", ylabel="loss (nats a token)",
            legend_position="right", width=700, height=380,
            title=f"{law.form!r} on {runs.name}: R² = {display.number(law.r2, 4)}", padding=0.05,
        ),
    )  # fmt: skip
