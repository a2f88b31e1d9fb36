"""What a function asks of a machine, counted from its jaxpr: every loop body times the number of its trips."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
from jax.extend import core

from workbench import display
from workbench.hardware._primitives import (
    COLLECTIVES,
    MOVES,
    TRANSCENDENTAL,
    called,
    elements,
    is_free,
    own_work,
    plain,
    size_bytes,
)
from workbench.hardware._span import span


@dataclasses.dataclass(frozen=True)
class Collective:
    """One kind of communication: how often it happens, and the bytes that one device hands in, over all calls."""

    kind: str
    count: float
    bytes: float


@dataclasses.dataclass(frozen=True)
class Counts:
    """Work and span of a function; inside `shard_map`, those of one device.

    `flops`: floating-point operations, a multiply-add two, `transcendentals` (exp, tanh, sqrt, …) apart. `bytes`: what
    the operations read and write, each by itself: an upper bound, for a compiler that fuses moves less. `depth`: the
    longest chain of operations that wait for one another, an array operation (a matrix product, too) counted once: the
    span of the work-span model. `loop_trips`: the longest chain of loop iterations, nested ones multiplied. `notes` say
    what could not be counted exactly; where `at_least`, the numbers are lower bounds, for a loop's trips are not known.
    """

    flops: float
    bytes: float
    transcendentals: float
    depth: float
    loop_trips: float
    collectives: tuple[Collective, ...] = ()
    at_least: bool = False
    notes: tuple[str, ...] = ()

    @property
    def exact(self) -> bool:
        """Whether everything was counted."""
        return not self.notes

    def collective(self, kind: str) -> Collective:
        """The collective of this kind ("all_gather", "psum", …); none of it is a count of 0."""
        return next((c for c in self.collectives if c.kind == kind), Collective(kind, 0, 0))

    def _facts(self) -> dict[str, str]:
        sign = "at least " if self.at_least else ""
        names = ("flops", "bytes", "transcendentals", "depth", "loop_trips")
        facts = {name.replace("_", " "): sign + display.number(getattr(self, name)) for name in names}
        told = {c.kind: f"{display.number(c.count)}, {display.number(c.bytes)} bytes" for c in self.collectives}
        return facts | told | {f"note {i}": note for i, note in enumerate(self.notes, 1)}

    def __str__(self) -> str:
        return "Counts(" + ", ".join(f"{name}: {value}" for name, value in self._facts().items()) + ")"

    def _repr_html_(self) -> str:
        return display.card("Counts", self._facts())


def counts(fn: Callable, *args: Any, while_trips: int | None = None) -> Counts:
    """Count what `fn(*args)` does, without running it; arguments may be arrays or `jax.ShapeDtypeStruct`.

    A `lax.scan` (and a `fori_loop` of constant bounds) counts its body times its length; a `while_loop` whose trips are
    unknown counts once and is told in `notes`, with `at_least`, unless `while_trips` says how often all of them run.
    Of a `cond` the branch with the most operations counts, which is noted where the branches differ.

    Raises ValueError for while_trips < 0.
    """
    given = while_trips is not None
    if given and (isinstance(while_trips, bool) or not isinstance(while_trips, int) or while_trips < 0):
        raise ValueError(f"while_trips: {while_trips!r}, must be None or an integer of at least 0")
    jaxpr = jax.make_jaxpr(lambda *args: fn(*args))(*args).jaxpr  # a fresh function: no earlier trace is reused
    total = _Counter(while_trips).jaxpr(jaxpr)
    collectives = tuple(Collective(kind, n, b) for kind, (n, b) in sorted(total.collectives.items()))
    depth, trips = (span(jaxpr, while_trips, operations=operations) for operations in (True, False))
    notes = tuple(dict.fromkeys(total.notes))
    return Counts(total.flops, total.bytes, total.transcendentals, depth, trips, collectives, total.at_least, notes)


@dataclasses.dataclass
class _Total:
    flops: float = 0
    bytes: float = 0
    transcendentals: float = 0
    collectives: dict[str, tuple[float, float]] = dataclasses.field(default_factory=dict)
    at_least: bool = False
    notes: list[str] = dataclasses.field(default_factory=list)

    def add(self, other: "_Total", times: float = 1) -> None:
        for name in ("flops", "bytes", "transcendentals"):
            setattr(self, name, getattr(self, name) + times * getattr(other, name))
        for kind, (n, b) in other.collectives.items():
            before = self.collectives.get(kind, (0, 0))
            self.collectives[kind] = (before[0] + times * n, before[1] + times * b)
        self.at_least |= other.at_least
        self.notes += other.notes


@dataclasses.dataclass(frozen=True)
class _Counter:
    """Work: a sum over all equations."""

    while_trips: int | None

    def jaxpr(self, jaxpr: core.Jaxpr) -> _Total:
        total = _Total()
        for eqn in jaxpr.eqns:
            self._equation(eqn, total)
        return total

    def _equation(self, eqn: Any, total: _Total) -> None:
        name = eqn.primitive.name
        if name == "scan":
            total.add(self.jaxpr(plain(eqn.params["jaxpr"])), eqn.params["length"])
        elif name == "while":
            self._while(eqn, total)
        elif name == "cond":
            branches = [self.jaxpr(plain(b)) for b in eqn.params["branches"]]
            total.add(max(branches, key=lambda t: (t.flops + t.transcendentals, t.bytes)))
            if any(b != branches[0] for b in branches):
                total.notes.append("a cond, counted as its costliest branch")
        elif (inner := called(eqn)) is not None:
            total.add(self.jaxpr(inner[0]))
        else:
            _leaf(eqn, total)

    def _while(self, eqn: Any, total: _Total) -> None:
        trips = 1 if self.while_trips is None else self.while_trips
        total.add(self.jaxpr(plain(eqn.params["body_jaxpr"])), trips)
        total.add(self.jaxpr(plain(eqn.params["cond_jaxpr"])), trips + 1)
        if self.while_trips is None:
            total.at_least = True
            total.notes.append("a while loop whose trips are not known, counted once")


def _leaf(eqn: Any, total: _Total) -> None:
    name, handed_in = eqn.primitive.name, sum(size_bytes(v) for v in eqn.invars)
    if is_free(eqn):
        return
    if name in COLLECTIVES:
        total.add(_Total(collectives={COLLECTIVES[name]: (1, handed_in)}))
        return
    if name in MOVES:
        total.bytes += 2 * MOVES[name](eqn)
        return
    total.bytes += handed_in + sum(size_bytes(v) for v in eqn.outvars)
    if name in TRANSCENDENTAL:
        total.transcendentals += sum(elements(v) for v in eqn.outvars)
        return
    if any(isinstance(v, core.Jaxpr | core.ClosedJaxpr) for v in eqn.params.values()):
        total.at_least = True
        total.notes.append(f"{name}: what it calls is not counted")
        return
    work, note = own_work(eqn)
    total.flops += work
    if note:
        total.notes.append(note)
