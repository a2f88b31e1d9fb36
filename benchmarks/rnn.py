"""Recurrences: our solvers beside jax.lax.scan, Python loops, torch.nn.GRU, pararnn-torch, DEER and ELK.

    python benchmarks/rnn.py --install-peers   # once: environments for the peers, apart from this project's
    python benchmarks/rnn.py                   # everything: about an hour on two quiet cores
    python benchmarks/rnn.py --quick           # one shape in a minute or two: does it work, not how fast it is
    python benchmarks/rnn.py --only '16k,1,16;128k,1,1' --methods 'Auto;lax.scan'   # a part; nothing is written

Same weights and inputs, float32; each setting and each peer in a process of its own, and all of them take turns, so
that a busy machine is busy for all. Compiling, the first call and the steady time are told apart. A whole run goes to
`benchmarks/results/rnn.json`. A peer that is not installed, and a method that does not measure a shape, is recorded
with the reason.
"""

import argparse
import contextlib
import math
import os
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import _peers as peers
import _rnn_figures as figures
import _rnn_methods as methods
import _wire as wire
import numpy as np
from _record import keep

MAKE_S, TURN_S = 240.0, 180.0
"""How long a method may take to be made (compiled, called twice), and for a turn, before it is given up."""
BLOCK_S = 0.03
"""A turn of a fast method makes as many calls as fill this."""


def main() -> int:
    """Measure, print, and write the results; exit code 1 when a line is not reached."""
    told = _arguments()
    if told.install_peers:
        peers.install(told.peers, {"deer": told.deer, "elk": told.elk})
        return 0
    folder = Path(tempfile.mkdtemp(prefix="workbench-rnn-"))
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        children = _children(told, folder, stack)
        rows, skipped = _measure(_plan(told), children, folder, told)
    rows = figures.with_ratios(rows)
    lines, chain = figures.lines(rows), figures.decomposition(rows)
    _print_lines(lines, chain)
    if not told.quick and told.only is None and told.methods is None:
        print(f"written: {_keep(rows, skipped, lines, chain, children)}")
    return 0 if all(line["met"] is not False for line in lines) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one shape, one thread; nothing is written")
    parser.add_argument("--only", help="shapes as in the table (16k,1,16), separated by ';'; nothing is written")
    parser.add_argument("--methods", help="parts of methods' names, separated by ';'; nothing is written")
    parser.add_argument("--rounds", type=int, default=15, help="turns of each method (slow methods take fewer)")
    parser.add_argument("--calibrate", action="store_true", help="first `workbench calibrate`, in each setting")
    parser.add_argument("--peers", type=Path, default=peers.default(), help="folder of the peers' environments")
    parser.add_argument("--install-peers", action="store_true", help="make that folder, then stop")
    for name, (address, _) in peers.SOURCES.items():
        parser.add_argument(f"--{name}", default=address, help=f"where {name} is cloned from")
    return parser.parse_args()


def _plan(told: argparse.Namespace) -> list[tuple[methods.Case, str]]:
    cases = (*methods.LOOPS, *methods.GRID)
    if told.quick:
        cases = (methods.LOOPS[0], methods.GRID[0])
    if told.only is not None:
        cases = tuple(case for case in cases if case.label in told.only.split(";"))
        if not cases:
            raise SystemExit(f"--only {told.only!r}: no such shape; there are {[c.label for c in methods.GRID]}")
    both = ("forward", "forward+backward")
    return [(case, way) for case in cases for way in both if way == "forward" or case.time != methods.LOOP_AT]


Children = dict[tuple[str, str], wire.Child | str]


def _children(told: argparse.Namespace, folder: Path, stack: contextlib.ExitStack) -> Children:
    """A process for each (setting, family), or the reason why there is none."""
    found: Children = {}
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for setting, how in methods.SETTINGS.items():
        if told.quick and setting not in (figures.ONE, figures.FUSED):
            continue
        for family in how.families:
            started = peers.command(told.peers, family)
            if how.cores > cores:
                started = f"needs {how.cores} cores, this machine has {cores}"
            if isinstance(started, str):
                found[setting, family] = started
                continue
            line, environment = started
            environment |= {"XLA_FLAGS": how.flags}  # and no others: a setting is what it says
            child = wire.Child(line, environment, how.cores, folder / f"{setting}-{family}.log")
            stack.callback(child.close)
            try:
                child.start()
                if told.calibrate and family == "ours":
                    _tell(f"calibrating Auto, {setting}")
                    child.ask(MAKE_S, do="make", key="calibrate", method="calibrate", case={})
                found[setting, family] = child
            except wire.Refused as refusal:
                found[setting, family] = str(refusal)
    for (setting, family), child in found.items():
        if isinstance(child, str):
            print(f"{family} ({setting}): {child}")
    return found


