"""`Auto`: the solver and the scan that are fastest here, chosen before anything is compiled, and why."""

import dataclasses
import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from workbench import hardware
from workbench.rnn._cell import AbstractCell
from workbench.rnn._cost import speed_up, unfused
from workbench.rnn._facts import (
    ADJOINTS,
    NEWTONS,
    POINTS,
    WARM_CHUNKS,
    WARM_FAMILIES,
    WARM_OVERLAP,
    WARM_POINTS,
    Facts,
    facts,
    nearest,
    refused_way,
    warm_way,
)
from workbench.rnn._function import FunctionCell
from workbench.rnn._jacobian import Diagonal
from workbench.rnn._matrix_free import SMALL_BLOCK
from workbench.rnn._scan import AbstractScan, Associative, Serial, TwoLevel
from workbench.rnn._shooting import WarmStart
from workbench.rnn._solver import AbstractSolver, Code, Iterate, Newton, Record, Sequential
from workbench.rnn._system import System

GAIN_HERE, GAIN_ELSEWHERE = 0.95, 0.85
"""Another way than lax.scan must take at most this share of its time: figures of another machine must say more."""
WARM_LANES, WARM_STEPS = 4, 8192
"""WarmStart is looked at up to so many lanes and from so many steps, and for blocks of 2 at most: what was measured."""
WARM_LOSS = 1.08
"""WarmStart's guard must not cost more than this over lax.scan where it finds that the recurrence does not forget."""
MODEL_GAIN = 2.0
"""Without any measurement (accelerators), a cost model must promise this much before the loop is left."""


@dataclasses.dataclass(frozen=True)
class Auto(AbstractSolver):
    """The solver and scan that take the least time here, for this cell and these shapes: the default of `solve`.

    Chosen before compilation, from the structure of the Jacobian, steps, lanes (batch times channels) and measured
    facts: those of `workbench calibrate` on this machine, or of a reference machine that travel with the package. The
    result's `solver` is a `Chosen`, which says what and why. A choice never fails where `Sequential` would succeed: a
    parallel solver that does not converge is followed by it. Inside `jax.vmap` it is sequential, because there both
    would run.
    """

    def init(self, system: System, guess: Array, scan: AbstractScan) -> Iterate:
        raise TypeError("Auto stands for another solver, which solve chooses; it does not iterate itself")

    def step(self, system: System, iterate: Iterate, scan: AbstractScan) -> Iterate:
        raise TypeError("Auto stands for another solver, which solve chooses; it does not iterate itself")


@dataclasses.dataclass(frozen=True, repr=False)
class Chosen(AbstractSolver):
    """What `Auto` chose, and why; behaves as the solver that it holds. Equal to another choice of the same methods."""

    solver: AbstractSolver
    scan: AbstractScan
    why: str = dataclasses.field(compare=False)

    @property
    def direct(self) -> bool:  # ty: ignore[incompatible-property-override]
        return self.solver.direct

    @property
    def adjoint(self) -> str:
        """How the chosen solver's result is differentiated."""
        return getattr(self.solver, "adjoint", "implicit")

    @property
    def fixed_steps(self) -> int | None:
        return self.solver.fixed_steps

    def init(self, system: System, guess: Array, scan: AbstractScan) -> Iterate:
        return self.solver.init(system, guess, scan)

    def step(self, system: System, iterate: Iterate, scan: AbstractScan) -> Iterate:
        return self.solver.step(system, iterate, scan)

    def terminate(self, iterate: Iterate, growth: Array, tolerance: Array) -> tuple[Array, Array]:
        return self.solver.terminate(iterate, growth, tolerance)

    def finish(self, system: System, iterate: Iterate) -> Array:
        return self.solver.finish(system, iterate)

    def conclude(self, system: System, states: Array, record: Record) -> tuple[Array, Record]:
        """Where a parallel choice did not converge, all of it anew, one step after the other.

        `iterations` stay those of the attempt; status and residual are those of what is returned.
        """
        if self.direct:
            return states, record

        def serial() -> tuple[Array, Record]:
            states = system.rollout()
            residual = 0 * system.norm(states)  # nan where a state is not finite
            code = jnp.where(jnp.isfinite(residual), int(Code.CONVERGED), int(Code.NONFINITE)).astype(record.code.dtype)
            index = lax.broadcasted_iota(record.iterations.dtype, record.history.shape, record.history.ndim - 1)
            last = index == record.iterations[..., None]
            history = jnp.where(last, residual[..., None], record.history)
            return states, record._replace(code=code, residual=residual, history=history)

        return lax.cond((record.code == int(Code.CONVERGED)).all(), lambda: (states, record), serial)

    def __repr__(self) -> str:
        return f"Auto -> {short(self.solver)}, {short(self.scan)}: {self.why}"


