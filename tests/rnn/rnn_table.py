"""The contract's table: a new solver, scan or cell joins by one entry, and is then held against everything else."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from workbench import rnn


def gru(key, dtype):
    cell = rnn.ParaGRU(6, 8, heads=2)
    return cell, cell.init(key, dtype)


def lstm(key, dtype):
    cell = rnn.ParaLSTM(6, 8, heads=2, initialisation="released")
    return cell, cell.init(key, dtype)


def linear(key, dtype):
    cell = rnn.LinearGRU(6, 8)
    return cell, cell.init(key, dtype)


def minimal(key, dtype):
    cell = rnn.MinLSTM(6, 8)
    return cell, cell.init(key, dtype)


def ssd(key, dtype):
    cell = rnn.SSD(6, 2, 3, 2)
    return cell, cell.init(key, dtype)


def elman(key, dtype):
    cell = rnn.RNN(6, 6)
    return cell, cell.init(key, dtype)


def dense_gru(key, dtype):
    cell = rnn.GRU(6, 6)
    return cell, cell.init(key, dtype)


def dense_lstm(key, dtype):
    cell = rnn.LSTM(6, 6, heads=2)
    return cell, cell.init(key, dtype)


def _elementwise(h, x, params):
    return jnp.tanh(params["a"] * h + x)


def _grouped(h, x, params):
    return jnp.tanh(jnp.einsum("gij,gj->gi", params["m"], h) + x)


def _mixing(h, x, params):
    return params["w"] @ jnp.tanh(h) + x


def diagonal(key, dtype):
    return _elementwise, {"a": jax.random.uniform(key, (6,), dtype)}


def block(key, dtype):
    return rnn.Function(_grouped, "block"), {"m": 0.4 * jax.random.normal(key, (3, 2, 2), dtype)}


def dense(key, dtype):
    return _mixing, {"w": 0.25 * jax.random.normal(key, (6, 6), dtype)}


CELLS = {f.__name__: f for f in (gru, lstm, linear, ssd, dense_gru, dense_lstm, diagonal, block, dense)}
RELATIVES = {f.__name__: f for f in (minimal, elman)}
"""Cells whose Jacobian is like that of another in the table: held against `lax.scan` with Newton only."""
SOLVERS = {
    "sequential": rnn.Sequential(),
    "bptt": rnn.Sequential(adjoint="bptt"),
    "newton": rnn.Newton(),
    "damped": rnn.Newton(damping=0.9),
    "fixed": rnn.Newton(steps=9),
    "jacobi": rnn.Jacobi(patience=None),
    "picard": rnn.Picard(patience=None),
    "quasi": rnn.QuasiNewton(),
    "elk": rnn.Elk(),
    "elk-smoother": rnn.Elk(lam=0.01, smoother=True),
    "shooting": rnn.MultipleShooting(chunks=5),
    "warm": rnn.WarmStart(chunks=3, overlap=8),
    "guarded": rnn.WarmStart(chunks=5, overlap=64, guard=True),
}
MAX_STEPS = {"jacobi": 1000, "picard": 1000, "quasi": 1000}
"""Linear iterations may need as many as there are steps of time; every other solver makes do with the default."""
MAY_FAIL = {("picard", 1000)}
"""(solver, length) where an honest status will do: A = I amplifies rounding like a binomial when steps contract."""
SINGLE = {"elk": 5e-5}
"""How near in single precision, where 2e-5 is not reached: a damped iteration ends where its residual does."""
ONE_DEVICE = jax.sharding.Mesh(np.array(jax.devices("cpu")[:1]), ("time",))
SCANS = {
    "serial": rnn.Serial(),
    "associative": rnn.Associative(),
    "hillis-steele": rnn.HillisSteele(),
    "sharded": rnn.Sharded(ONE_DEVICE, "time", rnn.TwoLevel(chunk=4)),
    "two-level-4": rnn.TwoLevel(chunk=4),
    "two-level-long": rnn.TwoLevel(chunk=5000),
    "two-level-tree": rnn.TwoLevel(chunk=8, carries=rnn.Associative()),
}
PAIRED = {"cell": ["gru", "lstm", "dense_gru", "dense"], "scan": ["serial", "associative", "two-level-4", "sharded"]}
"""What every solver is paired with: a cell of each kind of Jacobian and a plain function, a scan of each kind.

The others are relatives of these, and held against `lax.scan` with two solvers; `make test-all` pairs them with all.
"""
FACTORS = {
    "cell": PAIRED["cell"],
    "solver": list(SOLVERS),
    "scan": PAIRED["scan"],
    "length": [1, 2, 7, 1000],
    "dtype": ["float64", "float32"],
    "batch": ["none", "3", "2x2"],
    "guess": ["input", "zeros", "array", "callable"],
}
BATCHES = {"none": (), "3": (3,), "2x2": (2, 2)}


def pairwise(factors: dict[str, list]) -> list[dict[str, Any]]:
    """Rows in which every pair of levels of any two factors occurs together at least once (greedy, deterministic)."""
    names = list(factors)
    todo = {((a, i), (b, j)) for a, b in itertools.combinations(names, 2) for i in factors[a] for j in factors[b]}
    order = sorted(todo, key=str)
    rows = []
    while todo:
        row = dict(next(pair for pair in order if pair in todo))
        for name in names:
            if name not in row:
                row[name] = max(factors[name], key=lambda level: len(todo & _pairs(row | {name: level}, names)))
        todo -= _pairs(row, names)
        rows.append(row)
    return rows


def _pairs(row: dict, names: list[str]) -> set:
    present = [(n, row[n]) for n in names if n in row]
    return set(itertools.combinations(present, 2))


def problem(cell: str, length: int, dtype: str, batch: tuple[int, ...]):
    """Cell, params, x, h0 != 0 of one row; plain functions take no batch."""
    keys = jax.random.split(jax.random.key(7), 3)
    made, params = (CELLS | RELATIVES)[cell](keys[0], jnp.dtype(dtype))
    if isinstance(made, rnn.AbstractCell):
        x = jax.random.normal(keys[1], (*batch, length, made.input_dim), dtype)
        h0 = 0.5 * jax.random.normal(keys[2], (*batch, *made.state_shape), dtype)
    else:
        shape = (3, 2) if cell == "block" else (6,)
        x = jax.random.normal(keys[1], (length, *shape), dtype)
        h0 = 0.5 * jax.random.normal(keys[2], shape, dtype)
    return made, params, x, h0


def reference(cell, params, x, h0):
    """The states by `lax.scan`, with nothing of ours but one step of the cell."""
    if not isinstance(cell, rnn.AbstractCell):
        f = cell.f if isinstance(cell, rnn.Function) else cell

        def plain(h, x_t):
            h = f(h, x_t, params)
            return h, h

        return lax.scan(plain, h0, x)[1]

    def step(h, x_t):
        h = cell.step(params, h, cell.project(params, x_t))
        return h, h

    states = lax.scan(step, h0, jnp.moveaxis(x, -2, 0))[1]
    return jnp.moveaxis(states, 0, x.ndim - 2)


def close(tree, expected, atol, rtol=0.0):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=atol), tree, expected)
