"""From measured seconds to what is told: medians, ratios, the lines that must be reached, the chain. Pure."""

import statistics
from collections.abc import Sequence
from typing import Any

from _rnn_methods import AUTO, LAX_SCAN, LOOP, LOOPS, NEWTON3, PARARNN, PARARNN_LOOP, SHARDED, SLICED, Case

Row = dict[str, Any]
KEYS = ("cell", "T", "B", "D", "direction")
ONE, FUSED, TWO, DEVICES = "one thread", "one thread, loops fused", "two threads", "two devices"


def summary(seconds: Sequence[float]) -> Row:
    """Median and quartiles of one method's turns."""
    low, _, high = statistics.quantiles(seconds, n=4) if len(seconds) > 1 else (seconds[0],) * 3
    return {"median_s": statistics.median(seconds), "p25_s": low, "p75_s": high, "repeats": len(seconds)}


def with_ratios(rows: Sequence[Row]) -> list[Row]:
    """The rows, each with `over_lax_scan`: its median over that of lax.scan in the same setting (for the sharded, which
    have none: on one thread). Below 1 is faster than lax.scan."""
    told = []
    for row in rows:
        base = _seconds(rows, row, LAX_SCAN, ONE if row["setting"] == DEVICES else row["setting"])
        mine = row.get("median_s")
        told.append(row | ({"over_lax_scan": mine / base} if mine and base else {}))
    return told


def find(rows: Sequence[Row], case: Case, direction: str, method: str, setting: str) -> float | None:
    """Median seconds, or None if that was not measured."""
    key = {"cell": case.cell, "T": case.time, "B": case.batch, "D": case.dim, "direction": direction}
    return _seconds(rows, key, method, setting)


def _seconds(rows: Sequence[Row], where: Row, method: str, setting: str) -> float | None:
    for row in rows:
        if row["method"] == method and row["setting"] == setting and _same(row, where):
            return row.get("median_s")
    return None


def lines(rows: Sequence[Row]) -> list[Row]:
    """What must be reached: {line, figure, required, met, note}; figure and met are None where it was not measured."""
    train, long, peers = Case(16384, 1, 16), Case(131072, 1, 1), Case(4096, 8, 16)
    auto = lambda case, direction, setting: _ratio(
        find(rows, case, direction, AUTO, setting), find(rows, case, direction, LAX_SCAN, setting)
    )
    both = "forward+backward"
    return [
        _line(
            "training, T = 16384, B = 1, D = 16: Auto over jax.grad through lax.scan, one thread",
            auto(train, both, ONE),
            ("≤", 0.4),
            {f"over {name}": auto(train, both, name) for name in (FUSED, TWO)},
        ),
        _line(
            "forward, T = 131072, B = 1, D = 1: Auto over lax.scan, one thread",
            auto(long, "forward", ONE),
            ("≤", 0.35),
            {f"over {name}": auto(long, "forward", name) for name in (FUSED, TWO)},
        ),
        _sharded(rows, Case(131072, 1, 16)),
        _pararnn(rows, peers),
    ]


def _sharded(rows: Sequence[Row], case: Case) -> Row:
    """The fastest of the time-sharded methods over what it is held against on one core; beside it the fastest there."""
    gains = {}
    for method, (alone, _) in SHARDED.items():
        two = find(rows, case, "forward", method, DEVICES)
        one = find(rows, case, "forward", alone, ONE)
        if two and one:
            gains[method] = (two, one / two)
    if not gains:
        return _line(f"time-sharded on two cores, forward, {_words(case)}: one over two", None, ("≥", 1.4), {})
    method, (two, gain) = min(gains.items(), key=lambda item: item[1][0])
    alone = [r["median_s"] for r in rows if _ours(r, case) and r["setting"] == ONE and "median_s" in r]
    note = {"the fastest of ours on one core, over it": _ratio(min(alone), two)}
    note |= {f"the same for {name}": g for name, (_, g) in gains.items() if name != method}
    held = f"{SHARDED[method][0]} on one over {method} on two"
    return _line(f"time-sharded on two cores, forward, {_words(case)}: {held}", gain, ("≥", 1.4), note)


def _ours(row: Row, case: Case) -> bool:
    same = (row["cell"], row["T"], row["B"], row["D"]) == (case.cell, case.time, case.batch, case.dim)
    return same and row["direction"] == "forward" and row.get("family") == "ours"


