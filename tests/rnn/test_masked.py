"""Document boundaries and ragged batches: the values and gradients of a loop that starts anew and stops in time."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rnn_table import CELLS, MAX_STEPS, SCANS, SOLVERS, close, problem

from workbench import rnn

T = 40
newton = functools.partial(rnn.solve, solver=rnn.Newton())
LENGTHS = np.array([T, 23, 0])
RESETS = np.zeros((3, T), bool)
RESETS[0, [7, 8, 30]] = RESETS[1, 0] = RESETS[1, 30] = True


def masked_loop(cell, resets, lengths):
    """The states by `lax.scan`: `where` around one step of the cell."""
    plain = not isinstance(cell, rnn.AbstractCell)
    f = cell.f if isinstance(cell, rnn.Function) else cell
    one = f if plain else lambda h, x, params: cell.step(params, h, cell.project(params, x))
    axis = 0 if plain else -2

    def run(params, x, h0):
        lift = lambda mask: mask.reshape(*mask.shape, *[1] * (h0.ndim - mask.ndim))

        def body(h, step):
            x, anew, t = step
            new = one(jnp.where(lift(anew), 0, h), x, params)
            h = jnp.where(lift(t >= lengths), h, new)
            return h, h

        steps = (jnp.moveaxis(x, axis, 0), jnp.moveaxis(jnp.asarray(resets), -1, 0), jnp.arange(T))
        return jnp.moveaxis(jax.lax.scan(body, h0, steps)[1], 0, 0 if plain else x.ndim - 2)

    return run


def gradients(states, data):
    def loss(*data):
        h = states(*data)
        return (jnp.sin(3 * h) * jnp.cos(jnp.arange(h.size, dtype=h.dtype)).reshape(h.shape)).sum(), h

    (_, h), slopes = jax.jit(jax.value_and_grad(loss, (0, 1, 2), has_aux=True))(*data)
    return h, slopes


def masks(made):
    if isinstance(made, rnn.AbstractCell):
        return RESETS, LENGTHS
    return RESETS[0], np.asarray(33)


def check(name, **options):
    made, params, x, h0 = problem(name, T, "float64", (3,))
    resets, lengths = masks(made)
    ours = lambda *data: newton(made, *data, resets=resets, lengths=lengths, **options).states
    mine, slopes = gradients(ours, (params, x, h0))
    exact, expected = gradients(masked_loop(made, resets, lengths), (params, x, h0))
    close(mine, exact, atol=1e-11)
    close(slopes, expected, atol=1e-10 * max(float(jnp.abs(g).max()) for g in jax.tree.leaves(expected)))
    return slopes


@pytest.mark.parametrize("name", list(CELLS))
def test_every_cell(name):
    check(name)


@functools.cache
def example():
    """A problem and its states by the loop."""
    made, *data = problem("gru", T, "float64", (3,))
    return made, data, jax.jit(masked_loop(made, RESETS, LENGTHS))(*data)


@pytest.mark.parametrize("solver", [name for name in SOLVERS if name != "newton"])
def test_every_solver(solver):
    """The states only: derivatives are taken at the solution, whatever the solver."""
    made, data, states = example()
    steps = SOLVERS[solver].fixed_steps or MAX_STEPS.get(solver)
    result = rnn.solve(made, *data, solver=SOLVERS[solver], max_steps=steps, resets=RESETS, lengths=LENGTHS)
    close(result.states, states, atol=1e-11)
    if not isinstance(SOLVERS[solver], rnn.Sequential):
        assert result.stats.iterations.max() <= T  # padding is no longer a way than the longest document


@pytest.mark.parametrize("scan", list(SCANS))
def test_every_scan(scan):
    check("lstm", scan=SCANS[scan])


def test_gradients_are_zero_where_nothing_comes_through():
    made, params, x, h0 = problem("gru", T, "float64", (3,))
    to_x, to_h0 = check("gru")[1:]
    assert not to_h0[1].any()  # a reset before the first step
    assert (to_h0[2] != 0).all()  # no step at all: the initial state is held
    assert not to_x[1, 23:].any()
    assert not to_x[2].any()
    after = lambda x: newton(made, params, x, h0, resets=RESETS).states[0, 8:30].sum()
    slope = jax.grad(after)(x)[0]
    assert not slope[:8].any()
    assert (slope[8:30] != 0).any(-1).all()


def test_padding_of_any_content_changes_nothing():
    made, params, x, h0 = problem("dense_gru", T, "float64", (3,))
    data = lambda x: (params, x, h0)
    bad = x.at[1, 23:].set(jnp.nan).at[2].set(jnp.inf)
    run = lambda *data: newton(made, *data, lengths=LENGTHS).states
    for mine, exact in zip(gradients(run, data(bad)), gradients(run, data(x)), strict=True):
        close(mine, exact, atol=1e-14)
    result = newton(made, params, bad, h0, lengths=LENGTHS)
    alone = newton(made, params, x[1, :23], h0[1])
    close(result.states[1, :23], alone.states, atol=1e-13)
    close(result.final, jnp.stack([result.states[0, -1], alone.final, h0[2]]), atol=1e-13)
    assert result.status.converged.all()
    assert result.stats.iterations[1] <= alone.stats.iterations + 1


def test_packed_documents_are_their_solves_one_by_one():
    made, params, x, _ = problem("lstm", T, "float64", ())
    starts = [0, 11, 12, 31]
    packed = newton(made, params, x, resets=np.isin(np.arange(T), starts))
    apart = [newton(made, params, x[a:b]).states for a, b in zip(starts, [*starts[1:], T], strict=True)]
    close(packed.states, jnp.concatenate(apart), atol=1e-12)
    assert packed.cell == made


def test_statistics_leave_out_what_is_cut_off():
    step = lambda h, x, a: a * h + x
    x, h0 = jnp.ones((T, 2)), jnp.ones(2)
    plain = newton(step, 0.5, x, h0)
    resets = np.isin(np.arange(T), [5, 20])
    result = newton(step, 0.5, x, h0, resets=resets, lengths=30)
    close(plain.stats.lyapunov, np.log(0.5), atol=1e-12)
    close(result.stats.lyapunov, np.log(0.5), atol=1e-12)
    off = newton(step, 0.5, x, h0, resets=resets, lengths=30, guess=lambda a, x, h0: 0 * x, max_steps=1)
    exact = masked_loop(step, resets, np.asarray(30))(0.5, x, h0)
    assert jnp.abs(off.states - exact).max() <= off.stats.error_bound < 1e-10
    assert result.cell == plain.cell


def test_masks_under_vmap_and_jit():
    made, params, x, h0 = problem("gru", T, "float64", (3,))
    together = newton(made, params, x, h0, resets=RESETS, lengths=LENGTHS).states
    one = lambda x, h0, r, n: newton(made, params, x, h0, resets=r, lengths=n).states
    close(jax.jit(jax.vmap(one))(x, h0, jnp.asarray(RESETS), jnp.asarray(LENGTHS)), together, atol=1e-13)


def test_masks_that_do_nothing_do_nothing():
    made, params, x, h0 = problem("gru", T, "float64", (3,))
    plain = newton(made, params, x, h0)
    result = newton(made, params, x, h0, resets=np.zeros((3, T), bool), lengths=np.full(3, T))
    close(result.states, plain.states, atol=0)
    close(result.stats.lyapunov, plain.stats.lyapunov, atol=1e-14)


def test_a_pytree_state_is_held_leaf_by_leaf():
    f = lambda h, x, a: (jnp.tanh(a * h[0] + h[1] + x), 0.5 * h[1] + x.sum())
    x, h0 = jax.random.normal(jax.random.key(0), (T, 3)), (jnp.ones(3), jnp.asarray(2.0))
    result = newton(f, 0.5, x, h0, lengths=10)
    close(result.final, newton(f, 0.5, x[:10], h0).final, atol=1e-13)
    close(newton(f, 0.5, x, h0, lengths=0).final, h0, atol=0)


def solve(**options):
    cell = rnn.ParaGRU(3, 4)
    return rnn.solve(cell, cell.init(jax.random.key(0)), jnp.zeros((2, 5, 3)), **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resets": np.zeros((2, 4), bool)}, r"resets: bool\[2, 4\], must be boolean.*\[2, 5\]"),
        ({"resets": np.zeros((2, 5))}, r"resets: float64\[2, 5\], must be boolean"),
        ({"resets": np.zeros(5, bool)}, "resets: bool"),
        ({"lengths": [5, 5, 5]}, r"lengths: int64\[3\], must be integer, one a sequence, here of shape \[2\]"),
        ({"lengths": [5.0, 5.0]}, "lengths: float64"),
        ({"lengths": [True, False]}, "lengths: bool"),
        ({"lengths": [0, 6]}, "lengths: 6, must be from 0 to the 5 steps of x"),
        ({"lengths": [-1, 5]}, "lengths: -1, must be from 0"),
    ],
)
def test_door(options, message):
    with pytest.raises(ValueError, match=message):
        solve(**options)
