"""Measured seconds of the ways to solve a recurrence: of this machine where it was calibrated, else of a reference one.

`workbench calibrate`, or `rnn.calibrate()`, measures and keeps; nothing is measured behind a user's back.
"""

import dataclasses
import functools
import json
import math
from collections.abc import Mapping
from pathlib import Path

import jax

from workbench import hardware
from workbench.rnn._loops import fast_loops_active

KIND = "rnn"
SHIPPED = Path(__file__).parent / "auto_reference.json"
"""The figures of a reference machine, CPU only, with XLA's loops as they are and fused (`rnn.xla_flags`).

`benchmarks/auto.py --write-reference` makes them."""

Point = tuple[int, int]
POINTS: dict[str, tuple[Point, ...]] = {
    "diagonal": (
        *((128, 16), (128, 512), (1024, 1), (1024, 16), (1024, 64), (1024, 128), (1024, 512)),
        *((16384, 1), (16384, 16), (16384, 128)),
    ),
    "block": ((128, 16), (128, 512), (1024, 1), (1024, 16), (1024, 128), (1024, 512), (16384, 1), (16384, 16)),
    "dense": ((128, 16), (1024, 16), (1024, 256)),
    "function": ((1024, 1), (1024, 16), (1024, 128), (16384, 1), (16384, 16)),
}
"""(steps, lanes) at which a family is measured: ParaGRU, ParaLSTM, the dense GRU, an elementwise plain function.

Lanes are batch times channels. A question is answered by the family most like the cell, at the nearest point.
"""
WARM_POINTS: tuple[Point, ...] = ((16384, 1), (16384, 4), (131072, 1), (131072, 4))
WARM_CHUNKS, WARM_OVERLAP, WARM_FAMILIES = (16, 32), 64, ("diagonal", "function")
"""WarmStart, forward, is measured for few lanes and many steps, where it has a chance; and its cost where it has none,
because the recurrence does not forget."""
ADJOINTS = ("bptt", "serial", "two-level")
"""Gradients after a sequential forward pass: through the loop, or by an affine scan at the solution."""
NEWTONS = ("newton-two-level", "newton-associative")
"""Measured on accelerators only."""


@dataclasses.dataclass(frozen=True, eq=False)
class Facts:
    """Seconds by name, and where they were measured; `here` if on this very machine."""

    where: str
    here: bool
    seconds: Mapping[str, float]

    def ratio(self, family: str, way: str, over: str, point: Point) -> float | None:
        """Seconds of `way` over those of `over` at one point; None where one of them was not measured."""
        one, other = (self.seconds.get(name(family, w, point)) for w in (way, over))
        return None if one is None or other is None else one / other


def name(family: str, way: str, point: Point) -> str:
    """The key of one figure."""
    return f"{family}/{way}/{point[0]}x{point[1]}"


def points(family: str) -> tuple[Point, ...]:
    """Where a family is measured, WarmStart's points among them."""
    return tuple(dict.fromkeys(POINTS[family] + (WARM_POINTS if family in WARM_FAMILIES else ())))


def ways(family: str, point: Point, accelerator: bool) -> tuple[str, ...]:
    """What is timed at a point; "-gradient" is forward and backward together."""
    found = ["scan"]
    if point in POINTS[family]:
        found += [f"{a}-gradient" for a in ADJOINTS if family != "dense" or a != "two-level"]
        found += [f"{n}{both}" for n in NEWTONS for both in ("", "-gradient") if accelerator and family != "dense"]
    if family in WARM_FAMILIES and point in WARM_POINTS:
        found += [way for chunks in WARM_CHUNKS for way in (warm_way(chunks), refused_way(chunks))]
    return tuple(found)


def names(accelerator: bool) -> tuple[str, ...]:
    """Every figure of a calibration."""
    return tuple(name(f, way, point) for f in POINTS for point in points(f) for way in ways(f, point, accelerator))


def warm_way(chunks: int) -> str:
    """The name of a warm start with so many chunks."""
    return f"warm-{chunks}"


def refused_way(chunks: int) -> str:
    """The name of the same for a recurrence that does not forget, so that the guard turns to the loop."""
    return f"refused-{chunks}"


def nearest(points: tuple[Point, ...], steps: int, lanes: int) -> Point:
    """The measured point nearest to (steps, lanes), in octaves; of two as near, the one with more lanes."""

    def distance(point: Point) -> tuple[float, int]:
        return math.hypot(math.log2(point[0] / steps), math.log2(point[1] / max(lanes, 1))), -point[1]

    return min(points, key=distance)


def facts() -> Facts | None:
    """This machine's figures; else, on a CPU, the reference machine's; else None. Read once a process and setting."""
    return _facts(hardware.this_machine(), hardware.cache_folder())


def forget() -> None:
    """Read again what is kept: a calibration has been made."""
    _facts.cache_clear()


@functools.lru_cache(maxsize=8)
def _facts(machine: hardware.Machine, _: Path) -> Facts | None:
    accelerator = machine.backend != "cpu"
    kept = hardware.recall(KIND, machine.facts(), names(accelerator))
    if kept is not None:
        return Facts(f"measured here on {kept.measured[:10]}", True, kept.figures)
    if accelerator or not SHIPPED.exists():
        return None
    told = json.loads(SHIPPED.read_text(encoding="utf-8"))["fused" if fast_loops_active() else "plain"]
    where = f"measured on a reference machine ({told['machine']}); `workbench calibrate` measures this one"
    return Facts(where, False, told["seconds"])


def on_accelerator() -> bool:
    """Whether JAX computes on something else than a CPU here."""
    return jax.default_backend() != "cpu"
