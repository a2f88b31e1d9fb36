"""Strict by default: what JAX or a library would silently tolerate is an error in the tests."""

import os
from collections import Counter
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")

# Seconds of test time that each room may take, on two cores; the summary tells what it took.
BUDGET_S = {
    "apps": 30,
    "data": 30,
    "notebooks": 180,
    "repository": 120,
    "reproduce": 60,
    "rnn": 180,
    "store": 90,
    "studies": 45,
    "study": 15,
    "ui": 180,
    "command": 120,
}


def pytest_terminal_summary(terminalreporter):
    """The time of each room beside its budget. Told, not asserted: these machines are shared."""
    taken = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if hasattr(report, "duration"):
                folder = Path(report.nodeid.split("::")[0]).parts
                taken[folder[1] if len(folder) > 2 else "command"] += report.duration
    terminalreporter.section("time by room")
    for room, seconds in taken.most_common():
        budget = BUDGET_S.get(room)
        over = "  over its budget" if budget and seconds > budget else ""
        terminalreporter.write_line(f"{room:12} {seconds:6.0f} s of {budget or 'no budget'}{over}")
