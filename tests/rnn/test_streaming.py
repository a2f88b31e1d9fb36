"""One step at a time: the states of `solve`, for every cell; compiled once a shape; differentiable."""

import jax
import jax.numpy as jnp
import pytest
from rnn_table import CELLS, RELATIVES, close, problem

from workbench import rnn
from workbench.rnn._step import _step


@pytest.mark.parametrize("name", list(CELLS | RELATIVES))
def test_repeated_steps_are_solve(name):
    cell, params, x, h0 = problem(name, 6, "float64", (2,))
    states = rnn.solve(cell, params, x, h0, solver=rnn.Newton()).states
    axis = 1 if isinstance(cell, rnn.AbstractCell) else 0
    before, h = _step._cache_size(), h0
    for t in range(6):
        h = rnn.step(cell, params, h, jnp.take(x, t, axis))
        close(h, jnp.take(states, t, axis), atol=1e-12)
    assert _step._cache_size() == before + 1


def test_a_long_stream_does_not_drift():
    cell, params, x, h0 = problem("gru", 3000, "float64", ())

    def body(h, x_t):
        h = rnn.step(cell, params, h, x_t)
        return h, h

    close(jax.lax.scan(body, h0, x)[1], rnn.solve(cell, params, x, h0, solver=rnn.Newton()).states, atol=1e-12)


def test_a_step_has_derivatives_and_a_default_state():
    cell, params, x, _ = problem("lstm", 2, "float64", (3,))

    def two(params):
        h = rnn.step(cell, params, rnn.step(cell, params, None, x[:, 0]), x[:, 1])
        return (h * h).sum()

    whole = lambda params: (rnn.solve(cell, params, x, solver=rnn.Newton()).final ** 2).sum()
    close(jax.grad(two)(params), jax.grad(whole)(params), atol=1e-12)


def test_a_step_skips_the_probe_but_not_the_closed_over_values():
    made = {}
    f = rnn.Function(lambda h, x, a: made["w"] * jnp.roll(h, 1) + a * x, "diagonal")  # wrong, and not used by a step
    h, x = jnp.arange(4.0), {"first": jnp.ones(4)}
    for w in (1.0, 2.0):
        made["w"] = jnp.asarray(w)
        stepped = rnn.step(rnn.Function(lambda h, x, a: f.f(h, x["first"], a), "diagonal"), 0.5, h, x)
        close(stepped, w * jnp.roll(h, 1) + 0.5, atol=1e-15)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rnn.step(rnn.ParaGRU(3, 4), PARAMS, jnp.zeros(4), jnp.zeros(2)), "x: shape"),
        (lambda: rnn.step(rnn.ParaGRU(3, 4), PARAMS, jnp.zeros((2, 4)), jnp.zeros(3)), "h0: shape"),
        (lambda: rnn.step(lambda h, x, a: h, 0.5, None, jnp.zeros(3)), "h0: None"),
    ],
)
def test_door(call, message):
    with pytest.raises(ValueError, match=message):
        call()


PARAMS = rnn.ParaGRU(3, 4).init(jax.random.key(0))
