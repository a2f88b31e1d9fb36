"""Derivatives of the solution: every mode and order, through every transformation, and for closed-over values."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rnn_table import close, problem, reference

from workbench import rnn


def functional(states):
    """A fixed nonlinear function of the states."""

    def value(*data):
        h = states(*data)
        return (jnp.sin(3 * h) * jnp.cos(jnp.arange(h.size, dtype=h.dtype)).reshape(h.shape)).sum()

    return value


def states_and_gradients(states, data):
    def loss(*data):
        h = states(*data)
        return functional(lambda: h)(), h

    (_, h), gradients = jax.jit(jax.value_and_grad(loss, (0, 1, 2), has_aux=True))(*data)
    return h, gradients


@pytest.mark.parametrize("length", [1, 2, 7, 1000])
@pytest.mark.parametrize("name", ["gru", "lstm"])
def test_newton_is_lax_scan_and_its_gradient_is_bptt(name, length):
    cell, *data = problem(name, length, "float64", (2,))
    assert jnp.abs(data[2]).min() > 0  # h0
    states, mine = states_and_gradients(lambda *data: rnn.solve(cell, *data, solver=rnn.Newton()).states, data)
    exact, bptt = states_and_gradients(lambda *data: reference(cell, *data), data)
    close(states, exact, atol=1e-12)
    scale = max(float(jnp.abs(g).max()) for g in jax.tree.leaves(bptt))
    close(mine, bptt, atol=1e-10 * max(scale, 1))


@pytest.mark.parametrize(
    ("name", "solver"), [("gru", rnn.Newton()), ("lstm", rnn.Sequential()), ("dense", rnn.Newton())], ids=str
)
def test_forward_and_second_derivatives(name, solver):
    cell, *data = problem(name, 7, "float64", ())
    data = tuple(data)
    ours = functional(lambda *data: rnn.solve(cell, *data, solver=solver).states)
    exact = functional(lambda *data: reference(cell, *data))
    dots = jax.tree.map(lambda a: jnp.cos(jnp.arange(a.size, dtype=a.dtype)).reshape(a.shape), data)
    forward = lambda f: jax.jit(lambda data, dots: jax.jvp(f, data, dots))(data, dots)
    close(forward(ours), forward(exact), atol=1e-10)

    def curvature(f):  # reverse over reverse: the gradient of <grad f, dots>
        slope = lambda *d: sum(
            jax.tree.leaves(jax.tree.map(lambda g, v: (g * v).sum(), jax.grad(f, (0, 1, 2))(*d), dots))
        )
        return jax.jit(jax.grad(slope, (0, 1, 2)))(*data)

    close(curvature(ours), curvature(exact), atol=1e-9)


def test_third_derivative_and_forward_over_reverse():
    x = jnp.linspace(-1.0, 1.0, 6)[:, None]
    ours = lambda a: rnn.solve(lambda h, x, a: jnp.tanh(a * h + x), a, x, jnp.ones(1)).states.sum()

    def exact(a):
        return jax.lax.scan(lambda h, x: (jnp.tanh(a * h + x),) * 2, jnp.ones(1), x)[1].sum()

    for derivative in (lambda f: jax.grad(jax.grad(jax.grad(f))), lambda f: jax.jacfwd(jax.grad(f)), jax.hessian):
        close(jax.jit(derivative(ours))(0.7), derivative(exact)(0.7), atol=1e-10)


def test_vmap_over_parameters_inputs_and_gradients():
    cell, params, x, h0 = problem("gru", 7, "float64", (3,))
    many = jax.tree.map(lambda a: jnp.stack([a, 2 * a]), params)
    gradient = jax.grad(functional(lambda *data: rnn.solve(cell, *data).states))

    def batched(many, x, h0):
        trajectories = jax.vmap(lambda x, h0: rnn.solve(cell, params, x, h0))(x, h0)
        return jax.vmap(gradient, (0, None, None))(many, x, h0), trajectories

    together, result = jax.jit(batched)(many, x, h0)
    one = jax.jit(gradient)
    apart = [one(jax.tree.map(lambda a, i=i: a[i], many), x, h0) for i in range(2)]
    close(together, jax.tree.map(lambda *a: jnp.stack(a), *apart), atol=1e-12)
    close(result.states, rnn.solve(cell, params, x, h0).states, atol=1e-12)
    assert result.status.converged.shape == (3,)
    assert result.stats.history.shape == (3, 51)


def closed_over(w):
    x = jnp.linspace(-1.0, 1.0, 8)[:, None] * jnp.ones((1, 3))
    return rnn.solve(lambda h, x, a: jnp.tanh(w @ h + a * x), 0.5, x, 0.1 * jnp.ones(3)).states


def given(w):
    x = jnp.linspace(-1.0, 1.0, 8)[:, None] * jnp.ones((1, 3))
    return jax.lax.scan(lambda h, x: (jnp.tanh(w @ h + 0.5 * x),) * 2, 0.1 * jnp.ones(3), x)[1]


def test_values_that_a_function_closes_over():
    w = 0.3 * jnp.arange(9.0).reshape(3, 3) / 9
    ours, exact = functional(closed_over), functional(given)
    both = jnp.stack([w, w.T])
    expected = jax.jit(jax.vmap(jax.grad(exact)))(both)
    close(jax.vmap(jax.grad(ours))(both), expected, atol=1e-12)
    close(jax.grad(ours)(w), expected[0], atol=1e-12)
    close(jax.jit(jax.grad(ours))(w), expected[0], atol=1e-12)
    value, slope = jax.jit(lambda w: jax.jvp(ours, (w,), (w,)))(w)
    close((value, slope), (exact(w), (expected[0] * w).sum()), atol=1e-12)


def test_a_closed_over_value_that_changes_is_never_stale():
    made = {}

    def step(h, x, params):
        return jnp.tanh(made["w"] * jax.jit(lambda h: made["v"] * h)(h) + x)

    x = jnp.ones((5, 2))
    for w, v in [(0.1, 1.0), (0.5, 1.0), (0.5, 2.0)]:
        made.update(w=jnp.full(2, w), v=jnp.full(2, v))
        expected = jax.lax.scan(lambda h, x, c=w * v: (jnp.tanh(c * h + x),) * 2, jnp.zeros(2), x)[1]
        close(rnn.solve(step, None, x, jnp.zeros(2)).states, expected, atol=1e-12)


def test_an_unconverged_path_has_a_visibly_wrong_gradient():
    """Negative control: the adjoint is exact at the solution, and only there."""
    cell = rnn.ParaGRU(6, 8)
    keys = jax.random.split(jax.random.key(0), 3)
    params = cell.init(keys[0]) | {"a": jax.random.normal(keys[1], (3, 8))}
    x = jax.random.normal(keys[2], (300, 6))
    loss = lambda p: (rnn.solve(cell, p, x, solver=rnn.Newton(steps=2)).states ** 2).mean()
    exact = jax.jit(jax.grad(lambda p: (reference(cell, p, x, jnp.zeros(8)) ** 2).mean()))(params)["a"]
    off = jnp.abs(jax.jit(jax.grad(loss))(params)["a"] - exact).max() / jnp.abs(exact).max()
    assert 1e-4 < off < 10


def test_backward_keeps_states_not_gates():
    """What the backward pass stores is (params, x, h): T*D numbers a sequence beside the inputs."""
    cell, params, x, h0 = problem("gru", 512, "float64", ())
    _, pullback = jax.vjp(lambda p: rnn.solve(cell, p, x, h0, on_failure="return").states, params)
    stored = sum(np.size(a) for a in jax.tree.leaves(pullback))
    assert stored <= 512 * (8 + 6) + 200


def test_integers_travel_along():
    """Token ids as inputs and an integer among the parameters have no derivative, and do no harm."""
    table = jax.random.normal(jax.random.key(0), (5, 3))
    tokens = jnp.asarray([0, 4, 2, 2, 1])
    step = lambda h, token, params: jnp.tanh(params["scale"].astype(h.dtype) * 0.2 * h + params["table"][token])
    loss = lambda table: rnn.solve(step, {"table": table, "scale": jnp.asarray(2)}, tokens, jnp.zeros(3)).states.sum()

    def exact(table):
        return jax.lax.scan(lambda h, t: (jnp.tanh(0.4 * h + table[t]),) * 2, jnp.zeros(3), tokens)[1].sum()

    close(jax.grad(loss)(table), jax.grad(exact)(table), atol=1e-12)
