"""The longest chain of dependent operations in a jaxpr, and of loop trips: what no number of processors shortens."""

import dataclasses
from typing import Any

from jax.extend import core

from workbench.hardware._primitives import MOVES, called, is_free, plain

_UNTIL_STEADY = 16
"""After so many trips of a loop its depths are taken to grow as they did over the last half of them."""


def span(jaxpr: core.Jaxpr, while_trips: int | None, *, operations: bool) -> float:
    """The depth of the deepest output. With `operations` an operation is a step, else a trip of a loop is."""
    trips = 1 if while_trips is None else while_trips
    return max(_Span(trips, operations).ends(jaxpr, [0.0] * len(jaxpr.invars)), default=0.0)


@dataclasses.dataclass(frozen=True)
class _Span:
    trips: int
    operations: bool

    def ends(self, jaxpr: core.Jaxpr, starts: list[float]) -> list[float]:
        """The depth of each output, from the depths of the inputs; constants are there from the start."""
        depth = dict(zip(jaxpr.invars, starts, strict=True)) | dict.fromkeys(jaxpr.constvars, 0.0)
        read = lambda v: 0.0 if isinstance(v, core.Literal) else depth[v]
        for eqn in jaxpr.eqns:
            for v, d in zip(eqn.outvars, self._equation(eqn, read), strict=True):
                depth[v] = d
        return [read(v) for v in jaxpr.outvars]

    def _equation(self, eqn: Any, read: Any) -> list[float]:
        name, given = eqn.primitive.name, [read(v) for v in eqn.invars]
        if name == "scan":
            return self._scan(eqn, given)
        if name == "while":
            return self._while(eqn, given)
        if name == "cond":
            branches = [self.ends(plain(b), given[1:]) for b in eqn.params["branches"]]
            return [max(given[0], *ends) for ends in zip(*branches, strict=True)]
        if (inner := called(eqn)) is not None:
            return self.ends(inner[0], [read(v) for v in inner[1]])
        step = self.operations and not is_free(eqn) and name not in MOVES
        return [max(given, default=0.0) + step] * len(eqn.outvars)

    def _scan(self, eqn: Any, given: list[float]) -> list[float]:
        consts, carries, body = eqn.params["num_consts"], eqn.params["num_carry"], plain(eqn.params["jaxpr"])
        inputs = given[consts + carries :]

        def trip(carry: list[float]) -> list[float]:
            return self.ends(body, [*given[:consts], *carry, *inputs])

        return self._repeat(trip, given, eqn.params["length"], carries, len(eqn.outvars), consts)

    def _while(self, eqn: Any, given: list[float]) -> list[float]:
        conds, consts = eqn.params["cond_nconsts"], eqn.params["body_nconsts"]
        cond, body = plain(eqn.params["cond_jaxpr"]), plain(eqn.params["body_jaxpr"])

        def trip(carry: list[float]) -> list[float]:
            (decided,) = self.ends(cond, [*given[:conds], *carry])
            return [max(decided, end) for end in self.ends(body, [*given[conds : conds + consts], *carry])]

        carries = len(eqn.outvars)
        return self._repeat(trip, given, self.trips, carries, carries, conds + consts)

    def _repeat(self, trip: Any, given: list[float], times: int, carries: int, outputs: int, first: int) -> list[float]:
        """Depths after `times` trips: followed until they grow steadily, then extended."""
        carry = given[first : first + carries]
        if not times:
            return carry + [0.0] * (outputs - carries)
        if not self.operations:  # trips run one after the other, whether they need one another or not
            start = max(given, default=0.0)
            inner = max(trip([start] * carries), default=start) - start
            return [start + times * max(1.0, inner)] * outputs
        past = []
        while len(past) < min(times, _UNTIL_STEADY):
            past.append(trip(carry))
            carry = past[-1][:carries]
        # The average over half of them: steady also where carries take turns.
        half = len(past) // 2
        slope = [(a - b) / (len(past) - half) for a, b in zip(past[-1], past[half - 1], strict=True)]
        return [a + (times - len(past)) * g for a, g in zip(past[-1], slope, strict=True)]
