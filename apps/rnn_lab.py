"""The small lab: one recurrence, solved on demand; jax is loaded when the first is. Knows nothing of Panel."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import param
import polars as pl

URL = {"recurrence": "map", "setting": "at", "length": "T", "method": "by"}
DIM = 4  # channels of the network and of the cell
SETTINGS = {  # name of the recurrence: (what its setting is, smallest, largest, where it opens)
    "logistic map": ("r", 1.0, 4.0, 2.5),
    "tanh network": ("gain g", 0.1, 3.0, 0.8),
    "ParaGRU": ("scale of the recurrent weights", 0.0, 8.0, 1.0),
}
LENGTHS = (64, 256, 1024)
METHODS: dict[str, Callable[[Any], Any]] = {
    "Newton": lambda rnn: rnn.Newton(),
    "Newton, half steps": lambda rnn: rnn.Newton(damping=0.5),
    "quasi-Newton (diagonal)": lambda rnn: rnn.QuasiNewton(),
    "ELK": lambda rnn: rnn.Elk(),
    "Picard": lambda rnn: rnn.Picard(),
    "Jacobi": lambda rnn: rnn.Jacobi(),
}
MOST_ITERATIONS = 100
_ONE_AT_A_TIME = threading.Lock()  # a machine that solves for several sessions at once tells no times


class LabState(param.Parameterized):
    """What is to be solved, and how."""

    recurrence = param.Selector(default="logistic map", objects=list(SETTINGS))
    setting = param.Number(default=2.5)
    length = param.Selector(default=256, objects=list(LENGTHS))
    method = param.Selector(default="Newton", objects=list(METHODS))

    def bounded(self) -> float:
        """The setting within what the recurrence takes."""
        _, lo, hi, _ = SETTINGS[self.recurrence]
        return min(max(float(self.setting), lo), hi)

    def solve(self) -> "Answer":
        """Solve it as it stands."""
        return solve(self.recurrence, self.bounded(), self.length, self.method)


@dataclass(frozen=True)
class Answer:
    """What came of it: `history` is the residual after each iteration, 0 included; times are medians of three.

    `python` holds the lines that solve the same.
    """

    title: str
    history: np.ndarray
    status: str
    converged: bool
    iterations: int
    lyapunov: float
    error: float
    seconds: float
    scan_seconds: float
    python: str

    def table(self) -> pl.DataFrame:
        """The history as columns iteration and residual."""
        return pl.DataFrame({"iteration": np.arange(self.history.size), "residual": self.history.astype(float)})


def solve(recurrence: str, setting: float, length: int, method: str) -> Answer:
    """Solve one recurrence in float32, and by `lax.scan` beside it.

    Raises `KeyError` for an unknown recurrence or method.
    """
    from workbench import rnn

    solver, (what, *_) = METHODS[method](rnn), SETTINGS[recurrence]
    cell, params, x, h0, guess = _problem(recurrence, setting, length)

    def by(solver: Any) -> Any:
        return rnn.solve(
            cell, params, x, h0, solver=solver, guess=guess, max_steps=MOST_ITERATIONS, on_failure="return"
        )

    with _ONE_AT_A_TIME:
        found, exact = by(solver), by(rnn.Sequential())
        seconds, scan_seconds = _seconds(lambda: by(solver)), _seconds(lambda: by(rnn.Sequential()))
        history = np.asarray(found.stats.history).ravel()
        lyapunov = float(np.asarray(found.stats.lyapunov).ravel()[0])
    states = (np.asarray(one.states) for one in (found, exact))
    return Answer(
        f"{recurrence}, {what} = {setting:.3g}, {length} steps, {method}",
        history[~np.isnan(history)], str(found.status), bool(np.asarray(found.status.converged).all()),
        int(np.asarray(found.stats.iterations).ravel()[0]), lyapunov, float(np.abs(next(states) - next(states)).max()),
        seconds, scan_seconds, _python(recurrence, setting, length, solver),
    )  # fmt: skip


def _seconds(call: Callable[[], Any]) -> float:
    taken = []
    for _ in range(3):
        began = time.perf_counter()
        np.asarray(call().states)
        taken.append(time.perf_counter() - began)
    return float(np.median(taken))


def _problem(recurrence: str, setting: float, length: int) -> tuple[Any, Any, Any, Any, Any]:
    """(cell, params, x, h0, guess); the setting is a value of `params`, so that moving it compiles nothing."""
    noise = np.random.default_rng(0)
    if recurrence == "ParaGRU":
        cell, params = _cell()
        x = noise.standard_normal((length, DIM)).astype(np.float32)
        return cell, params | {"a": params["a"] * np.float32(setting)}, x, None, "input"
    if recurrence == "logistic map":
        x = np.zeros((length, 1), np.float32)
        start, guess = np.full(1, 0.3, np.float32), np.full((length, 1), 0.5, np.float32)
        return _function(_logistic), np.float32(setting), x, start, guess
    weights = noise.standard_normal((DIM, DIM)).astype(np.float32) / np.float32(np.sqrt(DIM))
    x = np.float32(0.1) * noise.standard_normal((length, DIM)).astype(np.float32)
    return _function(_network), (np.float32(setting), weights), x, np.zeros(DIM, np.float32), "input"


def _logistic(h: Any, x: Any, r: Any) -> Any:
    return r * h * (1 - h) + x


def _network(h: Any, x: Any, params: Any) -> Any:
    import jax.numpy as jnp

    gain, weights = params
    return jnp.tanh(gain * (weights @ h) + x)


@cache
def _function(f: Callable) -> Any:
    from workbench import rnn

    return rnn.Function(f)


@cache
def _cell() -> tuple[Any, Any]:
    import jax
    import jax.numpy as jnp

    from workbench import rnn

    cell = rnn.ParaGRU(DIM, DIM)
    return cell, cell.init(jax.random.key(0), jnp.float32)


# The problems of `_problem` as text, with its setting and length; a test solves both and compares.
_TEXT = {
    "logistic map": """
cell = rnn.Function(lambda h, x, r: r * h * (1 - h) + x)
params, h0 = np.float32({at}), np.full(1, 0.3, np.float32)
x, guess = np.zeros(({length}, 1), np.float32), np.full(({length}, 1), 0.5, np.float32)
""",
    "tanh network": """
cell = rnn.Function(lambda h, x, params: jnp.tanh(params[0] * (params[1] @ h) + x))
weights = noise.standard_normal(({dim}, {dim})).astype(np.float32) / np.float32(np.sqrt({dim}))
params, h0, guess = (np.float32({at}), weights), np.zeros({dim}, np.float32), "input"
x = np.float32(0.1) * noise.standard_normal(({length}, {dim})).astype(np.float32)
""",
    "ParaGRU": """
cell = rnn.ParaGRU({dim}, {dim})
params = cell.init(jax.random.key(0), jnp.float32)
params, h0, guess = params | {{"a": params["a"] * np.float32({at})}}, None, "input"
x = noise.standard_normal(({length}, {dim})).astype(np.float32)
""",
}
_HEAD = """import jax
import jax.numpy as jnp
import numpy as np

from workbench import rnn

noise = np.random.default_rng(0)"""


_TAIL = """solver = rnn.{solver!r}
found = rnn.solve(cell, params, x, h0, solver=solver, guess=guess, max_steps={most}, on_failure="return")
print(found.status, found.stats.history)"""


def _python(recurrence: str, setting: float, length: int, solver: Any) -> str:
    problem = _TEXT[recurrence].format(at=setting, length=length, dim=DIM)
    return _HEAD + problem + _TAIL.format(solver=solver, most=MOST_ITERATIONS)
