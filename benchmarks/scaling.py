"""Fitting a scaling law from 300 starts: the published procedure beside `workbench.scaling.fit`.

    python benchmarks/scaling.py            # 5 rounds a corpus: about two minutes on two quiet cores
    python benchmarks/scaling.py --quick    # 1 round, 12 starts: does it work, not how fast it is

The published procedure is that of ParScale's released fit, written anew: one L-BFGS-B of SciPy after the other, one for
every point of the grid, gradients by finite differences, the best end kept. Each measurement is a process of its own,
in turns; its clock starts when libraries and losses are loaded, and ours includes compilation. `again` is a second fit
in the same process. A whole run goes to `benchmarks/results/scaling.json`.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from _record import keep

CORPORA = ("parscale-stack", "parscale-pile")
ROUNDS, STARTS, QUICK_STARTS = 5, 300, 12
AGAIN_RATIO, FIRST_RATIO, OURS_WALL_S, SAME_SHARE = 8.0, 1.0, 5.0, 1e-3
"""The lines: published / ours in CPU seconds of a second and of a first fit, our wall seconds of the first, and how
much higher our objective may be."""


def published_procedure(losses: Any, starts: int) -> tuple[list[float], float]:
    """([E, A in billions, alpha, k], objective) by SciPy's L-BFGS-B from each start, gradients by differences."""
    from scipy.optimize import minimize

    from workbench.scaling import ParScaleLaw
    from workbench.scaling._fit import grid

    billions, log_streams, log_loss = losses.parameters / 1e9, np.log(losses.streams), np.log(losses.loss)

    def objective(x: np.ndarray) -> float:
        E, A, alpha, k = x
        error = np.abs(log_loss - np.log(E + (A / (billions * (k * log_streams + 1))) ** alpha))
        return float(np.where(error <= 1e-3, error**2 / 2, 1e-3 * (error - 5e-4)).sum())

    points = grid(ParScaleLaw(), starts, 0) / np.array([1, 1e9, 1, 1])
    with np.errstate(over="ignore", invalid="ignore"):
        ends = [minimize(objective, start, method="L-BFGS-B", bounds=[(1e-8, None)] * 4) for start in points]
    best = min(ends, key=lambda end: end.fun)
    return [float(value) for value in best.x], float(best.fun)


def ours(losses: Any, starts: int) -> tuple[list[float], float]:
    """The same by `scaling.fit`."""
    from workbench import scaling

    law = scaling.fit(losses, scaling.ParScaleLaw(), starts=starts)
    params = law.params
    return [params["E"], params["A"] / 1e9, params["alpha"], params["k"]], law.objective


METHODS: dict[str, Callable] = {"published": published_procedure, "ours": ours}


def measure(method: str, corpus: str, starts: int) -> dict[str, Any]:
    """Seconds of the first fit of this process and of a second one, with what came out."""
    import scipy.optimize  # noqa: F401  loading is not fitting

    from workbench import scaling

    losses = scaling.published(corpus)
    seconds = []
    for _ in range(2 if method == "ours" else 1):
        wall, cpu = time.perf_counter(), time.process_time()
        params, objective = METHODS[method](losses, starts)
        seconds.append({"cpu_s": time.process_time() - cpu, "wall_s": time.perf_counter() - wall})
    return {"params": params, "objective": objective, "again": seconds[-1], **seconds[0]}


def child(method: str, corpus: str, starts: int) -> dict[str, Any]:
    """`measure` in a fresh process."""
    arguments = [sys.executable, __file__, "--measure", method, corpus, str(starts)]
    told = subprocess.run(
        arguments, check=True, capture_output=True, text=True, env={**os.environ, "JAX_PLATFORMS": "cpu"}
    )
    return json.loads(told.stdout.splitlines()[-1])


def compare(corpus: str, rounds: int, starts: int) -> dict[str, Any]:
    """Medians of both procedures on one corpus, their ratios, and what each found."""
    took: dict[str, list[dict[str, Any]]] = {method: [] for method in METHODS}
    for turn in range(rounds):
        for method in list(METHODS)[:: 1 if turn % 2 else -1]:
            took[method].append(child(method, corpus, starts))
            print(f"{corpus} {turn + 1}/{rounds} {method}: {took[method][-1]['cpu_s']:.2f} s CPU", flush=True)
    median = lambda method, clock: statistics.median(row[clock] for row in took[method])
    figures = {
        method: {
            "median_cpu_s": median(method, "cpu_s"),
            "median_wall_s": median(method, "wall_s"),
            "cpu_s": [row["cpu_s"] for row in rows],
            "wall_s": [row["wall_s"] for row in rows],
            "E_A_alpha_k": rows[0]["params"],
            "objective": rows[0]["objective"],
        }
        for method, rows in took.items()
    }
    for clock in ("cpu_s", "wall_s"):
        figures["ours"][f"median_{clock}_again"] = statistics.median(row["again"][clock] for row in took["ours"])
    ratios = {
        f"ratio_{clock}{again}": figures["published"][f"median_{clock}"] / figures["ours"][f"median_{clock}{again}"]
        for clock in ("cpu_s", "wall_s")
        for again in ("", "_again")
    }
    return figures | ratios


def lines(figures: dict[str, Any]) -> list[dict[str, Any]]:
    """What must hold, with its value and whether it does."""
    rows = []
    for corpus, of in figures.items():
        ours, excess = of["ours"], of["ours"]["objective"] / of["published"]["objective"] - 1
        again, first, wall = of["ratio_cpu_s_again"], of["ratio_cpu_s"], ours["median_wall_s"]
        rows += [
            (f"{corpus}: CPU, published / a second fit of ours", again, AGAIN_RATIO, again >= AGAIN_RATIO),
            (f"{corpus}: CPU, published / a first fit, compiled", first, FIRST_RATIO, first >= FIRST_RATIO),
            (f"{corpus}: wall seconds of our first fit", wall, OURS_WALL_S, wall <= OURS_WALL_S),
            (f"{corpus}: our objective above theirs, share", excess, SAME_SHARE, excess <= SAME_SHARE),
        ]
    return [dict(zip(("what", "value", "line", "holds"), row, strict=True)) for row in rows]


def main() -> int:
    """Measure, print, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round, few starts; nothing is written")
    parser.add_argument("--measure", nargs=3, metavar=("METHOD", "CORPUS", "STARTS"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure:
        method, corpus, starts = asked.measure
        print(json.dumps(measure(method, corpus, int(starts))))
        return 0
    rounds, starts = (1, QUICK_STARTS) if asked.quick else (ROUNDS, STARTS)
    figures = {corpus: compare(corpus, rounds, starts) for corpus in CORPORA}
    reached = lines(figures)
    for row in reached:
        print(f"{'✓' if row['holds'] else '✗'} {row['what']:<60} {row['value']:>10.3g}   {row['line']:g}")
    if asked.quick:
        return 0
    told = {"starts": starts, "rounds": rounds, "threads": os.cpu_count(), "lines": reached, "corpora": figures}
    print(f"written: {keep('scaling', told, ('jax', 'jaxlib', 'scipy', 'numpy'))}")
    return 0 if all(row["holds"] for row in reached) else 1


if __name__ == "__main__":
    sys.exit(main())
