"""What this machine does, measured: the only place below the runner that reads a clock."""

import dataclasses
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from workbench import display
from workbench.hardware._cache import keep, recall

_MATMUL = 1024
_COPY_BYTES = 256 * 1024**2  # past every cache of a CPU
_LOOP_STEPS = 20_000
SMALL_LOOP_LANES, LARGE_LOOP_LANES = 16, 1024
"""float32 lanes of the two loops that are timed: one below, one above the size up to which XLA CPU makes a loop one
kernel (about 1 KB a step)."""


@dataclasses.dataclass(frozen=True)
class Machine:
    """What a measurement depends on: CPU, cores this process may use, backend and device, versions, XLA's flags."""

    cpu: str
    cores: int
    backend: str
    device: str
    jax: str
    xla_flags: str

    def facts(self) -> dict[str, Any]:
        """As a dictionary: the key of the cache."""
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class Calibration:
    """Measured on one machine, float32: rates and overheads, medians of several calls.

    `matmul_flop_per_s` at 1024 x 1024; `copy_bytes_per_s` read and written, at 256 MiB; `dispatch_s`, one call of a
    jitted function that does next to nothing, waited for; `small_loop_step_s` and `large_loop_step_s`, one step of a
    `lax.scan` of h <- tanh(h + x_t) over 16 and over 1024 lanes: below and above the size up to which XLA's CPU backend
    compiles a loop into one kernel.
    """

    machine: Machine
    measured: str
    matmul_flop_per_s: float
    copy_bytes_per_s: float
    dispatch_s: float
    small_loop_step_s: float
    large_loop_step_s: float

    def _facts(self) -> dict[str, str]:
        rates = {
            "matrix product": (self.matmul_flop_per_s / 1e9, "GFLOP/s"),
            "copy": (self.copy_bytes_per_s / 1e9, "GB/s"),
        }
        times = {
            "dispatch of a call": self.dispatch_s,
            f"step of a loop, {SMALL_LOOP_LANES} lanes": self.small_loop_step_s,
            f"step of a loop, {LARGE_LOOP_LANES} lanes": self.large_loop_step_s,
        }
        shown = {name: display.interval(value, unit=unit) for name, (value, unit) in rates.items()}
        shown |= {name: display.interval(seconds * 1e6, unit="µs") for name, seconds in times.items()}
        where = f"{self.machine.cpu}, {self.machine.cores} cores, {self.machine.backend}, jax {self.machine.jax}"
        return shown | {"machine": where, "measured": self.measured}

    def __str__(self) -> str:
        return "\n".join(f"{name:28}{value}" for name, value in self._facts().items())

    def _repr_html_(self) -> str:
        return display.card("Calibration", self._facts())


_FIGURES = tuple(f.name for f in dataclasses.fields(Calibration) if f.name not in ("machine", "measured"))


def this_machine() -> Machine:
    """The machine that this process runs on."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    kind = jax.devices()[0].device_kind
    return Machine(_cpu(), cores, jax.default_backend(), kind, jax.__version__, os.environ.get("XLA_FLAGS", ""))


def calibrate(*, refresh: bool = False) -> Calibration:
    """The calibration of this machine: from the cache, or measured now (a few seconds) and kept; `refresh` measures.

    A file that is torn, stale or of another machine, version or set of XLA flags is not trusted: measured again.
    """
    machine = this_machine()
    kept = None if refresh else recall("hardware", machine.facts(), _FIGURES)
    if kept is not None:
        return Calibration(machine, kept.measured, **kept.figures)
    figures, measured = _measure(), now()
    keep("hardware", machine.facts(), figures, measured)
    return Calibration(machine, measured, **figures)


def interleaved_seconds(
    calls: Mapping[str, Callable[[], Any]],
    *,
    repeats: int = 7,
    fill_s: float = 0.0,
    statistic: Callable[[list[float]], float] = statistics.median,
) -> dict[str, float]:
    """Wall seconds of each call, results waited for: a statistic of the repeats, by default their median.

    One call of each that does not count, then turns: a busy moment of the machine hits all of them. At least `repeats`
    turns, and as many as fill `fill_s`. `statistic=min` asks what a call takes when nothing else runs.
    """
    for call in calls.values():
        jax.block_until_ready(call())
    taken: dict[str, list[float]] = {name: [] for name in calls}
    started, turns = time.perf_counter(), 0
    while calls and (turns < repeats or time.perf_counter() - started < fill_s):
        turns += 1
        for name, call in calls.items():
            began = time.perf_counter()
            jax.block_until_ready(call())
            taken[name].append(time.perf_counter() - began)
    return {name: statistic(times) for name, times in taken.items()}


def now() -> str:
    """This moment, UTC, to the second."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _measure() -> dict[str, float]:
    square = jnp.ones((_MATMUL, _MATMUL), jnp.float32)
    block = jnp.ones(_COPY_BYTES // 4, jnp.float32)
    few = jnp.ones(8, jnp.float32)
    product = jax.jit(lambda a: jnp.matmul(a, a, precision=lax.Precision.HIGHEST))
    touch = jax.jit(lambda a: a + 1)

    @jax.jit
    def loop(x: jax.Array) -> jax.Array:
        body = lambda h, x_t: ((h := jnp.tanh(h + x_t)), h)
        return lax.scan(body, jnp.zeros_like(x[0]), x)[1]

    small, large = (jnp.ones((_LOOP_STEPS, n), jnp.float32) for n in (SMALL_LOOP_LANES, LARGE_LOOP_LANES))
    seconds = interleaved_seconds({"product": lambda: product(square), "copy": lambda: touch(block)}, fill_s=1.0)
    seconds |= interleaved_seconds({"dispatch": lambda: touch(few)}, fill_s=0.2)
    seconds |= interleaved_seconds({"small": lambda: loop(small), "large": lambda: loop(large)}, fill_s=1.0)
    return {
        "matmul_flop_per_s": 2 * _MATMUL**3 / seconds["product"],
        "copy_bytes_per_s": 2 * _COPY_BYTES / seconds["copy"],
        "dispatch_s": seconds["dispatch"],
        "small_loop_step_s": seconds["small"] / _LOOP_STEPS,
        "large_loop_step_s": seconds["large"] / _LOOP_STEPS,
    }


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith(("model name", "Hardware", "cpu model")):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
