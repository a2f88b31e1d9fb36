"""What the page on parallel streams reads: published losses, fitted laws, what streams are worth, what ran here.

Fits are made once for the server. The rooms that fit load jax, so they are imported when the first fit is asked for.
"""

import functools
import math
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from apps.source import Source
from workbench import data

PAPER, TRAINED = "parscale", "train."  # claims of what was trained here begin like this
CORPORA = {"stack": "Stack-V2-Python", "pile": "Pile"}
FORMS = {  # the laws of workbench.scaling, by name, as a person reads them, in HTML
    "ParScale": "E + (A / (N (k ln P + 1)))<sup>α</sup>",
    "InverseRoot": "E + A (N / 10⁹)<sup>−a</sup> + G / √P",
    "PowerProduct": "E + A (N / 10⁹)<sup>−a</sup> P<sup>−b</sup>",
    "Theory": "E + (A / N)<sup>α</sup> (1 + (P − 1) ρ) / P",
    "Chinchilla": "E + (A / N)<sup>α</sup>",
}
SYMBOLS = {"alpha": "α", "rho": "ρ"}
SIZES = {"0.5B": 0.5, "0.7B": 0.7, "1.1B": 1.1, "1.6B": 1.6, "2.8B": 2.8, "4.4B": 4.4}  # the published ones, 10⁹
STREAMS = (1, 2, 4, 8)  # those published
MOST_STREAMS = 32
LEVEL = 0.9
SMALLEST = 0.42e9  # where the curves begin
POINTS, RESAMPLES = 96, 200  # one number of points for every curve: the law compiles once
_LOCK = threading.RLock()  # two sessions that open at once fit once


@dataclass(frozen=True)
class Worth:
    """What P streams make of N parameters: the loss, and the size that reaches it with one stream, with intervals.

    A size is infinite where no size reaches that loss.
    """

    loss: float
    loss_lo: float
    loss_hi: float
    size: float
    size_lo: float
    size_hi: float


def source_of(corpus: str) -> str:
    """Where the published losses stand."""
    from workbench import scaling

    return scaling.published(f"parscale-{corpus}").source


def meaning(form: str, constant: str) -> tuple[str, str]:
    """The unit of a fitted constant and what it says."""
    if constant == "A":
        power = form in ("PowerProduct", "InverseRoot")
        return ("nats", "excess loss of 10⁹ parameters") if power else ("parameters", "size whose excess loss is 1 nat")
    return {
        "E": ("nats", "loss that remains at infinite size"),
        "k": ("", "size gained for each factor e of streams"),
        "G": ("nats", "loss that one stream leaves and many take off"),
        "b": ("", "exponent of the streams"),
        "rho": ("", "correlation of the streams' errors: 1 gains nothing"),
    }.get(constant, ("", "exponent of the size"))


def losses(corpus: str) -> pl.DataFrame:
    """The published losses: size, parameters, streams, loss."""
    table = data.published("parscale-losses").filter(corpus=corpus)
    return table.select("size", "parameters", "streams", "loss").sort("streams", "parameters")


def locked(function: Any) -> Any:
    """A cache that computes what is asked for once, also when two threads ask at the same time."""
    cached = functools.cache(function)

    @functools.wraps(function)
    def call(*args: Any) -> Any:
        with _LOCK:
            return cached(*args)

    return call


@locked
def law(corpus: str, form: str) -> Any:
    """The fitted law."""
    from workbench import scaling

    return scaling.fit(scaling.published(f"parscale-{corpus}"), getattr(scaling, f"{form}Law")())


@locked
def ranking(corpus: str) -> pl.DataFrame:
    """The forms by the error at a number of streams that they have not seen, the best first."""
    from workbench import scaling

    ranked = scaling.rank(scaling.published(f"parscale-{corpus}"))
    return ranked.with_columns(pl.col("form").str.strip_suffix("Law()"))


@locked
def constants(corpus: str, form: str) -> pl.DataFrame:
    """The fitted constants with their intervals, units and meanings."""
    found = law(corpus, form)
    rows = []
    for name in found.form.names:
        of = found.interval(name, LEVEL)
        unit, meant = meaning(form, name)
        rows.append({"constant": name, "value": of.value, "lo": of.lo, "hi": of.hi, "unit": unit, "meaning": meant})
    return pl.DataFrame(rows)


