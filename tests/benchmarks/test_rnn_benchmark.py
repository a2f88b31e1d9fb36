"""The parts of benchmarks/rnn.py that measure nothing: what is made of the seconds, and the wire to its processes."""

import math
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import _rnn_figures as figures  # noqa: E402
import _rnn_methods as methods  # noqa: E402
import _wire as wire  # noqa: E402

TRAIN, LONG, SHARD, PEERS = (
    methods.Case(*shape) for shape in ((16384, 1, 16), (131072, 1, 1), (131072, 1, 16), (4096, 8, 16))
)


def row(case, method, seconds, setting=figures.ONE, direction="forward", **more):
    where = {"cell": case.cell, "T": case.time, "B": case.batch, "D": case.dim, "direction": direction}
    return where | {"setting": setting, "family": "ours", "method": method, "median_s": seconds} | more


def by_line(rows, words):
    return next(line for line in figures.lines(rows) if words in line["line"])


def test_lines_say_met_or_not_or_not_measured():
    both = "forward+backward"
    rows = [
        row(TRAIN, methods.LAX_SCAN, 1.0, direction=both),
        row(TRAIN, methods.AUTO, 0.39, direction=both),
        row(LONG, methods.LAX_SCAN, 1.0),
        row(LONG, methods.AUTO, 0.36),
    ]
    assert by_line(rows, "training")["figure"] == pytest.approx(0.39)
    assert by_line(rows, "training")["met"] is True
    assert by_line(rows, "T = 131072, B = 1, D = 1:")["met"] is False
    missing = by_line(rows, "pararnn-torch")
    assert missing["figure"] is None
    assert missing["met"] is None


def test_pararnn_is_taken_at_its_faster_way_and_the_switch_is_told_apart():
    rows = [
        row(PEERS, methods.PARARNN, 0.2),
        row(PEERS, methods.PARARNN_LOOP, 0.1),
        row(PEERS, methods.AUTO, 0.02),
        row(PEERS, methods.AUTO, 0.004, figures.FUSED),
    ]
    line = by_line(rows, "pararnn-torch")
    assert line["figure"] == pytest.approx(25)
    assert line["beside"]["over Auto without the switch"] == pytest.approx(5)


def test_sharded_is_held_against_its_own_on_one_core_and_against_the_best_there():
    newton, sharded = f"{methods.NEWTON3}, TwoLevel", f"{methods.NEWTON3}, Sharded"
    rows = [
        row(SHARD, methods.LAX_SCAN, 0.9),
        row(SHARD, methods.AUTO, 0.5),
        row(SHARD, newton, 9.0),
        row(SHARD, "ShardedWarmStart", 0.6, figures.DEVICES),
        row(SHARD, sharded, 3.0, figures.DEVICES),
    ]
    line = by_line(rows, "time-sharded")
    assert line["figure"] == pytest.approx(1.5)  # the fastest sharded one, not the one with the largest gain
    assert line["beside"]["the fastest of ours on one core, over it"] == pytest.approx(0.5 / 0.6)
    assert line["beside"][f"the same for {sharded}"] == pytest.approx(3)


def test_a_ratio_is_taken_in_the_same_setting():
    rows = figures.with_ratios(
        [
            row(LONG, methods.LAX_SCAN, 1.0),
            row(LONG, methods.LAX_SCAN, 0.1, figures.FUSED),
            row(LONG, methods.AUTO, 0.2, figures.FUSED),
            row(TRAIN, methods.AUTO, 0.2),
        ]
    )
    assert rows[2]["over_lax_scan"] == pytest.approx(2)
    assert "over_lax_scan" not in rows[3]