class Question(NamedTuple):
    """What a choice depends on."""

    family: str
    steps: int
    lanes: int
    batched: bool
    max_steps: int | None
    block: int = 1


def settle(
    solver: AbstractSolver,
    scan: AbstractScan | None,
    cell: AbstractCell,
    data: tuple,
    max_steps: int | None = None,
) -> tuple[AbstractSolver, AbstractScan]:
    """The solver and scan that `solve` uses: those given, or where the solver is `Auto` those that it chooses."""
    if not isinstance(solver, Auto):
        return solver, TwoLevel() if scan is None else scan
    params, x, h0 = data
    one = jax.ShapeDtypeStruct(cell.state_shape, h0.dtype)
    shapes = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), (params, x))
    treedef, leaves = jax.tree.structure(shapes), tuple((a.shape, a.dtype) for a in jax.tree.leaves(shapes))
    family, steps, block = _look(cell, treedef, leaves, one.dtype, h0.ndim - len(cell.state_shape))
    lanes = math.prod(h0.shape) // (2 if family == "block" else 1)
    batched = any(map(_is_batched, jax.tree.leaves(data)))
    chosen = choose(Question(family, steps, lanes, batched, max_steps, block), scan, facts())
    return chosen, chosen.scan


def choose(question: Question, scan: AbstractScan | None, known: Facts | None) -> Chosen:
    """The fastest way that the facts know for a question; a `scan` that is given stays."""
    family, steps, lanes, batched, *_ = question
    size = f"{steps} steps x {lanes} lane{'s' if lanes != 1 else ''}"
    if known is None:
        return _by_model(question, scan, size)
    point = nearest(POINTS[family], steps, lanes)
    found = [c for c in _candidates(question, point, known) if scan is None or c.adjoint != "bptt"]
    bound = GAIN_HERE if known.here else GAIN_ELSEWHERE
    good = [c for c in found if max(c.forward, c.both) <= 1 and c.score <= bound]
    if scan is not None and not good:  # its owner asked for this scan, so that bptt is out
        good = [c for c in found if c.way == c.adjoint][:1]
    if not good:
        told = f"{size}; nothing beats lax.scan at {_at(point)}, {known.where}"
        return Chosen(Sequential("bptt"), scan or Serial(), told)
    best = min(good, key=lambda c: c.score)
    told = f"{best.forward:.2g}x of lax.scan forward, {best.both:.2g}x with gradients, at {_at(point)}, {known.where}"
    told += " (sequential, as inside vmap both would run)" if batched and lanes <= WARM_LANES else ""
    return Chosen(METHODS[best.way][0], scan or METHODS[best.adjoint][1], f"{size}; {told}")


def warm_start(chunks: int) -> WarmStart:
    """Looks before it leaps, and is never given up before `chunks` iterations have made it exact."""
    return WarmStart(chunks, WARM_OVERLAP, guard=True, patience=None)


METHODS: dict[str, tuple[AbstractSolver, AbstractScan]] = {
    "scan": (Sequential(), Serial()),
    "bptt": (Sequential("bptt"), Serial()),
    "serial": (Sequential(), Serial()),
    "two-level": (Sequential(), TwoLevel()),
    "newton-two-level": (Newton(), TwoLevel()),
    "newton-associative": (Newton(), Associative()),
    **{way(c): (warm_start(c), TwoLevel()) for c in WARM_CHUNKS for way in (warm_way, refused_way)},
}
"""The solver, and the scan of its adjoint, that the name of a measured way stands for."""


class _Candidate(NamedTuple):
    """A way forward and one back, and their times over lax.scan's: forward, and forward and backward."""

    way: str
    adjoint: str
    forward: float
    both: float

    @property
    def score(self) -> float:
        return math.sqrt(self.forward * self.both)


