"""What the page on parallel recurrences reads: seconds of the ways, residuals by iteration, iterations against λ."""

import itertools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from apps.source import Source
from workbench import bundled

STUDY = "pararnn"
CELLS = {"paragru": "ParaGRU", "paralstm": "ParaLSTM"}
# From the baseline of the paper's figure to the parallel form: what is saved on the way to each, and its name.
WAYS = {
    "loop": ("", "loop over the steps"),
    "sliced-loop": ("dispatch of slices", "the same loop, inputs sliced beforehand"),
    "scan-unfused": ("dispatch of steps", "lax.scan, a step still several kernels"),
    "scan": ("fusion", "lax.scan, a step one kernel"),
    "newton": ("algorithm", "Newton, three iterations"),
}
SWEPT = ("gain", "length", "seed", "lyapunov")  # what a point of the λ sweep is told by; the rest are solvers
_SECONDS = re.compile(r"seconds/(?P<way>[a-z-]+)/(?P<cell>[a-z0-9]+)")
_RESIDUAL = re.compile(r"residual(?P<variant>(?:-[a-z0-9]+)*)/(?P<cell>[a-z0-9]+)/(?P<length>\d+)")


@dataclass(frozen=True)
class Link:
    """One step of a chain: from one way to the next, as a factor of time with its smallest and largest over the turns.

    `start` and `end` say how many times as fast as the first way the two are.
    """

    kind: str
    name: str
    before: float
    after: float
    factor: float
    lo: float
    hi: float
    start: float
    end: float


@dataclass(frozen=True)
class Chain:
    """The ways to compute the same states of one cell, slowest baseline first, with their seconds, one a turn."""

    cell: str
    size: str
    seconds: Mapping[str, np.ndarray]

    def links(self) -> list[Link]:
        """The factors between neighbouring ways; each is a ratio of medians, so that their product is the whole."""
        ways = list(self.seconds)
        return [self._link(*pair) for pair in itertools.pairwise(ways)]

    def ratio(self, slow: str, fast: str) -> float | None:
        """Median time of one way over that of another; None where one was not timed."""
        if slow not in self.seconds or fast not in self.seconds:
            return None
        return float(np.median(self.seconds[slow]) / np.median(self.seconds[fast]))

    def _link(self, one: str, other: str) -> Link:
        first, before, after = (np.asarray(self.seconds[way]) for way in (next(iter(self.seconds)), one, other))
        turns = before / after if before.size == after.size else np.array([np.median(before) / np.median(after)])
        kind, name = WAYS.get(other, ("", other))
        if kind == "fusion" and "scan-unfused" not in self.seconds:
            kind = "dispatch of steps"  # and fusion with it: this run has not told them apart
        medians = [float(np.median(a)) for a in (first, before, after)]
        return Link(
            kind, name, *medians[1:], medians[1] / medians[2], float(turns.min()), float(turns.max()),
            medians[0] / medians[1], medians[0] / medians[2],
        )  # fmt: skip


@dataclass(frozen=True)
class Residual:
    """One curve of residuals: its metric, and the solver, cell and length that it is of."""

    metric: str
    solver: str
    cell: str
    length: int


def runs(source: Source) -> pl.DataFrame:
    """The runs of the study that have logged something, the newest first."""
    return source.runs().filter((pl.col("study") == STUDY) & (pl.col("n_rows") > 0))


def newest_with(source: Source, prefix: str, run: str = "") -> str:
    """The newest run with a metric that begins with `prefix`, or `run` itself if it has one; empty when there is none.

    A run that was chosen and lacks it gives nothing, rather than another run's figures.
    """
    ids = runs(source)["run_id"].to_list()
    ids = [run] if run in ids else ids
    if not ids:
        return ""
    have = set(source.summary(ids).filter(pl.col("name").str.starts_with(prefix))["run_id"])
    return next((run_id for run_id in ids if run_id in have), "")


def names(source: Source, run_id: str) -> list[str]:
    """The metrics of a run."""
    return source.summary([run_id])["name"].to_list() if run_id else []


