"""Strict by default: what JAX or a library would silently tolerate is an error in the tests."""

import os
import tempfile
from collections import Counter
from pathlib import Path

import pytest

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# A user's calibration must not choose the solvers of the tests; and the tests leave nothing in a user's cache.
os.environ["WORKBENCH_CACHE"] = os.path.join(tempfile.gettempdir(), f"workbench-tests-{os.getuid()}")  # noqa: PTH118

import jax

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")

MOST_MAPS = 20_000  # after a module of tests; beyond it what was compiled is forgotten

# Seconds of test time that each room may take, on two cores; the summary tells what it took.
BUDGET_S = {
    "apps": 60,
    "benchmarks": 15,
    "hardware": 60,
    "lm": 200,
    "data": 30,
    "parscale": 90,
    "scaling": 45,
    "notebooks": 180,
    "repository": 120,
    "reproduce": 60,
    "rnn": 600,
    "store": 90,
    "studies": 45,
    "study": 15,
    "ui": 300,
    "command": 120,
}


@pytest.fixture(scope="module", autouse=True)
def _compiled_programs_leave():
    """Each compiled program takes some of the 65,530 maps that Linux lets a process have; then the compiler crashes."""
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and maps.read_bytes().count(b"\n") > MOST_MAPS:
        jax.clear_caches()


def pytest_terminal_summary(terminalreporter):
    """Two things people should see: how the claims stand, negative verdicts too, and the time of each room."""
    reports = [r for found in terminalreporter.stats.values() for r in found if isinstance(r, pytest.TestReport)]
    _tell_verdicts(terminalreporter, reports)
    _tell_time(terminalreporter, reports)


def _tell_verdicts(terminalreporter, reports):
    from workbench import display

    counts = Counter(
        value for r in reports if r.when == "call" for name, value in r.user_properties if name == "verdict"
    )
    if counts:
        told = ", ".join(f"{counts[name]} {display.verdict_text(name)}" for name in display.VERDICTS if counts[name])
        terminalreporter.section("claims")
        terminalreporter.write_line(f"claims tested here: {told}")


def _tell_time(terminalreporter, reports):
    """The time of each room beside its budget. Told, not asserted: these machines are shared."""
    taken = Counter()
    for report in reports:
        folder = Path(report.nodeid.split("::")[0]).parts
        taken[folder[1] if len(folder) > 2 else "command"] += report.duration
    terminalreporter.section("time by room")
    for room, seconds in taken.most_common():
        budget = BUDGET_S.get(room)
        over = "  over its budget" if budget and seconds > budget else ""
        terminalreporter.write_line(f"{room:12} {seconds:6.0f} s of {budget or 'no budget'}{over}")