def test_the_chain_multiplies_to_loop_over_newton():
    case = methods.LOOPS[1]
    serial, two_level = (f"{methods.NEWTON3}, {scan}" for scan in ("Serial", "TwoLevel"))
    rows = [
        row(case, methods.LOOP, 96e-3),
        row(case, methods.SLICED, 5.5e-3),
        row(case, methods.LAX_SCAN, 48e-6),
        row(case, methods.LAX_SCAN, 40e-6, figures.FUSED),
        row(case, serial, 300e-6, figures.FUSED),
        row(case, two_level, 270e-6, figures.FUSED),
    ]
    chain = figures.decomposition(rows)
    assert [link["part"] for link in chain] == ["start", "dispatch", "dispatch", "fusion", "algorithm"]
    assert [link["way"] for link in chain] == ["loop", "sliced-loop", "scan-unfused", "scan", "newton"]
    assert math.prod(link["ratio_to_previous"] for link in chain) == pytest.approx(96e-3 / 270e-6)
    assert chain[-1]["over_lax_scan"] == pytest.approx(270 / 48)
    assert "TwoLevel" in chain[-1]["step"]
    assert figures.decomposition(rows[:3]) == []


def test_disagreement_is_the_largest():
    both = "forward+backward"
    rows = [
        row(TRAIN, methods.LAX_SCAN, 1.0, error=0.0),
        row(TRAIN, methods.PARARNN, 1.0, error=3e-7),
        row(TRAIN, methods.PARARNN, 1.0, figures.TWO, error=5e-7),
        row(TRAIN, methods.LAX_SCAN, 1.0, direction=both, loss=2.0, gradient_norm=1.0),
        row(TRAIN, methods.PARARNN, 1.0, direction=both, loss=2.2, gradient_norm=0.5),
    ]
    found = figures.agreement(rows)[methods.PARARNN]
    assert found == pytest.approx({"states": 5e-7, "loss": 0.1, "gradient": 0.5})


def test_every_family_is_measured_somewhere_and_loops_at_one_length_only():
    for case in (*methods.GRID, *methods.LOOPS):
        names = {n for s, how in methods.SETTINGS.items() for f in how.families for n in methods.wanted(s, f, case)}
        assert methods.LAX_SCAN in names
        assert (methods.LOOP in names) == (case.time == methods.LOOP_AT)


CHILD = """
import sys, time
sys.path.insert(0, sys.argv[1])
import _wire as wire
def make(method, case):
    if method == "no":
        raise wire.Refused("not this one")
    if method == "bad":
        raise ValueError("its own words")
    print("noise on stdout")
    return (lambda: time.sleep(case)), {"made": method}
wire.serve(make, {"cores": 1})
"""


@pytest.fixture
def child(tmp_path):
    one = wire.Child([sys.executable, "-c", CHILD, str(BENCHMARKS)], {}, 1, tmp_path / "log")
    yield one
    one.close()


def test_a_child_answers_refuses_and_comes_back_after_a_deadline(child):
    made = child.ask(30, do="make", key="a", method="yes", case=0.01)
    assert made["made"] == "yes"
    assert child.ask(30, do="run", key="a", calls=3)["seconds"] >= 0.03
    with pytest.raises(wire.Refused, match="not this one"):
        child.ask(30, do="make", key="b", method="no", case=0)
    with pytest.raises(wire.Refused, match="ValueError: its own words"):
        child.ask(30, do="make", key="b", method="bad", case=0)
    with pytest.raises(wire.Refused, match="given up after"):
        child.ask(0.2, do="make", key="c", method="yes", case=30)
    assert child.ask(30, do="make", key="a", method="yes", case=0)["made"] == "yes"  # another process


def test_a_child_that_dies_is_told_with_its_last_words(tmp_path):
    gone = wire.Child([sys.executable, "-c", "raise SystemExit('no torch here')"], {}, 1, tmp_path / "log")
    with pytest.raises(wire.Refused, match="no torch here"):
        gone.start()


def test_no_child_outlives_its_parent(tmp_path):
    parent = f"""
import sys, os
sys.path.insert(0, {str(BENCHMARKS)!r})
from pathlib import Path
import _wire as wire
child = wire.Child([sys.executable, "-c", {CHILD!r}, {str(BENCHMARKS)!r}], {{}}, 1, Path({str(tmp_path / "log")!r}))
child.start()
print(child._process.pid, flush=True)
sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        os.kill(pid, 0)
        process.kill()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and alive(pid):
        time.sleep(0.05)
    assert not alive(pid)


def alive(pid):
    """Whether a process runs; one that has ended and waits to be reaped does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not (state.exists() and state.read_text().rsplit(")", 1)[1].split()[0] == "Z")
