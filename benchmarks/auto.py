"""Does `rnn.Auto` keep its word: never slower than `jax.lax.scan` by more than 10 % or 50 µs, forward and backward?

    python benchmarks/auto.py                     # the whole grid: about five minutes on two quiet cores
    python benchmarks/auto.py --quick             # a few shapes in a minute: does it work, not how fast it is
    python benchmarks/auto.py --write-reference   # measures the figures that travel with the package, anew

Auto chooses by what `workbench calibrate` has kept on this machine, else by the reference figures; the table says by
which. Same weights and inputs, float32, calls in turns, medians. A whole run goes to `benchmarks/results/auto.json`,
one with XLA's loops fused (`XLA_FLAGS`, see `rnn.xla_flags`) to `auto-fused.json`.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from _record import keep
from jax import lax

from workbench import hardware, rnn
from workbench.rnn._calibration import measure
from workbench.rnn._facts import SHIPPED

SHARE, ABSOLUTE_S = 1.10, 50e-6
STEPS = (128, 1024, 4096, 16384, 131072)
SIZES = ((1, 1), (1, 4), (1, 16), (1, 64), (8, 16), (8, 64), (32, 256))
QUICK = ((128, 1, 16), (1024, 8, 16), (16384, 1, 1), (16384, 1, 16))
LARGEST = 2**21
REFERENCE_ROUNDS = 3


class Case(NamedTuple):
    """One cell and one shape."""

    cell: str
    steps: int
    batch: int
    channels: int


def cases(quick: bool) -> list[Case]:
    """The grid, largest ones left out: they take minutes and are bound by memory whichever way."""
    shapes = QUICK if quick else [(t, b, d) for t in STEPS for b, d in SIZES if t * b * d <= LARGEST]
    cells = ("gru",) if quick else ("gru", "lstm", "dense", "function")
    return [Case(cell, *shape) for cell in cells for shape in shapes if cell != "function" or shape[1] == 1]


def problem(case: Case) -> tuple[Any, tuple, Callable]:
    """(cell, (params, x, h0), the states by lax.scan with nothing of ours but one step)."""
    keys = jax.random.split(jax.random.key(0), 2)
    batch, width = (case.batch,) if case.batch > 1 else (), case.channels
    if case.cell == "function":
        step = lambda h, x, a: jnp.tanh(a * h + x)
        x = jax.random.normal(keys[0], (case.steps, width), jnp.float32)
        data = (jax.random.uniform(keys[1], (width,), jnp.float32), x, jnp.zeros(width, jnp.float32))

        def plain(a: Any, x: Any, h0: Any) -> Any:
            return lax.scan(lambda h, x: ((h := step(h, x, a)), h), h0, x)[1]

        return step, data, plain
    cell = {"gru": rnn.ParaGRU, "lstm": rnn.ParaLSTM, "dense": rnn.GRU}[case.cell](width, width)
    x = jax.random.normal(keys[0], (*batch, case.steps, width), jnp.float32)
    data = (cell.init(keys[1], jnp.float32), x, cell.initial(batch, jnp.float32))

    def looped(params: Any, x: Any, h0: Any) -> Any:
        u = cell.project(params, cell.time_first(x))
        states = lax.scan(lambda h, u: ((h := cell.step(params, h, u)), h), h0, u)[1]
        return jnp.moveaxis(states, 0, len(batch))

    return cell, data, looped


def timed(case: Case, repeats: int) -> dict[str, Any]:
    """Medians of both, forward and with gradients, and whether Auto kept its word."""
    cell, data, plain = problem(case)
    solve = lambda *data: rnn.solve(cell, *data, solver=rnn.Auto())
    ways = {"auto": lambda *data: solve(*data).states, "lax.scan": plain}
    calls = {}
    for name, states in ways.items():
        gradient = jax.jit(jax.grad(lambda *data, states=states: (states(*data) ** 2).mean(), argnums=(0, 1)))
        forward = jax.jit(states)
        calls[name, "forward"] = lambda forward=forward: forward(*data)
        calls[name, "gradient"] = lambda gradient=gradient: gradient(*data)
    seconds = {}
    for kind in ("forward", "gradient"):
        turns = {name: calls[name, kind] for name in ways}
        seconds[kind] = hardware.interleaved_seconds(turns, repeats=repeats, fill_s=0.3)
    kept = {kind: s["auto"] <= max(SHARE * s["lax.scan"], s["lax.scan"] + ABSOLUTE_S) for kind, s in seconds.items()}
    return {**case._asdict(), "chosen": str(solve(*data).solver), "seconds": seconds, "kept": kept}


def main() -> int:
    """Measure, print and keep; exit code 1 where Auto lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few shapes; nothing is written")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--write-reference", action="store_true", help="measure the shipped figures, and stop")
    parser.add_argument("--measure", metavar="FILE", help=argparse.SUPPRESS)
    told = parser.parse_args()
    if told.measure:
        return measure_reference(told.measure)
    if told.write_reference:
        return write_reference()
    rows = []
    for case in cases(told.quick):
        rows.append(timed(case, told.repeats))
        ratios = {kind: s["auto"] / s["lax.scan"] for kind, s in rows[-1]["seconds"].items()}
        marks = "".join("✓" if kept else "✗" for kept in rows[-1]["kept"].values())
        print(
            f"{marks} {'x'.join(map(str, case[1:])):14} {case.cell:9}",
            *(f"{r:6.2f}" for r in ratios.values()),
            end="  ",
        )
        print(rows[-1]["chosen"], flush=True)
    lost = [row for row in rows if not all(row["kept"].values())]
    print(f"{len(rows) - len(lost)} of {len(rows)} within {SHARE - 1:.0%} or {ABSOLUTE_S * 1e6:.0f} µs of lax.scan")
    if not told.quick:
        name = "auto-fused" if rnn.fast_loops_active() else "auto"
        print(f"written: {keep(name, {'rows': rows, 'lost': len(lost)}, ('jax', 'jaxlib'))}")
    return 1 if lost else 0


def write_reference() -> int:
    """Both settings of XLA's loops, a process each; the least of three rounds, as a busy moment must not decide."""
    told = {}
    for setting, flags in (("plain", ""), ("fused", rnn.xla_flags(""))):
        print(setting, flush=True)
        with tempfile.NamedTemporaryFile("r", suffix=".json") as file:
            line = [sys.executable, __file__, "--measure", file.name]
            subprocess.run(line, env=os.environ | {"XLA_FLAGS": flags}, check=True)
            told[setting] = json.load(file)
    SHIPPED.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    print(f"written: {SHIPPED}")
    return 0


def measure_reference(path: str) -> int:
    """The figures of this process's setting, to a file."""
    rounds = [measure(lambda done, of: print(f"\r{done} of {of}", end="", flush=True)) for _ in range(REFERENCE_ROUNDS)]
    print()
    machine = hardware.this_machine()
    seconds = {key: float(f"{min(r[key] for r in rounds):.4g}") for key in rounds[0]}
    assert all(math.isfinite(s) for s in seconds.values())
    named = f"{machine.cpu}, {machine.cores} cores, jax {machine.jax}, {hardware.now()[:10]}"
    Path(path).write_text(json.dumps({"machine": named, "seconds": seconds}), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