@locked
def curve(corpus: str, form: str, streams: int, reach: float) -> pl.DataFrame:
    """Loss by parameters with its interval, up to `reach` parameters."""
    sizes = np.geomspace(SMALLEST, reach, POINTS)
    found = law(corpus, form).predict(parameters=sizes, streams=streams, level=LEVEL)
    return pl.DataFrame({"parameters": sizes, "loss": found.value, "lo": found.lo, "hi": found.hi})


@locked
def foretold(corpus: str, form: str, streams: int) -> pl.DataFrame:
    """The law's loss of each published size in any number of streams, with the parameters that these add."""
    from workbench import parscale

    sizes = [parscale.parameters(size, streams) for size in SIZES]
    found = law(corpus, form).predict(parameters=np.resize(sizes, POINTS), streams=streams, level=LEVEL)
    columns = {"loss": found.value, "lo": found.lo, "hi": found.hi}
    found = {name: column[: len(SIZES)] for name, column in columns.items()}
    return pl.DataFrame({"size": list(SIZES), "parameters": sizes} | found)


@locked
def worth(corpus: str, form: str, parameters: float, streams: int) -> Worth:
    """What `streams` are worth at this size. The size's interval is that of the law fitted anew to resampled runs."""
    found = law(corpus, form)
    loss = found.predict(parameters=np.full(POINTS, parameters), streams=streams, level=LEVEL)
    size = float(found.equivalent_parameters(parameters, streams))
    lo, hi = _size_interval(found, parameters, streams)
    return Worth(
        *(float(np.ravel(end)[0]) for end in (loss.value, loss.lo, loss.hi)), size, min(lo, size), max(hi, size)
    )


def _size_interval(found: Any, parameters: float, streams: int) -> tuple[float, float]:
    sizes = found.form.equivalent_parameters(_resampled(found), parameters, float(streams))
    ranked = np.sort(np.ravel(sizes))  # a percentile beside infinity would be none
    tail = (1 - LEVEL) / 2
    return float(ranked[math.floor(tail * ranked.size)]), float(ranked[math.ceil((1 - tail) * ranked.size) - 1])


@functools.cache
def _resampled(found: Any) -> dict[str, Any]:
    return dict(found.bootstrap(RESAMPLES).draws)


def scores() -> pl.DataFrame:
    """The published averages on code, in %: size, parameters (nominal), streams, value."""
    rows = data.published("parscale-downstream").filter(table="code")
    counted = pl.col("size").replace_strict(SIZES, return_dtype=pl.Float64) * 1e9
    return rows.select("size", counted.alias("parameters"), "streams", "value").sort("streams", "parameters")


def long_training() -> pl.DataFrame:
    """The published scores of 1.8B parameters after 1T tokens, in %: a row a score, a column a number of streams."""
    rows = data.published("parscale-downstream").filter(table="two-stage")
    return rows.pivot("streams", index="score", values="value", maintain_order=True)


def trained(source: Source) -> pl.DataFrame:
    """The claims that a training run here has tested, as rows of the scoreboard."""
    rows = source.claims().filter((pl.col("paper") == PAPER) & pl.col("claim").str.starts_with(TRAINED))
    return rows.filter(pl.col("run_id").is_not_null())


def published_ratios(source: Source) -> pl.DataFrame:
    """What the released cost script gives: batch, memory, latency; parameters' increase over that of streams."""
    found: dict[int, dict[str, float]] = {}
    for kind, batch, value in _ratio_claims(source):
        found.setdefault(batch, {})[kind] = value
    return pl.DataFrame([{"batch": batch} | kinds for batch, kinds in sorted(found.items())])


def _ratio_claims(source: Source) -> Iterator[tuple[str, int, float]]:
    for key, value in source.claims().filter(paper=PAPER).select("claim", "published").iter_rows():
        parts = key.split(".")
        if parts[0] == "cost" and parts[-1].startswith("batch-"):
            yield parts[1], int(parts[-1].removeprefix("batch-")), value
