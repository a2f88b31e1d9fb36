"""Values with intervals, and the parameters of a law: what a fit hands out, printed for people."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from workbench import display

SHOWN = 8


class Params(Mapping[str, float]):
    """Parameters by name, read only: `law.params["k"]`; a mapping, so `dict(law.params)` and `**law.params` work."""

    def __init__(self, values: Mapping[str, float]) -> None:
        self._values = dict(values)

    def __getitem__(self, name: str) -> float:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return ", ".join(f"{name} = {display.number(value, 4)}" for name, value in self._values.items())

    def _repr_html_(self) -> str:
        return display.card("parameters", {name: display.number(value, 4) for name, value in self._values.items()})


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Estimate:
    """A value and an interval that holds it at `level`: numbers, or arrays of one shape. Unpacks as `lo, hi`.

    An end that nothing bounds is infinite, or the parameter's own bound.
    """

    value: Any
    lo: Any
    hi: Any
    level: float

    def __iter__(self) -> Iterator[Any]:
        return iter((self.lo, self.hi))

    def _lines(self) -> list[str]:
        columns = (np.ravel(a) for a in (self.value, self.lo, self.hi))
        return [_with_interval(*row) for row in zip(*columns, strict=True)]

    def __repr__(self) -> str:
        lines = self._lines()
        more = f" and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
        return f"{', '.join(lines[:SHOWN])}{more} ({100 * self.level:g} %)"

    def _repr_html_(self) -> str:
        return display.card(f"{100 * self.level:g} % intervals", {str(i): line for i, line in enumerate(self._lines())})


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Bootstrap:
    """Parameters fitted anew to resampled runs: `draws` by name, one value a resample that converged.

    `failed` counts the resamples whose fit did not converge; they are not among the draws.
    """

    draws: Mapping[str, np.ndarray]
    params: Params
    failed: int

    def interval(self, name: str, level: float = 0.9) -> Estimate:
        """The percentile interval of a parameter. Raises ValueError for an unknown name or a level outside (0, 1)."""
        known("name", name, tuple(self.draws))
        tail = 100 * (1 - share("level", level)) / 2
        lo, hi = np.percentile(self.draws[name], [tail, 100 - tail])
        return Estimate(self.params[name], float(lo), float(hi), level)

    def _facts(self) -> dict[str, str]:
        facts = {"resamples": f"{len(next(iter(self.draws.values())))} ({self.failed} more failed)"}
        return facts | {name: repr(self.interval(name)) for name in self.draws}

    def __repr__(self) -> str:
        return "Bootstrap(" + ", ".join(f"{name}: {value}" for name, value in self._facts().items()) + ")"

    def _repr_html_(self) -> str:
        return display.card("Bootstrap", self._facts())


def known(argument: str, name: str, names: tuple[str, ...]) -> None:
    """ValueError unless `name` is one of `names`."""
    if name not in names:
        raise ValueError(f"{argument}: {name!r}, must be one of {', '.join(names)}")


def share(argument: str, value: float) -> float:
    """`value`; ValueError unless it lies between 0 and 1."""
    if not isinstance(value, int | float) or not 0 < value < 1:
        raise ValueError(f"{argument}: {value!r}, must lie between 0 and 1")
    return value


def _with_interval(value: float, lo: float, hi: float) -> str:
    return f"{display.number(value, 4)} [{display.number(lo, 4)}, {display.number(hi, 4)}]"
