"""Every solver, with every scan, for every cell: the states of `lax.scan` and the gradients of BPTT."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rnn_table import (
    BATCHES,
    CELLS,
    FACTORS,
    MAX_STEPS,
    MAY_FAIL,
    PAIRED,
    SCANS,
    SINGLE,
    SOLVERS,
    close,
    pairwise,
    problem,
    reference,
)

from workbench import rnn

ROWS = pairwise(FACTORS)


def test_the_table_covers_every_pair_within_its_budget():
    assert len(ROWS) <= 60
    for a, b in itertools.combinations(FACTORS, 2):
        seen = {(row[a], row[b]) for row in ROWS}
        assert seen == set(itertools.product(FACTORS[a], FACTORS[b]))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: "-".join(str(v) for v in row.values()))
def test_contract(row):
    check(**row)


@pytest.mark.parametrize("solver", ["newton", "quasi"])
@pytest.mark.parametrize("cell", [cell for cell in CELLS if cell not in PAIRED["cell"]])
def test_contract_of_the_other_cells(cell, solver):
    check(cell=cell, solver=solver, scan="two-level-4", length=1000, dtype="float64", batch="3", guess="input")


@pytest.mark.parametrize("solver", ["newton", "quasi"])
@pytest.mark.parametrize("scan", [scan for scan in SCANS if scan not in PAIRED["scan"]])
def test_contract_of_the_other_scans(scan, solver):
    check(cell="lstm", solver=solver, scan=scan, length=1000, dtype="float64", batch="3", guess="input")


@pytest.mark.full
@pytest.mark.parametrize("length", [1, 7, 1000])
@pytest.mark.parametrize("scan", list(SCANS))
@pytest.mark.parametrize("solver", list(SOLVERS))
@pytest.mark.parametrize("cell", list(CELLS))
def test_contract_in_full(cell, solver, scan, length):
    check(cell=cell, solver=solver, scan=scan, length=length, dtype="float64", batch="3", guess="input")


@functools.cache
def expected(name, length, dtype, batch):
    """States and gradients (params, x, h0) of a fixed linear functional, by differentiating through `lax.scan`."""
    cell, *data = problem(name, length, dtype, batch)
    return with_gradients(lambda *data: reference(cell, *data), lambda states: states, data)


def with_gradients(call, states, data):
    """The result of `call` and the gradients of a functional of its states, compiled as one."""

    def functional(*data):
        result = call(*data)
        h = states(result)
        weights = jnp.cos(jnp.arange(h.size, dtype=h.dtype)).reshape(h.shape)
        return (weights * h).sum() / h.size, result

    (_, result), gradients = jax.jit(jax.value_and_grad(functional, argnums=(0, 1, 2), has_aux=True))(*data)
    return result, gradients


def check(cell, solver, scan, length, dtype, batch, guess):
    made, *data = problem(cell, length, dtype, BATCHES[batch])
    states, gradients = expected(cell, length, dtype, BATCHES[batch])
    method = SOLVERS[solver]
    start = {"array": 0.1 + 0 * states, "callable": lambda params, x, h0: states - 0.2}.get(guess, guess)
    limit = MAX_STEPS.get(solver, 50)
    options = {"solver": method, "scan": SCANS[scan], "guess": start, "max_steps": method.fixed_steps or limit}
    call = lambda *data: rnn.solve(made, *data, **options)
    result, mine = with_gradients(call, lambda result: result.states, data)
    check_statistics(result, method, data[1].shape[:-2] if isinstance(made, rnn.AbstractCell) else (), limit)
    if (solver, length) in MAY_FAIL and not result.status.converged.all():
        return
    assert result.status.converged.all()
    double = dtype == "float64"
    assert result.states.dtype == jnp.dtype(dtype)
    close(result.states, states, atol=1e-12 if double else SINGLE.get(solver, 2e-5))
    scale = max(float(jnp.abs(g).max()) for g in jax.tree.leaves(gradients))
    close(mine, gradients, atol=(1e-10 if double else 1e-4) * scale)


def check_statistics(result, method, sequences, limit):
    steps = method.fixed_steps or limit
    assert result.status.converged.shape == result.stats.iterations.shape == result.stats.residual.shape == sequences
    assert result.stats.history.shape == (*sequences, steps + 1)
    history, iterations = np.asarray(result.stats.history), np.asarray(result.stats.iterations)
    # A residual for iteration 0 and for each after it, finite but for the one that ended a sequence as nonfinite.
    assert (np.isfinite(history).sum(-1) == iterations + np.isfinite(result.stats.residual)).all()
    last = np.take_along_axis(history, iterations[..., None], -1)[..., 0]
    np.testing.assert_array_equal(last, result.stats.residual)
    assert method.fixed_steps is None or (iterations == method.fixed_steps).all()
    assert not isinstance(method, rnn.Sequential) or not iterations.any()
