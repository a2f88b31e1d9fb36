"""The state of the page on parallel recurrences: which run, which chains, which curves. No browser needed."""

import json
from pathlib import Path
from typing import Any

import param
import polars as pl

from apps import rnn_data
from apps.rnn_data import Chain, Residual
from apps.source import Source

URL = {"run": "run", "origin": "timed", "cells": "cell", "lengths": "length", "solvers": "solver"}


class RnnState(param.Parameterized):
    """What the page shows. An empty run is the newest one, an empty filter lets everything through."""

    run = param.String(default="")
    origin = param.Selector(default="run", objects=["run", "benchmark"])
    cells = param.List(default=[], item_type=str)
    lengths = param.List(default=[], item_type=int)
    solvers = param.List(default=["Newton, float32"], item_type=str)
    version = param.Integer(default=0)

    def __init__(self, source: Source, record: Path | None = None, **params: Any) -> None:
        super().__init__(**params)
        self.source = source
        self.record = record

    def runs(self) -> pl.DataFrame:
        """The runs that can be chosen."""
        return rnn_data.runs(self.source)

    def timed(self) -> tuple[list[Chain], str, dict[str, Any]]:
        """The chains of the chosen origin, the run they are of, and what the benchmark tells of its machine."""
        if self.origin == "benchmark":
            chains, told = rnn_data.benchmark(self.record)
            return chains, "", told
        run_id = rnn_data.newest_with(self.source, "seconds/", self.run)
        return rnn_data.measured_chains(self.source, run_id), run_id, {}

    def table(self) -> pl.DataFrame:
        """The numbers of the chains, a row a step from one way to the next."""
        rows = [
            {"cell": chain.cell, "what": link.kind, "to": link.name, "seconds_before": link.before,
             "seconds_after": link.after, "factor": link.factor, "factor_lo": link.lo, "factor_hi": link.hi}
            for chain in self.timed()[0]
            for link in chain.links()
        ]  # fmt: skip
        return pl.DataFrame(rows)

    def curve_run(self) -> str:
        """The run whose residuals are drawn."""
        return rnn_data.newest_with(self.source, "residual", self.run)

    def curves(self) -> list[Residual]:
        """Every residual curve of the run."""
        return rnn_data.residuals(self.source, self.curve_run())

    def drawn(self) -> list[Residual]:
        """The curves that pass the filters."""
        return [
            curve
            for curve in self.curves()
            if (not self.cells or curve.cell in self.cells)
            and (not self.lengths or curve.length in self.lengths)
            and (not self.solvers or curve.solver in self.solvers)
        ]

    def history(self, curve: Residual) -> pl.DataFrame:
        """Columns x (iteration) and value (residual) of one curve."""
        return self.source.curve(self.curve_run(), curve.metric)

    def sweep(self) -> tuple[pl.DataFrame, str]:
        """The λ sweep and the run it is of; an empty frame when no run has one."""
        run_id = rnn_data.newest_with(self.source, "sweep/", self.run)
        return rnn_data.sweep(self.source, run_id), run_id

    def reset(self) -> None:
        """Show what the page opens with."""
        self.param.update(**{name: self.param[name].default for name in URL})

    def residual_table(self) -> pl.DataFrame:
        """The drawn residuals, a row an iteration of a curve."""
        types = {"cell": pl.String, "solver": pl.String, "steps": pl.Int64}
        frames = [pl.DataFrame(schema=types | {"iteration": pl.Int64, "residual": pl.Float64})]
        for curve in self.drawn():
            facts = {"cell": curve.cell, "solver": curve.solver, "steps": curve.length}
            named = (pl.lit(value, types[name]).alias(name) for name, value in facts.items())
            history = self.history(curve)
            frames.append(history.select(*named, pl.col("x").alias("iteration"), pl.col("value").alias("residual")))
        return pl.concat(frames)

    def sweep_table(self) -> pl.DataFrame:
        """The λ sweep, a row a point."""
        return self.sweep()[0]

    def python(self) -> str:
        """The Python lines that give the seconds of the chains."""
        run_id = self.timed()[1]
        return self._python(run_id, [name for name in self._names(run_id) if name.startswith("seconds/")])

    def residual_python(self) -> str:
        """The Python lines that give the drawn residuals."""
        return self._python(self.curve_run(), [curve.metric for curve in self.drawn()])

    def sweep_python(self) -> str:
        """The Python lines that give the λ sweep."""
        run_id = self.sweep()[1]
        return self._python(run_id, [name for name in self._names(run_id) if name.startswith("sweep/")])

    def _names(self, run_id: str) -> list[str]:
        return rnn_data.names(self.source, run_id)

    def _python(self, run_id: str, metrics: list[str]) -> str:
        lines = ["from workbench import store", "", f"log = store.open({self.source.written()})"]
        if not run_id:
            return "\n".join([*lines, 'print(log.runs().filter(study="pararnn"))'])
        return "\n".join([*lines, f"print(log.metrics({json.dumps(run_id)}, {json.dumps(metrics)}))"])
