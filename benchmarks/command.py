"""How long the command takes to answer: `--help` (must be below half a second), `list`, and a bare `import workbench`.

python benchmarks/command.py

Calls take turns, so that a busy machine is busy for all; the result goes to `benchmarks/results/command.json`.
"""

import statistics
import subprocess
import sys
import time

from _record import keep

CALLS = {
    "python -c pass": ["-c", "pass"],
    "import workbench": ["-c", "import workbench"],
    "workbench --help": ["-m", "workbench.cli", "--help"],
    "workbench reproduce --help": ["-m", "workbench.cli", "reproduce", "--help"],
    "workbench list": ["-m", "workbench.cli", "list"],
}
LINE = ("workbench --help", 0.5)


def main() -> int:
    """Measure, print, and keep; exit code 1 when the line is not reached."""
    taken: dict[str, list[float]] = {name: [] for name in CALLS}
    for _ in range(11):
        for name, words in CALLS.items():
            began = time.perf_counter()
            subprocess.run([sys.executable, *words], check=True, capture_output=True)
            taken[name].append(time.perf_counter() - began)
    medians = {name: statistics.median(times) for name, times in taken.items()}
    for name, seconds in medians.items():
        print(f"{name:30} {seconds:6.3f} s")
    holds = medians[LINE[0]] <= LINE[1]
    print(f"{'✓' if holds else '✗'} {LINE[0]} within {LINE[1]} s")
    keep("command", {"median_s": medians}, ("tyro", "polars"))
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