def _candidates(question: Question, point: tuple[int, int], known: Facts) -> list[_Candidate]:
    family, steps, lanes, batched, max_steps, block = question
    found = []
    warm = [] if batched or lanes > WARM_LANES or steps < WARM_STEPS or block > 2 else _warm(question, known)
    share = known.ratio(family, "scan", "bptt-gradient", point)
    for adjoint in ADJOINTS:
        both = known.ratio(family, f"{adjoint}-gradient", "bptt-gradient", point)
        if both is None:
            continue
        found.append(_Candidate(adjoint, adjoint, 1.0, both))
        if adjoint != "bptt" and share is not None:
            found += [_Candidate(way, adjoint, forward, both - share * (1 - forward)) for way, forward in warm]
    for newton in () if batched or max_steps is not None else NEWTONS:
        forward, both = (
            known.ratio(family, newton, "scan", point),
            known.ratio(family, f"{newton}-gradient", "bptt-gradient", point),
        )
        if forward is not None and both is not None:
            found.append(_Candidate(newton, newton, forward, both))
    return found


def _warm(question: Question, known: Facts) -> list[tuple[str, float]]:
    """(way, its forward time over lax.scan's) of the warm starts that lose little where they are refused."""
    at, found = nearest(WARM_POINTS, question.steps, question.lanes), []
    family = question.family if question.family in WARM_FAMILIES else WARM_FAMILIES[0]
    for chunks in (c for c in WARM_CHUNKS if question.max_steps is None or c <= question.max_steps):
        forward, refused = (known.ratio(family, way(chunks), "scan", at) for way in (warm_way, refused_way))
        if forward is not None and refused is not None and refused <= WARM_LOSS:
            found.append((warm_way(chunks), forward))
    return found


def _by_model(question: Question, scan: AbstractScan | None, size: str) -> Chosen:
    """An accelerator that was never calibrated: a launch-bound loop against Newton by array operations, modelled."""
    cell = {"block": "ParaLSTM"}.get(question.family, "ParaGRU")
    device = hardware.device("A100-80GB")
    model = unfused(cell, device, step_overhead_s=2 * device.launch_overhead_s)  # a compiled loop: two launches a step
    gain = float(speed_up(model, question.steps, question.lanes)) if question.family != "dense" else 0.0
    told = f"{size}; a cost model says {gain:.2g} times lax.scan's speed; `workbench calibrate` measures"
    if gain >= MODEL_GAIN and not question.batched:
        return Chosen(Newton(), scan or Associative(), told)
    return Chosen(Sequential("bptt") if scan is None else Sequential(), scan or Serial(), told)


def short(method: Any) -> str:
    """A method object without the fields that have their default values."""
    fields = [f for f in dataclasses.fields(method) if f.repr and getattr(method, f.name) != f.default]
    told = ", ".join(f"{f.name}={getattr(method, f.name)!r}" for f in fields)
    return f"{type(method).__name__}({told})"


@functools.lru_cache(maxsize=512)
def _look(cell: AbstractCell, treedef: Any, leaves: tuple, dtype: Any, batch_ndim: int) -> tuple[str, int, int]:
    """(the measured family that is most like the cell, number of steps, size of a Jacobian's block), from shapes."""
    params, x = jax.tree.unflatten(treedef, [jax.ShapeDtypeStruct(*leaf) for leaf in leaves])
    inputs = jax.eval_shape(lambda params, x: cell.project(params, cell.time_first(x)), params, x)
    steps = jax.tree.leaves(inputs)[0].shape[0]
    first = (0,) * (1 + batch_ndim)
    if batch_ndim and not all(jax.tree.leaves(inputs)[0].shape[: 1 + batch_ndim]):
        return "diagonal", steps, 1
    u = jax.eval_shape(lambda inputs: jax.tree.map(lambda a: a[first], inputs), inputs)
    J = jax.eval_shape(cell.jacobian, params, jax.ShapeDtypeStruct(cell.state_shape, dtype), u)
    if isinstance(J, Diagonal):
        return "function" if isinstance(cell, FunctionCell) else "diagonal", steps, 1
    return "block" if J.k <= SMALL_BLOCK else "dense", steps, J.k


def _is_batched(a: Any) -> bool:
    """Whether a value belongs to a vmap that goes on around."""
    while a is not None:
        if type(a).__name__ == "BatchTracer":  # not exported; unseen, a choice is slow under vmap, not wrong
            return True
        a = getattr(a, "primal", None)
    return False


def _at(point: tuple[int, int]) -> str:
    return f"{point[0]} x {point[1]}"