def measured_chains(source: Source, run_id: str) -> list[Chain]:
    """A chain a cell, from the seconds that a run of the study has logged."""
    found = [match for name in names(source, run_id) if (match := _SECONDS.fullmatch(name))]
    if not found:
        return []
    values = source.values(run_id, [match[0] for match in found])
    config = json.loads(source.runs().filter(run_id=run_id)["config"][0] or "{}")
    size = sizes(config.get("speed_length"), config.get("speed_dim"))
    chains = []
    for cell in dict.fromkeys(match["cell"] for match in found):
        taken = {match["way"]: values[match[0]].drop_nulls().to_numpy() for match in found if match["cell"] == cell}
        chains.append(Chain(cell, size, {way: taken[way] for way in WAYS if way in taken}))
    return sorted(chains, key=lambda chain: chain.cell)


def benchmark_file() -> Path | None:
    """The record of the benchmark, where this installation has one."""
    try:
        file = bundled.folder("benchmarks") / "rnn.json"
    except FileNotFoundError:
        return None
    return file if file.is_file() else None


def benchmark(file: Path | None) -> tuple[list[Chain], dict[str, Any]]:
    """The chains of the benchmark's record, and the rest of it: machine, date, versions. Empty without a record."""
    if file is None:
        return [], {}
    record = json.loads(file.read_text(encoding="utf-8"))
    grouped: dict[tuple, dict[str, np.ndarray]] = {}
    for row in record.pop("decomposition", []):
        ways = grouped.setdefault((row["cell"].lower(), row["T"], row["D"]), {})
        ways[row["way"]] = np.atleast_1d(np.asarray(row["seconds"], float))
    return [Chain(cell, sizes(length, dim), ways) for (cell, length, dim), ways in grouped.items()], record


def sizes(length: int | None, dim: int | None) -> str:
    """`512 steps, 16 channels`, of what is known."""
    return ", ".join(f"{n} {what}" for n, what in ((length, "steps"), (dim, "channels")) if n)


def published(source: Source) -> dict[str, float]:
    """The published speed-up over a loop, by cell."""
    rows = source.claims().filter((pl.col("paper") == STUDY) & pl.col("claim").str.starts_with("speedup.loop."))
    return {claim.rsplit(".", 1)[1]: value for claim, value in rows.select("claim", "published").iter_rows()}


def residuals(source: Source, run_id: str) -> list[Residual]:
    """The residual curves of a run."""
    found = [match for name in names(source, run_id) if (match := _RESIDUAL.fullmatch(name))]
    curves = [Residual(m[0], solver_name(m["variant"]), m["cell"], int(m["length"])) for m in found]
    return sorted(curves, key=lambda curve: (curve.cell, curve.solver, curve.length))


def solver_name(variant: str) -> str:
    """`-float64-jacobi` is "Jacobi, float64"; nothing is "Newton, float32"."""
    parts = [part for part in variant.split("-") if part]
    dtype = next((part for part in parts if part.startswith("float")), "float32")
    solver = "-".join(part for part in parts if part != dtype) or "newton"
    return f"{solver[:1].upper()}{solver[1:]}, {dtype}"


def sweep(source: Source, run_id: str) -> pl.DataFrame:
    """A row a point of the λ sweep: lyapunov, what of `SWEPT` was logged, and the iterations of each solver."""
    found = [name for name in names(source, run_id) if name.startswith("sweep/")]
    if "sweep/lyapunov" not in found:
        return pl.DataFrame()
    frame = source.values(run_id, found)
    short = {name: name.removeprefix("sweep/iterations/").removeprefix("sweep/") for name in found}
    return frame.select([pl.col(name).alias(short[name]) for name in found]).sort("lyapunov")


def solvers(frame: pl.DataFrame) -> list[str]:
    """The solvers whose iterations a sweep holds, in their usual order."""
    usual = ["newton", "quasi-newton", "elk", "picard", "jacobi"]
    have = [name for name in frame.columns if name not in SWEPT]
    return [name for name in usual if name in have] + sorted(set(have) - set(usual))