def _pararnn(rows: Sequence[Row], case: Case) -> Row:
    """The faster of pararnn-torch's two ways over Auto with XLA's documented switch; beside it without the switch."""
    theirs = {name: find(rows, case, "forward", name, ONE) for name in (PARARNN, PARARNN_LOOP)}
    best = min((seconds for seconds in theirs.values() if seconds), default=None)
    over = lambda method, setting: _ratio(best, find(rows, case, "forward", method, setting))
    return _line(
        f"forward, {_words(case)}: pararnn-torch (its faster way) over Auto with loops fused, one thread",
        over(AUTO, FUSED),
        ("≥", 20.0),
        {
            "over Auto without the switch": over(AUTO, ONE),
            "over lax.scan with loops fused": over(LAX_SCAN, FUSED),
            "over lax.scan without the switch": over(LAX_SCAN, ONE),
        },
    )


def _line(line: str, figure: float | None, required: tuple[str, float], note: Row) -> Row:
    sign, bound = required
    met = None if figure is None else (figure <= bound if sign == "≤" else figure >= bound)
    beside = {name: value for name, value in note.items() if value is not None}
    return {"line": line, "figure": figure, "required": f"{sign} {bound:g}", "met": met, "beside": beside}


def agreement(rows: Sequence[Row]) -> Row:
    """A method's largest disagreement with `lax.scan` over everything measured, same weights: {method: {states,
    loss, gradient}}, absolute for states, relative for the loss and for |dloss/dx|."""
    told: dict[str, dict[str, float]] = {}
    for row in rows:
        base = next((r for r in rows if r["method"] == LAX_SCAN and r["setting"] == ONE and _same(r, row)), None)
        if base is None:
            continue
        gaps = {"states": row["error"]} if "error" in row else {}
        if "loss" in row:
            gaps["loss"] = abs(row["loss"] / base["loss"] - 1)
            gaps["gradient"] = abs(row["gradient_norm"] / base["gradient_norm"] - 1)
        for what, gap in gaps.items():
            worst = told.setdefault(row["method"], {})
            worst[what] = max(gap, worst.get(what, 0.0))
    return told


def _same(one: Row, other: Row) -> bool:
    return all(one[k] == other[k] for k in KEYS)


def decomposition(rows: Sequence[Row]) -> list[Row]:
    """The chain from the Python loop to Newton at T = 512, a factor a link: {cell, T, B, D, way, step, part, seconds,
    ratio_to_previous, ratio_to_loop, over_lax_scan}; the dashboard knows the `way`. The factors of a chain multiply to
    loop / Newton."""
    told: list[Row] = []
    for case in LOOPS:
        links = _links(rows, case)
        if any(seconds is None for *_, seconds in links):
            continue
        first, base = links[0][-1], links[2][-1]
        previous = first
        for way, step, part, seconds in links:
            told.append(
                {"cell": case.cell, "T": case.time, "B": case.batch, "D": case.dim}
                | {"way": way, "step": step, "part": part}
                | {"seconds": seconds, "ratio_to_previous": previous / seconds}
                | {"ratio_to_loop": first / seconds, "over_lax_scan": seconds / base}
            )
            previous = seconds
    return told


def _links(rows: Sequence[Row], case: Case) -> list[tuple[str, str, str, Any]]:
    at = lambda method, setting: find(rows, case, "forward", method, setting)
    newton = {name: at(name, FUSED) for name in (f"{NEWTON3}, {s}" for s in ("Serial", "TwoLevel", "Associative"))}
    timed = {name: seconds for name, seconds in newton.items() if seconds}
    fastest = min(timed, key=lambda name: timed[name]) if timed else NEWTON3
    return [
        ("loop", LOOP, "start", at(LOOP, ONE)),
        ("sliced-loop", SLICED, "dispatch", at(SLICED, ONE)),
        ("scan-unfused", LAX_SCAN, "dispatch", at(LAX_SCAN, ONE)),
        ("scan", f"{LAX_SCAN}, loop fused", "fusion", at(LAX_SCAN, FUSED)),
        ("newton", f"{fastest}, loop fused", "algorithm", timed.get(fastest)),
    ]


def _ratio(a: float | None, b: float | None) -> float | None:
    return None if not a or not b else a / b


def _words(case: Case) -> str:
    return f"T = {case.time}, B = {case.batch}, D = {case.dim}"
