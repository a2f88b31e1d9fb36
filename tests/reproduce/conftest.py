"""Counts the verdicts and tells them at the end: what was not reproduced is told as loudly as what was."""

from collections import Counter

import pytest

from workbench import display

VERDICTS = pytest.StashKey[Counter]()


def pytest_configure(config):
    config.stash[VERDICTS] = Counter()


@pytest.fixture
def record_verdict(request):
    """Count one verdict."""
    return lambda verdict: request.config.stash[VERDICTS].update([verdict])


def pytest_terminal_summary(terminalreporter, config):
    counts = config.stash[VERDICTS]
    if counts:
        told = ", ".join(f"{counts[name]} {display.verdict_text(name)}" for name in display.VERDICTS if counts[name])
        terminalreporter.write_line(f"claims tested here: {told}")
