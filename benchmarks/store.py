"""The store's figures of merit, and the same calls in the trackers that people use.

    python benchmarks/store.py            # everything: about five minutes and 2 GB of temporary disk
    python benchmarks/store.py --quick    # the same with small sizes: does it work, not how fast it is

Each figure is printed beside the line that it must reach. Those of a whole run go to `benchmarks/results/store.json`
with the machine, the load and the versions. Peers that are not installed are left out, and that is said.
"""

import argparse
import importlib
import importlib.metadata
import operator
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _record import keep

from workbench import store
from workbench.store import _folder

_AT_LEAST = {"mlflow": 1000, "trackio": 10}  # times our time for a call
_WRITER = """
import os, sys
from workbench import store
run = store.run("kill", path=sys.argv[1])
told = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT)
print(run.id, flush=True)
step = 0
while True:
    run.log(loss=step / 7)
    step += 1
    os.pwrite(told, b"%012d" % step, 0)
"""


def rate(seconds: Callable[[], float], rows: int, repeats: int) -> float:
    """Rows a second: the median of some repeats."""
    return rows / statistics.median(seconds() for _ in range(repeats))


def timed(work: Callable[[], object]) -> float:
    """Wall seconds of one call."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def writing(root: Path, quick: bool) -> dict[str, float]:
    """Durable rows a second at one and at ten metrics a call, and by `log_many`."""
    rows, repeats = (20_000, 3) if quick else (250_000, 7)
    values = [random.random() for _ in range(rows)]
    ten = {f"metric_{n}": 0.1 * n for n in range(10)}
    with store.run("writing", path=root) as run:

        def one() -> None:
            for value in values:
                run.log(loss=value)

        def many_names() -> None:
            for _ in range(rows // 10):
                run.log(**ten)

        def blocks() -> None:
            for at in range(0, rows, 1000):
                run.log_many(loss=values[at : at + 1000])

        return {
            "rows_per_s_one_metric_a_call": rate(lambda: timed(one), rows, repeats),
            "rows_per_s_ten_metrics_a_call": rate(lambda: timed(many_names), rows, repeats),
            "rows_per_s_log_many_1000": rate(lambda: timed(blocks), rows, repeats),
        }


def kills(root: Path, quick: bool) -> dict[str, int]:
    """Rows lost when writers are killed at random moments: told as written, and not found by a reader."""
    count, chance = (20 if quick else 200), random.Random(0)
    told: dict[str, int] = {}
    for at in range(count):
        progress = root / f"progress-{at}"
        child = subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(root), str(progress)], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        run_id = child.stdout.readline().strip()
        time.sleep(chance.uniform(0, 0.03))
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        told[run_id] = int(progress.read_bytes() or b"0")
        progress.unlink()
    _folder.STALE_S = -1.0  # they are dead: no need to wait a minute until it is believed
    store.sync(root)
    with store.open(root) as log:
        found = {row["run_id"]: row["n_rows"] for row in log.runs().iter_rows(named=True)}
    return {
        "kills": count,
        "rows_told": sum(told.values()),
        "rows_lost": sum(max(0, rows - found[run_id]) for run_id, rows in told.items()),
    }


def warm(work: Callable[[], object], repeats: int = 15) -> float:
    """Milliseconds of a call, the median of some after two to warm up."""
    for _ in range(2):
        work()
    return 1000 * statistics.median(timed(work) for _ in range(repeats))


def asking(root: Path, quick: bool) -> dict[str, float]:
    """Sync of one long run, its curve, and the last value of many runs."""
    long, runs, rows = (100_000, 200, 100) if quick else (1_000_000, 10_000, 1000)
    with store.run("long", path=root) as run:
        run.log_many(loss=[random.random() for _ in range(long)])
    figures = {"sync_rows": long, "sync_s": timed(lambda: store.sync(root))}
    for number in range(runs):
        with store.run("many", {"number": number}, path=root) as one:
            one.log_many(loss=[random.random() for _ in range(rows)])
    figures |= {"sync_many_rows": runs * rows, "sync_many_s": timed(lambda: store.sync(root))}
    with store.open(root) as log:
        query = "SELECT run_id, last FROM summary WHERE name = 'loss'"
        assert log.sql(query).height == runs + 1
        figures |= {
            "last_value_runs": runs,
            "last_value_ms": warm(lambda: log.sql(query)),
            "curve_points": long,
            "curve_ms": warm(lambda: log.curve(run.id, "loss")),
            "refresh_ms": warm(log.refresh),
        }
    figures["open_ms"] = warm(lambda: store.open(root).close(), 5)
    figures["catalogue_bytes"] = store.check(root).catalogue_bytes
    return figures


def ours(folder: Path, calls: int) -> float:
    """Seconds until `calls` values are safe from a killed process, in our store."""
    with store.run("peers", path=folder / "ours") as run:
        return timed(lambda: [run.log(step=step, loss=step / 7) for step in range(calls)])


def mlflow(folder: Path, calls: int) -> float:
    """The same in MLflow with its SQLite store."""
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
    import logging

    tracker: Any = importlib.import_module("mlflow")
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    tracker.set_tracking_uri(os.environ["MLFLOW_TRACKING_URI"])
    tracker.set_experiment("peers")
    with tracker.start_run():
        return timed(lambda: [tracker.log_metric("loss", step / 7, step=step) for step in range(calls)])


def trackio(folder: Path, calls: int) -> float:
    """The same in trackio, whose log calls return before anything is written: until `finish` has written it."""
    os.environ["TRACKIO_DIR"] = str(folder / "trackio")
    tracker: Any = importlib.import_module("trackio")

    def work() -> None:
        for step in range(calls):
            tracker.log({"loss": step / 7}, step=step)
        tracker.finish()

    tracker.init(project="peers", auto_log_cpu=False, auto_log_gpu=False)
    return timed(work)


def peers(folder: Path, quick: bool) -> dict[str, dict[str, float | str]]:
    """Microseconds a call until durable: blocks of calls in turns, so that a busy machine is busy for all."""
    rounds = 3 if quick else 9
    calls = {"ours": 20_000, "mlflow": 20 if quick else 100, "trackio": 2000 if quick else 10_000}
    work = {"ours": ours, "mlflow": mlflow, "trackio": trackio}
    for name in ("mlflow", "trackio"):
        try:
            importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            print(f"{name} is not installed, so it is left out (pip install 'parallel-workbench[bench]')")
            del work[name]
    for name in work:
        work[name](folder, 10)  # makes the database
    took: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(rounds):
        for name in work:
            took[name].append(1e6 * work[name](folder, calls[name]) / calls[name])
    medians = {name: statistics.median(times) for name, times in took.items()}
    return {
        name: {"us_a_call": medians[name], "times_ours": medians[name] / medians["ours"], "calls": calls[name]}
        | ({"version": importlib.metadata.version(name)} if name != "ours" else {})
        for name in work
    }


def lines(figures: dict) -> list[tuple[str, float, str, bool]]:
    """(what, value, the line that it must reach, whether it does)."""
    w, k, a, p = (figures[name] for name in ("writing", "kills", "asking", "peers"))
    found = [
        ("rows/s at one metric a call", w["rows_per_s_one_metric_a_call"], "≥", 250_000),
        (f"rows lost in {k['kills']} kills", k["rows_lost"], "≤", 0),
        (f"last value of {a['last_value_runs']:,} runs, ms", a["last_value_ms"], "≤", 15),
        (f"curve of {a['curve_points']:,} points, ms", a["curve_ms"], "≤", 30),
        (f"sync of {a['sync_rows']:,} rows, s", a["sync_s"], "≤", 1.5),
    ]
    found += [(f"times {name}", p[name]["times_ours"], "≥", at) for name, at in _AT_LEAST.items() if name in p]
    holds = {"≥": operator.ge, "≤": operator.le}
    return [(what, value, f"{sign} {at:,}", holds[sign](value, at)) for what, value, sign, at in found]


def main() -> int:
    """Measure, print, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes; nothing is written")
    quick = parser.parse_args().quick
    folder = Path(tempfile.mkdtemp(prefix="workbench-bench-"))
    try:
        figures = {}
        for name, measure in (("peers", peers), ("writing", writing), ("asking", asking), ("kills", kills)):
            print(f"{name} …", flush=True)
            (folder / name).mkdir()
            figures[name] = measure(folder / name, quick)
    finally:
        shutil.rmtree(folder)
    reached = lines(figures)
    for what, value, line, holds in reached:
        print(f"{'✓' if holds else '✗'} {what:<40} {value:>12,.2f}   {line}")
    if not quick:
        told = [dict(zip(("what", "value", "line", "holds"), row, strict=True)) for row in reached]
        print(f"written: {keep('store', {'lines': told, **figures}, ('duckdb', 'polars', 'pyarrow'))}")
    return 0 if all(holds for *_, holds in reached) else 1


if __name__ == "__main__":
    sys.exit(main())