def _measure(
    plan: list[tuple[methods.Case, str]], children: Children, folder: Path, told: argparse.Namespace
) -> tuple[list[figures.Row], list[figures.Row]]:
    """(measured, skipped): a row each for (shape, direction, setting, method)."""
    rows: list[figures.Row] = []
    skipped: list[figures.Row] = []
    for at, (case, direction) in enumerate(plan, start=1):
        _tell(f"[{at}/{len(plan)}] {case.cell} {case.label} {direction}")
        began = time.perf_counter()
        task = _problem(case, direction, folder)
        reference = children[figures.ONE, "ours"]
        assert isinstance(reference, wire.Child), reference
        reference.ask(MAKE_S, do="make", key="reference", method="reference", case=task)
        ready, left = _make(case, direction, task, children, told)
        skipped += left
        done, lost = _turns(ready, children, 3 if told.quick else told.rounds, task)
        skipped += lost
        _print_table(figures.with_ratios(done), left + lost)
        _tell(f"  {time.perf_counter() - began:.0f} s")
        rows += done
        for child in children.values():
            if isinstance(child, wire.Child):
                child.ask(MAKE_S, do="drop")
    return rows, skipped


def _problem(case: methods.Case, direction: str, folder: Path) -> dict:
    """Weights (the recipe of the paper's appendix C.1) and inputs of a case, in a file that all processes read."""
    chance = np.random.default_rng(0)
    recurrent = {"ParaGRU": {"a": 3}, "ParaLSTM": {"a": 3, "p": 2}}[case.cell]
    normal = lambda *shape: chance.standard_normal(shape, dtype=np.float32)
    bound = (6 / case.dim) ** 0.5
    held = {"x": normal(case.batch, case.time, case.dim)}
    held["B"] = chance.uniform(-bound, bound, (3, 1, case.dim, case.dim)).astype(np.float32)
    held["b"] = np.zeros((3, case.dim), np.float32)
    held |= {name: normal(gates, case.dim) / np.float32(case.dim**0.5) for name, gates in recurrent.items()}
    np.savez(folder / "problem.npz", allow_pickle=False, **held)
    files = {"file": str(folder / "problem.npz"), "reference": str(folder / "reference.npy")}
    return {"cell": case.cell, "time": case.time, "batch": case.batch, "dim": case.dim, "direction": direction} | files


def _make(
    case: methods.Case, direction: str, task: dict, children: Children, told: argparse.Namespace
) -> tuple[list[figures.Row], list[figures.Row]]:
    """Every method of the case built and called twice, one after the other: (ready, skipped)."""
    ready: list[figures.Row] = []
    skipped: list[figures.Row] = []
    for (setting, family), child in children.items():
        names = methods.wanted(setting, family, case, told.quick)
        for method in (n for n in names if not told.methods or any(part in n for part in told.methods.split(";"))):
            row = {"cell": case.cell, "T": case.time, "B": case.batch, "D": case.dim, "direction": direction}
            row |= {"setting": setting, "family": family, "method": method}
            _tell(f"    making {setting}: {method}", passing=True)
            if isinstance(child, str):
                skipped.append(row | {"skipped": child})
                continue
            try:
                ready.append(row | child.ask(MAKE_S, do="make", key=method, method=method, case=task))
            except wire.Refused as refusal:
                skipped.append(row | {"skipped": str(refusal)})
                _revive(child, [r for r in ready if (r["setting"], r["family"]) == (setting, family)], task)
    return ready, skipped


def _revive(child: wire.Child, made: list[figures.Row], task: dict) -> None:
    """A process that was given up took along what it had made: make that again."""
    if not child.alive:
        for row in made:
            child.ask(MAKE_S, do="make", key=row["method"], method=row["method"], case=task)


