"""The fused kernel, interpreted: the iterates of Newton, its answers and gradients; and that it lowers for a GPU."""

import jax
import jax.numpy as jnp
import pytest
from rnn_table import close

from workbench import rnn
from workbench.rnn._fused import launch
from workbench.rnn._system import bind

KERNEL = {"chunks": 8, "channels": 4, "interpret": True}
CELLS = [rnn.ParaGRU, rnn.ParaLSTM]


def problem(make, length, dtype="float64", batch=(3,)):
    """Neither the chunks divide the time nor the tiles the channels."""
    cell = make(6, 10, heads=2, initialisation="released")
    keys = jax.random.split(jax.random.key(3), 3)
    x = jax.random.normal(keys[1], (*batch, length, 6), dtype)
    return cell, cell.init(keys[0], dtype), x, 0.5 * jax.random.normal(keys[2], (*batch, *cell.state_shape), dtype)


@pytest.mark.parametrize("make", CELLS)
@pytest.mark.parametrize("length", [1, 37])
def test_a_launch_makes_newtons_iterations(make, length):
    """Two iterations from a poor guess: before convergence, where another iterate would show."""
    cell, *data = problem(make, length)

    @jax.jit
    def both(*data):
        system = bind(cell, *data)
        states = guess = jnp.zeros((length, *system.initial.shape))
        for _ in range(2):
            residuals, J = system.evaluate(states)
            states = states + rnn.affine_scan(J, residuals)
        mine = launch(rnn.FusedNewton(iterations=2, **KERNEL), system, guess)
        return mine, states, jnp.abs(system.residuals(states)).max()

    mine, states, left = both(*data)
    close(mine, states, atol=1e-13)
    assert length == 1 or left > 1e-6


@pytest.mark.parametrize("make", CELLS)
def test_states_status_and_gradients_are_newtons(make):
    cell, params, x, h0 = problem(make, 37)

    def loss(params, solver):
        result = rnn.solve(cell, params, x, h0, solver=solver)
        return (jnp.cos(jnp.arange(result.states.size)).reshape(result.states.shape) * result.states).sum(), result

    run = jax.jit(jax.value_and_grad(loss, has_aux=True), static_argnums=1)
    (_, mine), gradient = run(params, rnn.FusedNewton(iterations=3, **KERNEL))
    (_, newton), expected = run(params, rnn.Newton())
    close(mine.states, newton.states, atol=1e-12)
    close(gradient, expected, atol=1e-10)
    assert mine.status.converged.all()
    assert mine.status.converged.shape == (3,)
    assert (mine.stats.iterations <= 2).all()  # launches of three


def test_what_is_not_solved_is_not_returned():
    """Too few launches from afar: the residual is computed outside the kernel."""
    cell, params, x, h0 = problem(rnn.ParaGRU, 37)
    few = rnn.FusedNewton(iterations=1, **KERNEL)
    result = rnn.solve(cell, params, x, h0, solver=few, guess="zeros", max_steps=1, on_failure="return")
    assert not result.status.converged.any()
    close(result.stats.residual, jnp.abs(residuals(cell, params, x, h0, result.states)).max((-2, -1)), atol=1e-14)


def residuals(cell, params, x, h0, states):
    before = jnp.concatenate([h0[:, None], states[:, :-1]], 1)
    return cell.step(params, before, cell.project(params, x)) - states


def test_one_sequence_in_single_precision():
    cell, *data = problem(rnn.ParaLSTM, 21, "float32", ())
    mine = rnn.solve(cell, *data, solver=rnn.FusedNewton(**KERNEL))
    assert mine.states.dtype == jnp.float32
    close(mine.states, rnn.solve(cell, *data, solver=rnn.Sequential()).states, atol=2e-5)


@pytest.mark.parametrize("make", CELLS)
def test_it_lowers_to_one_triton_kernel(make):
    """No GPU is needed to translate the kernel; that it runs there is not tested here."""
    cell, *data = problem(make, 100, "float32")
    method = rnn.FusedNewton(iterations=3, chunks=16, channels=16)

    def call(*data):
        system = bind(cell, *data)
        return launch(method, system, jnp.zeros((100, *system.initial.shape), jnp.float32))

    text = jax.jit(call).trace(*data).lower(lowering_platforms=("cuda",)).as_text()
    assert text.count("@__gpu$xla.gpu.triton") == 1
    assert "grid_x = 3" in text  # sequences; ten channels are one tile of 16
    assert "grid_y = 1" in text


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rnn.FusedNewton(iterations=0), "iterations: 0"),
        (lambda: rnn.FusedNewton(chunks=12), "chunks: 12, must be a power of 2"),
        (lambda: rnn.FusedNewton(channels=0), "channels: 0"),
        (lambda: rnn.FusedNewton(patience=0), "patience: 0"),
        (lambda: solve_with(rnn.FusedNewton()), "needs a GPU.*'cpu'"),
        (lambda: solve_with(rnn.FusedNewton(**KERNEL), resets=jnp.zeros((3, 5), bool)), "cell: .*GatedCell"),
    ],
)
def test_door(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def solve_with(solver, **options):
    cell, *data = problem(rnn.ParaGRU, 5)
    return rnn.solve(cell, *data, solver=solver, **options)