def _turns(
    ready: list[figures.Row], children: Children, rounds: int, task: dict
) -> tuple[list[figures.Row], list[figures.Row]]:
    """All methods in turns, in another order each round: (measured, lost on the way)."""
    order = random.Random(0)
    seconds: list[list[float]] = [[row["second_s"]] if row["second_s"] > wire.LONG_S else [] for row in ready]
    lost: dict[int, str] = {}
    calls = [max(1, min(500, int(BLOCK_S / row["second_s"]))) for row in ready]
    for turn in range(rounds):
        _tell(f"    turn {turn + 1} of {rounds}, {len(ready) - len(lost)} methods", passing=True)
        for at in order.sample(range(len(ready)), len(ready)):
            row = ready[at]
            if at in lost or turn >= _turns_of(row["second_s"], rounds):
                continue
            child = children[row["setting"], row["family"]]
            assert isinstance(child, wire.Child)
            try:
                took = child.ask(TURN_S, do="run", key=row["method"], calls=calls[at])["seconds"]
                seconds[at].append(took / calls[at])
            except wire.Refused as refusal:
                lost[at] = str(refusal)
                same = [
                    r for i, r in enumerate(ready) if i not in lost and children[r["setting"], r["family"]] is child
                ]
                _revive(child, same, task)
    done = [
        row | {"calls_a_turn": n} | figures.summary(times)
        for at, (row, times, n) in enumerate(zip(ready, seconds, calls, strict=True))
        if at not in lost
    ]
    return done, [ready[at] | {"skipped": reason} for at, reason in lost.items()]


def _turns_of(second_s: float, rounds: int) -> int:
    """Fewer turns for what takes long; none above `wire.LONG_S`, where the call already made is the measurement."""
    if second_s > wire.LONG_S:
        return 0
    return min(rounds, 15 if second_s < 0.3 else 7 if second_s < 1.5 else 3)


def _tell(words: str, passing: bool = False) -> None:
    """A line of progress; a passing one is written over, and only where somebody looks."""
    if not passing:
        print(f"\r\033[K{words}" if sys.stdout.isatty() else words, flush=True)
    elif sys.stdout.isatty():
        print(f"\r\033[K{words}", end="", flush=True)


def _print_table(rows: list[figures.Row], skipped: list[figures.Row]) -> None:
    _tell(f"  {'method':48} {'setting':24} {'ms':>10} {'/ lax.scan':>10} {'compile s':>10} {'first ms':>10}  max error")
    for row in sorted(rows, key=lambda row: (row["setting"], row["median_s"])):
        over = f"{row['over_lax_scan']:10.2f}" if "over_lax_scan" in row else f"{'':10}"
        error = f"{row['error']:.1e}" if "error" in row else ""
        print(
            f"  {row['method']:48} {row['setting']:24} {1e3 * row['median_s']:10.3f} {over} {row['compile_s']:10.2f} "
            f"{1e3 * row['first_s']:10.2f}  {error}"
        )
    for row in skipped:
        print(f"  {row['method']:48} {row['setting']:24} – {row['skipped']}")


def _print_lines(lines: list[figures.Row], chain: list[figures.Row]) -> None:
    for link in chain:
        print(
            f"{link['cell']} T = {link['T']}, D = {link['D']}: {link['step']:45} {1e3 * link['seconds']:9.3f} ms, "
            f"{link['ratio_to_previous']:6.2f}x as fast as the step before ({link['part']}), "
            f"{link['ratio_to_loop']:7.1f}x as the loop, {1 / link['over_lax_scan']:6.3f}x as lax.scan"
        )
    for line in lines:
        mark = {True: "✓", False: "✗", None: "–"}[line["met"]]
        figure = "not measured" if line["figure"] is None else f"{line['figure']:.3g}"
        print(f"{mark} {line['line']}: {figure}, required {line['required']}")
        for name, value in line["beside"].items():
            print(f"    {name}: {value:.3g}")


def _keep(
    rows: list[figures.Row],
    skipped: list[figures.Row],
    lines: list[figures.Row],
    chain: list[figures.Row],
    children: Children,
) -> Path:
    processes = {
        f"{setting}: {family}": child if isinstance(child, str) else child.hello
        for (setting, family), child in children.items()
    }
    settings = {name: {"cores": how.cores, "xla_flags": how.flags} for name, how in methods.SETTINGS.items()}
    told: dict[str, Any] = {
        "lines": lines,
        "decomposition": chain,
        "settings": settings,
        "processes": processes,
        "dtype": "float32",
    }
    told |= {"agreement": figures.agreement(rows), "not_on_a_cpu": methods.NOT_HERE}
    told |= {"rows": rows, "skipped": skipped}
    return keep("rnn", _finite(told), ("jax", "jaxlib", "numpy"))


def _finite(told: Any) -> Any:
    """The same with None for what is no number: a diverged solver's residual is nan, which JSON does not have."""
    if isinstance(told, dict):
        return {name: _finite(value) for name, value in told.items()}
    if isinstance(told, list | tuple):
        return [_finite(value) for value in told]
    return None if isinstance(told, float) and not math.isfinite(told) else told


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:  # every process has been ended on the way here
        print("\ninterrupted: nothing was written")
        sys.exit(130)
